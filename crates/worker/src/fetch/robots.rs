//! robots.txt (RFC 9309). One worker requests a site's file for all workers, once a day.

mod pattern;
pub(super) mod product_token;
pub(crate) mod rules;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_queue::Address;
use fetchline_store::{Outcome, RobotsFile, Store};
use moka::Expiry;
use moka::future::Cache;
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;

use self::rules::Rules;
use super::failure::Failure;
use crate::control::dependencies::Dependencies;
use crate::schedule::{Denied, SchedulerHandle};

/// How much of a robots.txt is read: the least that the standard requires.
pub(crate) const MAX_BYTES: usize = 500 * 1024;
/// How long a file is valid. The standard asks not to use a copy for longer, unless there is no
/// other.
const VALID_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long a failure is valid. Until then nothing is fetched from the site.
const UNAVAILABLE_FOR: Duration = Duration::from_secs(60);
/// How often a worker checks whether another one has received the file.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// The longest crawl delay that is obeyed. A longer one may be a mistake.
const MAX_CRAWL_DELAY: Duration = Duration::from_secs(3600);
/// The memory of the rules that are cached.
const MAX_CACHED_BYTES: u64 = 32 << 20;
/// The memory of a cache entry besides its rules, roughly.
const ENTRY_BYTES: u32 = 512;

/// What the workers share to request each file once.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) dependencies: Dependencies,
    pub(crate) scheduler: SchedulerHandle,
    /// How long a statement is retried while the database does not answer.
    pub(crate) hold: Duration,
    pub(crate) stop: CancellationToken,
}

/// Decides which addresses robots.txt allows.
#[derive(Clone)]
pub(crate) struct Robots {
    shared: Shared,
    /// The product token, which selects a group of rules.
    token: Arc<str>,
    cache: Cache<String, Arc<Entry>>,
}

/// What is known about one origin.
struct Entry {
    access: Access,
    valid_for: Duration,
}

enum Access {
    Rules(Rules),
    /// The file is unavailable, with this status. Nothing may be fetched for now.
    Unavailable(Option<u16>),
}

/// The lines of a file that is read up to one byte beyond [`MAX_BYTES`], which shows whether the
/// last line is whole. Half a line is another rule: that of `Disallow: /private` may close the
/// whole site.
pub(crate) fn whole_lines(mut file: Vec<u8>) -> Vec<u8> {
    if let Some(read) = file.get(..=MAX_BYTES) {
        let end = read.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        file.truncate(end.unwrap_or(0));
    }
    file
}

/// The response to a request for robots.txt.
pub(crate) struct RobotsResponse {
    /// The status of the last response; `None` where there was none.
    pub(crate) status: Option<u16>,
    /// The beginning of the body.
    pub(crate) body: Vec<u8>,
}

/// Why an address may not be fetched.
#[derive(Debug)]
pub(crate) struct Forbidden {
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
}

impl From<Forbidden> for Failure {
    fn from(Forbidden { outcome, text }: Forbidden) -> Self {
        Self::new(outcome, text)
    }
}

impl Robots {
    /// For a worker with this product token.
    pub(crate) fn new(shared: Shared, token: &str) -> Self {
        let cache = Cache::builder()
            .max_capacity(MAX_CACHED_BYTES)
            .weigher(|_, entry: &Arc<Entry>| entry.bytes())
            .expire_after(ExpireInvalid)
            .build();
        Self { shared, token: token.into(), cache }
    }

    /// Whether an address may be fetched; `None` where the rules of its site are not cached.
    pub(crate) async fn cached_verdict(&self, address: &Address) -> Option<Result<(), Forbidden>> {
        let origin = origin(address);
        let entry = self.cache.get(&origin).await?;
        Some(self.verdict_by(&entry, address, &origin))
    }

