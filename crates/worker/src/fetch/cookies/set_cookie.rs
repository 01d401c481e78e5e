//! The field `Set-Cookie` (RFC 6265bis, 5.6 and 5.7).

use time::{Duration, OffsetDateTime};
use url::{Host, Url};

use super::date;

/// The longest name and value together, in bytes (RFC 6265bis, 5.6).
const MAX_PAIR: usize = 4096;
/// The longest value of an attribute, in bytes (RFC 6265bis, 5.6).
const MAX_ATTRIBUTE: usize = 1024;

/// A cookie with the requests that it is sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cookie {
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// In lower-case ASCII.
    pub(super) domain: String,
    /// It is sent to exactly this host, and not to the hosts below it.
    pub(super) host_only: bool,
    pub(super) path: String,
    pub(super) secure: bool,
    /// `None`: it does not expire.
    pub(super) expires: Option<OffsetDateTime>,
}

/// The attributes of the field; of several with one name, the last one counts.
#[derive(Default)]
struct Attributes<'a> {
    expires: Option<OffsetDateTime>,
    max_age: Option<i64>,
    domain: &'a [u8],
    path: &'a [u8],
    secure: bool,
}

impl Cookie {
    /// Reads the field in a response to a request for `url`; `None` if a browser would ignore it.
    pub(super) fn parse(field: &[u8], url: &Url, now: OffsetDateTime) -> Option<Self> {
        let mut parts = field.split(|byte| *byte == b';');
        let pair = parts.next()?;
        let (name, value) = split(pair).unwrap_or((b"", pair.trim_ascii()));
        if name.len() + value.len() > MAX_PAIR || name.is_empty() && value.is_empty() {
            return None;
        }
        let attributes = Attributes::parse(parts);
        let (domain, host_only) = scope(attributes.domain, url)?;
        let path = match std::str::from_utf8(attributes.path) {
            Ok(path) if path.starts_with('/') => path.to_owned(),
            _ => default_path(url),
        };
        let is_encrypted = url.scheme() == "https";
        let cookie = Self {
            name: name.to_owned(),
            value: value.to_owned(),
            domain,
            host_only,
            path,
            secure: attributes.secure,
            expires: attributes.expires(now),
        };
        let is_allowed =
            (is_encrypted || !cookie.secure) && cookie.keeps_prefix(attributes.path == b"/");
        is_allowed.then_some(cookie)
    }

    /// Whether the cookie is what its name promises (RFC 6265bis, 4.1.3).
    fn keeps_prefix(&self, is_for_all_paths: bool) -> bool {
        let has = |text: &[u8], prefix: &str| {
            text.get(..prefix.len()).is_some_and(|own| own.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        let (secure, host) = ("__Secure-", "__Host-");
        if self.name.is_empty() {
            return !has(&self.value, secure) && !has(&self.value, host);
        }
        (!has(&self.name, secure) || self.secure)
            && (!has(&self.name, host) || self.secure && self.host_only && is_for_all_paths)
    }

    /// Whether it is sent with a request for `url`.
    pub(super) fn is_for(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let to_host =
            if self.host_only { host == self.domain } else { is_within(host, &self.domain) };
        to_host && (!self.secure || url.scheme() == "https") && is_below(url.path(), &self.path)
    }

    /// Whether both are the same cookie, with possibly different values.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.name == other.name
            && self.domain == other.domain
            && self.host_only == other.host_only
            && self.path == other.path
    }

    /// Whether this cookie, set without encryption, would stand in for `other`, which needs it.
    pub(super) fn shadows(&self, other: &Self) -> bool {
        other.secure
            && !self.secure
            && self.name == other.name
            && (is_within(&self.domain, &other.domain) || is_within(&other.domain, &self.domain))
            && is_below(&self.path, &other.path)
    }

    pub(super) fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Its size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.name.len() + self.value.len() + self.domain.len() + self.path.len()
    }
}

impl<'a> Attributes<'a> {
    fn parse(parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut attributes = Self::default();
        for part in parts {
            let (name, value) = split(part).unwrap_or((part.trim_ascii(), b""));
            if value.len() > MAX_ATTRIBUTE {
                continue;
            }
            match name.to_ascii_lowercase().as_slice() {
                b"expires" => attributes.expires = date::parse(value).or(attributes.expires),
                b"max-age" => attributes.max_age = max_age(value).or(attributes.max_age),
                b"domain" => attributes.domain = value,
                b"path" => attributes.path = value,
                b"secure" => attributes.secure = true,
                _ => {}
            }
        }
        attributes
    }

