//! Host limits: of one host (`shop.example`), of a suffix (`*.myshopify.example`), or of all hosts
//! (`*`). A request takes a slot of each matching limit.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::control::split_port;
use fetchline_store::HostLimit;
use slab::Slab;
use tokio::time::Instant;

use super::rank::Rank;
use super::reserved_slots::ReservedSlots;
use super::throughput::Throughput;

/// Requests are a twentieth further apart than a limit asks: on a busy machine a slot is used some
/// milliseconds late, and a host counts arrivals.
const MARGIN: f64 = 1.05;
/// The longest interval: a slower rate counts as one request per day.
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);
/// The pattern of all hosts.
const ALL_HOSTS: &str = "*";

/// The limit of a pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limit {
    /// The minimum time between two requests, over all workers, with the margin.
    pub(crate) interval: Option<Duration>,
    /// Whether an operator has paused the hosts.
    pub(crate) paused: bool,
    /// The end of the cool-down; until then no request is sent.
    pub(crate) cools_until: Option<Instant>,
}

impl Limit {
    /// Converts a limit that was read from the database at `now`.
    pub(crate) fn of(limit: &HostLimit, now: Instant) -> Self {
        Self {
            interval: limit.interval().map(with_margin),
            paused: limit.paused,
            cools_until: limit.cool_down.map(|wait| now + wait),
        }
    }

    /// The requests per second that are allowed, without the margin; `None` without a limit.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.interval.map(|interval| MARGIN / interval.as_secs_f64())
    }

    /// Whether it limits anything.
    pub(crate) fn is_in_force(&self, now: Instant) -> bool {
        self.interval.is_some() || self.is_closed(now)
    }

    /// Whether no request is sent at all: in a pause or a cool-down.
    pub(crate) fn is_closed(&self, now: Instant) -> bool {
        self.paused || self.cools_until.is_some_and(|until| until > now)
    }

    /// Extends the cool-down.
    pub(crate) fn cool_down(&mut self, until: Instant) {
        self.cools_until = self.cools_until.max(Some(until));
    }

    /// Raises the interval to at least `delay`.
    pub(crate) fn space_out(&mut self, delay: Duration) {
        self.interval = self.interval.max(Some(with_margin(delay)));
    }
}

fn with_margin(interval: Duration) -> Duration {
    interval.min(LONGEST_INTERVAL).mul_f64(MARGIN)
}

/// Whether one limit allows a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    Granted,
    /// Granted at this moment.
    At(Instant),
    /// A slot is needed, and none is reserved.
    NeedsSlot,
    /// No request is sent for this long; `Duration::MAX` in a pause, whose end is unknown.
    HeldOff(Duration),
}

/// Whether slots are being reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reserving {
    #[default]
    Idle,
    InProgress,
    /// There was no slot, or the database did not reply: the next attempt follows at this moment.
    RetryAt(Instant),
}

impl Reserving {
    fn retry_at(self, now: Instant) -> Option<Instant> {
        match self {
            Self::RetryAt(moment) if moment > now => Some(moment),
            Self::RetryAt(_) | Self::Idle | Self::InProgress => None,
        }
    }

    /// Whether the database may be asked for slots.
    pub(crate) fn is_due(self, now: Instant) -> bool {
        self != Self::InProgress && self.retry_at(now).is_none()
    }
}

/// A limit, and the hosts that wait for it.
#[derive(Debug)]
pub(crate) struct LimitState {
    pub(crate) pattern: Arc<str>,
    pub(crate) limit: Limit,
    pub(crate) slots: ReservedSlots,
    pub(crate) reserving: Reserving,
    /// The number of tasks and requests that are queued at its hosts.
    pub(crate) queued: usize,
    /// Hosts that wait for this limit.
    pub(crate) waiting: BTreeSet<Rank>,
    /// When to check the waiting hosts. [`LimitTable`] has the same entry in its timers.
    timer: Option<Instant>,
    pub(crate) throughput: Throughput,
}