    /// Whether an address may be fetched. Runs `request` where nobody has the rules of its site.
    /// Its error says nothing about robots.txt, and is passed on.
    pub(crate) async fn verdict<E: From<Denied> + Clone + Send + Sync + 'static>(
        &self,
        address: &Address,
        request: impl Future<Output = Result<RobotsResponse, E>>,
    ) -> Result<Result<(), Forbidden>, E> {
        let origin = origin(address);
        // Concurrent calls for one origin share one lookup.
        let entry = self
            .cache
            .try_get_with_by_ref(&origin, self.look_up(&origin, address.host(), request))
            .await;
        let entry = entry.map_err(|error: Arc<E>| E::clone(&error))?;
        Ok(self.verdict_by(&entry, address, &origin))
    }

    fn verdict_by(&self, entry: &Entry, address: &Address, origin: &str) -> Result<(), Forbidden> {
        let path = &address.as_url()[url::Position::BeforePath..url::Position::AfterQuery];
        let (outcome, text) = match &entry.access {
            Access::Rules(rules) if rules.allow(path) => return Ok(()),
            Access::Rules(_) => (
                Outcome::Robots,
                format!("{origin}/robots.txt forbids it to `{}` (--robots obey)", self.token),
            ),
            // Like a site that cannot be connected to, the task is retried later.
            Access::Unavailable(Some(status)) => (
                Outcome::Connect,
                format!("{origin}/robots.txt answered {status}; nothing is fetched from the site"),
            ),
            Access::Unavailable(None) => (
                Outcome::Connect,
                format!("{origin}/robots.txt is unavailable; nothing is fetched from the site"),
            ),
        };
        Err(Forbidden { outcome, text })
    }

    /// Takes the file from the database. Where there is none, requests it under a lease, or waits
    /// for the worker that has the lease.
    async fn look_up<E: From<Denied>>(
        &self,
        origin: &str,
        host: &str,
        request: impl Future<Output = Result<RobotsResponse, E>>,
    ) -> Result<Arc<Entry>, E> {
        let (store, shared) = (&self.shared.store, &self.shared);
        let mut is_leased = false;
        let mut older = None;
        let entry = loop {
            // Also right after taking the lease: another worker may have stored the file and ended
            // its lease since the last check.
            let file = shared.through_outages(|| store.robots(origin)).await?;
            if let Some(entry) = file.as_ref().and_then(|file| self.parse(file)) {
                if is_leased {
                    shared.through_outages(|| store.end_robots_lease(origin)).await?;
                }
                break entry;
            }
            older = file.or(older);
            if is_leased {
                match request.await {
                    Ok(response) => break self.save(origin, host, response, older).await?,
                    Err(error) => {
                        shared.through_outages(|| store.end_robots_lease(origin)).await?;
                        return Err(error);
                    }
                }
            }
            is_leased = shared.through_outages(|| store.lease_robots(origin)).await?;
            if !is_leased {
                shared.pause().await?;
            }
        };
        if let Some(delay) = entry.crawl_delay() {
            shared.scheduler.space_out(host, delay);
        }
        Ok(Arc::new(entry))
    }

    /// Stores the crawl delay and the file of a response, which ends the lease. Where the file is
    /// unavailable and there is an older copy, that one is used.
    async fn save(
        &self,
        origin: &str,
        host: &str,
        response: RobotsResponse,
        older: Option<RobotsFile>,
    ) -> Result<Entry, Denied> {
        let (store, shared) = (&self.shared.store, &self.shared);
        let RobotsResponse { status, body } = response;
        let file = RobotsFile { status, body, age: Duration::ZERO };
        let access = self.access(&file);
        if let Access::Unavailable(_) = access {
            let older = older.map(|older| self.access(&older));
            if let Some(access @ Access::Rules(_)) = older {
                let age = VALID_FOR - UNAVAILABLE_FOR;
                shared.through_outages(|| store.renew_robots(origin, age)).await?;
                return Ok(Entry { access, valid_for: UNAVAILABLE_FOR });
            }
        }
        let entry = Entry { valid_for: access.valid_for(), access };
        // Before the file: a worker that reads the file takes the crawl delay from the host's row.
        if matches!(entry.access, Access::Rules(_)) {
            let delay = entry.crawl_delay();
            shared.through_outages(|| store.set_crawl_delay(host, delay)).await?;
        }
        shared.through_outages(|| store.save_robots(origin, file.status, &file.body)).await?;
        Ok(entry)
    }

    /// The rules of a file; `None` where it is too old.
    fn parse(&self, file: &RobotsFile) -> Option<Entry> {
        let access = self.access(file);
        let valid_for = access.valid_for().checked_sub(file.age).filter(|left| !left.is_zero())?;
        Some(Entry { access, valid_for })
    }

    /// What a file means, whatever its age.
    fn access(&self, file: &RobotsFile) -> Access {
        match file.status.map(StatusCode::from_u16) {
            Some(Ok(status)) if status.is_success() => {
                Access::Rules(Rules::parse(&file.body, &self.token))
            }
            // The site has too much to do, like one that answers 503.
            Some(Ok(StatusCode::TOO_MANY_REQUESTS)) => Access::Unavailable(file.status),
            // There is no file, or a redirect leads nowhere: everything is allowed.
            Some(Ok(status)) if status.is_client_error() || status.is_redirection() => {
                Access::Rules(Rules::none())
            }
            _ => Access::Unavailable(file.status),
        }
    }
}

