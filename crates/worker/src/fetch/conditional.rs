//! Conditional requests (RFC 9110, 13): the version of a page that a response names, and the
//! condition that a later request puts on it.

use std::time::{Duration, SystemTime};

use fetchline_queue::Address;
use fetchline_store::Page;
use http::header::{
    DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

/// Headers of a request that asks for something else than the whole page, or that is conditional
/// already.
const OWN_CONDITIONS: [HeaderName; 6] =
    [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// The least time between the last change of a page and its response. Within less, the page may
/// have changed twice in the second that `Last-Modified` names (RFC 9110, 8.8.2.2).
const SETTLED: Duration = Duration::from_secs(1);

/// What a response says about the version of a page, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) last_modified: Option<HeaderValue>,
}

/// The version of a page, and the URL that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) validators: Validators,
    pub(crate) address: [u8; 16],
}

/// How a fetch asks for a page that was fetched before.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Conditions {
    /// The version that is known; `None` to ask for the page in full.
    pub(crate) known: Option<Version>,
}

/// Whether headers of a request keep the worker from adding a condition.
pub(crate) fn has_own(headers: &HeaderMap) -> bool {
    OWN_CONDITIONS.iter().any(|name| headers.contains_key(name))
}

/// Statuses of a site that is not to be asked again at once.
const NOT_NOW: [u16; 6] = [408, 425, 429, 502, 503, 504];

/// Whether a site may fail because of the condition of a request. Without one it may succeed.
pub(super) fn may_be_fault_of_condition(status: StatusCode) -> bool {
    status.as_u16() >= 400 && !NOT_NOW.contains(&status.as_u16())
}

impl Conditions {
    /// The version that a request to this address may name: that of the same URL only.
    pub(super) fn at(&self, address: &Address) -> Option<&Validators> {
        let known = self.known.as_ref()?;
        (known.address == address_hash(address)).then_some(&known.validators)
    }
}

impl Version {
    pub(super) fn of(headers: &HeaderMap, address: &Address) -> Self {
        let validators = Validators::of(headers, SystemTime::now());
        Self { validators, address: address_hash(address) }
    }
}

/// Identifies the URL of a version.
fn address_hash(address: &Address) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&Sha256::digest(address.as_str())[..16]);
    hash
}

impl Validators {
    /// The validators of a response that a later request may send back. What breaks the rules
    /// is left out, since a site could take it for a version that it is not.
    fn of(headers: &HeaderMap, now: SystemTime) -> Self {
        // The answer depends on more than the request.
        if headers.get_all(VARY).iter().any(|value| has_asterisk(value.as_bytes())) {
            return Self::default();
        }
        let date = headers.get(DATE).and_then(parse_date).unwrap_or(now);
        let etag = single(headers, ETAG).filter(|value| is_entity_tag(value.as_bytes()));
        let last_modified = single(headers, LAST_MODIFIED).filter(|value| {
            let is_settled = |at: SystemTime| at + SETTLED <= date;
            value.len() <= Page::MAX_LAST_MODIFIED_BYTES
                && parse_date(value).is_some_and(is_settled)
        });
        Self { etag, last_modified }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// Adds the condition that the page is not this version.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        headers.extend(self.etag.clone().map(|etag| (IF_NONE_MATCH, etag)));
        headers.extend(self.last_modified.clone().map(|time| (IF_MODIFIED_SINCE, time)));
    }
}

/// The value of a field that a response has once, or several times alike.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.all(|value| value == first).then(|| first.clone())
}

/// `"…"` or `W/"…"` (RFC 9110, 8.8.3). An empty tag names no version.
fn is_entity_tag(value: &[u8]) -> bool {
    let tag = value.strip_prefix(b"W/").unwrap_or(value);
    let Some(tag) = tag.strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\"")) else {
        return false;
    };
    let is_allowed = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..=0xff);
    !tag.is_empty() && value.len() <= Page::MAX_ETAG_BYTES && tag.iter().all(is_allowed)
}

fn has_asterisk(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|member| member.trim_ascii() == b"*")
}

