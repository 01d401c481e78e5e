//! One request and its answer, redirects included, within one deadline.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_queue::{Address, AddressError, Order};
use fetchline_store::Outcome;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::dns::Resolve;
use reqwest::{Client, Response, redirect, retry};

use crate::body::{self, Intake};
use crate::budget::{Budget, Room};
use crate::config::WorkConfig;
use crate::deadline::{Deadline, HeldTooLong};
use crate::decode;
use crate::execute::{Answer, is_safe_to_repeat};
use crate::failure;
use crate::guard::{Blocked, Guard};
use crate::head::{self, HeaderTooLarge, MAX_HEADER_BYTES};
use crate::hop::{self, Hop};
use crate::resolver::Guarded;
use crate::robots::{self, Asked, Forbidden, Robots};
use crate::schedule::{Denied, Place};

/// Redirects that are followed, as many as browsers' engines and curl's users expect at most in practice.
const MAX_REDIRECTS: usize = 10;
/// Connections that are idle are kept this long. Some servers close them after 5 s; the client notices that.
const IDLE: Duration = Duration::from_secs(15);
/// What a site may send of an HTTP/2 stream before we have read it, in bytes.
const HTTP2_WINDOW: u32 = 128 * 1024;
/// The largest window that HTTP/2 knows.
const HTTP2_MOST: u32 = (1 << 31) - 1;
/// A fetch that had to wait for longer than this for room, and came to nothing then, may have failed for that.
const NOTICEABLE: Duration = Duration::from_secs(1);

/// The one client of a worker; cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetcher {
    client: Client,
    guard: Guard,
    /// Absent where they are ignored.
    robots: Option<Robots>,
    timeout: Duration,
    /// How long a site may send nothing, where that is shorter than a fetch as a whole.
    silence: Option<Duration>,
    hold: Duration,
    max_body: usize,
    budget: Budget,
}

