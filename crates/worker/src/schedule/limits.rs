//! Host limits: of one host (`shop.example`), of a suffix (`*.myshopify.example`), of all hosts (`*`). A request takes
//! a slot of each that matches.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fetchline_store::HostLimit;
use slab::Slab;
use tokio::time::Instant;

use super::deferral::Allotments;
use super::frontier::Turn;
use super::host_queue::SendRate;
use super::pacer::Pacer;

/// Requests are sent a twentieth further apart than a limit asks: a slot is used some milliseconds late where a machine
/// is busy, and a host counts what arrives.
const MARGIN: f64 = 1.05;
/// What is slower than this is a pause.
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);
/// The pattern of all hosts.
const ALL_HOSTS: &str = "*";

/// What limits the hosts of a pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limit {
    /// The least time from one request to the next, over all workers.
    pub(crate) interval: Option<Duration>,
    /// Whether an operator has paused them.
    pub(crate) paused: bool,
    /// Nothing is sent before.
    pub(crate) cools_until: Option<Instant>,
}

impl Limit {
    /// What the database says.
    pub(crate) fn of(limit: &HostLimit, now: Instant) -> Self {
        Self {
            interval: limit.interval().map(with_margin),
            paused: limit.paused,
            cools_until: limit.cool_down.map(|wait| now + wait),
        }
    }

    /// Whether it limits anything.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.interval.is_some() || self.paused || self.cools_until.is_some_and(|until| until > now)
    }

    /// Nothing is sent until then; what holds besides stays.
    pub(crate) fn cool_down(&mut self, until: Instant) {
        self.cools_until = self.cools_until.max(Some(until));
    }

    /// So much time has to lie between requests; more stays more.
    pub(crate) fn space_out(&mut self, delay: Duration) {
        self.interval = self.interval.max(Some(with_margin(delay)));
    }
}

fn with_margin(interval: Duration) -> Duration {
    interval.min(LONGEST_INTERVAL).mul_f64(MARGIN)
}

/// Whether a request may be sent now, as far as one limit is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clearance {
    /// It may.
    Now,
    /// Not before then.
    At(Instant),
    /// It needs a slot, and none is reserved.
    NoSlot,
    /// Nothing is sent for so long; `Duration::MAX` for a pause, whose end is not known.
    HeldOff(Duration),
}

/// A limit, and who waits for it.
#[derive(Debug)]
pub(crate) struct LimitState {
    pub(crate) pattern: Arc<str>,
    pub(crate) limit: Limit,
    pub(crate) pacer: Pacer,
    /// Tasks that wait at hosts which it limits.
    pub(crate) queued: usize,
    /// Hosts whose next task waits for this limit.
    pub(crate) waiting: BTreeSet<Turn>,
    /// When to look at those who wait; the frontier's heap holds it, too.
    pub(crate) timer: Option<Instant>,
    /// Whether a reservation is under way.
    pub(crate) reserving: bool,
    /// Slots are not asked for before: there was none, or the database did not answer.
    pub(crate) not_before: Option<Instant>,
    pub(crate) sent: SendRate,
    pub(crate) allotments: Allotments,
}

impl LimitState {
    /// A request is sent.
    pub(crate) fn take(&mut self, now: Instant) {
        self.pacer.take(now);
        self.sent.count(now);
    }

    fn new(pattern: Arc<str>, now: Instant) -> Self {
        Self {
            pattern,
            limit: Limit::default(),
            pacer: Pacer::default(),
            queued: 0,
            waiting: BTreeSet::new(),
            timer: None,
            reserving: false,
            not_before: None,
            sent: SendRate::new(now),
            allotments: Allotments::default(),
        }
    }

    /// Whether a request may be sent. What waits for longer than `patience` is held off.
    pub(crate) fn clearance(&mut self, now: Instant, patience: Duration) -> Clearance {
        let Limit { interval, paused, cools_until } = self.limit;
        if paused {
            return Clearance::HeldOff(Duration::MAX);
        }
        if let Some(until) = cools_until.filter(|until| *until > now) {
            let wait = until - now;
            return if wait > patience { Clearance::HeldOff(wait) } else { Clearance::At(until) };
        }
        let Some(interval) = interval else { return Clearance::Now };
        self.pacer.set_interval(interval);
        match self.pacer.next(now) {
            Some(slot) if slot <= now => Clearance::Now,
            Some(slot) => Clearance::At(slot),
            None => match self.not_before.filter(|then| *then > now) {
                Some(then) => Clearance::At(then),
                None => Clearance::NoSlot,
            },
        }
    }
}

