//! Why a fetch fails: the outcome to record, and a sentence for people.

use std::error::Error;

use fetchline_queue::AddressError;
use fetchline_store::Outcome;

use super::body;
use super::dns::Resolution;
use super::guard::Blocked;
use super::header_limit::HeaderTooLarge;
use super::resolver::Unknown;
use super::shortage;
use super::tls;
use super::unprocessed;
use crate::error_chain::{chain, sources};

/// Why a fetch has no body.
#[derive(Clone, Debug)]
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
    /// That of the worker: too many of its other lookups were ahead.
    Crowded,
    /// That of the worker: there was no memory for the body.
    NoMemory,
    /// That of our name servers, which answer for no host.
    NameServers,
    /// That of the name servers, of which nothing else is known.
    Unanswered,
    /// That of our proxy: its name has no address, or none that is known.
    Proxy,
    /// That of the name servers, which answer for other hosts. Those of the host may be down.
    HostUnanswered,
}

impl Fault {
    /// Whether the failure says nothing about the site.
    pub(crate) fn is_not_of_site(self) -> bool {
        match self {
            Self::Site | Self::Unprocessed => false,
            Self::NoSockets
            | Self::Crowded
            | Self::NoMemory
            | Self::NameServers
            | Self::Unanswered
            | Self::Proxy
            | Self::HostUnanswered => true,
        }
    }

    /// Whether the site has certainly not acted on the request.
    pub(crate) fn is_before_request(self) -> bool {
        match self {
            Self::Site | Self::NoMemory => false,
            Self::Unprocessed
            | Self::NoSockets
            | Self::Crowded
            | Self::NameServers
            | Self::Unanswered
            | Self::Proxy
            | Self::HostUnanswered => true,
        }
    }
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

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        Self::new(Outcome::Redirect, format!("the redirect cannot be followed: {error}"))
    }
}

impl From<body::Error> for Failure {
    fn from(error: body::Error) -> Self {
        let fault = match error {
            body::Error::NoMemory(_) => Fault::NoMemory,
            body::Error::TooLarge(_) | body::Error::Decode(_) => Fault::Site,
        };
        Self { outcome: error.outcome(), text: error.to_string(), fault }
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
        if tls_error(error).is_some() { Outcome::Tls } else { Outcome::Connect }
    } else if error.is_timeout() {
        Outcome::Timeout
    } else if is_header_too_large(error) {
        Outcome::TooLarge
    } else if certificate_alert(error).is_some() {
        Outcome::Tls
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
    if let Some(error) = tls_error(&error).filter(|_| error.is_connect()) {
        return tls::describe(error);
    }
    if let Some(alert) = certificate_alert(&error) {
        return tls::describe(&alert);
    }
    blocked(&error).map(Blocked::to_string).unwrap_or_else(|| chain(&error.without_url()))
}

/// The host that the client has to know before it can connect.
pub(crate) fn unknown_host(error: &reqwest::Error) -> Option<Unknown> {
    sources(error).find_map(|source| source.downcast_ref::<Unknown>()).cloned()
}

impl Unknown {
    /// Looks the host up, so that the client knows it. The site is at fault if name servers say
    /// that it has no address; the host may also be that of our proxy.
    pub(crate) async fn look_up(self, site: Option<&str>) -> Result<(), Failure> {
        let (text, fault) = match self.names.look_up(&self.host).await {
            Resolution::Addresses(_) => return Ok(()),
            Resolution::Crowded(text) => (text, Fault::Crowded),
            Resolution::NoSockets(text) => (text, Fault::NoSockets),
            Resolution::Outage(text) => (text, Fault::NameServers),
            Resolution::Absent(text)
            | Resolution::Unanswered(text)
            | Resolution::HostUnanswered(text)
                if site != Some(&self.host) =>
            {
                (text, Fault::Proxy)
            }
            Resolution::Absent(text) => (text, Fault::Site),
            Resolution::Unanswered(text) => (text, Fault::Unanswered),
            Resolution::HostUnanswered(text) => (text, Fault::HostUnanswered),
        };
        Err(Failure { outcome: Outcome::Dns, text: text.to_string(), fault })
    }
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
    error.is_connect()
        && sources(error).filter_map(|source| source.downcast_ref()).any(shortage::is_of_sockets)
}

/// The alert with which a site refuses a client without a certificate. It is found by its text:
/// HTTP/2 keeps nothing else of an IO error.
fn certificate_alert(error: &reqwest::Error) -> Option<rustls::Error> {
    let io_errors = || sources(error).filter_map(|source| source.downcast_ref::<std::io::Error>());
    tls::CERTIFICATE_ALERTS.map(rustls::Error::AlertReceived).into_iter().find(|alert| {
        let text = alert.to_string();
        io_errors().any(|error| error.to_string() == text)
    })
}

/// The error of TLS among the causes. IO errors, which contain it, do not name it as their source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
        let inner = || error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        error.downcast_ref().or_else(|| within(inner()?))
    }
    sources(error).find_map(within)
}