impl Access {
    fn valid_for(&self) -> Duration {
        match self {
            Self::Rules(_) => VALID_FOR,
            Self::Unavailable(_) => UNAVAILABLE_FOR,
        }
    }
}

impl Entry {
    /// The memory of the entry.
    fn bytes(&self) -> u32 {
        let rules = match &self.access {
            Access::Rules(rules) => rules.bytes(),
            Access::Unavailable(_) => 0,
        };
        u32::try_from(rules).unwrap_or(u32::MAX).saturating_add(ENTRY_BYTES)
    }

    fn crawl_delay(&self) -> Option<Duration> {
        match &self.access {
            Access::Rules(rules) => rules
                .crawl_delay()
                .filter(|delay| !delay.is_zero())
                .map(|delay| delay.min(MAX_CRAWL_DELAY)),
            Access::Unavailable(_) => None,
        }
    }
}

impl Shared {
    /// Repeats a statement until the database answers, which costs no attempt of the task.
    async fn through_outages<T, F: Future<Output = Result<T, fetchline_store::Error>>>(
        &self,
        mut statement: impl FnMut() -> F,
    ) -> Result<T, Denied> {
        let mut repeater = self.dependencies.repeater(self.hold, &self.stop);
        loop {
            match statement().await {
                Ok(answer) => return Ok(answer),
                Err(error) => repeater.failed(&error).await.map_err(|_| Denied::Requeue)?,
            }
        }
    }

    /// Waits until the next check for another worker's file.
    async fn pause(&self) -> Result<(), Denied> {
        tokio::select! {
            () = tokio::time::sleep(POLL_EVERY) => Ok(()),
            () = self.stop.cancelled() => Err(Denied::Requeue),
        }
    }
}

fn origin(address: &Address) -> String {
    address.as_url().origin().ascii_serialization()
}

/// Expires each entry when its validity ends.
struct ExpireInvalid;

impl Expiry<String, Arc<Entry>> for ExpireInvalid {
    fn expire_after_create(&self, _: &String, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        Some(entry.valid_for)
    }

    fn expire_after_update(
        &self,
        _: &String,
        entry: &Arc<Entry>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.valid_for)
    }
}

#[cfg(test)]
mod tests {
    use fetchline_store::StoreConfig;

    use super::*;
    use crate::control::snapshot::Snapshots;

    fn file(status: Option<u16>, body: &str, age: Duration) -> RobotsFile {
        RobotsFile { status, body: body.as_bytes().to_vec(), age }
    }

