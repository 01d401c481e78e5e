//! Which task is fetched next: a queue per host, hosts in the order of their next request, and a
//! count of free places, as in crawlers since Mercator (Heydon and Najork, 1999).
//!
//! The frontier is plain data: it has no locks and no runtime, and time is an argument. Events
//! change it ([`Frontier::push_task`], [`Frontier::ended`] …); then [`Frontier::next`] returns, one
//! by one, what to do. Every task and request that is pushed leaves in exactly one [`Action`].
//!
//! A host is *ready* if its next task needs only a free place of the worker. Ready hosts take
//! turns, those with a higher priority first. A host is *blocked* if it waits for a limit or for
//! one of its own fetches to end, and costs nothing until then: a limit wakes as many of its
//! waiting hosts as it has slots.

mod action;
mod host_status;
mod host_table;
mod limit_events;
mod load;
mod overflow;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::Tier;
use tokio::time::Instant;

pub(crate) use self::action::{Action, Denied, SlotReply};
use self::host_table::HostTable;
use self::load::{Blocked, Load, Places};
pub(crate) use self::overflow::LONGEST_WAIT;
use super::deferral::Deferral;
use super::host_queue::{HostQueue, HostStatus, Next, QueuedTask};
use super::limits::LimitTable;
use super::rank::Rank;
use super::throttle::{LimitUpdate, ThrottleSignal};

/// How many tasks wait, by what they wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WaitCounts {
    /// One of the fetches at their host to end.
    pub(crate) host: usize,
    /// A limit.
    pub(crate) rate: usize,
    /// A free place of the worker.
    pub(crate) concurrency: usize,
}

/// The frontier. `T` is a task, `R` the next request of a fetch in flight.
#[derive(Debug)]
pub(crate) struct Frontier<T, R> {
    hosts: HostTable<T, R>,
    limits: LimitTable,
    /// Hosts that need only a free place.
    ready: BTreeSet<Rank>,
    places: Places,
    load: Load,
    deferral: Deferral,
    /// Whether tasks are accepted: not in a pause, and not once the worker stops.
    accepting: bool,
    actions: VecDeque<Action<T, R>>,
}

impl<T, R> Frontier<T, R> {
    /// Creates a frontier for `places` fetches in all, `per_host` fetches at one host, and
    /// `capacity` messages.
    pub(crate) fn new(places: usize, per_host: usize, capacity: usize, deferral: Deferral) -> Self {
        Self {
            hosts: HostTable::new(),
            limits: LimitTable::default(),
            ready: BTreeSet::new(),
            places: Places { limit: places, used: 0, per_host, is_open: true },
            load: Load { capacity, backlog: 0, blocked: Blocked::default() },
            deferral,
            accepting: true,
            actions: VecDeque::new(),
        }
    }

    // Events of tasks and fetches.

    /// Queues a task for a host.
    pub(crate) fn push_task(&mut self, host: &str, task: QueuedTask<T>, now: Instant) {
        if !self.accepting {
            return self.actions.push_back(Action::Requeue { task: task.task });
        }
        let id = self.enqueue(host, |queue| queue.push_task(task, now), now);
        self.defer_overflow(id, now);
    }

    /// Queues the next request of a fetch in flight. It goes before all tasks.
    pub(crate) fn push_request(&mut self, host: &str, request: R, now: Instant) {
        if self.accepting {
            self.enqueue(host, |queue| queue.push_request(request), now);
        } else if self.limits.matching(host).is_empty() {
            // A fetch that has begun finishes with the place that it had, unless a limit stops it.
            let id = self.find_or_add(host, now);
            self.use_place(id, now);
            self.actions.push_back(Action::Resume { request, host: id });
        } else {
            self.actions.push_back(Action::Deny { request, denied: Denied::Requeue });
        }
    }

    /// A fetch at the host has ended, or continues at another host.
    pub(crate) fn ended(&mut self, host: usize, now: Instant) {
        self.places.used -= 1;
        self.hosts[host].in_flight -= 1;
        if self.hosts[host].status == HostStatus::AtCap || self.hosts[host].is_over(now) {
            self.update_status(host, now);
        }
    }

    /// The host has sent a response that does not throttle.
    pub(crate) fn answered(&mut self, host: usize) {
        self.hosts[host].throttling.reset();
    }

    /// The host throttles. Returns what follows for all workers.
    pub(crate) fn throttled(
        &mut self,
        host: usize,
        signal: ThrottleSignal,
        now: Instant,
    ) -> Option<LimitUpdate> {
        let name = self.hosts[host].name.clone();
        let limit = self.limit(&name).unwrap_or_default();
        let HostQueue { throttling, throughput, .. } = &mut self.hosts[host];
        let update = throttling.record(name, signal, limit, throughput.sent.per_second(now), now);
        if let Some(LimitUpdate::CoolDown { host, wait, .. }) = &update {
            self.change_limit(host, |limit| limit.cool_down(now + *wait), now);
        }
        update
    }

    // Events of the worker and of its broker.

    /// Sets the number of places. Fetches in flight continue.
    pub(crate) fn set_places(&mut self, places: usize) {
        self.places.limit = places;
    }

    /// Sets how many messages this worker may hold, and returns how many it could before.
    pub(crate) fn set_capacity(&mut self, capacity: usize) -> usize {
        std::mem::replace(&mut self.load.capacity, capacity)
    }

    /// Sets this worker's share of the messages that the broker has ready.
    pub(crate) fn set_backlog(&mut self, backlog: usize, now: Instant) {
        self.load.backlog = backlog;
        self.defer_overflows(now);
    }

