//! The settings of a worker, and whether they fit together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fetchline_extract::Rules;
use fetchline_queue::Tier;
use fetchline_store::MAX_BATCH_ROWS;
use ipnet::IpNet;
use url::Url;

use crate::proxy::Proxy;

use crate::body;

/// AMQP counts the prefetch in 16 bits.
pub const MAX_PREFETCH: usize = 65_535;

/// The broker takes back what is unacked for 30 minutes (`consumer_timeout`); five of them are left as a margin.
const UNACKED_AT_MOST: Duration = Duration::from_secs(25 * 60);

/// Which bodies are stored. Size and hash are kept always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreBody {
    /// JSON as JSON, other text as text.
    Text,
    /// Only JSON.
    Json,
    /// Other bodies too, as bytes.
    All,
    /// None.
    None,
}

/// What is done about robots.txt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RobotsPolicy {
    /// Nothing: the list of URLs is the user's own.
    Ignore,
    /// It is asked for, and what it forbids is not fetched.
    Obey,
}

/// A batch may not wait for longer than this.
const MAX_BATCH_AGE: Duration = Duration::from_secs(60);

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct WorkConfig {
    /// The name that operators see: of the connection, the consumer and the rows.
    pub pod: String,
    /// Fetches at once.
    pub concurrency: usize,
    /// Messages held unacked, at most: fewer while they are large.
    pub prefetch: usize,
    /// Fetches at once at one host.
    pub per_host: usize,
    /// A batch closes at this many rows,
    pub batch_rows: usize,
    /// or this long after its first row,
    pub batch_age: Duration,
    /// or at about this many bytes.
    pub batch_bytes: usize,
    /// The whole of a fetch, redirects and body included.
    pub timeout: Duration,
    /// Connecting, TLS included.
    pub connect_timeout: Duration,
    /// Silence between two reads.
    pub read_timeout: Duration,
    /// The largest body after decompression, in bytes.
    pub max_body: usize,
    /// All bodies that are being read or wait for their commit, and the messages that are held, in bytes.
    pub memory_budget: usize,
    /// Which bodies are stored.
    pub store_body: StoreBody,
    /// How products are found on sites that do not tell them in a form of their own.
    pub rules: Arc<Rules>,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// What is done about robots.txt.
    pub robots: RobotsPolicy,
    /// Networks that are open though they are not public.
    pub allow_network: Vec<IpNet>,
    /// The proxy that everything is fetched through; `None` for the direct way. The environment's are ignored.
    pub proxy: Option<Proxy>,
    /// Attempt n waits the n-th delay before the next; the last one repeats. Whole seconds.
    pub retry_delays: Vec<Duration>,
    /// Tries of a task, the first included.
    pub max_attempts: u32,
    /// How long results are held while the database is away.
    pub hold: Duration,
    /// How long a stopping worker goes on with what it has begun.
    pub grace: Duration,
    /// Where health is served; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// Where traces are exported to, by OTLP over HTTP, path included; `None` for nowhere.
    pub traces_to: Option<Url>,
    /// Whether the worker ends when there is nothing left to do.
    pub until_empty: bool,
}

impl WorkConfig {
    /// The prefetch that keeps `concurrency` fetches busy while two batches are being written, as far as slow fetches
    /// allow it.
    pub fn default_prefetch(concurrency: usize, batch_rows: usize, timeout: Duration, hold: Duration) -> usize {
        let in_time =
            UNACKED_AT_MOST.saturating_sub(hold).as_millis() * concurrency as u128 / timeout.as_millis().max(1);
        let in_time = usize::try_from(in_time).unwrap_or(MAX_PREFETCH).max(concurrency);
        (concurrency.saturating_mul(4)).max(concurrency.saturating_add(2 * batch_rows)).min(in_time).min(MAX_PREFETCH)
    }