/// The limits that this worker knows of.
#[derive(Debug, Default)]
pub(crate) struct LimitTable {
    by_pattern: HashMap<Arc<str>, usize>,
    states: Slab<LimitState>,
    /// How many patterns are suffixes: most fleets have none, and each label of a name would be looked up.
    suffixes: usize,
}

impl LimitTable {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_pattern.is_empty()
    }

    pub(crate) fn get(&self, id: usize) -> &LimitState {
        &self.states[id]
    }

    pub(crate) fn get_mut(&mut self, id: usize) -> &mut LimitState {
        &mut self.states[id]
    }

    /// The number of a pattern's limit.
    pub(crate) fn find(&self, pattern: &str) -> Option<usize> {
        self.by_pattern.get(pattern).copied()
    }

    /// The numbers of all limits.
    pub(crate) fn ids(&self) -> Vec<usize> {
        self.by_pattern.values().copied().collect()
    }

    /// Adds a limit that limits nothing yet; its number.
    pub(crate) fn add(&mut self, pattern: Arc<str>, now: Instant) -> usize {
        self.suffixes += usize::from(is_suffix(&pattern));
        let id = self.states.insert(LimitState::new(pattern.clone(), now));
        self.by_pattern.insert(pattern, id);
        id
    }

    /// Removes a limit.
    pub(crate) fn remove(&mut self, id: usize) {
        let state = self.states.remove(id);
        self.suffixes -= usize::from(is_suffix(&state.pattern));
        self.by_pattern.remove(&state.pattern);
    }

    /// The limits that match a host: its own first, that of all hosts last. A request that has to wait waits for the
    /// first that does not let it pass, so those who wait for a wider limit have passed the narrower ones.
    pub(crate) fn matching(&self, host: &str) -> Box<[usize]> {
        if self.is_empty() {
            return Box::default();
        }
        let mut found: Vec<usize> = self.find(host).into_iter().collect();
        if self.suffixes > 0 {
            let name = host.rsplit_once(':').filter(|_| !host.ends_with(']')).map_or(host, |(name, _)| name);
            let dots = name.match_indices('.').map(|(at, _)| at);
            found.extend(dots.filter_map(|at| self.find(&format!("*{}", &name[at..]))));
        }
        found.extend(self.find(ALL_HOSTS));
        found.into()
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
    use super::*;

    #[test]
    fn a_request_is_limited_by_its_host_by_each_suffix_and_by_what_holds_for_all() {
        let mut table = LimitTable::default();
        assert!(table.matching("a.shop.example").is_empty());
        let ids = ["a.shop.example", "*.shop.example", "*.example", "*"]
            .map(|pattern| table.add(pattern.into(), Instant::now()));
        assert_eq!(*table.matching("a.shop.example"), ids);
        assert_eq!(*table.matching("a.shop.example:8443"), ids[1..], "a port is another host, of the same name");
        assert_eq!(*table.matching("shop.example"), ids[2..], "a suffix is what stands behind a dot");
        assert_eq!(*table.matching("myshop.example"), ids[2..]);
        assert_eq!(*table.matching("[2001:db8::1]:80"), ids[3..]);
        table.remove(ids[1]);
        assert_eq!(*table.matching("a.shop.example"), [ids[0], ids[2], ids[3]]);
    }

    #[test]
    fn a_longer_cool_down_is_not_shortened_by_another_answer() {
        let (mut limit, now) = (Limit::default(), Instant::now());
        limit.cool_down(now + Duration::from_secs(60));
        limit.cool_down(now + Duration::from_secs(5));
        assert_eq!(limit.cools_until, Some(now + Duration::from_secs(60)));
        assert!(limit.holds(now) && !limit.holds(now + Duration::from_secs(61)));
    }

    #[test]
    fn requests_are_sent_a_twentieth_further_apart_than_the_rate_asks() {
        let limit = HostLimit { rate: Some(4.0), ..HostLimit::default() };
        assert_eq!(Limit::of(&limit, Instant::now()).interval, Some(Duration::from_micros(262_500)));
    }
}