    fn expires(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        match self.max_age {
            Some(seconds) if seconds <= 0 => Some(OffsetDateTime::UNIX_EPOCH),
            Some(seconds) => now.checked_add(Duration::seconds(seconds)),
            None => self.expires,
        }
    }
}

/// Splits at the first equals sign.
fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
}

/// Seconds; a number that is too large means for ever.
fn max_age(value: &[u8]) -> Option<i64> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let limit = if digits.len() < value.len() { 0 } else { i64::MAX };
    Some(std::str::from_utf8(value).ok()?.parse().unwrap_or(limit))
}

/// The domain of a cookie, and whether the cookie is for that host alone. `None` if the host may
/// not set a cookie for this domain.
fn scope(domain: &[u8], url: &Url) -> Option<(String, bool)> {
    let host = url.host_str()?;
    let domain = domain.strip_prefix(b".").unwrap_or(domain);
    if domain.is_empty() {
        return Some((host.to_owned(), true));
    }
    let domain = Host::parse(std::str::from_utf8(domain).ok()?).ok()?.to_string();
    let is_name = matches!(url.host()?, Host::Domain(_));
    if !is_name || is_public_suffix(&domain) {
        return (domain == host).then_some((domain, true));
    }
    is_within(host, &domain).then_some((domain, false))
}

/// Whether anyone may register a name below this domain, such as `com` or `co.uk`.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix_str(domain).is_some_and(|suffix| suffix == domain)
}

/// Whether a host is this domain or below it.
fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether a path is this one or below it.
fn is_below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent)
        .is_some_and(|rest| rest.is_empty() || parent.ends_with('/') || rest.starts_with('/'))
}

