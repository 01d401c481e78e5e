//! robots.txt (RFC 9309), for workers that obey it: asked for once a day by one worker for all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_queue::Address;
use fetchline_store::{Outcome, RobotsFile, Store};
use moka::Expiry;
use moka::future::Cache;
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::dependencies::Dependencies;
use crate::schedule::{Denied, Scheduler};

/// How much of a robots.txt is read: what the standard asks for, and no more.
pub(crate) const MOST_BYTES: usize = robotxt::BYTE_LIMIT;
/// How long an answer counts. The standard asks not to use a copy for longer.
const FRESH: Duration = Duration::from_secs(24 * 3600);
/// How long a failure counts: until then nothing is fetched.
const UNREACHABLE_FOR: Duration = Duration::from_secs(60);
/// How often it is looked whether another worker has got it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A site that asks for more between requests gets no more: it may be a mistake.
const LONGEST_CRAWL_DELAY: Duration = Duration::from_secs(3600);
/// Rules are kept in memory up to so many bytes of the files that they come from.
const CACHED_BYTES: u64 = 32 << 20;
/// What an entry takes besides, about.
const ENTRY_BYTES: u32 = 512;

/// What all workers share about robots.txt, and how it is asked for.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) dependencies: Dependencies,
    pub(crate) scheduler: Scheduler,
    /// How long it is asked for while the database does not answer.
    pub(crate) hold: Duration,
    pub(crate) stop: CancellationToken,
}

/// What robots.txt says of addresses.
#[derive(Clone)]
pub(crate) struct Robots {
    shared: Shared,
    /// The name that groups of rules are looked up by.
    agent: Arc<str>,
    known: Cache<String, Arc<Known>>,
}

/// The rules of one origin.
struct Known {
    says: Says,
    fresh_for: Duration,
    /// Of the file.
    bytes: u32,
}

impl Known {
    fn crawl_delay(&self) -> Option<Duration> {
        match &self.says {
            Says::Rules(rules) => {
                rules.crawl_delay().filter(|delay| !delay.is_zero()).map(|delay| delay.min(LONGEST_CRAWL_DELAY))
            }
            Says::Unreachable(_) => None,
        }
    }
}

enum Says {
    Rules(robotxt::Robots),
    /// It could not be had, with this status: nothing may be fetched for the time being.
    Unreachable(Option<u16>),
}

/// What came of asking a site.
pub(crate) struct Asked {
    /// The status of the last answer; `None` where there was none.
    pub(crate) status: Option<u16>,
    /// The beginning of its body.
    pub(crate) body: Vec<u8>,
}

/// Why an address is not fetched.
#[derive(Debug)]
pub(crate) struct Forbidden {
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
}

impl Robots {
    /// For a worker of this `User-Agent`, of which the product token counts: the letters, `-` and `_` that it begins with.
    pub(crate) fn new(shared: Shared, user_agent: &str) -> Self {
        let token = |c: char| c.is_ascii_alphabetic() || matches!(c, '-' | '_');
        let end = user_agent.find(|c| !token(c)).unwrap_or(user_agent.len());
        let known = Cache::builder()
            .max_capacity(CACHED_BYTES)
            .weigher(|_, known: &Arc<Known>| known.bytes.saturating_add(ENTRY_BYTES))
            .expire_after(AsLongAsItIsFresh)
            .build();
        Self { shared, agent: user_agent[..end].into(), known }
    }

    /// Whether an address may be fetched; `None` where the rules of its site are not known yet.
    pub(crate) async fn verdict(&self, address: &Address) -> Option<Result<(), Forbidden>> {
        let origin = origin(address);
        let known = self.known.get(&origin).await?;
        Some(self.judge(address, &origin, &known))
    }

    /// The same where they are not known: `asking` asks the site, unless somebody else does.
    pub(crate) async fn find_out(
        &self,
        address: &Address,
        asking: impl Future<Output = Result<Asked, Denied>>,
    ) -> Result<Result<(), Forbidden>, Denied> {
        let origin = origin(address);
        // Whoever comes meanwhile waits for the same answer.
        let found = self.known.try_get_with_by_ref(&origin, self.find(&origin, address.host(), asking)).await;
        let known = found.map_err(|denied| *denied)?;
        Ok(self.judge(address, &origin, &known))
    }

