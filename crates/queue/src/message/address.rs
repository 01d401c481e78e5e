//! The URL of a task: validated, normalised, and safe to print.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Position, Url};

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
        if text.chars().any(char::is_control) {
            return Err(AddressError::ControlCharacter);
        }
        if lacks_scheme(text) {
            return Err(AddressError::SchemeMissing);
        }
        Self::of(Url::parse(text).map_err(AddressError::Syntax)?)
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
    /// of host limits and breakers. A dot at the end of a name only marks the name as complete
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
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn normalised(text: &str) -> String {
        Address::parse(text).unwrap().as_str().to_owned()
    }

    #[test]
    fn equivalent_urls_are_normalised_to_the_same_text() {
        for (given, expected) in [
            ("  https://Shop.Example:443/a  ", "https://shop.example/a"),
            ("HTTP://shop.example:80", "http://shop.example/"),
            ("http://shop.example:8080/", "http://shop.example:8080/"),
            ("https://shop.example/a/../b?x=1#top", "https://shop.example/b?x=1"),
            ("https://bücher.example/straße", "https://xn--bcher-kva.example/stra%C3%9Fe"),
            ("https://shop.example/%7Euser?q=a b", "https://shop.example/%7Euser?q=a%20b"),
        ] {
            assert_eq!(normalised(given), expected, "{given}");
        }
    }

    #[test]
    fn differences_that_only_convention_makes_equivalent_are_kept() {
        assert_ne!(
            normalised("http://a.example/x?b=1&a=2"),
            normalised("http://a.example/x?a=2&b=1")
        );
        assert_ne!(normalised("http://a.example/x/"), normalised("http://a.example/x"));
    }

    #[test]
    fn a_url_that_cannot_be_fetched_is_an_error_with_its_reason() {
        for (text, reason) in [
            ("", "empty"),
            (" \t ", "empty"),
            ("shop.example/a", "write https:// before it"),
            ("www.shop.example", "write https:// before it"),
            ("shop.example:8080/p?q=a:b", "write https:// before it"),
            ("localhost:8080", "write https:// before it"),
            ("//shop.example/p", "write https:// before it"),
            ("192.0.2.7/p", "write https:// before it"),
            ("[2001:db8::1]:8080/p", "write https:// before it"),
            ("/p/1?next=https://shop.example/", "write https:// before it"),
            ("https:shop.example:99999", "absolute"),
            ("mailto:a@shop.example", "`mailto`"),
            ("tel:+4930123456", "`tel`"),
            ("ftp://shop.example/a", "`ftp`"),
            ("javascript:alert(1)", "`javascript`"),
            ("http://", "absolute"),
            (&format!("http://{}example/", "a.".repeat(130)), "host has"),
            (&format!("http://{}abcd./", "a.".repeat(125)), "host has 254"),
            ("http://a.example/\u{0}", "control"),
            ("http://a.exa\nmple/", "control"),
            (&format!("http://a.example/{}", "x".repeat(MAX_URL_BYTES)), "bytes; at most"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        for text in
            ["https://user:secret@shop.example:8443/a?b", "https://secret@shop.example:8443/a?b"]
        {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), "https://***@shop.example:8443/a?b");
            assert_eq!(format!("{address:?}"), address.to_string());
            assert_eq!(address.host(), "shop.example:8443");
            assert_eq!(address.as_str(), text);
        }
    }

    #[test]
    fn an_ip_address_is_parsed_in_every_spelling() {
        let loopback = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        for host in [
            "127.0.0.1",
            "127.0.0.1.",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "%31%32%37.0.0.1",
            "１２７。１",
        ] {
            assert_eq!(
                Address::parse(&format!("http://{host}:8080/")).unwrap().ip(),
                loopback,
                "{host}"
            );
        }
        assert_eq!(Address::parse("http://[::1]/").unwrap().ip(), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(Address::parse("http://127.0.0.1.example/").unwrap().ip(), None);
    }

    #[test]
    fn a_redirect_keeps_credentials_only_within_its_host() {
        let page = Address::parse("https://user:secret@shop.example/a/b").unwrap();
        for location in ["c", "/c", "?q", "./../c"] {
            assert!(
                page.join(location)
                    .unwrap()
                    .as_str()
                    .starts_with("https://user:secret@shop.example/"),
                "{location}"
            );
        }
        for location in [
            "//other.example/",
            "https://other.example/",
            "http://shop.example/",
            "https://shop.example:8443/",
            r"\\other.example/",
            "/\t/other.example/",
        ] {
            let next = page.join(location).unwrap();
            assert!(
                !next.as_str().contains("secret") && !next.same_origin(&page),
                "{location}: {}",
                next.as_str()
            );
        }
    }

    #[test]
    fn a_location_is_resolved_as_browsers_do() {
        let page = Address::parse("https://shop.example/a/b?q#f").unwrap();
        for (location, expected) in [
            (&b"/caf\xc3\xa9?\xc3\xa9"[..], "https://shop.example/caf%C3%A9?%C3%A9"),
            (b"/caf\xe9?\xe9", "https://shop.example/caf%E9?%E9"),
            (b"https://B\xc3\xbccher.example/", "https://xn--bcher-kva.example/"),
            (b" /a b\t/c ", "https://shop.example/a%20b/c"),
            (b"\\c\\d", "https://shop.example/c/d"),
            (b"\\\\other.example\\d", "https://other.example/d"),
            (b"//other.example", "https://other.example/"),
            (b"https:c", "https://shop.example/a/c"),
            (b"https:///other.example/", "https://other.example/"),
            (b"HTTPS://Shop.Example:443/../c", "https://shop.example/c"),
            (b"?x", "https://shop.example/a/b?x"),
            (b"#top", "https://shop.example/a/b?q"),
            (b"", "https://shop.example/a/b?q"),
            (b"%zz%", "https://shop.example/a/%zz%"),
            (b"%2e%2E/c", "https://shop.example/c"),
            (b"c|d\"<e>", "https://shop.example/a/c|d%22%3Ce%3E"),
        ] {
            let text = String::from_utf8_lossy(location);
            assert_eq!(page.follow(location).unwrap().as_str(), expected, "{text}");
        }
        for location in
            [&b"mailto:a@b.example"[..], b"https://", b"https://a b/", b"//\xff.example/"]
        {
            assert!(page.follow(location).is_err(), "{}", String::from_utf8_lossy(location));
        }
    }

    #[test]
    fn encryption_does_not_make_another_site() {
        let site =
            |from, to| Address::parse(from).unwrap().is_site_of(&Address::parse(to).unwrap());
        for (from, to, expected) in [
            ("http://a.example/", "https://a.example/x", true),
            ("http://a.example:8080/", "https://a.example:8443/", false),
            ("http://a.example/", "http://a.example/x", true),
            ("https://a.example/", "http://a.example/", false),
            ("http://a.example/", "http://a.example:81/", false),
            ("https://a.example/", "https://a.example:444/", false),
            ("http://a.example/", "https://www.a.example/", false),
            ("http://a.example/", "https://a.example./", false),
        ] {
            assert_eq!(site(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn a_redirect_may_not_leave_http() {
        let page = Address::parse("https://shop.example/a/b").unwrap();
        assert_eq!(page.join("../c").unwrap().as_str(), "https://shop.example/c");
        assert!(page.join("//other.example/").is_ok_and(|other| !page.same_origin(&other)));
        assert!(matches!(page.join("file:///etc/passwd"), Err(AddressError::Scheme(_))));
    }

    #[test]
    fn a_dot_at_the_end_of_a_name_does_not_make_another_host() {
        for (url, host) in [
            ("https://shop.example./a", "shop.example"),
            ("https://Shop.Example.:443/a", "shop.example"),
            ("http://shop.example.:8080/a", "shop.example:8080"),
            ("https://user:secret@shop.example.:8443/", "shop.example:8443"),
            ("https://b\u{fc}cher.example\u{3002}/", "xn--bcher-kva.example"),
            ("http://localhost.", "localhost"),
            ("http://127.0.0.1./", "127.0.0.1"),
            ("http://127.0.0.1.:8080/", "127.0.0.1:8080"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("http://[fd00::5]/", "[fd00::5]"),
        ] {
            assert_eq!(Address::parse(url).unwrap().host(), host, "{url}");
        }
        // The URL itself stays as it was given.
        assert_eq!(normalised("https://shop.example./a"), "https://shop.example./a");
        assert_eq!(normalised("http://shop.example.:8080/a"), "http://shop.example.:8080/a");
        // No resolver accepts either name.
        for url in ["http://./", "http://shop.example../", "http://shop.example..:81/"] {
            if let Ok(address) = Address::parse(url) {
                assert_eq!(address.host(), &url["http://".len()..url.len() - 1]);
            }
        }
        assert!(Address::parse(&format!("http://{}abc./", "a.".repeat(125))).is_ok());
    }

    #[test]
    fn a_dot_at_the_end_of_a_name_makes_another_origin() {
        for port in ["", ":8443"] {
            let page = Address::parse(&format!("https://shop.example{port}/a")).unwrap();
            let dotted = Address::parse(&format!("https://shop.example.{port}/a")).unwrap();
            assert!(page.host() == dotted.host() && !page.same_origin(&dotted) && page != dotted);
            assert!(dotted.same_origin(&dotted.join("b").unwrap()));
        }
    }
}