impl LimitState {
    fn new(pattern: Arc<str>, now: Instant) -> Self {
        Self {
            pattern,
            limit: Limit::default(),
            slots: ReservedSlots::default(),
            reserving: Reserving::default(),
            queued: 0,
            waiting: BTreeSet::new(),
            timer: None,
            throughput: Throughput::new(now),
        }
    }

    /// Uses a slot for a request that is sent now.
    pub(crate) fn use_slot(&mut self, now: Instant) {
        self.slots.use_next(now);
        self.throughput.sent.count(now);
    }

    /// Checks whether a request may be sent. A wait above `patience` means that it is held off.
    pub(crate) fn permission(&mut self, now: Instant, patience: Duration) -> Permission {
        let Limit { interval, paused, cools_until } = self.limit;
        if paused {
            return Permission::HeldOff(Duration::MAX);
        }
        if let Some(until) = cools_until.filter(|until| *until > now) {
            let wait = until - now;
            return if wait > patience { Permission::HeldOff(wait) } else { Permission::At(until) };
        }
        let Some(interval) = interval else { return Permission::Granted };
        self.slots.set_interval(interval);
        match self.slots.next(now) {
            Some(slot) if slot <= now => Permission::Granted,
            Some(slot) => Permission::At(slot),
            None => self.reserving.retry_at(now).map_or(Permission::NeedsSlot, Permission::At),
        }
    }
}

/// The limits that this worker knows, by id.
#[derive(Debug, Default)]
pub(crate) struct LimitTable {
    by_pattern: HashMap<Arc<str>, usize>,
    states: Slab<LimitState>,
    /// The number of suffix patterns. Most fleets have none, and then no label of a host name has
    /// to be looked up.
    suffixes: usize,
    /// When to check which limit.
    timers: BTreeSet<(Instant, usize)>,
    /// Limits to check: their slots or their waiting hosts have changed.
    unchecked: BTreeSet<usize>,
}

impl Index<usize> for LimitTable {
    type Output = LimitState;

    fn index(&self, id: usize) -> &LimitState {
        &self.states[id]
    }
}

impl IndexMut<usize> for LimitTable {
    fn index_mut(&mut self, id: usize) -> &mut LimitState {
        &mut self.states[id]
    }
}

impl LimitTable {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_pattern.is_empty()
    }

    /// The id of a pattern's limit.
    pub(crate) fn find(&self, pattern: &str) -> Option<usize> {
        self.by_pattern.get(pattern).copied()
    }

    pub(crate) fn ids(&self) -> Vec<usize> {
        self.states.iter().map(|(id, _)| id).collect()
    }

    /// Adds a limit and returns its id.
    pub(crate) fn add(&mut self, pattern: Arc<str>, limit: Limit, now: Instant) -> usize {
        self.suffixes += usize::from(is_suffix(&pattern));
        let id = self.states.insert(LimitState { limit, ..LimitState::new(pattern.clone(), now) });
        self.by_pattern.insert(pattern, id);
        id
    }

    pub(crate) fn remove(&mut self, id: usize) {
        let state = self.states.remove(id);
        self.suffixes -= usize::from(is_suffix(&state.pattern));
        self.by_pattern.remove(&state.pattern);
        if let Some(timer) = state.timer {
            self.timers.remove(&(timer, id));
        }
        self.unchecked.remove(&id);
    }

    /// Returns the ids of the limits that match a host: its own first, that of all hosts last. A
    /// host waits for the first limit that does not grant its request, so hosts that wait for a
    /// wider limit have passed the narrower ones.
    pub(crate) fn matching(&self, host: &str) -> Box<[usize]> {
        if self.is_empty() {
            return Box::default();
        }
        let mut found: Vec<usize> = self.find(host).into_iter().collect();
        if self.suffixes > 0 {
            let (name, _) = split_port(host);
            let dots = name.match_indices('.').map(|(at, _)| at);
            found.extend(dots.filter_map(|at| self.find(&format!("*{}", &name[at..]))));
        }
        found.extend(self.find(ALL_HOSTS));
        found.into()
    }

    /// Schedules a check of a limit. An earlier one that is scheduled already stays.
    pub(crate) fn check_at(&mut self, id: usize, moment: Instant) {
        let state = &mut self.states[id];
        if state.timer.is_some_and(|timer| timer <= moment) {
            return;
        }
        if let Some(before) = state.timer.replace(moment) {
            self.timers.remove(&(before, id));
        }
        self.timers.insert((moment, id));
    }

    /// Schedules a check of a limit as soon as possible.
    pub(crate) fn check_soon(&mut self, id: usize) {
        self.unchecked.insert(id);
    }

    /// Turns one timer that has expired into a check; returns whether there was one.
    pub(crate) fn expire_timer(&mut self, now: Instant) -> bool {
        let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) else {
            return false;
        };
        self.timers.remove(&(at, id));
        self.states[id].timer = None;
        self.unchecked.insert(id);
        true
    }

    /// Returns a limit that has to be checked.
    pub(crate) fn next_check(&mut self) -> Option<usize> {
        self.unchecked.pop_first()
    }

    /// Returns when the next timer expires.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }
}

