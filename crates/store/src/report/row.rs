//! The row of a task, as far as reports need it.

use time::OffsetDateTime;

use crate::outcome::Outcome;

/// A row of a run.
#[derive(Clone, Debug)]
pub struct ReportRow<'a> {
    /// The URL, without credentials.
    pub url: &'a str,
    /// The word in the database.
    pub outcome: &'a str,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// The duration of the last attempt.
    pub elapsed_ms: u32,
    /// When the last attempt ended.
    pub fetched_at: OffsetDateTime,
    /// The size of the body after decompression.
    pub bytes: u64,
    /// The number of attempts.
    pub attempts: u32,
    /// The error, for people.
    pub error: Option<&'a str>,
    /// What the page contains: the word in the database.
    pub product: Option<&'a str>,
}

impl ReportRow<'_> {
    pub(super) fn is_ok(&self) -> bool {
        Outcome::is_success_word(self.outcome)
    }

    /// The duration of the fetch; `None` for a task that was not fetched.
    pub(super) fn fetch_ms(&self) -> Option<u64> {
        Outcome::of(self.outcome)
            .is_none_or(Outcome::has_fetch_time)
            .then(|| self.elapsed_ms.into())
    }

    /// The host of the URL.
    pub(super) fn host(&self) -> &str {
        host(self.url)
    }
}

/// The host of a URL as it is stored: normalised and without credentials.
fn host(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_from_the_stored_url() {
        for (url, expected) in [
            ("https://shop.example/p/1?x=//y", "shop.example"),
            ("http://***@shop.example:8080/", "shop.example:8080"),
            ("http://[::1]:80/x", "[::1]:80"),
            ("http://shop.example?q=a@b", "shop.example"),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }
}