impl Fetcher {
    pub(crate) fn new(
        config: &WorkConfig,
        resolver: Arc<dyn Resolve>,
        robots: Option<Robots>,
    ) -> reqwest::Result<Self> {
        let guard = Guard::new(&config.allow_network);
        let proxy_host = config.proxy.as_ref().map(|proxy| proxy.host().to_owned());
        // A body that waits for room holds its window. The others on its connection go on all the same.
        let windows = u32::try_from(config.concurrency).unwrap_or(u32::MAX).saturating_mul(HTTP2_WINDOW);
        let mut client = Client::builder()
            .user_agent(&config.user_agent)
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(config.concurrency)
            .dns_resolver(Guarded::new(resolver, guard.clone(), proxy_host))
            .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(decode::ACCEPTED))]))
            .http2_initial_stream_window_size(HTTP2_WINDOW)
            .http2_initial_connection_window_size(windows.min(HTTP2_MOST))
            .http2_max_header_list_size(MAX_HEADER_BYTES as u32)
            // Followed by our own loop, which records and bounds them.
            .redirect(redirect::Policy::none())
            .referer(false)
            // Tries are counted: one request is one try.
            .retry(retry::never())
            // A pod's environment says nothing about how the outside is reached.
            .no_proxy();
        if let Some(proxy) = &config.proxy {
            client = client.proxy(proxy.for_client()?);
        }
        let &WorkConfig { timeout, read_timeout, hold, max_body, memory_budget, .. } = config;
        let budget = body::budget(memory_budget, max_body);
        let silence = (read_timeout < timeout).then_some(read_timeout);
        Ok(Self { client: client.build()?, guard, robots, timeout, silence, hold, max_body, budget })
    }

    /// The memory of all bodies.
    pub(crate) fn budget(&self) -> Budget {
        self.budget.clone()
    }

    /// Sends the order and reads what comes back. A failure is an answer, too; only where a redirect leads to a host that
    /// gives no turn, there is none.
    pub(crate) async fn fetch(&self, order: &Order, place: &mut Place) -> Result<Answer, Denied> {
        let mut progress = Progress::default();
        let deadline = Deadline::new(self.timeout, self.hold);
        let ended = deadline.bound(pin!(self.follow(order, &mut progress, place, &deadline))).await;
        let outcome = match ended {
            Some(Ok(outcome)) => outcome,
            Some(Err(End::Failed(failure))) => {
                progress.error = Some(failure.text);
                failure.outcome
            }
            Some(Err(End::Denied(_))) if progress.redirected_to.is_some() && !is_safe_to_repeat(order) => {
                // It cannot be begun anew, since the site has acted; and it did not get to where it was sent.
                progress.error = Some("the redirect leads to a host that is sent nothing at present".to_owned());
                Outcome::Connect
            }
            Some(Err(End::Denied(denied))) => return Err(denied),
            None => {
                progress.error = Some(format!("not finished within {} s", self.timeout.as_secs_f64()));
                Outcome::Timeout
            }
        };
        let waited_for_room = deadline.stood_still().saturating_sub(progress.waited_for_places);
        Ok(Answer {
            outcome,
            hindered: progress.body.is_none() && waited_for_room > NOTICEABLE,
            status: progress.status.map(|status| status.as_u16()),
            redirected_to: progress.redirected_to,
            content_type: progress.content_type,
            body: progress.body,
            error: progress.error,
            retry_after: progress.retry_after,
            room: progress.room,
        })
    }

    /// Asks, follows redirects, and reads the body.
    async fn follow(
        &self,
        order: &Order,
        progress: &mut Progress,
        place: &mut Place,
        deadline: &Deadline,
    ) -> Result<Outcome, End> {
        let response = self.ask(order, progress, place, deadline, self.robots.as_ref()).await?;
        let status = response.status();
        progress.content_type = hop::text_of(response.headers(), CONTENT_TYPE);
        // Boxed, so that a fetch that waits for its answer is small.
        let (body, room) = Box::pin(self.read(response, deadline)).await?;
        (progress.body, progress.room) = (Some(body), room);
        if status.is_success() {
            return Ok(Outcome::Ok);
        }
        progress.error = Some(describe_status(status));
        Ok(Outcome::HttpError)
    }

    /// The answer at the end of the redirects, its body still to be read.
    async fn ask(
        &self,
        order: &Order,
        progress: &mut Progress,
        place: &mut Place,
        deadline: &Deadline,
        robots: Option<&Robots>,
    ) -> Result<Response, End> {
        let mut hop = Hop::first(order);
        for _ in 0..=MAX_REDIRECTS {
            self.guard.check_host(&hop.address)?;
            if progress.redirected_to.is_some() {
                Box::pin(progress.wait(deadline, place.advance(&hop.address))).await?;
            }
            if let Some(robots) = robots {
                Box::pin(self.obey(robots, &hop.address, progress, place, deadline)).await?;
            }
            let mut response = self.within_silence(hop.send(&self.client)).await?;
            let status = response.status();
            progress.status = Some(status);
            head::check(response.headers())?;
            progress.retry_after = hop::retry_after(response.headers());
            place.answered(status.as_u16(), progress.retry_after);
            let Some(location) = hop::location(&response) else { return Ok(response) };
            hop::drain(&mut response).await;
            hop.redirect(status, &location)?;
            progress.redirected_to = Some(hop.address.clone().into_owned());
        }
        Err(Failure { outcome: Outcome::Redirect, text: format!("more than {MAX_REDIRECTS} redirects") }.into())
    }

    /// Fails where robots.txt forbids the address. Getting the rules takes a turn of its own.
    async fn obey(
        &self,
        robots: &Robots,
        address: &Address,
        progress: &mut Progress,
        place: &mut Place,
        deadline: &Deadline,
    ) -> Result<(), End> {
        if let Some(verdict) = robots.verdict(address).await {
            return Ok(verdict?);
        }
        // Boxed, as all that is rare: a fetch would have room for it all the time.
        Box::pin(async {
            let robots_txt = address.join("/robots.txt")?;
            // One asks and the others wait: were they to hold what the one needs, all would stand still.
            place.release();
            progress.wait(deadline, robots.find_out(address, self.ask_for_robots(robots_txt, place))).await??;
            // The rules may have changed what the host allows per time.
            progress.wait(deadline, place.advance(address)).await
        })
        .await
    }

    /// Asks a site for its robots.txt, within a deadline of its own. Boxed, since it is a part of asking for a page.
    fn ask_for_robots<'a>(&'a self, robots_txt: Address, place: &'a mut Place) -> Asking<'a> {
        Box::pin(async move {
            let order = Order::get(robots_txt);
            let mut progress = Progress::default();
            let deadline = Deadline::new(self.timeout, self.hold);
            let asking = async {
                progress.wait(&deadline, place.advance(&order.address)).await?;
                let mut response = self.ask(&order, &mut progress, place, &deadline, None).await?;
                let room = self.budget.room();
                let mut intake = Intake::begin(response.headers(), None, robots::MOST_BYTES, room, &deadline).await?;
                while let Some(chunk) = self.within_silence(response.chunk()).await? {
                    match intake.take(&chunk).await {
                        // What is beyond the limit does not count.
                        Err(body::Error::TooLarge(_)) => break,
                        taken => taken?,
                    }
                }
                Ok((response.status(), intake.so_far()))
            };
            let nothing = |status: Option<StatusCode>| Asked { status: status.map(|it| it.as_u16()), body: Vec::new() };
            match deadline.bound(asking).await {
                Some(Ok((status, body))) => Ok(Asked { body, ..nothing(Some(status)) }),
                Some(Err(End::Denied(denied))) => Err(denied),
                // A redirect that leads nowhere, or to where nothing is fetched: there are no rules.
                Some(Err(End::Failed(failure))) if matches!(failure.outcome, Outcome::Redirect | Outcome::Blocked) => {
                    Ok(nothing(progress.status.or(Some(StatusCode::NOT_FOUND))))
                }
                Some(Err(End::Failed(_))) | None => Ok(nothing(None)),
            }
        })
    }

    /// Reads the body to its end, or drops the connection on purpose when it is too large.
    async fn read(&self, mut response: Response, deadline: &Deadline) -> Result<(Vec<u8>, Room), Failure> {
        let (length, room) = (response.content_length(), self.budget.room());
        let mut intake = Intake::begin(response.headers(), length, self.max_body, room, deadline).await?;
        let problem: Failure = loop {
            match self.within_silence(response.chunk()).await {
                Ok(Some(chunk)) => match intake.take(&chunk).await {
                    Ok(()) => {}
                    Err(error) => break error.into(),
                },
                Ok(None) => return Ok(intake.end().await?),
                Err(failure) => break failure,
            }
        };
        // The connection first, and its own task a moment to close it: what it has read ahead is charged to this room.
        drop(response);
        tokio::task::yield_now().await;
        Err(problem)
    }

    /// The client library has such a limit too, but counts the time in which nobody asks it for more.
    async fn within_silence<T>(&self, read: impl Future<Output = reqwest::Result<T>>) -> Result<T, Failure> {
        // By default the fetch as a whole may take no longer.
        let Some(silence) = self.silence else { return Ok(read.await?) };
        match tokio::time::timeout(silence, read).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(Failure {
                outcome: Outcome::Timeout,
                text: format!("nothing came within {} s (--read-timeout)", silence.as_secs_f64()),
            }),
        }
    }
}

