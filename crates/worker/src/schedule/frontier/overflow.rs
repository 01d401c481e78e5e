//! What the frontier does not hold: tasks of hosts that get no requests, and of hosts with too many
//! tasks.

use std::collections::VecDeque;
use std::time::Duration;

use fetchline_queue::DeferReason;
use tokio::time::Instant;

use super::super::host_queue::{HostStatus, QueuedTask};
use super::{Action, Denied, Frontier};

/// A task does not wait in this worker for longer: the broker redelivers what is unacked for 30
/// minutes.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(8 * 60);
/// A bottleneck may hold as many tasks as pass it before deferred ones return, times this factor,
/// because these return all at once.
const SPARE: f64 = 1.5;
/// Nothing is deferred if the whole backlog passes its bottleneck within this many times the
/// shortest delay: other tasks may wait for as long, and a bottleneck whose tasks are deferred may
/// stand idle.
const WORTH_DEFERRING: f64 = 4.0;

impl<T, R> Frontier<T, R> {
    /// Empties the queue of a host that gets no request for `wait`.
    pub(super) fn hold_off(&mut self, id: usize, wait: Duration, now: Instant) {
        let reason = if wait == Duration::MAX { DeferReason::Pause } else { DeferReason::Slot };
        self.deny_requests(id, Denied::RetryAfter(wait, reason));
        for queued in self.drain_tasks(id) {
            let tier = self.deferral.for_wait(wait, queued.deferrals);
            self.actions.push_back(Action::Defer { task: queued.task, tier, reason });
        }
        self.update_status(id, now);
    }

    /// Denies all requests that wait for a host. The caller updates the host's status.
    pub(super) fn deny_requests(&mut self, id: usize, denied: Denied) {
        let requests = self.hosts[id].drain_requests();
        self.count_removed(id, requests.len());
        let denials = requests.into_iter().map(|request| Action::Deny { request, denied });
        self.actions.extend(denials);
    }

    /// Removes all tasks of a host. The caller updates the host's status.
    pub(super) fn drain_tasks(&mut self, id: usize) -> VecDeque<QueuedTask<T>> {
        let tasks = self.hosts[id].drain_tasks();
        self.count_removed(id, tasks.len());
        tasks
    }

    /// Defers what exceeds the share of any bottleneck.
    pub(super) fn defer_overflows(&mut self, now: Instant) {
        for id in self.hosts.ids() {
            self.defer_overflow(id, now);
        }
    }

    /// Defers the last tasks of a blocked host whose bottleneck holds too many. A limit of many
    /// hosts is one bottleneck.
    ///
    /// Nothing is deferred while only free places are missing, since the worker is busy then, or
    /// if the whole backlog passes the bottleneck soon.
    pub(super) fn defer_overflow(&mut self, id: usize, now: Instant) {
        let Some((held, rate)) = self.bottleneck(id, now) else { return };
        let shortest = self.deferral.shortest().as_secs_f64();
        let seconds_to_pass = (held + self.load.backlog) as f64 / rate;
        let clogs = self.is_clogged() && seconds_to_pass > WORTH_DEFERRING * shortest;
        let in_time = (rate * LONGEST_WAIT.as_secs_f64()).ceil() as usize;
        let most = if clogs { self.share(rate * shortest).min(in_time) } else { in_time };
        for _ in most..held {
            let Some(task) = self.hosts[id].pop_last_task() else { break };
            self.count_removed(id, 1);
            self.defer(id, task, rate, now);
        }
        if held > most {
            self.update_status(id, now);
        }
    }

    /// Defers tasks of blocked hosts that have waited for too long, whatever they wait for.
    pub(super) fn defer_old(&mut self, now: Instant) {
        let Some(moment) = now.checked_sub(LONGEST_WAIT) else { return };
        for id in self.hosts.ids() {
            let Some((_, rate)) = self.bottleneck(id, now) else { continue };
            let old = self.hosts[id].extract_tasks_before(moment);
            if !old.is_empty() {
                self.count_removed(id, old.len());
                old.into_iter().for_each(|task| self.defer(id, task, rate, now));
                self.update_status(id, now);
            }
        }
    }

    fn defer(&mut self, id: usize, task: T, rate: f64, now: Instant) {
        let throughput = match self.hosts[id].status {
            HostStatus::Limited(limit, _) => &mut self.limits[limit].throughput,
            HostStatus::AtCap | HostStatus::Ready(_) | HostStatus::Idle => {
                &mut self.hosts[id].throughput
            }
        };
        let tier = self.deferral.for_backlog(&mut throughput.allotments, rate, now);
        self.actions.push_back(Action::Defer { task, tier, reason: DeferReason::Slot });
    }

    /// Returns how many tasks wait at the bottleneck of a host, and about how many requests per
    /// second pass it; `None` if the host is not blocked. The rate of a limit is that of all
    /// workers: this one may get all slots, since the others may hold no matching task.
    fn bottleneck(&self, id: usize, now: Instant) -> Option<(usize, f64)> {
        let host = self.hosts.get(id)?;
        match host.status {
            HostStatus::AtCap => Some((host.len(), host.throughput.sent.expected(now))),
            HostStatus::Limited(limit, _) => {
                let state = &self.limits[limit];
                let allowed = state.limit.interval.map(|interval| interval.as_secs_f64().recip());
                let rate = allowed.unwrap_or_else(|| state.throughput.sent.expected(now));
                Some((state.queued, rate))
            }
            HostStatus::Idle | HostStatus::Ready(_) => None,
        }
    }

    /// Returns how many tasks a bottleneck may hold, if `passing` tasks pass it before deferred
    /// ones return.
    fn share(&self, passing: f64) -> usize {
        ((passing * SPARE) as usize).max(2 * self.places.per_host).min(self.load.share())
    }
}
