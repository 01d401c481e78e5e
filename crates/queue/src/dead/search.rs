//! Which dead letters an operator selects.

use std::fmt;

use time::OffsetDateTime;

use super::letter::DeadLetter;
use crate::host::{WrittenHost, covers, parse_pattern, split_port};
use crate::publish::Death;

/// How different a mistyped reason may be from the one that is proposed.
const MAX_TYPOS: usize = 2;
/// The reasons of dead letters: of messages that are not tasks, the outcomes that are failures (a
/// test of the worker compares them, since this crate does not know outcomes), and those of the
/// broker.
const REASONS: [&str; 18] = [
    Death::NOT_A_TASK,
    "http_error",
    "timeout",
    "dns",
    "connect",
    "tls",
    "protocol",
    "redirect",
    "blocked",
    "too_large",
    "decode",
    "robots",
    "refused",
    "poison",
    "delivery_limit",
    "expired",
    "maxlen",
    "rejected",
];

/// Which dead letters to process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Search {
    /// What a letter must match.
    pub filter: Filter,
    /// The highest number of letters; `None` for all.
    pub limit: Option<u64>,
}

/// A filter of dead letters; every field that is set must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The run.
    pub run: Option<String>,
    /// The host.
    pub host: Option<HostFilter>,
    /// The reason.
    pub reason: Option<String>,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// Letters given up before this time. A letter without a time does not match, since it may be
    /// new.
    pub before: Option<OffsetDateTime>,
}

impl Filter {
    /// Parses a reason that dead letters can have, in any case.
    pub fn parse_reason(text: &str) -> Result<String, String> {
        let reason = text.to_ascii_lowercase();
        if REASONS.contains(&&*reason) {
            return Ok(reason);
        }
        let typos = |known: &&str| strsim::damerau_levenshtein(known, &reason);
        let nearest = REASONS.iter().min_by_key(|known| typos(known));
        let nearest = nearest.filter(|known| typos(known) <= MAX_TYPOS);
        let proposal =
            nearest.map(|known| format!(" (did you mean `{known}`?)")).unwrap_or_default();
        Err(format!("`{text}` is not a reason{proposal}; the reasons are {}", REASONS.join(", ")))
    }

    /// Parses an HTTP status.
    pub fn parse_status(text: &str) -> Result<u16, String> {
        match text.parse() {
            Ok(status @ 100..=599) => Ok(status),
            _ => Err(format!("`{text}` is not a status: a number from 100 to 599")),
        }
    }

    /// Whether a letter matches.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        matches(&self.run, &letter.run)
            && self.host.as_ref().is_none_or(|host| host.matches(letter.host.as_deref()))
            && matches(&self.reason, &letter.reason)
            && matches(&self.status, &letter.status)
            && self
                .before
                .is_none_or(|before| letter.failed_at.is_some_and(|failed_at| failed_at < before))
    }
}

fn matches<T: PartialEq>(wanted: &Option<T>, found: &Option<T>) -> bool {
    wanted.is_none() || wanted == found
}

/// A host with one port, a host with every port, or a pattern of hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFilter {
    /// As in [`DeadLetter::host`], or a pattern.
    host: String,
    /// Whether the host matches with every port, since none was given.
    any_port: bool,
}

impl HostFilter {
    /// Parses a name, an address, a URL or a pattern; the first three with a port or without one.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('*') {
            return Ok(Self { host: parse_pattern(text)?, any_port: true });
        }
        let WrittenHost { host, names_port } = WrittenHost::parse(text)?;
        Ok(Self { host, any_port: !names_port })
    }

    fn matches(&self, host: Option<&str>) -> bool {
        let Some(host) = host else { return false };
        covers(&self.host, host) || self.any_port && split_port(host).0 == self.host
    }
}

impl fmt::Display for HostFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_port = split_port(&self.host).1.is_some();
        // One that names the default port has lost it.
        let port = if self.any_port || has_port { "" } else { ":443" };
        write!(f, "{}{port}", self.host)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_letter_must_match_every_field_that_is_set() {
        let letter = DeadLetter {
            run: Some("nightly".into()),
            host: Some("shop.example:8443".into()),
            reason: Some("http_error".into()),
            status: Some(503),
            failed_at: Some(datetime!(2026-03-01 10:00 UTC)),
            ..DeadLetter::default()
        };
        assert!(
            Filter::default().matches(&letter) && Filter::default().matches(&DeadLetter::default())
        );
        let matching = Filter {
            run: Some("nightly".into()),
            host: HostFilter::parse("Shop.Example:8443").ok(),
            reason: Some("http_error".into()),
            status: Some(503),
            before: Some(datetime!(2026-03-01 10:00:01 UTC)),
        };
        assert!(matching.matches(&letter) && !matching.matches(&DeadLetter::default()));
        for other in [
            Filter { run: Some("night".into()), ..matching.clone() },
            Filter { host: HostFilter::parse("shop.example:443").ok(), ..matching.clone() },
            Filter { reason: Some("timeout".into()), ..matching.clone() },
            Filter { status: Some(500), ..matching.clone() },
            Filter { before: Some(datetime!(2026-03-01 10:00 UTC)), ..matching.clone() },
        ] {
            assert!(!other.matches(&letter), "{other:?}");
        }
    }

    #[test]
    fn a_host_without_a_port_matches_with_every_port() {
        let matches = |filter: &str, host: &str| {
            let filter = HostFilter::parse(filter).unwrap();
            let same = HostFilter::parse(&filter.to_string()).unwrap();
            assert_eq!(same, filter, "{filter}");
            filter.matches(Some(host))
        };
        for (filter, host) in [
            ("127.0.0.1", "127.0.0.1:8080"),
            ("127.0.0.1", "127.0.0.1"),
            ("Shop.Example", "shop.example:8443"),
            ("shop.example.", "shop.example"),
            ("https://shop.example/p/1", "shop.example:81"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("shop.example:8443", "shop.example:8443"),
            ("shop.example:443", "shop.example"),
            ("shop.example:80", "shop.example"),
            ("[::1]", "[::1]:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("::1", "[::1]:8080"),
            ("*", "shop.example:8443"),
            ("*.shop.example", "www.shop.example"),
            ("*.shop.example", "www.shop.example:8443"),
        ] {
            assert!(matches(filter, host), "{filter} {host}");
        }
        for (filter, host) in [
            ("127.0.0.1", "127.0.0.10"),
            ("shop.example", "shop.example.org"),
            ("shop.example", "www.shop.example"),
            ("shop.example:443", "shop.example:8443"),
            ("shop.example:8443", "shop.example"),
            ("[::1]", "[::12]"),
            ("*.shop.example", "shop.example"),
        ] {
            assert!(!matches(filter, host), "{filter} {host}");
        }
        let filter = HostFilter::parse("shop.example").unwrap();
        assert!(!filter.matches(None));
        for wrong in ["", "a b", "*.shop.example:x", "=a", "a,b", "shop.*"] {
            assert!(HostFilter::parse(wrong).is_err(), "{wrong}");
        }
    }
}
