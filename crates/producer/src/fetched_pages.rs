//! The pages that were fetched lately, of which nothing new is published.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Fingerprint, Task};
use fetchline_store::{Error, Store};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::known_tasks::KnownTasks;

/// The most pages that are remembered, at up to 24 bytes each.
const MAX_PAGES: u64 = 50_000_000;

/// Which pages are not published again.
#[derive(Clone)]
pub struct SkipFetched {
    /// Those that were fetched within this time.
    pub within: Duration,
    /// The database that knows them.
    pub store: Arc<Store>,
}

impl std::fmt::Debug for SkipFetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SkipFetched").field("within", &self.within).finish_non_exhaustive()
    }
}

/// A period in microseconds since 1970, by the clock of the database. It ends when the part begins,
/// so a part that is resumed does not skip its own tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Period {
    from: i64,
    until: i64,
}

/// Why it is not known which pages were fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchedError {
    /// The database does not say.
    #[error(
        "the database does not say which pages were fetched, which --skip-fetched-within needs"
    )]
    Database(#[source] Error),
    /// They do not fit into memory.
    #[error(
        "more than {MAX_PAGES} pages were fetched within the time of --skip-fetched-within; choose \
         a shorter one"
    )]
    TooMany,
}

/// The pages of a period.
pub(crate) struct FetchedPages {
    known: KnownTasks,
    /// Their number.
    pub(crate) count: u64,
}

impl SkipFetched {
    /// The period of a part that begins now.
    pub(crate) async fn period(&self) -> Result<Period, FetchedError> {
        let until = self.store.database_time().await.map_err(FetchedError::Database)?;
        let until = i64::try_from(until.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX);
        let within = i64::try_from(self.within.as_micros()).unwrap_or(i64::MAX);
        // Nothing was fetched before 1970.
        Ok(Period { from: until.saturating_sub(within).max(0), until })
    }

    /// Reads the pages of a period.
    pub(crate) async fn read(&self, period: Period) -> Result<FetchedPages, FetchedError> {
        let time = |us: i64| {
            let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1_000);
            time.unwrap_or(OffsetDateTime::UNIX_EPOCH)
        };
        let mut pages = FetchedPages { known: KnownTasks::new(), count: 0 };
        let times = (time(period.from), time(period.until));
        let add = |method: &str, url: &str| {
            pages.count += u64::from(pages.known.insert(page(method, url)));
            pages.count <= MAX_PAGES
        };
        self.store.each_success(times, add).await.map_err(FetchedError::Database)?;
        if pages.count > MAX_PAGES { Err(FetchedError::TooMany) } else { Ok(pages) }
    }
}

impl FetchedPages {
    /// Whether the page of a task was fetched. Only a request that asks for nothing but a page can
    /// be compared: rows hold no request bodies, and mask credentials.
    pub(crate) fn contains(&self, Task { request, .. }: &Task) -> bool {
        matches!(request.method.as_str(), "GET" | "HEAD")
            && request.body.is_none()
            && !request.address.has_credentials()
            && self.known.contains(page(request.method.as_str(), request.address.as_str()))
    }
}

fn page(method: &str, url: &str) -> u128 {
    Fingerprint::of_page(method, url).half()
}

#[cfg(test)]
mod tests {
    use fetchline_queue::{FetchRequest, PartId};

    use super::*;

    #[test]
    fn only_requests_for_the_same_page_are_known() {
        let mut pages = FetchedPages { known: KnownTasks::new(), count: 0 };
        for (method, url) in [("GET", "http://a.example/p?q=1"), ("GET", "http://***@a.example/x")]
        {
            pages.known.insert(page(method, url));
        }
        let contains = |url: &str, change: fn(&mut FetchRequest)| {
            let mut request = FetchRequest::get_url(url).unwrap();
            change(&mut request);
            let key = PartId::new().task(1, &Fingerprint::of("r", "p", &request, 0));
            pages.contains(&Task::new(request, "r".to_owned(), "p".to_owned(), key))
        };
        for url in
            ["http://a.example/p?q=1", "HTTP://A.example:80/p?q=1#top", "http://a.example/./p?q=1"]
        {
            assert!(contains(url, |_| {}), "{url}");
        }
        for url in [
            "https://a.example/p?q=1",
            "http://a.example/p?q=1&r=2",
            "http://a.example/p/?q=1",
            "http://a.example:8080/p?q=1",
            // The mask would hide another user.
            "http://user:pw@a.example/x",
        ] {
            assert!(!contains(url, |_| {}), "{url}");
        }
        let url = "http://a.example/p?q=1";
        assert!(!contains(url, |request| request.method = "POST".parse().unwrap()));
        assert!(!contains(url, |request| request.method = "HEAD".parse().unwrap()));
        assert!(!contains(url, |request| request.body = Some("{}".into())));
    }
}