/// The answer to come to a request for a robots.txt.
type Asking<'a> = Pin<Box<dyn Future<Output = Result<Asked, Denied>> + Send + 'a>>;

/// What is known when the deadline strikes.
#[derive(Default)]
struct Progress {
    status: Option<StatusCode>,
    redirected_to: Option<Address>,
    content_type: Option<String>,
    body: Option<Vec<u8>>,
    room: Room,
    error: Option<String>,
    retry_after: Option<Duration>,
    waited_for_places: Duration,
}

impl Progress {
    /// Waits for what is our own affair, not the site's.
    async fn wait<T>(&mut self, deadline: &Deadline, wait: impl Future<Output = Result<T, Denied>>) -> Result<T, End> {
        let began = Instant::now();
        let waited = deadline.stand_still(wait).await;
        self.waited_for_places += began.elapsed();
        waited.unwrap_or_else(|HeldTooLong| Err(Denied::Requeue)).map_err(End::Denied)
    }
}

/// Why there is no answer.
struct Failure {
    outcome: Outcome,
    text: String,
}

/// Why a fetch ends without an answer.
enum End {
    Failed(Failure),
    Denied(Denied),
}

impl<F: Into<Failure>> From<F> for End {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self { outcome: failure::outcome_of(&error), text: failure::describe(error) }
    }
}

impl From<Blocked> for Failure {
    fn from(blocked: Blocked) -> Self {
        Self { outcome: Outcome::Blocked, text: blocked.to_string() }
    }
}

impl From<Forbidden> for Failure {
    fn from(Forbidden { outcome, text }: Forbidden) -> Self {
        Self { outcome, text }
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        Self { outcome: Outcome::Redirect, text: format!("the redirect leads nowhere: {error}") }
    }
}

impl From<body::Error> for Failure {
    fn from(error: body::Error) -> Self {
        Self { outcome: error.outcome(), text: error.to_string() }
    }
}

impl From<HeaderTooLarge> for Failure {
    fn from(error: HeaderTooLarge) -> Self {
        Self { outcome: Outcome::TooLarge, text: error.to_string() }
    }
}

fn describe_status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}
