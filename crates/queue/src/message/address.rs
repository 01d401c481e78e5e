//! The URL of a task: validated, normalised, and safe to print.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Position, Url};

use super::url_line::begins_with_scheme;

/// The longest URL that is accepted, in bytes after normalisation.
///
/// Servers commonly refuse request lines above 8 KiB (nginx `large_client_header_buffers`, Apache
/// `LimitRequestLine`).
pub const MAX_URL_BYTES: usize = 8 * 1024;

/// The longest name of a host, in bytes (RFC 1035, 2.3.4, as text).
const MAX_HOST_BYTES: usize = 253;

/// A URL that a worker may fetch.
///
/// It is `http` or `https`, names a host, and is normalised as the WHATWG URL standard specifies:
/// scheme and host in lower case, an international host name as Punycode, a default port dropped,
/// `.` and `..` resolved, characters that a URL may not contain percent-encoded. In addition the
/// fragment is dropped, since it is never sent. Differences that only convention makes equivalent
/// stay: an existing percent-encoding, the order of a query, a trailing slash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    url: Url,
    /// Host and port without the dot that ends the host's name, if the URL has both.
    undotted: Option<Box<str>>,
}

/// Why a text is not the URL of a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing but white space.
    #[error("it is empty")]
    Empty,
    /// Not a URL by the WHATWG standard.
    #[error("it is not an absolute URL: {0}")]
    Syntax(url::ParseError),
    /// A URL without its scheme.
    #[error("it is not an absolute URL: its scheme is missing; write https:// before it")]
    SchemeMissing,
    /// A URL with other text before it, such as the bullet of a list or an HTML tag.
    #[error("it does not begin with its URL; remove what stands before http:// or https://")]
    Preceded,
    /// A URL of another scheme.
    #[error("its scheme is `{0}`; only http and https are fetched")]
    Scheme(String),
    /// A host name that no resolver accepts.
    #[error("its host has {0} bytes; at most {MAX_HOST_BYTES} are allowed")]
    HostTooLong(usize),
    /// Longer than [`MAX_URL_BYTES`].
    #[error("it has {0} bytes; at most {MAX_URL_BYTES} are allowed")]
    TooLong(usize),
    /// A control character inside the URL; the standard would drop it silently.
    #[error("it contains a control character")]
    ControlCharacter,
}