fn parse_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn validators(lines: &[(&'static str, &[u8])]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let headers = lines.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        });
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| _ = map.append(name, value));
        let now = httpdate::parse_http_date(NOW).unwrap();
        let Validators { etag, last_modified } = Validators::of(&map, now);
        let bytes = |value: HeaderValue| value.as_bytes().to_vec();
        (etag.map(bytes), last_modified.map(bytes))
    }

    #[test]
    fn an_entity_tag_is_kept_byte_for_byte_or_not_at_all() {
        for tag in
            [&b"\"a\""[..], b"W/\"a\"", b"\"5f-gzip\"", b"\"a,b;c=d\"", b"\"\xe4\\\"", b"W/\"W/1\""]
        {
            assert_eq!(validators(&[("etag", tag)]).0.as_deref(), Some(tag));
        }
        let long = format!("\"{}\"", "x".repeat(Page::MAX_ETAG_BYTES));
        for tag in [
            &b"*"[..],
            b"abc",
            b"\"abc",
            b"abc\"",
            b"\"",
            b"",
            b"\"\"",
            b"W/\"\"",
            b"w/\"a\"",
            b"W\"a\"",
            b"\"a b\"",
            b"\"a\"b\"",
            b"\"a\", \"b\"",
            long.as_bytes(),
        ] {
            assert_eq!(validators(&[("etag", tag)]).0, None, "{}", String::from_utf8_lossy(tag));
        }
    }

    #[test]
    fn fields_that_contradict_each_other_are_left_out() {
        let (a, b) = (&b"\"a\""[..], &b"\"b\""[..]);
        assert_eq!(validators(&[("etag", a), ("etag", b)]).0, None);
        assert_eq!(validators(&[("etag", a), ("etag", a)]).0.as_deref(), Some(a));
        let (old, older) =
            (&b"Sun, 06 Nov 1994 08:00:00 GMT"[..], &b"Sun, 06 Nov 1994 07:00:00 GMT"[..]);
        let both = [("etag", a), ("last-modified", old), ("last-modified", older)];
        assert_eq!(validators(&both), (Some(a.to_vec()), None));
        assert_eq!(
            validators(&[("etag", a), ("vary", b"accept"), ("vary", b"a, *")]),
            (None, None)
        );
        assert_eq!(validators(&[("etag", a), ("vary", b"*a, Cookie")]).0.as_deref(), Some(a));
    }

    #[test]
    fn a_last_modified_counts_if_it_is_a_time_that_had_passed_when_the_site_answered() {
        let date = b"Sun, 06 Nov 1994 09:00:00 GMT";
        for (time, with_date, without_date) in [
            ("Sun, 06 Nov 1994 08:49:36 GMT", true, true),
            ("Sunday, 06-Nov-94 08:49:36 GMT", true, true),
            ("Sun Nov  6 08:49:36 1994", true, true),
            ("Thu, 01 Jan 1970 00:00:00 GMT", true, true),
            (NOW, true, false),
            ("Sun, 06 Nov 1994 08:59:59 GMT", true, false),
            ("Sun, 06 Nov 1994 09:00:00 GMT", false, false),
            ("Tue, 06 Nov 2035 08:49:37 GMT", false, false),
            ("1994-11-06T08:49:36Z", false, false),
            ("784111776", false, false),
            ("0", false, false),
            ("", false, false),
        ] {
            let kept = |lines: &[(&'static str, &[u8])]| validators(lines).1.is_some();
            let line = ("last-modified", time.as_bytes());
            assert_eq!(kept(&[line, ("date", date)]), with_date, "{time}");
            assert_eq!(kept(&[line]), without_date, "{time}");
            assert_eq!(kept(&[line, ("date", b"today")]), without_date, "{time}");
        }
    }

    #[test]
    fn validators_go_to_the_url_that_sent_them_and_to_no_other() {
        let address = |url: &str| Address::parse(url).unwrap();
        let headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("\"a\""))]);
        let known = Version::of(&headers, &address("https://a.example/p?x=1"));
        let conditions = Conditions { known: Some(known) };
        assert!(conditions.at(&address("https://a.example:443/p?x=1#top")).is_some());
        for other in [
            "http://a.example/p?x=1",
            "https://b.example/p?x=1",
            "https://a.example/p",
            "https://a.example/p?x=2",
            "https://a.example:8443/p?x=1",
            "https://me@a.example/p?x=1",
        ] {
            assert!(conditions.at(&address(other)).is_none(), "{other}");
        }
        assert!(Conditions::default().at(&address("https://a.example/")).is_none());
    }
}