    /// How many messages are held at which concurrency: at its own so many as are configured.
    pub(crate) fn prefetch_by_concurrency(&self) -> impl Fn(usize) -> u16 + Send + Sync + 'static {
        let Self { concurrency: own, prefetch, batch_rows, timeout, hold, .. } = *self;
        move |concurrency| {
            let prefetch = match concurrency == own {
                true => prefetch,
                false => Self::default_prefetch(concurrency, batch_rows, timeout, hold),
            };
            u16::try_from(prefetch).unwrap_or(u16::MAX)
        }
    }

    /// Every way in which the settings do not fit together.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut refuse = |wrong: bool, problem: String| {
            if wrong {
                problems.push(problem);
            }
        };
        refuse(self.concurrency == 0, "--concurrency is 0: nothing would ever be fetched".to_owned());
        refuse(self.per_host == 0, "--per-host is 0: nothing would ever be fetched".to_owned());
        refuse(
            self.prefetch < self.concurrency || self.prefetch > MAX_PREFETCH,
            format!(
                "--prefetch is {}: it has to be between --concurrency ({}) and {MAX_PREFETCH}",
                self.prefetch, self.concurrency
            ),
        );
        refuse(
            self.batch_rows == 0 || self.batch_rows > MAX_BATCH_ROWS,
            format!("--batch-rows is {}: a batch has 1 to {MAX_BATCH_ROWS} rows", self.batch_rows),
        );
        refuse(self.batch_age > MAX_BATCH_AGE, "--batch-age is above a minute: nothing would be acked".to_owned());
        refuse(self.batch_bytes == 0, "--batch-bytes is 0: a batch would never hold a row".to_owned());
        refuse(self.timeout.is_zero(), "--timeout is 0: every fetch would fail".to_owned());
        refuse(
            self.connect_timeout.is_zero() || self.connect_timeout > self.timeout,
            "--connect-timeout has to be above 0 and at most --timeout".to_owned(),
        );
        refuse(
            self.read_timeout.is_zero() || self.read_timeout > self.timeout,
            "--read-timeout has to be above 0 and at most --timeout".to_owned(),
        );
        refuse(
            self.grace <= self.timeout,
            "--grace has to be above --timeout, so that a stopping worker can finish what it has begun".to_owned(),
        );
        // Below that a single large body could keep all others waiting.
        let least = body::least_memory(self.max_body);
        refuse(
            self.memory_budget < least,
            format!(
                "--memory-budget is {}: with a --max-body of {} it has to be {} at least",
                in_mib(self.memory_budget),
                in_mib(self.max_body),
                in_mib(least)
            ),
        );
        let concurrency = u32::try_from(self.concurrency).unwrap_or(u32::MAX).max(1);
        let longest = self.timeout.saturating_mul(u32::try_from(self.prefetch).unwrap_or(u32::MAX)) / concurrency;
        let unacked = longest.saturating_add(self.hold);
        refuse(
            unacked > UNACKED_AT_MOST,
            format!(
                "prefetch x timeout / concurrency + hold is {} minutes, and the broker takes back what is unacked for \
                 30: lower --prefetch, --timeout or --hold, or raise --concurrency",
                unacked.as_secs() / 60
            ),
        );
        let usable = !self.retry_delays.is_empty() && self.retry_delays.iter().all(|delay| Tier::of(*delay).is_some());
        refuse(!usable, "--retry-delays has at least one delay, each of whole seconds from 1s to 49d".to_owned());
        refuse(self.max_attempts == 0, "--max-attempts is 0: nothing would ever be fetched".to_owned());
        problems
    }
}

/// A size, rounded up.
fn in_mib(bytes: usize) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn config() -> WorkConfig {
        WorkConfig {
            pod: "pod-1".to_owned(),
            concurrency: 100,
            prefetch: WorkConfig::default_prefetch(100, 500, Duration::from_secs(30), Duration::from_secs(600)),
            per_host: 30,
            batch_rows: 500,
            batch_age: Duration::from_millis(250),
            batch_bytes: 4 << 20,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            max_body: 10 << 20,
            memory_budget: 256 << 20,
            store_body: StoreBody::Text,
            rules: Arc::default(),
            user_agent: "fetchline/test".to_owned(),
            robots: RobotsPolicy::Ignore,
            allow_network: Vec::new(),
            proxy: None,
            retry_delays: vec![Duration::from_secs(10), Duration::from_secs(60)],
            max_attempts: 4,
            hold: Duration::from_secs(600),
            grace: Duration::from_secs(35),
            listen: None,
            traces_to: None,
            until_empty: false,
        }
    }

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(config().problems(), Vec::<String>::new());
        assert_eq!(config().prefetch, 1100);
        let default = |concurrency| {
            WorkConfig::default_prefetch(concurrency, 500, Duration::from_secs(30), Duration::from_secs(600))
        };
        assert_eq!(default(30_000), MAX_PREFETCH);
        let few = WorkConfig { concurrency: 2, prefetch: default(2), ..config() };
        assert_eq!((few.prefetch, few.problems()), (60, Vec::new()));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let broken = WorkConfig {
            concurrency: 0,
            per_host: 0,
            batch_rows: 100_000,
            batch_bytes: 0,
            grace: Duration::from_secs(30),
            read_timeout: Duration::from_secs(31),
            memory_budget: 61 << 20,
            retry_delays: vec![Duration::from_millis(1500)],
            max_attempts: 0,
            ..config()
        };
        let problems = broken.problems();
        for flag in [
            "--concurrency",
            "--per-host",
            "--batch-rows",
            "--batch-bytes",
            "--grace",
            "--read-timeout",
            "--memory-budget is 61 MiB: with a --max-body of 10 MiB it has to be 124 MiB",
            "unacked",
            "--retry-delays",
            "--max-attempts",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(flag)), "{flag}: {problems:?}");
        }
    }

    #[test]
    fn a_prefetch_that_the_broker_would_take_back_is_refused() {
        let slow = WorkConfig { concurrency: 10, prefetch: 1000, ..config() };
        assert_eq!(slow.problems().len(), 1);
        assert!(slow.problems()[0].contains("60 minutes"));
    }
}
