//! What a fetch does for robots.txt: it asks whether a page may be fetched, and requests the file
//! if that is not known.

use std::pin::Pin;

use fetchline_queue::{Address, FetchRequest};
use fetchline_store::Outcome;
use http::StatusCode;

use super::Fetcher;
use crate::fetch::body::{self, BodyReader};
use crate::fetch::deadline::Deadline;
use crate::fetch::framing::BodyStream;
use crate::fetch::progress::{End, Progress};
use crate::fetch::robots::{self, Robots, RobotsResponse};
use crate::schedule::Place;

/// A request for a robots.txt that is under way.
type RobotsRequest<'a> = Pin<Box<dyn Future<Output = Result<RobotsResponse, End>> + Send + 'a>>;

impl Fetcher {
    /// Fails where robots.txt forbids the address. A request for robots.txt takes a slot of its
    /// own.
    pub(super) async fn obey(
        &self,
        robots: &Robots,
        address: &Address,
        progress: &mut Progress,
        place: &mut Place,
        deadline: &Deadline,
    ) -> Result<(), End> {
        if let Some(verdict) = robots.cached_verdict(address).await {
            return Ok(verdict?);
        }
        // Boxed: cold path; inline it would enlarge every fetch's future.
        Box::pin(async {
            let robots_txt = address.join("/robots.txt")?;
            // One fetch requests robots.txt and the others wait for it. If these kept their places,
            // the one might never get its own.
            place.release();
            let request = self.request_robots(robots_txt, place);
            let verdict = async { Ok(robots.verdict(address, request).await) };
            progress.wait(deadline, verdict).await???;
            // A crawl delay may have changed the limit of the host.
            progress.wait(deadline, place.advance(address)).await
        })
        .await
    }

    /// Requests a robots.txt, within a deadline of its own. Boxed, since this calls
    /// [`Self::request`], which leads here.
    pub(super) fn request_robots<'a>(
        &'a self,
        robots_txt: Address,
        place: &'a mut Place,
    ) -> RobotsRequest<'a> {
        Box::pin(async move {
            let request = FetchRequest::get(robots_txt);
            let mut progress = Progress::default();
            let deadline = Deadline::new(self.timeout, self.hold);
            let reading = self.read_robots(&request, &mut progress, place, &deadline);
            let without_body = |status: Option<StatusCode>| RobotsResponse {
                status: status.map(|status| status.as_u16()),
                body: Vec::new(),
            };
            match deadline.limit(reading).await {
                Some(Ok((status, body))) => {
                    Ok(RobotsResponse { body, ..without_body(Some(status)) })
                }
                Some(Err(End::Denied(denied))) => Err(End::Denied(denied)),
                // The site's host has no address or is blocked, or the fault is ours: nothing is
                // known of the site.
                Some(Err(End::Failed(failure)))
                    if failure.fault.is_not_of_site()
                        || matches!(failure.outcome, Outcome::Dns | Outcome::Blocked)
                            && progress.status.is_none() =>
                {
                    Err(End::Failed(failure))
                }
                // Too many redirects, or one that cannot be followed: there are no rules.
                Some(Err(End::Failed(failure))) if failure.outcome == Outcome::Redirect => {
                    Ok(without_body(progress.status.or(Some(StatusCode::NOT_FOUND))))
                }
                // The file is unreachable (RFC 9309, 2.3.1.4), also where it is at a name that does
                // not exist or in a blocked network: the site has one that we cannot read.
                Some(Err(End::Failed(_))) | None => Ok(without_body(None)),
            }
        })
    }

    /// The status and the beginning of a robots.txt, in whole lines.
    async fn read_robots(
        &self,
        request: &FetchRequest,
        progress: &mut Progress,
        place: &mut Place,
        deadline: &Deadline,
    ) -> Result<(StatusCode, Vec<u8>), End> {
        progress.wait(deadline, place.advance(&request.address)).await?;
        let (response, lease) =
            self.request(request, None, progress, place, deadline, None).await?;
        let status = response.status();
        let reservation = self.budget.reservation();
        // One byte more shows whether the last line within the limit is whole.
        let limit = robots::MAX_BYTES + 1;
        let mut stream = BodyStream::new(response, lease);
        let mut body =
            BodyReader::new(stream.headers(), None, limit, reservation, deadline).await?;
        let body = loop {
            match self.within_read_timeout(stream.next()).await?? {
                Some(chunk) => match body.push(&chunk).await {
                    // The rest does not count.
                    Err(body::Error::TooLarge(_)) => break body.into_partial(),
                    pushed => pushed?,
                },
                // Fails if a content coding is incomplete: the rules may be, too.
                None => break body.finish().await?.0,
            }
        };
        Ok((status, robots::whole_lines(body)))
    }
}
