//! The redirects of a fetch, to find one that leads in a circle.

use std::borrow::Cow;

use fetchline_queue::Address;
use fetchline_store::Outcome;
use http::Method;

use super::failure::Failure;
use super::hop::Hop;

/// How many redirects are followed.
pub(super) const MAX_REDIRECTS: usize = 10;

/// The requests that were sent since the cookies changed last. Only an equal request with equal
/// cookies leads in a circle: many sites set a cookie and redirect to the same page.
#[derive(Default)]
pub(super) struct Trail {
    sent: Vec<(Method, Address, bool)>,
    /// How often the cookies had changed.
    changes: u64,
    redirects: usize,
}

impl Trail {
    /// Notes the next request. Fails if it was sent before, or if there were too many redirects.
    /// `changes`: how often the cookies have changed.
    pub(super) fn step(&mut self, hop: &Hop<'_>, changes: u64) -> Result<(), Failure> {
        if changes != self.changes {
            self.changes = changes;
            self.sent.clear();
        }
        let (method, address, carries_secrets) = hop.identity();
        let is_same = |sent: &(Method, Address, bool)| {
            sent.0 == *method && sent.1 == **address && sent.2 == carries_secrets
        };
        if self.sent.iter().any(is_same) {
            let text = format!("the redirects lead back to {address}, with the same cookies");
            return Err(Failure::new(Outcome::Redirect, text));
        }
        if self.redirects > MAX_REDIRECTS {
            let text = format!("more than {MAX_REDIRECTS} redirects");
            return Err(Failure::new(Outcome::Redirect, text));
        }
        self.redirects += 1;
        self.sent.push((method.clone(), Cow::clone(address).into_owned(), carries_secrets));
        Ok(())
    }
}
