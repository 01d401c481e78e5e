//! The settings of a worker. Each folder owns and checks its own; here are those that span folders.

use std::time::Duration;

use crate::problem::{Problem, Problems};
use crate::{consume, execute, fetch, observe, revalidate, schedule, write};

/// The largest prefetch: AMQP counts it in 16 bits.
const MAX_PREFETCH: usize = 65_535;

/// How long a message may stay unacked. The broker takes it back after 30 minutes
/// (`consumer_timeout`); five of them are a margin.
const MAX_UNACKED: Duration = Duration::from_secs(25 * 60);

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The name that operators see: of the connection, the consumer and the rows.
    pub pod: String,
    /// How long results are held while the database does not take them.
    pub hold: Duration,
    /// How long a stopping worker continues with what it has begun.
    pub grace: Duration,
    /// Consuming.
    pub consume: consume::Config,
    /// Scheduling.
    pub schedule: schedule::Config,
    /// Fetches.
    pub fetch: fetch::Config,
    /// Retries, stored bodies and extraction.
    pub execute: execute::Config,
    /// Pages that were fetched before.
    pub revalidate: revalidate::Config,
    /// Batches.
    pub write: write::Config,
    /// Health, metrics and traces.
    pub observe: observe::Config,
}

impl WorkerConfig {
    /// The default settings for a worker with this name.
    pub fn new(pod: impl Into<String>) -> Self {
        Self {
            pod: pod.into(),
            hold: Duration::from_secs(600),
            grace: Duration::from_secs(35),
            consume: consume::Config::default(),
            schedule: schedule::Config::default(),
            fetch: fetch::Config::default(),
            execute: execute::Config::default(),
            revalidate: revalidate::Config::default(),
            write: write::Config::default(),
            observe: observe::Config::default(),
        }
    }

    /// How many messages the worker holds unacked at most.
    pub fn prefetch(&self) -> usize {
        let default = || self.default_prefetch(self.schedule.concurrency);
        self.consume.prefetch.unwrap_or_else(default)
    }

    /// The prefetch that keeps `concurrency` fetches busy while two batches are written, unless
    /// slow fetches would keep a message unacked for too long.
    pub fn default_prefetch(&self, concurrency: usize) -> usize {
        let in_time = MAX_UNACKED.saturating_sub(self.hold).as_millis() * concurrency as u128
            / self.fetch.timeout.as_millis().max(1);
        let in_time = usize::try_from(in_time).unwrap_or(MAX_PREFETCH).max(concurrency);
        (concurrency.saturating_mul(4))
            .max(concurrency.saturating_add(2 * self.write.batch_rows))
            .min(in_time)
            .min(MAX_PREFETCH)
    }

    /// The prefetch by concurrency, which operators may change. The configured prefetch applies
    /// only to the configured concurrency.
    pub(crate) fn prefetch_by_concurrency(&self) -> impl Fn(usize) -> u16 + Send + Sync + 'static {
        let config = self.clone();
        move |concurrency| {
            let prefetch = match concurrency == config.schedule.concurrency {
                true => config.prefetch(),
                false => config.default_prefetch(concurrency),
            };
            u16::try_from(prefetch).unwrap_or(u16::MAX)
        }
    }

    /// Every setting that cannot be used. A worker does not start while there are any.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.require((1..=100).contains(&self.pod.len()), "pod", "has 1 to 100 bytes");
        self.schedule.check(&mut problems);
        self.check_prefetch(&mut problems);
        self.write.check(&mut problems);
        self.fetch.check(&mut problems);
        self.check_grace(&mut problems);
        self.check_unacked(&mut problems);
        self.execute.check(&mut problems);
        self.revalidate.check(&mut problems);
        problems.into_vec()
    }

    fn check_prefetch(&self, problems: &mut Problems) {
        let (prefetch, concurrency) = (self.prefetch(), self.schedule.concurrency);
        problems.require(
            (concurrency..=MAX_PREFETCH).contains(&prefetch),
            "prefetch",
            format!(
                "is {prefetch}: it has to be between `concurrency` ({concurrency}) \
                 and {MAX_PREFETCH}"
            ),
        );
    }

    fn check_grace(&self, problems: &mut Problems) {
        problems.require(
            self.grace > self.fetch.timeout,
            "grace",
            "has to be above `timeout`, so that a stopping worker can finish what it has begun",
        );
    }

    /// The longest time for which a message is unacked has to be shorter than the broker's limit.
    fn check_unacked(&self, problems: &mut Problems) {
        let (prefetch, concurrency) = (self.prefetch(), self.schedule.concurrency);
        let concurrency = u32::try_from(concurrency).unwrap_or(u32::MAX).max(1);
        let prefetch = u32::try_from(prefetch).unwrap_or(u32::MAX);
        let unacked =
            (self.fetch.timeout.saturating_mul(prefetch) / concurrency).saturating_add(self.hold);
        problems.require(
            unacked <= MAX_UNACKED,
            "prefetch",
            format!(
                "x `timeout` / `concurrency` + `hold` is {} minutes, and the broker takes back \
                 what is unacked for 30: lower `prefetch`, `timeout` or `hold`, or raise \
                 `concurrency`",
                unacked.as_secs() / 60
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> WorkerConfig {
        WorkerConfig::new("pod-1")
    }

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(config().problems(), Vec::new());
        assert_eq!(config().prefetch(), 1100);
        assert_eq!(config().default_prefetch(30_000), MAX_PREFETCH);
        let mut few = config();
        few.schedule.concurrency = 2;
        assert_eq!((few.prefetch(), few.problems()), (60, Vec::new()));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let mut broken = config();
        broken.consume.prefetch = Some(1_100);
        broken.schedule = schedule::Config { concurrency: 0, per_host: 0 };
        broken.write.batch_rows = 100_000;
        broken.write.batch_bytes = 0;
        broken.grace = Duration::from_secs(30);
        broken.fetch.read_timeout = Some(Duration::from_secs(31));
        broken.fetch.memory_budget = 61 << 20;
        broken.execute.retry_delays = vec![Duration::from_millis(1500)];
        broken.execute.max_attempts = 0;
        broken.revalidate.revalidate_full_every = 0;
        let problems: Vec<String> = broken.problems().iter().map(Problem::to_string).collect();
        for expected in [
            "`concurrency`",
            "`per_host`",
            "`batch_rows`",
            "`batch_bytes`",
            "`grace`",
            "`read_timeout`",
            "`memory_budget` is 61 MiB: with a `max_body` of 10 MiB it has to be at least 124 MiB",
            "unacked",
            "`retry_delays`",
            "`max_attempts`",
            "`revalidate_full_every`",
        ] {
            assert!(
                problems.iter().any(|text| text.contains(expected)),
                "{expected}: {problems:?}"
            );
        }
    }

    #[test]
    fn a_prefetch_that_the_broker_would_take_back_is_refused() {
        let mut slow = config();
        slow.schedule.concurrency = 10;
        slow.consume.prefetch = Some(1000);
        let problems = slow.problems();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].text.contains("60 minutes"));
    }
}