impl Address {
    /// Parses a URL; white space around it is ignored.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.len() > MAX_URL_BYTES {
            return Err(AddressError::TooLong(text.len()));
        }
        if contains_control(text) {
            return Err(AddressError::ControlCharacter);
        }
        if !begins_with_scheme(text) && lacks_scheme(text) {
            return Err(without_scheme(text));
        }
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::RelativeUrlWithoutBase => without_scheme(text),
            error => AddressError::Syntax(error),
        })?;
        Self::of(url).map_err(|error| match error {
            // `Tea: https://shop.example/` has no scheme `tea`.
            AddressError::Scheme(_) if text.split_whitespace().skip(1).any(begins_with_scheme) => {
                AddressError::Preceded
            }
            error => error,
        })
    }

    /// Resolves the `location` of a redirect against this address.
    pub fn join(&self, location: &str) -> Result<Self, AddressError> {
        Self::of(self.url.join(location).map_err(AddressError::Syntax)?)
    }

    /// Resolves the field `Location` of a redirect as browsers do: bytes that are not ASCII are
    /// percent-encoded, whatever their charset.
    pub fn follow(&self, location: &[u8]) -> Result<Self, AddressError> {
        use fmt::Write;
        let mut text = String::with_capacity(location.len());
        for &byte in location {
            if byte.is_ascii() {
                text.push(byte.into());
            } else {
                // Writing to a string does not fail.
                _ = write!(text, "%{byte:02X}");
            }
        }
        self.join(&text)
    }

    fn of(mut url: Url) -> Result<Self, AddressError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AddressError::Scheme(url.scheme().to_owned()));
        }
        // The dot of the root does not count: RFC 1035 bounds the labels.
        let host = url.host_str().map_or(0, |host| without_root(host).len());
        if host > MAX_HOST_BYTES {
            return Err(AddressError::HostTooLong(host));
        }
        url.set_fragment(None);
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(AddressError::TooLong(url.as_str().len()));
        }
        let undotted = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) if without_root(host) != host => {
                Some(format!("{}:{port}", without_root(host)).into())
            }
            _ => None,
        };
        Ok(Self { url, undotted })
    }

    /// The normalised URL with its credentials: for the wire, never for people.
    pub fn as_url(&self) -> &Url {
        &self.url
    }

    /// The normalised URL with its credentials as text: for the wire, never for people.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The host in lower-case ASCII, with `:port` only if that is not the scheme's default: the key
    /// of host limits. A dot at the end of a name only marks the name as complete
    /// (RFC 1034, 3.1), so it leads to the same servers and is not part of this.
    pub fn host(&self) -> &str {
        self.undotted.as_deref().unwrap_or_else(|| without_root(self.authority()))
    }

    /// Host and port as they stand in the URL.
    fn authority(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    /// The host if it is an IP address and not a name. The standard accepts any spelling of an
    /// address (decimal, octal, hex, short), so this is what a client connects to.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.url.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(ip) => Some(ip.into()),
            Host::Ipv6(ip) => Some(ip.into()),
        }
    }

    /// Whether both have the same scheme, host and port. By the URL and HTML standards a dot at the
    /// end of a name makes another host here, as in browsers, so secrets are not sent on.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.url.scheme() == other.url.scheme() && self.authority() == other.authority()
    }

    /// Whether a redirect to `next` stays at the site: its origin is the same, or the host is and
    /// only the encryption is new, at the default ports.
    pub fn is_site_of(&self, next: &Self) -> bool {
        let has_port = self.url.port().is_some() || next.url.port().is_some();
        let is_upgraded = !has_port && self.url.scheme() == "http" && next.url.scheme() == "https";
        self.same_origin(next) || is_upgraded && self.url.host() == next.url.host()
    }

    /// Whether it contains a user or a password.
    pub fn has_credentials(&self) -> bool {
        !self.url.username().is_empty() || self.url.password().is_some()
    }

    /// The URL with its credentials masked: for logs, rows and dead letters.
    pub fn masked(&self) -> String {
        if !self.has_credentials() {
            return self.url.as_str().to_owned();
        }
        format!("{}://***@{}", self.url.scheme(), &self.url[Position::BeforeHost..])
    }

    /// The same as [`Self::masked`], without a copy if there are no credentials.
    pub fn into_masked(self) -> String {
        if self.has_credentials() { self.masked() } else { self.url.into() }
    }
}

/// Bytes are enough for ASCII, as in most URLs. They are all looked at, since that takes a few
/// vector instructions.
fn contains_control(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().fold(false, |found, byte| found | byte.is_ascii_control())
    } else {
        text.contains(char::is_control)
    }
}

/// Whether a text is a URL but for its scheme. `shop.example:8080/p` is one: the standard would
/// take the name for a scheme.
fn lacks_scheme(text: &str) -> bool {
    match text.split_once(':') {
        None => true,
        Some((before, _)) if before.contains(['/', '?', '#', '.', '[', '@']) => true,
        Some((_, behind)) => {
            let port = behind.split(['/', '?', '#']).next().unwrap_or_default();
            !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
        }
    }
}

/// Why a text that does not begin with a scheme is not a URL.
fn without_scheme(text: &str) -> AddressError {
    // A URL in the path or the query of another one begins behind one of these.
    let is_inside = |start: usize| text[..start].ends_with(['/', '=', ':']);
    let is_whole = |start: usize| is_inside(start) && !text[..start].contains('<');
    let starts = ["http://", "https://"].into_iter().filter_map(|scheme| text.find(scheme));
    match starts.min() {
        Some(start) if !is_whole(start) => AddressError::Preceded,
        _ => AddressError::SchemeMissing,
    }
}

/// A host name without the dot of the root. A dot that stands alone, or behind another one, is not
/// that dot.
fn without_root(host: &str) -> &str {
    host.strip_suffix('.').filter(|name| !name.is_empty() && !name.ends_with('.')).unwrap_or(host)
}

/// Shows the URL with its credentials masked.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// The same as `Display`, so that anything that holds an address may be printed.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
