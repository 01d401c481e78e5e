//! What an error of the HTTP client means: which outcome, and what to tell people.

use std::error::Error;

use fetchline_store::Outcome;

use crate::guard::Blocked;
use crate::head::HeaderTooLarge;

/// The outcome that an error of sending a request or reading its answer stands for.
pub(crate) fn outcome_of(error: &reqwest::Error) -> Outcome {
    if blocked(error).is_some() {
        Outcome::Blocked
    } else if error.is_dns() {
        Outcome::Dns
    } else if error.is_connect() {
        // Nothing was sent yet.
        if sources(error).any(is_tls) { Outcome::Tls } else { Outcome::Connect }
    } else if error.is_timeout() {
        Outcome::Timeout
    } else if head_is_too_large(error) {
        Outcome::TooLarge
    } else {
        Outcome::Protocol
    }
}

/// An error with its causes in one line. The URL is left out: it stands beside it, masked. What the guard says needs no
/// more words.
pub(crate) fn describe(error: reqwest::Error) -> String {
    if head_is_too_large(&error) {
        return HeaderTooLarge.to_string();
    }
    blocked(&error).map(Blocked::to_string).unwrap_or_else(|| chain(&error.without_url()))
}

/// What the guard says, where it was the guard: the client passes the resolver's error on.
fn blocked(error: &reqwest::Error) -> Option<&Blocked> {
    sources(error).find_map(|source| source.downcast_ref())
}

fn head_is_too_large(error: &reqwest::Error) -> bool {
    sources(error).filter_map(|source| source.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse_too_large)
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for source in sources(error) {
        let cause = source.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |error| (*error).source())
}

/// TLS errors travel inside of IO errors, which do not name them as their source, and may be nested.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || inner.is_some_and(|inner| is_tls(inner))
}
