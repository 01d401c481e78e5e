//! Which task is fetched next: a queue per host, hosts in the order of their next request, and a count of free places,
//! as in crawlers since Mercator (Heydon and Najork, 1999).
//!
//! Plain data: no locks, no runtime, and the time is an argument. An event changes it ([`Frontier::push`],
//! [`Frontier::ended`] …), and [`Frontier::next`] then says, one by one, what is to be done. Every item that is pushed
//! leaves in exactly one [`Action`].
//!
//! A host is *ready* when a free place of the worker is all that its next task needs. Ready hosts take turns, those of
//! higher priority first. A host that is *blocked* waits for one of its own fetches to end, or for a limit, and costs
//! nothing until then: a limit wakes as many of those who wait for it as it has slots.

mod limited;
mod overflow;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{DeferReason, Tier};
use slab::Slab;
use tokio::time::Instant;

use super::deferral::Deferral;
use super::host_queue::{Entry, HostQueue, Standing};
use super::limits::{Clearance, Limit, LimitTable, is_wide};
use super::pacer::Wanted;

/// A place in the order of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    priority: Reverse<u8>,
    /// `false` first: a slot does not keep.
    unlimited: bool,
    number: u64,
    host: usize,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action<T> {
    /// Begin to fetch. The host's number is for [`Frontier::ended`].
    Start { item: T, host: usize },
    /// It waits in a delay queue of the broker.
    Defer { item: T, tier: Tier, reason: DeferReason },
    /// The host is sent nothing for so long, and this cannot be deferred.
    Deny { item: T, wait: Duration },
    /// Another worker may have it.
    Requeue { item: T },
    /// Reserve slots of a limit; [`Frontier::reserved`] takes the answer.
    Reserve { pattern: Arc<str>, wanted: Wanted },
}

/// How many tasks wait, by what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// One of the fetches at their host to end.
    pub(crate) host: usize,
    /// A limit.
    pub(crate) rate: usize,
    /// A free place of the worker.
    pub(crate) concurrency: usize,
}

/// What came of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reservation {
    /// The slots are ours; this is the first.
    From(Instant),
    /// Nothing was reserved; ask again after this long.
    Later(Duration),
}

/// What free places of the worker do not help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Blocked {
    tasks: usize,
    /// Hosts where as many fetches are under way as there may be, and limits that hosts wait for.
    bottlenecks: usize,
}

/// The frontier. `T` is a task, or somebody in the middle of a fetch who wants to send one more request.
#[derive(Debug)]
pub(crate) struct Frontier<T> {
    hosts: Slab<HostQueue<T>>,
    by_name: HashMap<Arc<str>, usize>,
    limits: LimitTable,
    /// Hosts that need nothing but a free place.
    ready: BTreeSet<Turn>,
    /// When to look at which limit.
    timers: BTreeSet<(Instant, usize)>,
    /// Limits to look at: slots may have come or gone.
    unsure: BTreeSet<usize>,
    actions: VecDeque<Action<T>>,
    turns: u64,
    places: usize,
    used: usize,
    per_host: usize,
    /// How many messages this worker may hold.
    capacity: usize,
    /// This worker's share of the messages that the broker has ready, as far as is known.
    backlog: usize,
    blocked: Blocked,
    /// What would have to wait for longer than this until its host is sent anything is held off.
    patience: Duration,
    deferral: Deferral,
    /// Whether tasks start: not while the database is away.
    open: bool,
    /// Whether tasks are accepted: not while paused, nor once the worker stops.
    accepting: bool,
}