    fn judge(&self, address: &Address, origin: &str, known: &Known) -> Result<(), Forbidden> {
        let path = &address.as_url()[url::Position::BeforePath..];
        let (outcome, text) = match &known.says {
            Says::Rules(rules) if rules.is_allowed(path) => return Ok(()),
            Says::Rules(_) => {
                (Outcome::Robots, format!("{origin}/robots.txt forbids it to `{}` (--robots obey)", self.agent))
            }
            // Nothing was sent to the page: like one that cannot be connected to, it is tried again later.
            Says::Unreachable(Some(status)) => {
                (Outcome::Connect, format!("{origin}/robots.txt answered {status}; nothing is fetched meanwhile"))
            }
            Says::Unreachable(None) => {
                (Outcome::Connect, format!("{origin}/robots.txt cannot be had; nothing is fetched meanwhile"))
            }
        };
        Err(Forbidden { outcome, text })
    }

    /// What the database knows, else what the site says: asked by this worker, or waited for while another one asks.
    async fn find(
        &self,
        origin: &str,
        host: &str,
        asking: impl Future<Output = Result<Asked, Denied>>,
    ) -> Result<Arc<Known>, Denied> {
        let store = &self.shared.store;
        let mut leased = false;
        let known = loop {
            // Once more when it is leased: another worker may have got it, and ended its lease, since the last look.
            let file = self.shared.through_outages(|| store.robots(origin)).await?;
            if let Some(known) = file.and_then(|file| self.read(&file)) {
                if leased {
                    self.shared.through_outages(|| store.end_robots_lease(origin)).await?;
                }
                break known;
            }
            if leased {
                let Asked { status, body } = match asking.await {
                    Ok(asked) => asked,
                    Err(denied) => {
                        self.shared.through_outages(|| store.end_robots_lease(origin)).await?;
                        return Err(denied);
                    }
                };
                let file = RobotsFile { status, body, age: Duration::ZERO };
                let unreachable = Known { says: Says::Unreachable(status), fresh_for: UNREACHABLE_FOR, bytes: 0 };
                let known = self.read(&file).unwrap_or(unreachable);
                // First: whoever reads the file paces itself by the host's row.
                if !matches!(known.says, Says::Unreachable(_)) {
                    self.shared.through_outages(|| store.set_crawl_delay(host, known.crawl_delay())).await?;
                }
                self.shared.through_outages(|| store.save_robots(origin, file.status, &file.body)).await?;
                break known;
            }
            leased = self.shared.through_outages(|| store.lease_robots(origin)).await?;
            if !leased {
                self.shared.pause().await?;
            }
        };
        if let Some(delay) = known.crawl_delay() {
            self.shared.scheduler.space_out(host, delay);
        }
        Ok(Arc::new(known))
    }

    /// The rules in a file; `None` for one that is too old.
    fn read(&self, file: &RobotsFile) -> Option<Known> {
        let agent = robotxt::Agent::Exact(&self.agent);
        let (says, fresh) = match file.status.map(StatusCode::from_u16) {
            Some(Ok(status)) if status.is_success() => (Says::Rules(robotxt::Robots::parse(&file.body, agent)), FRESH),
            // There is none, or a redirect that leads nowhere: no rules.
            Some(Ok(status)) if status.is_client_error() || status.is_redirection() => {
                (Says::Rules(robotxt::Robots::allow_all()), FRESH)
            }
            _ => (Says::Unreachable(file.status), UNREACHABLE_FOR),
        };
        let fresh_for = fresh.checked_sub(file.age).filter(|rest| !rest.is_zero())?;
        Some(Known { says, fresh_for, bytes: u32::try_from(file.body.len()).unwrap_or(u32::MAX) })
    }
}