    fn robots(token: &str) -> Robots {
        let config = StoreConfig {
            url: "mysql://root@127.0.0.1:9/x".to_owned(),
            pool: 1,
            pool_timeout: Duration::from_secs(1),
        };
        let shared = Shared {
            store: Arc::new(Store::open(config).unwrap()),
            dependencies: Dependencies::new(Snapshots::new(1)),
            scheduler: crate::schedule::channel().0,
            hold: Duration::from_secs(600),
            stop: CancellationToken::new(),
        };
        Robots::new(shared, token)
    }

    fn allows(robots: &Robots, file: &RobotsFile, path: &str) -> Option<bool> {
        match robots.parse(file)?.access {
            Access::Rules(rules) => Some(rules.allow(path)),
            Access::Unavailable(_) => Some(false),
        }
    }

    #[tokio::test]
    async fn a_response_is_interpreted_as_the_standard_says() {
        let robots = robots("fetchline");
        let fresh = Duration::ZERO;
        let rules = "User-agent: *\nDisallow: /private\n\n\
                     User-agent: Fetchline\nDisallow: /ours\nCrawl-delay: 2";
        assert_eq!(allows(&robots, &file(Some(200), rules, fresh), "/private"), Some(true));
        assert_eq!(allows(&robots, &file(Some(200), rules, fresh), "/ours/1?q"), Some(false));
        for none in [404, 403, 410, 301] {
            assert_eq!(
                allows(&robots, &file(Some(none), rules, fresh), "/ours"),
                Some(true),
                "{none}"
            );
        }
        for unavailable in [Some(429), Some(500), Some(503), Some(599), None] {
            assert_eq!(
                allows(&robots, &file(unavailable, "", fresh), "/"),
                Some(false),
                "{unavailable:?}"
            );
        }
    }

    #[test]
    fn half_a_line_at_the_limit_is_no_rule() {
        let up_to = |end: usize, line: &str| {
            let mut file = b"User-agent: *\n".to_vec();
            file.resize(end - line.len() - 1, b'#');
            file.extend_from_slice(format!("\n{line}").as_bytes());
            file
        };
        for (before, after, kept) in [
            ("Disallow: /", "private\n", false),
            ("Allow: /", "public\n", false),
            ("Disallow: /p", "rivate", false),
            ("Disallow: /", "\nAllow: /x\n", true),
            ("Disallow: /", "\r\nAllow: /x\n", true),
            ("Disallow: /", "", true),
        ] {
            let mut file = up_to(MAX_BYTES, before);
            assert_eq!(file.len(), MAX_BYTES);
            file.extend_from_slice(after.as_bytes());
            file.truncate(MAX_BYTES + 1);
            let lines = whole_lines(file);
            assert!(lines.len() <= MAX_BYTES);
            assert_eq!(lines.ends_with(before.as_bytes()), kept, "{before} {after:?}");
            assert!(lines.starts_with(b"User-agent: *\n#"), "{before} {after:?}");
        }
        assert_eq!(whole_lines(vec![b'x'; MAX_BYTES + 1]), b"");
    }

    #[tokio::test]
    async fn a_crawl_delay_of_zero_is_none() {
        let delay = |seconds: &str| {
            let body = format!("User-agent: *\nCrawl-delay: {seconds}");
            robots("fetchline")
                .parse(&file(Some(200), &body, Duration::ZERO))
                .and_then(|entry| entry.crawl_delay())
        };
        assert_eq!((delay("0"), delay("2")), (None, Some(Duration::from_secs(2))));
    }

    #[tokio::test]
    async fn a_file_is_valid_for_a_day_and_a_failure_for_a_minute() {
        let robots = robots("fetchline");
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        assert!(robots.parse(&file(Some(200), "", hours(23))).is_some());
        assert!(robots.parse(&file(Some(200), "", hours(24))).is_none());
        assert!(robots.parse(&file(Some(503), "", Duration::from_secs(59))).is_some());
        assert!(robots.parse(&file(Some(503), "", Duration::from_secs(60))).is_none());
    }
}