/// The path of the URL up to its last slash.
fn default_path(url: &Url) -> String {
    let path = url.path();
    match path.rfind('/') {
        Some(at) if at > 0 => path[..at].to_owned(),
        _ => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::days(20_000));

    fn parse(url: &str, field: &str) -> Option<Cookie> {
        Cookie::parse(field.as_bytes(), &Url::parse(url).unwrap(), NOW)
    }

    /// Whether a cookie that `from` sets is sent to `to`.
    fn is_sent(from: &str, field: &str, to: &str) -> bool {
        parse(from, field).is_some_and(|cookie| cookie.is_for(&Url::parse(to).unwrap()))
    }

    #[test]
    fn a_cookie_is_a_name_and_a_value() {
        for (field, name, value) in [
            ("a=b", "a", "b"),
            (" a = b ; Path=/", "a", "b"),
            ("a=b=c; x", "a", "b=c"),
            ("a=\"b c\"", "a", "\"b c\""),
            ("a=", "a", ""),
            ("=b", "", "b"),
            ("b", "", "b"),
            ("a={\"k\":[1,2]}", "a", "{\"k\":[1,2]}"),
            ("ключ=значение", "ключ", "значение"),
        ] {
            let cookie = parse("http://a.example/", field).unwrap();
            let expected = (name.as_bytes(), value.as_bytes());
            assert_eq!((&*cookie.name, &*cookie.value), expected, "{field}");
        }
        for field in ["", "=", ";", " ; Path=/", &format!("a={}", "x".repeat(MAX_PAIR))] {
            assert_eq!(parse("http://a.example/", field), None, "{field}");
        }
    }

    #[test]
    fn a_cookie_is_sent_to_its_host_or_domain() {
        let from = "http://shop.a.example/";
        for (field, host, sent) in [
            ("a=b", "shop.a.example", true),
            ("a=b", "x.shop.a.example", false),
            ("a=b", "a.example", false),
            ("a=b;Domain=a.example", "shop.a.example", true),
            ("a=b;Domain=.A.Example", "other.a.example", true),
            ("a=b;domain=a.example", "a.example", true),
            ("a=b;domain=a.example", "notshop-a.example", false),
            ("a=b;domain=", "shop.a.example", true),
            ("a=b;domain=x.example;domain=a.example", "a.example", true),
            // Not for this host to set.
            ("a=b;domain=x.shop.a.example", "x.shop.a.example", false),
            ("a=b;domain=b.example", "shop.a.example", false),
            ("a=b;domain=p.a.example", "shop.a.example", false),
            ("a=b;domain=example", "shop.a.example", false),
        ] {
            assert_eq!(is_sent(from, field, &format!("http://{host}/")), sent, "{field} {host}");
        }
        assert!(is_sent("http://a.example:81/", "a=b", "http://a.example:82/"));
    }

    #[test]
    fn a_public_suffix_is_no_domain_of_a_cookie() {
        for (host, domain, expected) in [
            ("shop.co.uk", "co.uk", None),
            ("shop.com", "com", None),
            ("shop.github.io", "github.io", None),
            ("shop.xn--p1ai", "рф", None),
            ("www.shop.co.uk", "shop.co.uk", Some(false)),
            // A site at a public suffix may set a cookie for itself.
            ("github.io", "github.io", Some(true)),
            ("localhost", "localhost", Some(true)),
            ("127.0.0.1", "127.0.0.1", Some(true)),
            ("127.0.0.1", "0.0.1", None),
            ("[::1]", "[::1]", Some(true)),
        ] {
            let cookie = parse(&format!("http://{host}/"), &format!("a=b;domain={domain}"));
            assert_eq!(cookie.map(|cookie| cookie.host_only), expected, "{host} {domain}");
        }
    }

    #[test]
    fn a_cookie_is_sent_below_its_path() {
        for (page, field, path, sent) in [
            ("/", "a=b", "/x/y", true),
            ("/shop/p", "a=b", "/shop/q/r", true),
            ("/shop/p", "a=b", "/shop", true),
            ("/shop/p", "a=b", "/shopping", false),
            ("/shop/p", "a=b", "/", false),
            ("/shop/", "a=b", "/shop", true),
            ("/shop", "a=b", "/else", true),
            ("/shop/p", "a=b;Path=/", "/x", true),
            ("/", "a=b;path=/shop/", "/shop/p", true),
            ("/", "a=b;path=/shop/", "/shop", false),
            ("/", "a=b;path=/Shop", "/shop", false),
            ("/shop/p", "a=b;path=x", "/shop/q", true),
            ("/shop/p", "a=b;path=/x;path=", "/shop/q", true),
        ] {
            let url = |path| format!("http://a.example{path}");
            assert_eq!(is_sent(&url(page), field, &url(path)), sent, "{page} {field} {path}");
        }
    }

    #[test]
    fn a_secure_cookie_is_set_and_sent_only_with_encryption() {
        for (from, field, to, sent) in [
            ("https", "a=b; Secure", "https", true),
            ("https", "a=b; secure=no", "http", false),
            ("https", "a=b", "http", true),
            ("http", "a=b; SECURE", "https", false),
            ("http", "a=b", "https", true),
            ("https", "__Secure-a=b; Secure", "https", true),
            ("https", "__secure-a=b", "https", false),
            ("https", "__Host-a=b; Secure; Path=/", "https", true),
            ("https", "__Host-a=b; Secure", "https", false),
            ("https", "__HOST-a=b; Path=/", "https", false),
            ("https", "__Host-a=b; Secure; Path=/; Domain=a.example", "https", false),
            ("https", "=__Host-a=b", "https", false),
        ] {
            let url = |scheme| format!("{scheme}://a.example/");
            assert_eq!(is_sent(&url(from), field, &url(to)), sent, "{from} {field} {to}");
        }
    }

    #[test]
    fn a_cookie_expires_by_max_age_or_else_by_its_date() {
        for (field, expired) in [
            ("a=b", false),
            ("a=b; Max-Age=0", true),
            ("a=b; Max-Age=-1", true),
            ("a=b; Max-Age=-99999999999999999999", true),
            ("a=b; Max-Age=60", false),
            ("a=b; Max-Age=99999999999999999999", false),
            ("a=b; Max-Age=soon; Expires=Thu, 01-Jan-1970 00:00:10 GMT", true),
            ("a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT", true),
            ("a=b; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", false),
            ("a=b; Expires=Fri, 01 Jan 2100 00:00:00 GMT", false),
            ("a=b; Expires=Fri, 01 Jan 2100 00:00:00 GMT; Max-Age=0", true),
            ("a=b; Expires=whenever", false),
        ] {
            let cookie = parse("http://a.example/", field).unwrap();
            assert_eq!(cookie.is_expired(NOW), expired, "{field}");
        }
    }
}
