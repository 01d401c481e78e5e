//! The summary: what a worker has done. It counts what is durable.

use std::collections::BTreeMap;
use std::fmt;

use fetchline_store::Outcome;
use serde::Serialize;

/// What a worker has done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Rows with outcome `ok`.
    pub ok: u64,
    /// Rows with outcome `unchanged`.
    pub unchanged: u64,
    /// Rows with any other outcome.
    pub failed: u64,
    /// Rows by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Rows that were committed.
    pub rows: u64,
    /// Failed attempts that were retried.
    pub retried: u64,
    /// Deferrals, which cost no attempt. A task may be deferred several times.
    pub parked: u64,
    /// Messages that are not tasks and became dead letters.
    pub dead: u64,
    /// From the first delivery to the last commit, in seconds.
    pub seconds: f64,
    /// Rows per second.
    pub urls_per_second: f64,
    /// The median duration of fetches, in milliseconds.
    pub fetch_p50_ms: f64,
    /// The 95th percentile of the duration of fetches, in milliseconds.
    pub fetch_p95_ms: f64,
    /// The peak resident memory of the process, in bytes; `None` where the system does not report
    /// it.
    pub peak_memory_bytes: Option<u64>,
}

/// The peak resident memory in bytes (on Linux: `VmHWM` of proc(5), in KiB).
pub(super) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ok          {}", self.ok)?;
        if self.unchanged > 0 {
            writeln!(f, "unchanged   {}", self.unchanged)?;
        }
        write!(f, "failed      {}", self.failed)?;
        let failed = self.outcomes.iter().filter(|(word, _)| !Outcome::is_success_word(word));
        for (index, (outcome, rows)) in failed.enumerate() {
            write!(f, "{}{outcome} {rows}", if index == 0 { "  (" } else { ", " })?;
        }
        writeln!(f, "{}", if self.failed > 0 { ")" } else { "" })?;
        writeln!(f, "rows        {}", self.rows)?;
        if self.retried > 0 {
            writeln!(f, "retried     {} (failed attempts)", self.retried)?;
        }
        if self.parked > 0 {
            writeln!(f, "deferred    {} (to a delay queue; costs no attempt)", self.parked)?;
        }
        if self.dead > 0 {
            writeln!(f, "not a task  {} (see the dead letters)", self.dead)?;
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
