//! The shape of a world: how many workers it has, and how they are configured.

use std::time::Duration;

use fetchline_worker::WorkerConfig;

use crate::broker::{Delays, Version};
use crate::chance::Chance;

/// How often a task may be tried.
pub const MAX_ATTEMPTS: u32 = 3;

/// The shape of a world.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How many workers there are.
    pub workers: usize,
    /// The release of the broker.
    pub version: Version,
    /// How slow the broker is.
    pub delays: Delays,
    /// The size of each worker's pool of database connections.
    pub pool: u32,
    concurrency: usize,
    per_host: usize,
    prefetch: usize,
    batch_rows: usize,
    batch_age: Duration,
    hold: Duration,
}

impl Shape {
    /// A random shape.
    pub fn new(chance: &mut Chance) -> Self {
        let concurrency = chance.pick(&[1, 4, 10, 30]);
        Self {
            workers: chance.pick(&[1, 1, 2, 3]),
            version: chance.pick(&[Version::V3_10, Version::V4_3]),
            delays: Delays {
                handling_ms: chance.pick(&[0, 5, 50]),
                confirm_ms: chance.pick(&[0, 20, 500]),
            },
            pool: chance.pick(&[1, 2, 4]),
            concurrency,
            per_host: chance.pick(&[1, 3, 30]),
            prefetch: concurrency * chance.pick(&[1, 2, 8]),
            batch_rows: chance.pick(&[1, 7, 50]),
            batch_age: Duration::from_millis(chance.pick(&[10, 250])),
            hold: Duration::from_secs(chance.pick(&[30, 600])),
        }
    }

    /// How many requests a worker may send at once, in all and to one host.
    pub fn requests(&self) -> (usize, usize) {
        (self.concurrency, self.per_host)
    }

    /// The configuration of a worker.
    pub fn config(&self, pod: &str, owner: &str) -> WorkerConfig {
        let mut config = WorkerConfig::new(pod);
        config.hold = self.hold;
        config.grace = Duration::from_secs(20);
        config.consume.prefetch = Some(self.prefetch);
        config.schedule.concurrency = self.concurrency;
        config.schedule.per_host = self.per_host;
        config.fetch.timeout = Duration::from_secs(10);
        config.fetch.user_agent = format!("sim/{owner}");
        config.execute.retry_delays = [1, 2, 5].map(Duration::from_secs).to_vec();
        config.execute.max_attempts = MAX_ATTEMPTS;
        config.write.batch_rows = self.batch_rows;
        config.write.batch_age = self.batch_age;
        config
    }
}
