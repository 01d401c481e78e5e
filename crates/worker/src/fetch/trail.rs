//! The redirects of a fetch, to find one that leads in a circle.

use fetchline_queue::Address;
use fetchline_store::Outcome;
use http::Method;

use super::cookies::Snapshot;
use super::failure::Failure;
use super::hop::Hop;

/// How many redirects are followed.
pub(super) const MAX_REDIRECTS: usize = 10;

/// The requests of a fetch that were redirected. Only an equal request with equal cookies leads in
/// a circle: many sites set a cookie and redirect to the same page.
#[derive(Default)]
pub(super) struct Trail {
    sent: Vec<Sent>,
}

/// A request, with the cookies that there were before it.
struct Sent {
    method: Method,
    address: Address,
    carries_secrets: bool,
    has_body: bool,
    cookies: Snapshot,
}

impl Trail {
    /// Adds a request that was redirected.
    pub(super) fn add(&mut self, hop: &Hop<'_>, cookies: Snapshot) {
        self.sent.push(Sent::new(hop, cookies));
    }

    /// Fails if the next request leads in a circle, or if there were too many redirects.
    pub(super) fn check(&self, hop: &Hop<'_>, cookies: Snapshot) -> Result<(), Failure> {
        let next = Sent::new(hop, cookies);
        let text = if (0..self.sent.len()).any(|first| next.closes_circle(&self.sent[first..])) {
            format!("the redirects lead back to {}, with the same cookies", next.address)
        } else if self.sent.len() > MAX_REDIRECTS {
            format!("more than {MAX_REDIRECTS} redirects")
        } else {
            return Ok(());
        };
        Err(Failure::new(Outcome::Redirect, text))
    }
}

impl Sent {
    fn new(hop: &Hop<'_>, cookies: Snapshot) -> Self {
        Self {
            method: hop.method().clone(),
            address: hop.address.clone().into_owned(),
            carries_secrets: hop.is_at_site(),
            has_body: hop.has_body(),
            cookies,
        }
    }

    /// Whether this request begins the same circle again: it equals the first one, and no request
    /// of the circle would have other cookies than when it began. What other tasks of the run
    /// change about further cookies does not hide it.
    fn closes_circle(&self, circle: &[Self]) -> bool {
        let Some(first) = circle.first() else { return false };
        self.is_same_request(first)
            && circle
                .iter()
                .all(|sent| self.cookies.is_same_for(&first.cookies, sent.address.as_url()))
    }

    fn is_same_request(&self, other: &Self) -> bool {
        self.method == other.method
            && self.address == other.address
            && self.carries_secrets == other.carries_secrets
            && self.has_body == other.has_body
    }
}