/// Whether a pattern may match more than one host.
pub(crate) fn is_wide(pattern: &str) -> bool {
    pattern.starts_with('*')
}

fn is_suffix(pattern: &str) -> bool {
    pattern.starts_with("*.")
}

#[cfg(test)]
mod tests {
    use fetchline_queue::control::covers;

    use super::*;

    #[test]
    fn a_request_needs_the_limit_of_its_host_of_each_suffix_and_of_all_hosts() {
        let mut table = LimitTable::default();
        assert!(table.matching("a.shop.example").is_empty());
        let ids = ["a.shop.example", "*.shop.example", "*.example", "*"]
            .map(|pattern| table.add(pattern.into(), Limit::default(), Instant::now()));
        assert_eq!(*table.matching("a.shop.example"), ids);
        assert_eq!(
            *table.matching("a.shop.example:8443"),
            ids[1..],
            "a host with a port is another host with the same name"
        );
        assert_eq!(*table.matching("shop.example"), ids[2..], "a suffix follows a dot");
        assert_eq!(*table.matching("myshop.example"), ids[2..]);
        assert_eq!(*table.matching("[2001:db8::1]:80"), ids[3..]);
        table.remove(ids[1]);
        assert_eq!(*table.matching("a.shop.example"), [ids[0], ids[2], ids[3]]);
    }

    #[test]
    fn the_limits_of_a_host_are_those_whose_patterns_cover_it() {
        let hosts = ["shop.example", "a.shop.example", "myshop.example", "10.0.0.1", "[::1]"];
        let patterns = ["*", "*.example", "*.shop.example"].into_iter().map(str::to_owned);
        let hosts: Vec<String> =
            hosts.iter().flat_map(|host| [(*host).to_owned(), format!("{host}:81")]).collect();
        let mut table = LimitTable::default();
        let limits = patterns.chain(hosts.clone()).map(|pattern| {
            (table.add(pattern.as_str().into(), Limit::default(), Instant::now()), pattern)
        });
        let limits: Vec<_> = limits.collect();
        for host in &hosts {
            let matching = table.matching(host);
            for (id, pattern) in &limits {
                assert_eq!(matching.contains(id), covers(pattern, host), "{pattern} {host}");
            }
        }
    }

    #[test]
    fn another_answer_does_not_shorten_a_cool_down() {
        let (mut limit, now) = (Limit::default(), Instant::now());
        limit.cool_down(now + Duration::from_secs(60));
        limit.cool_down(now + Duration::from_secs(5));
        assert_eq!(limit.cools_until, Some(now + Duration::from_secs(60)));
        assert!(limit.is_in_force(now) && !limit.is_in_force(now + Duration::from_secs(61)));
    }

    #[test]
    fn requests_are_a_twentieth_further_apart_than_the_rate_asks() {
        let limit = HostLimit { rate: Some(4.0), ..HostLimit::default() };
        let limit = Limit::of(&limit, Instant::now());
        assert_eq!(limit.interval, Some(Duration::from_micros(262_500)));
        assert!(limit.rate().is_some_and(|rate| (rate - 4.0).abs() < 1e-6), "{:?}", limit.rate());
    }
}
