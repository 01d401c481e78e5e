//! The tables of hosts.

use std::cmp::Reverse;

use fetchline_store::{HostReport, Outcome, Report};

use super::chart::bar;
use super::numbers::{about_ms, at_least, count, percent};

const MAX_HOSTS: usize = 30;
const MAX_SLOWEST: usize = 10;
/// The fetches of a slow host, at least. With fewer, the 95th percentile is the longest one.
const MIN_FETCHES: u64 = 20;

/// A row of the table of hosts.
pub(super) struct Host<'a> {
    pub(super) name: &'a str,
    pub(super) rows: String,
    pub(super) ok: String,
    pub(super) failed: String,
    pub(super) failures: String,
    pub(super) bar: f64,
    pub(super) failed_percent: f64,
}

/// A row of the table of slow hosts.
pub(super) struct SlowHost<'a> {
    pub(super) name: &'a str,
    pub(super) fetches: String,
    pub(super) p50: String,
    pub(super) p95: String,
}

/// The hosts of a report, largest first.
pub(super) struct Hosts<'a> {
    by_size: Vec<(&'a str, &'a HostReport)>,
    others: &'a HostReport,
}

impl<'a> Hosts<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let mut by_size: Vec<_> = report.hosts().collect();
        by_size.sort_by_key(|(name, host)| (Reverse(host.rows), *name));
        Self { by_size, others: &report.other_hosts }
    }

    /// Explains numbers that are not exact; empty if all are.
    pub(super) fn note(&self) -> &'static str {
        match self.by_size.iter().take(MAX_HOSTS).any(|(_, host)| host.max_missing > 0) {
            true => "With this many hosts, not all are counted exactly: “≥” is a lower bound.",
            false => "",
        }
    }

    /// The largest hosts, then all others together.
    pub(super) fn table(&self) -> Vec<Host<'a>> {
        let most = self.by_size.first().map_or(0, |(_, host)| host.rows);
        let (shown, rest) = self.by_size.split_at(self.by_size.len().min(MAX_HOSTS));
        let mut hosts: Vec<_> =
            shown.iter().map(|(name, host)| Host::new(name, host, most)).collect();
        let others = rest.iter().map(|(_, host)| *host).chain([self.others]);
        let (rows, failed) =
            others.fold((0, 0), |(rows, failed), host| (rows + host.rows, failed + host.failed));
        if rows > 0 {
            hosts.push(Host {
                name: "all other hosts",
                rows: count(rows),
                ok: count(rows - failed),
                failed: count(failed),
                failures: String::new(),
                bar: 0.0,
                failed_percent: 0.0,
            });
        }
        hosts
    }

    pub(super) fn slowest(&self) -> Vec<SlowHost<'a>> {
        let mut hosts: Vec<_> =
            self.by_size.iter().filter(|(_, host)| host.fetches() >= MIN_FETCHES).collect();
        hosts.sort_by_key(|(name, host)| (Reverse(host.fetch_ms(95.0)), *name));
        let row = |(name, host): &(&'a str, &HostReport)| SlowHost {
            name,
            fetches: count(host.fetches()),
            p50: about_ms(host.fetch_ms(50.0)),
            p95: about_ms(host.fetch_ms(95.0)),
        };
        hosts.into_iter().take(MAX_SLOWEST).map(row).collect()
    }
}

impl<'a> Host<'a> {
    /// `most` is the number of rows of the largest host.
    fn new(name: &'a str, host: &HostReport, most: u64) -> Self {
        let mut failures: Vec<_> =
            host.outcomes.iter().filter(|(outcome, _)| !Outcome::is_success(outcome)).collect();
        failures.sort_by_key(|(_, rows)| Reverse(**rows));
        // No line break between an outcome and its number.
        let failures =
            failures.into_iter().map(|(outcome, rows)| format!("{outcome}\u{a0}{}", count(*rows)));
        Self {
            name,
            rows: at_least(host.rows, host.max_missing),
            ok: count(host.rows - host.failed),
            failed: count(host.failed),
            failures: failures.collect::<Vec<_>>().join(", "),
            bar: bar(host.rows, most),
            failed_percent: percent(host.failed, host.rows),
        }
    }
}
