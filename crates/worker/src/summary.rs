//! What a worker has done, counted when it is durable.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fetchline_store::Outcome;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Counts as batches are committed, for the summary at the end.
pub(crate) struct Tally(Mutex<Counts>);

struct Counts {
    outcomes: BTreeMap<Outcome, u64>,
    /// Fetch times in microseconds.
    times: Histogram<u64>,
    span: Option<(Instant, Instant)>,
    retried: u64,
    parked: u64,
    dead: u64,
}

/// What a worker prints when it ends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Rows with outcome `ok`.
    pub ok: u64,
    /// Rows with any other outcome.
    pub failed: u64,
    /// Rows by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Rows that were committed.
    pub rows: u64,
    /// Failed tries that were put off.
    pub retried: u64,
    /// Tasks that were put off without a try, since their host had no slot.
    pub parked: u64,
    /// Messages that were no tasks and went to the dead letters.
    pub dead: u64,
    /// From the first delivery to the last commit, in seconds.
    pub seconds: f64,
    /// Rows per second.
    pub urls_per_second: f64,
    /// Half of the fetches took no longer, in milliseconds.
    pub fetch_p50_ms: f64,
    /// 95 of 100 fetches took no longer, in milliseconds.
    pub fetch_p95_ms: f64,
    /// The most memory that the process has held, in bytes; `None` where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
}

/// What a worker has done up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SoFar {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) retried: u64,
    pub(crate) parked: u64,
}

impl Counts {
    fn so_far(&self) -> SoFar {
        let rows: u64 = self.outcomes.values().sum();
        let ok = self.outcomes.get(&Outcome::Ok).copied().unwrap_or(0);
        SoFar { ok, failed: rows - ok, retried: self.retried, parked: self.parked }
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        // From a microsecond to an hour, to two digits: a few kilobytes.
        let times = Histogram::new_with_bounds(1, 3_600_000_000, 2).unwrap_or_else(|_| unreachable!("fixed bounds"));
        Self(Mutex::new(Counts { outcomes: BTreeMap::new(), times, span: None, retried: 0, parked: 0, dead: 0 }))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A delivery came in: the clock starts with the first one.
    pub(crate) fn begin(&self) {
        let now = Instant::now();
        self.counts().span.get_or_insert((now, now));
    }

    /// Rows were committed.
    pub(crate) fn committed(&self, rows: impl Iterator<Item = (Outcome, Duration)>) {
        let mut counts = self.counts();
        for (outcome, elapsed) in rows {
            *counts.outcomes.entry(outcome).or_default() += 1;
            counts.times.saturating_record(elapsed.as_micros() as u64);
        }
        let now = Instant::now();
        counts.span.get_or_insert((now, now)).1 = now;
    }

    /// A task is to be tried again.
    pub(crate) fn retried(&self) {
        self.counts().retried += 1;
    }

    /// A task waits for its host in a delay queue.
    pub(crate) fn parked(&self) {
        self.counts().parked += 1;
    }

    /// A message was no task.
    pub(crate) fn dead(&self) {
        self.counts().dead += 1;
    }

    /// What has come about so far, for telling how it goes on.
    pub(crate) fn so_far(&self) -> SoFar {
        self.counts().so_far()
    }

    pub(crate) fn summary(&self) -> Summary {
        let counts = self.counts();
        let SoFar { ok, failed, .. } = counts.so_far();
        let rows = ok + failed;
        let seconds = counts.span.map_or(0.0, |(start, end)| (end - start).as_secs_f64());
        let quantile = |q| counts.times.value_at_quantile(q) as f64 / 1000.0;
        Summary {
            ok,
            failed,
            outcomes: counts.outcomes.iter().map(|(outcome, rows)| (outcome.as_str(), *rows)).collect(),
            rows,
            retried: counts.retried,
            parked: counts.parked,
            dead: counts.dead,
            seconds,
            urls_per_second: if seconds > 0.0 { rows as f64 / seconds } else { 0.0 },
            fetch_p50_ms: quantile(0.5),
            fetch_p95_ms: quantile(0.95),
            peak_memory_bytes: peak_memory(),
        }
    }
}

/// The high-water mark of the resident set (Linux: `VmHWM` of proc(5), in KiB).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ok          {}", self.ok)?;
        write!(f, "failed      {}", self.failed)?;
        let failed = self.outcomes.iter().filter(|(outcome, _)| **outcome != Outcome::Ok.as_str());
        for (index, (outcome, rows)) in failed.enumerate() {
            write!(f, "{}{outcome} {rows}", if index == 0 { "  (" } else { ", " })?;
        }
        writeln!(f, "{}", if self.failed > 0 { ")" } else { "" })?;
        writeln!(f, "rows        {}", self.rows)?;
        if self.retried > 0 {
            writeln!(f, "retried     {} (tries that were put off)", self.retried)?;
        }
        if self.parked > 0 {
            writeln!(f, "put off     {} (times that a task waited for its host in a delay queue)", self.parked)?;
        }
        if self.dead > 0 {
            writeln!(f, "no task     {} (see the queue of dead letters)", self.dead)?;
        }
        writeln!(f, "time        {:.1} s", self.seconds)?;
        writeln!(f, "rate        {:.0} URLs/s", self.urls_per_second)?;
        write!(f, "fetch time  p50 {:.1} ms, p95 {:.1} ms", self.fetch_p50_ms, self.fetch_p95_ms)?;
        if let Some(bytes) = self.peak_memory_bytes {
            write!(f, "\npeak memory {:.0} MiB", bytes as f64 / f64::from(1 << 20))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_committed_counts() {
        let tally = Tally::new();
        tally.begin();
        assert_eq!(tally.summary().rows, 0);
        let rows = [(Outcome::Ok, 2), (Outcome::Ok, 2), (Outcome::Timeout, 30), (Outcome::HttpError, 2)];
        tally.committed(rows.into_iter().map(|(outcome, ms)| (outcome, Duration::from_millis(ms))));
        let summary = tally.summary();
        assert_eq!((summary.ok, summary.failed, summary.rows), (2, 2, 4));
        assert!((1.9..2.1).contains(&summary.fetch_p50_ms), "{summary:?}");
        assert!((29.0..31.0).contains(&summary.fetch_p95_ms), "{summary:?}");
        assert!(summary.to_string().contains("failed      2  (http_error 1, timeout 1)"), "{summary}");
    }
}