    /// Sets whether tasks start.
    pub(crate) fn set_open(&mut self, is_open: bool) {
        if is_open && !self.places.is_open {
            self.void_slots();
        }
        self.places.is_open = is_open;
    }

    /// Sets whether tasks are accepted. If not, everything that waits is requeued.
    pub(crate) fn set_accepting(&mut self, accepting: bool, now: Instant) {
        if accepting == std::mem::replace(&mut self.accepting, accepting) {
            return;
        }
        if accepting {
            return self.void_slots();
        }
        for id in self.hosts.ids() {
            self.deny_requests(id, Denied::Requeue);
            for queued in self.drain_tasks(id) {
                self.actions.push_back(Action::Requeue { task: queued.task });
            }
            self.update_status(id, now);
        }
    }

    /// Requeues the matching tasks.
    pub(crate) fn requeue_tasks(&mut self, matches: impl FnMut(&T) -> bool, now: Instant) {
        for task in self.extract_tasks(matches, now) {
            self.actions.push_back(Action::Requeue { task });
        }
    }

    /// Removes the matching tasks; they leave in no action.
    pub(crate) fn extract_tasks(
        &mut self,
        mut matches: impl FnMut(&T) -> bool,
        now: Instant,
    ) -> Vec<T> {
        let mut extracted = Vec::new();
        for id in self.hosts.ids() {
            let tasks = self.hosts[id].extract_tasks(&mut matches);
            if !tasks.is_empty() {
                self.count_removed(id, tasks.len());
                extracted.extend(tasks);
                self.update_status(id, now);
            }
        }
        extracted
    }

    /// Forgets limits that are no longer in force, and defers what exceeds the bounds. Called once
    /// a second.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.remove_expired_limits(now);
        for id in self.hosts.ids() {
            if self.hosts[id].is_over(now) {
                self.update_status(id, now);
            }
        }
        self.defer_overflows(now);
        self.defer_old(now);
    }

    // Results.

    /// Returns the next action; `None` if there is none before an event or [`Self::wakes_at`].
    pub(crate) fn next(&mut self, now: Instant) -> Option<Action<T, R>> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if self.limits.expire_timer(now) {
                continue;
            }
            if let Some(host) = self.next_ready() {
                self.start(host, now);
            } else {
                let limit = self.limits.next_check()?;
                self.wake(limit, now);
                self.request_slots(limit, now);
            }
        }
    }

    /// When [`Self::next`] may return an action although no event occurs.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.limits.next_timer()
    }

    /// How long a task waits for a host that gets no requests, before it is deferred.
    pub(crate) fn patience(&self) -> Duration {
        self.deferral.patience()
    }

    /// The delay queue of a task that may not be fetched for `wait`.
    pub(crate) fn tier_for_time(&self, wait: Duration) -> Tier {
        self.deferral.for_time(wait)
    }

    /// Whether any host is limited.
    pub(crate) fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Whether blocked tasks keep the broker from delivering others while places are free.
    pub(crate) fn is_clogged(&self) -> bool {
        self.load.is_clogged(&self.places)
    }

    /// The number of fetches in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.places.used
    }

    /// Counts what waits.
    pub(crate) fn wait_counts(&self) -> WaitCounts {
        let mut counts = WaitCounts::default();
        for host in self.hosts.iter() {
            match host.status {
                HostStatus::Idle => {}
                HostStatus::AtCap => counts.host += host.len(),
                HostStatus::Limited(..) => counts.rate += host.len(),
                HostStatus::Ready(_) => counts.concurrency += host.len(),
            }
        }
        counts
    }

    // Queueing and starting.

    fn enqueue(
        &mut self,
        host: &str,
        push: impl FnOnce(&mut HostQueue<T, R>),
        now: Instant,
    ) -> usize {
        let id = self.find_or_add(host, now);
        if self.hosts[id].is_empty() {
            self.hosts.move_to_end(id);
        }
        self.count_queued(id);
        push(&mut self.hosts[id]);
        self.update_status(id, now);
        id
    }

    fn find_or_add(&mut self, name: &str, now: Instant) -> usize {
        self.hosts.find(name).unwrap_or_else(|| {
            let limits = self.limits.matching(name);
            self.hosts.insert(HostQueue::new(Arc::from(name), limits, now))
        })
    }

    fn next_ready(&self) -> Option<usize> {
        let is_free = self.places.is_open && self.places.has_free();
        self.ready.first().filter(|_| is_free).map(|rank| rank.host)
    }

    /// Starts the next task or request of a ready host, unless another host has used its slot.
    fn start(&mut self, id: usize, now: Instant) {
        if self.first_obstacle(id, now).is_some() {
            return self.update_status(id, now);
        }
        let Some(next) = self.hosts[id].pop() else { return self.update_status(id, now) };
        // The host is ready, so it counts as unblocked.
        self.count_removed(id, 1);
        for limit in &self.hosts[id].limits {
            self.limits[*limit].use_slot(now);
        }
        self.use_place(id, now);
        self.actions.push_back(match next {
            Next::Task(task) => Action::Start { task, host: id },
            Next::Request(request) => Action::Resume { request, host: id },
        });
        self.hosts.move_to_end(id);
        self.update_status(id, now);
    }

    fn use_place(&mut self, id: usize, now: Instant) {
        self.places.used += 1;
        self.hosts[id].in_flight += 1;
        self.hosts[id].throughput.sent.count(now);
    }
}