impl<T> Frontier<T> {
    /// `places` fetches at once in all, and `per_host` at one host.
    pub(crate) fn new(places: usize, per_host: usize, capacity: usize, patience: Duration, deferral: Deferral) -> Self {
        Self {
            hosts: Slab::new(),
            by_name: HashMap::new(),
            limits: LimitTable::default(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            unsure: BTreeSet::new(),
            actions: VecDeque::new(),
            turns: 0,
            places,
            used: 0,
            per_host,
            capacity,
            backlog: 0,
            blocked: Blocked::default(),
            patience,
            deferral,
            open: true,
            accepting: true,
        }
    }

    // Events.

    /// Something wants to be fetched from a host.
    pub(crate) fn push(&mut self, host: &str, entry: Entry<T>, now: Instant) {
        let is_task = entry.deferrals.is_some();
        if !self.accepting {
            // What was begun is finished with what it has, where nothing limits the host.
            let unlimited = !is_task && self.limits.matching(host).is_empty();
            return match unlimited {
                true => self.start_anyway(host, entry.item, now),
                false => self.actions.push_back(Action::Requeue { item: entry.item }),
            };
        }
        let id = self.host(host, now);
        if self.hosts[id].len() == 0 {
            self.hosts[id].turn = self.next_turn();
        }
        self.count_queued(id, 1);
        self.hosts[id].push(entry, now);
        self.stand(id, now);
        if is_task {
            self.defer_overflow(id, now);
        }
    }

    /// A fetch at the host has ended, or goes on at another one.
    pub(crate) fn ended(&mut self, host: usize, now: Instant) {
        self.used -= 1;
        self.hosts[host].in_flight -= 1;
        if self.hosts[host].standing == Standing::AtCap || self.hosts[host].is_over(now) {
            self.stand(host, now);
        }
    }

    /// Takes what came of [`Action::Reserve`], asked for at `asked`.
    pub(crate) fn reserved(&mut self, pattern: &str, wanted: Wanted, came: Reservation, asked: Instant, now: Instant) {
        let Some(id) = self.limits.find(pattern) else { return };
        let state = self.limits.get_mut(id);
        state.reserving = false;
        match came {
            Reservation::From(first) => state.pacer.reserved(first, wanted, asked, now),
            Reservation::Later(wait) => {
                state.pacer.answered(asked, now);
                state.not_before = Some(now + wait);
            }
        }
        self.unsure.insert(id);
    }

    /// Limits have changed; what limits nothing is none.
    pub(crate) fn set_limits(&mut self, changes: impl IntoIterator<Item = (Arc<str>, Limit)>, now: Instant) {
        let mut wide = false;
        for (pattern, limit) in changes {
            if !self.set_limit(&pattern, limit, now) {
                continue;
            }
            match is_wide(&pattern) {
                true => wide = true,
                false => _ = self.by_name.get(&pattern).copied().map(|id| self.match_limits(id, now)),
            }
        }
        if wide {
            self.ids().into_iter().for_each(|id| self.match_limits(id, now));
        }
    }

    /// Changes what limits a single host, beside what the database has said so far.
    pub(crate) fn change_limit(&mut self, host: &str, change: impl FnOnce(&mut Limit), now: Instant) {
        let mut limit = self.limit(host).unwrap_or_default();
        change(&mut limit);
        self.set_limits([(host.into(), limit)], now);
    }

    /// So many fetches at once, from now on. What is under way goes on.
    pub(crate) fn set_places(&mut self, places: usize) {
        self.places = places;
    }

    /// This worker may hold so many messages; how many it could before.
    pub(crate) fn set_capacity(&mut self, capacity: usize) -> usize {
        std::mem::replace(&mut self.capacity, capacity)
    }

    /// The broker has so many messages ready for this worker, if each takes its share.
    pub(crate) fn set_backlog(&mut self, backlog: usize, now: Instant) {
        self.backlog = backlog;
        self.defer_overflows(now);
    }

    /// Whether tasks start.
    pub(crate) fn set_open(&mut self, open: bool) {
        if open && !std::mem::replace(&mut self.open, open) {
            self.void_slots();
        }
        self.open = open;
    }

    /// Whether tasks are accepted. When not, all that waits is requeued.
    pub(crate) fn set_accepting(&mut self, accepting: bool, now: Instant) {
        if accepting == std::mem::replace(&mut self.accepting, accepting) {
            return;
        }
        match accepting {
            true => self.void_slots(),
            false => self.requeue_where(|_| true, now),
        }
    }

    /// Requeues what fits.
    pub(crate) fn requeue_where(&mut self, fits: impl FnMut(&T) -> bool, now: Instant) {
        for item in self.take_where(fits, now) {
            self.actions.push_back(Action::Requeue { item });
        }
    }

    /// Takes out what fits; it leaves in no action.
    pub(crate) fn take_where(&mut self, mut fits: impl FnMut(&T) -> bool, now: Instant) -> Vec<T> {
        let mut taken = Vec::new();
        for id in self.ids() {
            let entries = self.hosts[id].take_where(&mut fits);
            if !entries.is_empty() {
                self.count_gone(id, entries.len());
                taken.extend(entries.into_iter().map(|entry| entry.item));
                self.stand(id, now);
            }
        }
        taken
    }

    /// Once a second: limits that are over are forgotten, and what holds too much is deferred.
    pub(crate) fn tick(&mut self, now: Instant) {
        let over = |id: &usize| !self.limits.get(*id).limit.holds(now);
        let over = self.limits.ids().into_iter().filter(over).map(|id| self.limits.get(id).pattern.clone());
        let over: Vec<_> = over.map(|pattern| (pattern, Limit::default())).collect();
        self.set_limits(over, now);
        for id in self.ids() {
            if self.hosts[id].is_over(now) {
                self.stand(id, now);
            }
        }
        self.defer_overflows(now);
        self.defer_old(now);
    }

    // What comes of them.

    /// What is to be done next; `None` when it is to be waited for an event, or for [`Self::wakes_at`].
    pub(crate) fn next(&mut self, now: Instant) -> Option<Action<T>> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
                self.timers.remove(&(at, id));
                self.limits.get_mut(id).timer = None;
                self.unsure.insert(id);
            } else if let Some(turn) = self.next_ready() {
                self.start(turn.host, now);
            } else {
                let id = self.unsure.pop_first()?;
                self.wake(id, now);
                self.ask_for_slots(id, now);
            }
        }
    }

    /// When [`Self::next`] may have something to do though nothing happens.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What limits a pattern.
    pub(crate) fn limit(&self, pattern: &str) -> Option<Limit> {
        self.limits.find(pattern).map(|id| self.limits.get(id).limit)
    }

    /// Whether any host is limited.
    pub(crate) fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// A host that is fetched from, by its number.
    pub(crate) fn host_mut(&mut self, id: usize) -> &mut HostQueue<T> {
        &mut self.hosts[id]
    }

    /// Fetches that are under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.used
    }

    /// How many wait, by what for.
    pub(crate) fn waiting(&self) -> Waiting {
        let mut waiting = Waiting::default();
        for (_, host) in &self.hosts {
            match host.standing {
                Standing::Idle => {}
                Standing::AtCap => waiting.host += host.len(),
                Standing::Limited(..) => waiting.rate += host.len(),
                Standing::Ready(_) => waiting.concurrency += host.len(),
            }
        }
        waiting
    }

    // Hosts and their standing.

    fn ids(&self) -> Vec<usize> {
        self.hosts.iter().map(|(id, _)| id).collect()
    }

    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn host(&mut self, name: &str, now: Instant) -> usize {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let (name, limits): (Arc<str>, _) = (name.into(), self.limits.matching(name));
        let id = self.hosts.insert(HostQueue::new(name.clone(), limits, now));
        self.by_name.insert(name, id);
        id
    }

    /// Tasks have come to a host.
    fn count_queued(&mut self, id: usize, tasks: usize) {
        for limit in &self.hosts[id].limits {
            self.limits.get_mut(*limit).queued += tasks;
            self.unsure.insert(*limit);
        }
        if self.hosts[id].standing.is_blocked() {
            self.blocked.tasks += tasks;
        }
    }

    /// Tasks have left a host.
    fn count_gone(&mut self, id: usize, tasks: usize) {
        for limit in &self.hosts[id].limits {
            self.limits.get_mut(*limit).queued -= tasks;
        }
        if self.hosts[id].standing.is_blocked() {
            self.blocked.tasks -= tasks;
        }
    }

    /// Finds out what the host's next task waits for, and puts the host where it is found then. A host that is not
    /// needed any more is forgotten.
    fn stand(&mut self, id: usize, now: Instant) {
        self.set_standing(id, Standing::Idle);
        if self.hosts[id].is_over(now) {
            let host = self.hosts.remove(id);
            self.by_name.remove(&host.name);
            return;
        }
        let Some(priority) = self.hosts[id].priority() else { return };
        let host = &self.hosts[id];
        let (at_cap, unlimited) = (host.in_flight >= self.per_host, host.limits.is_empty());
        let turn = Turn { priority: Reverse(priority), unlimited, number: host.turn, host: id };
        match self.obstacle(id, now) {
            Some((_, Clearance::HeldOff(wait))) => self.hold_off(id, wait, now),
            _ if at_cap => self.set_standing(id, Standing::AtCap),
            None => self.set_standing(id, Standing::Ready(turn)),
            Some((limit, clearance)) => {
                self.set_standing(id, Standing::Limited(limit, turn));
                if let Clearance::At(then) = clearance {
                    self.set_timer(limit, then);
                }
            }
        }
    }

    /// The first limit that does not let a request to the host pass, but before it one that holds the host off.
    fn obstacle(&mut self, id: usize, now: Instant) -> Option<(usize, Clearance)> {
        let mut first = None;
        for limit in &self.hosts[id].limits {
            let clearance = self.limits.get_mut(*limit).clearance(now, self.patience);
            match clearance {
                Clearance::Now => continue,
                Clearance::HeldOff(_) => return Some((*limit, clearance)),
                // All that are missing are asked for at once, so that they come at about the same time.
                Clearance::NoSlot => _ = self.unsure.insert(*limit),
                Clearance::At(_) => {}
            }
            first.get_or_insert((*limit, clearance));
        }
        first
    }

    fn set_standing(&mut self, id: usize, standing: Standing) {
        let host = &mut self.hosts[id];
        let (before, tasks) = (std::mem::replace(&mut host.standing, standing), host.len());
        match before {
            Standing::Ready(turn) => {
                self.ready.remove(&turn);
                // Hosts that wait for the slot that it had, or the one after it, are next.
                self.unsure.extend(self.hosts[id].limits.iter());
            }
            Standing::Limited(limit, turn) => {
                let waiting = &mut self.limits.get_mut(limit).waiting;
                waiting.remove(&turn);
                self.blocked.bottlenecks -= usize::from(waiting.is_empty());
            }
            Standing::AtCap => self.blocked.bottlenecks -= 1,
            Standing::Idle => {}
        }
        match standing {
            Standing::Ready(turn) => _ = self.ready.insert(turn),
            Standing::Limited(limit, turn) => {
                let waiting = &mut self.limits.get_mut(limit).waiting;
                self.blocked.bottlenecks += usize::from(waiting.is_empty());
                waiting.insert(turn);
            }
            Standing::AtCap => self.blocked.bottlenecks += 1,
            Standing::Idle => {}
        }
        self.blocked.tasks -= if before.is_blocked() { tasks } else { 0 };
        self.blocked.tasks += if standing.is_blocked() { tasks } else { 0 };
    }

    // Starting.

    fn next_ready(&self) -> Option<Turn> {
        let free = self.open && self.used < self.places;
        self.ready.first().copied().filter(|_| free)
    }

    /// Starts the next task of a host that was ready, unless another host has taken its slot since.
    fn start(&mut self, id: usize, now: Instant) {
        if self.obstacle(id, now).is_some() {
            return self.stand(id, now);
        }
        let turn = self.next_turn();
        let Some(entry) = self.hosts[id].pop() else { return self.stand(id, now) };
        // The host is ready, so nothing of it counts as blocked.
        self.count_gone(id, 1);
        for at in 0..self.hosts[id].limits.len() {
            let limit = self.hosts[id].limits[at];
            self.limits.get_mut(limit).take(now);
        }
        self.begin(id, entry.item, now);
        self.hosts[id].turn = turn;
        self.stand(id, now);
    }

    fn begin(&mut self, id: usize, item: T, now: Instant) {
        self.used += 1;
        self.hosts[id].in_flight += 1;
        self.hosts[id].sent.count(now);
        self.actions.push_back(Action::Start { item, host: id });
    }

    /// Begins without a place: it goes on with what it had.
    fn start_anyway(&mut self, host: &str, item: T, now: Instant) {
        let id = self.host(host, now);
        self.begin(id, item, now);
    }
}