impl Shared {
    /// Asks the database until it answers; that costs no attempt.
    async fn through_outages<T, F: Future<Output = Result<T, fetchline_store::Error>>>(
        &self,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, Denied> {
        let mut attempts = self.dependencies.attempts(self.hold, &self.stop);
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => attempts.failed(&error).await.map_err(|_| Denied::Requeue)?,
            }
        }
    }

    /// Waits until it is time to look again whether another worker has got it.
    async fn pause(&self) -> Result<(), Denied> {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => Ok(()),
            () = self.stop.cancelled() => Err(Denied::Requeue),
        }
    }
}

fn origin(address: &Address) -> String {
    address.as_url().origin().ascii_serialization()
}

struct AsLongAsItIsFresh;

impl Expiry<String, Arc<Known>> for AsLongAsItIsFresh {
    fn expire_after_create(&self, _: &String, known: &Arc<Known>, _: Instant) -> Option<Duration> {
        Some(known.fresh_for)
    }
}

#[cfg(test)]
mod tests {
    use fetchline_store::StoreConfig;

    use super::*;
    use crate::snapshot::Snapshots;

    fn file(status: Option<u16>, body: &str, age: Duration) -> RobotsFile {
        RobotsFile { status, body: body.as_bytes().to_vec(), age }
    }

    fn robots(user_agent: &str) -> Robots {
        let config =
            StoreConfig { url: "mysql://root@127.0.0.1:9/x".to_owned(), pool: 1, pool_timeout: Duration::from_secs(1) };
        let shared = Shared {
            store: Arc::new(Store::open(config).unwrap()),
            dependencies: Dependencies::new(Snapshots::new(1)),
            scheduler: crate::schedule::channel().0,
            hold: Duration::from_secs(600),
            stop: CancellationToken::new(),
        };
        Robots::new(shared, user_agent)
    }

    fn allows(robots: &Robots, file: &RobotsFile, path: &str) -> Option<bool> {
        match robots.read(file)?.says {
            Says::Rules(rules) => Some(rules.is_allowed(path)),
            Says::Unreachable(_) => Some(false),
        }
    }

    #[tokio::test]
    async fn what_an_answer_means_is_what_the_standard_says() {
        let robots = robots("fetchline/1.0");
        let fresh = Duration::ZERO;
        let rules = "User-agent: *\nDisallow: /private\n\nUser-agent: Fetchline\nDisallow: /ours\nCrawl-delay: 2";
        assert_eq!(allows(&robots, &file(Some(200), rules, fresh), "/private"), Some(true));
        assert_eq!(allows(&robots, &file(Some(200), rules, fresh), "/ours/1?q"), Some(false));
        for none in [404, 403, 410, 301] {
            assert_eq!(allows(&robots, &file(Some(none), rules, fresh), "/ours"), Some(true), "{none}");
        }
        for unreachable in [Some(500), Some(503), None] {
            assert_eq!(allows(&robots, &file(unreachable, "", fresh), "/"), Some(false), "{unreachable:?}");
        }
    }

    #[tokio::test]
    async fn a_crawl_delay_of_nothing_is_none() {
        let delay = |seconds: &str| {
            let body = format!("User-agent: *\nCrawl-delay: {seconds}");
            robots("fetchline/1.0").read(&file(Some(200), &body, Duration::ZERO)).and_then(|known| known.crawl_delay())
        };
        assert_eq!((delay("0"), delay("2")), (None, Some(Duration::from_secs(2))));
    }

    #[tokio::test]
    async fn an_answer_counts_for_a_day_and_a_failure_for_a_minute() {
        let robots = robots("fetchline/1.0");
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        assert!(robots.read(&file(Some(200), "", hours(23))).is_some());
        assert!(robots.read(&file(Some(200), "", hours(24))).is_none());
        assert!(robots.read(&file(Some(503), "", Duration::from_secs(59))).is_some());
        assert!(robots.read(&file(Some(503), "", Duration::from_secs(60))).is_none());
    }

    #[tokio::test]
    async fn rules_are_looked_up_by_the_product_token() {
        for (user_agent, token) in
            [("fetchline/1.0", "fetchline"), ("my-bot (+https://a.example)", "my-bot"), ("x", "x")]
        {
            assert_eq!(&*robots(user_agent).agent, token);
        }
    }
}
