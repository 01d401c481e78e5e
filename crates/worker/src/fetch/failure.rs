//! Why a fetch fails: the outcome to record, and a sentence for people.

use std::error::Error;

use fetchline_queue::AddressError;
use fetchline_store::Outcome;
use hickory_resolver::net::NetError;

use super::body;
use super::guard::Blocked;
use super::header_limit::HeaderTooLarge;
use super::robots::Forbidden;
use super::unprocessed;
use crate::error_chain::{chain, sources};

/// Why a fetch has no body.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
    pub(crate) fault: Fault,
}

/// Whose fault a failure is, where that decides what becomes of the task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// That of the site, which may have acted on the request.
    #[default]
    Site,
    /// That of the site, which has certainly not looked at the request.
    Unprocessed,
    /// That of the worker: it may not open any more sockets.
    NoSockets,
}

impl Failure {
    /// A failure of the site.
    pub(crate) fn new(outcome: Outcome, text: impl Into<String>) -> Self {
        Self { outcome, text: text.into(), fault: Fault::Site }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let fault = if is_no_sockets(&error) {
            Fault::NoSockets
        } else if unprocessed::is_certain(&error) {
            Fault::Unprocessed
        } else {
            Fault::Site
        };
        Self { outcome: outcome_of(&error), text: describe(error), fault }
    }
}

impl From<Blocked> for Failure {
    fn from(blocked: Blocked) -> Self {
        Self::new(Outcome::Blocked, blocked.to_string())
    }
}

impl From<Forbidden> for Failure {
    fn from(Forbidden { outcome, text }: Forbidden) -> Self {
        Self::new(outcome, text)
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        Self::new(Outcome::Redirect, format!("the redirect cannot be followed: {error}"))
    }
}

impl From<body::Error> for Failure {
    fn from(error: body::Error) -> Self {
        Self::new(error.outcome(), error.to_string())
    }
}

impl From<HeaderTooLarge> for Failure {
    fn from(error: HeaderTooLarge) -> Self {
        Self::new(Outcome::TooLarge, error.to_string())
    }
}

/// The outcome of an error of the HTTP client.
fn outcome_of(error: &reqwest::Error) -> Outcome {
    if blocked(error).is_some() {
        Outcome::Blocked
    } else if error.is_dns() {
        Outcome::Dns
    } else if error.is_connect() {
        if sources(error).any(is_tls) { Outcome::Tls } else { Outcome::Connect }
    } else if error.is_timeout() {
        Outcome::Timeout
    } else if is_header_too_large(error) {
        Outcome::TooLarge
    } else {
        Outcome::Protocol
    }
}

/// An error of the HTTP client with its causes, in one line. Without the URL, since that stands
/// next to it, masked. An error of the guard explains itself.
pub(crate) fn describe(error: reqwest::Error) -> String {
    if is_header_too_large(&error) {
        return HeaderTooLarge.to_string();
    }
    blocked(&error).map(Blocked::to_string).unwrap_or_else(|| chain(&error.without_url()))
}

/// The error of the guard, which the client passes on as one of its resolver.
fn blocked(error: &reqwest::Error) -> Option<&Blocked> {
    sources(error).find_map(|source| source.downcast_ref())
}

fn is_header_too_large(error: &reqwest::Error) -> bool {
    sources(error)
        .filter_map(|source| source.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_parse_too_large)
}

/// Whether the worker has run out of file descriptors, or the system of them or of local ports.
fn is_no_sockets(error: &reqwest::Error) -> bool {
    const OURS: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::EADDRNOTAVAIL];
    sources(error)
        .filter_map(io_error)
        .filter_map(std::io::Error::raw_os_error)
        .any(|number| OURS.contains(&number))
}

/// The IO error that an error is. The resolver's error does not name its IO error as its source.
fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a std::io::Error> {
    match error.downcast_ref() {
        Some(NetError::Io(io)) => Some(io),
        _ => error.downcast_ref(),
    }
}

/// TLS errors are nested in IO errors, which do not name them as their source.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || inner.is_some_and(|inner| is_tls(inner))
}
