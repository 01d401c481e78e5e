//! The promises of the frontier, by a virtual clock.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn deferral() -> Deferral {
    let tiers: Vec<Tier> = [10, 60, 600].into_iter().filter_map(|s| Tier::of(Duration::from_secs(s))).collect();
    Deferral::new(&tiers)
}

fn frontier(places: usize, per_host: usize, capacity: usize) -> Frontier<u32> {
    Frontier::new(places, per_host, capacity, 20 * SECOND, deferral())
}

fn task(item: u32) -> Entry<u32> {
    Entry { item, priority: 0, deferrals: Some(0) }
}

fn rate(per_second: f64) -> Limit {
    Limit { interval: Some(Duration::from_secs_f64(1.0 / per_second)), ..Limit::default() }
}

const PAUSED: Limit = Limit { interval: None, paused: true, cools_until: None };

/// All that is to be done now.
fn all(frontier: &mut Frontier<u32>, now: Instant) -> Vec<Action<u32>> {
    std::iter::from_fn(|| frontier.next(now)).collect()
}

/// What starts now.
fn started(frontier: &mut Frontier<u32>, now: Instant) -> Vec<u32> {
    let starts = |action| match action {
        Action::Start { item, .. } => Some(item),
        _ => None,
    };
    all(frontier, now).into_iter().filter_map(starts).collect()
}

fn deferred(actions: &[Action<u32>]) -> Vec<(u32, u64)> {
    let defers = |action: &Action<u32>| match action {
        Action::Defer { item, tier, .. } => Some((*item, tier.delay().as_secs())),
        _ => None,
    };
    actions.iter().filter_map(defers).collect()
}

#[test]
fn no_more_than_so_many_at_one_host_and_in_all() {
    let (mut frontier, now) = (frontier(3, 2, 100), Instant::now());
    for item in 0..4 {
        frontier.push("a.example", task(item), now);
        frontier.push("b.example", task(10 + item), now);
    }
    assert_eq!(started(&mut frontier, now), [0, 10, 1]);
    let a = frontier.by_name["a.example"];
    frontier.ended(a, now);
    assert_eq!(started(&mut frontier, now), [11]);
    assert_eq!(frontier.waiting(), Waiting { host: 2, rate: 0, concurrency: 2 });
}

#[test]
fn hosts_take_turns_and_a_higher_priority_goes_first() {
    let (mut frontier, now) = (frontier(0, 9, 100), Instant::now());
    for item in 0..3 {
        frontier.push("a.example", task(item), now);
    }
    frontier.push("b.example", task(10), now);
    frontier.push("b.example", Entry { priority: 9, ..task(11) }, now);
    frontier.push("c.example", task(20), now);
    let mut order = Vec::new();
    for places in 1..=6 {
        frontier.set_places(places);
        order.extend(started(&mut frontier, now));
    }
    assert_eq!(order, [11, 0, 20, 10, 1, 2]);
}

#[test]
fn a_host_that_only_waits_for_a_free_place_is_never_deferred() {
    let (mut frontier, now) = (frontier(20, 30, 100), Instant::now());
    frontier.set_backlog(100_000, now);
    for item in 0..100 {
        frontier.push("a.example", task(item), now);
    }
    assert_eq!(started(&mut frontier, now).len(), 20);
    frontier.tick(now);
    assert!(deferred(&all(&mut frontier, now)).is_empty());
}

#[test]
fn a_slow_host_leaves_room_in_the_prefetch_to_those_behind_it() {
    let (mut frontier, now) = (frontier(20, 2, 40), Instant::now());
    frontier.set_backlog(1_000, now);
    let mut away = Vec::new();
    for item in 0..1_000 {
        frontier.push("slow.example", task(item), now);
        away.extend(deferred(&all(&mut frontier, now)));
    }
    let held = frontier.waiting().host;
    assert!(held <= 30 && away.len() == 998 - held, "{held} are held, {} were deferred", away.len());
    frontier.push("other.example", task(5_000), now);
    assert_eq!(started(&mut frontier, now), [5_000]);
}

#[test]
fn a_limit_of_many_hosts_is_one_bottleneck_and_leaves_room_to_all_others() {
    let (mut frontier, now) = (frontier(100, 30, 1_100), Instant::now());
    frontier.set_limits([("*.shop.example".into(), rate(5.0))], now);
    frontier.set_backlog(20_000, now);
    let mut away = 0;
    for item in 0..5_000 {
        frontier.push(&format!("{item}.shop.example"), task(item), now);
        away += deferred(&all(&mut frontier, now)).len();
    }
    let held = frontier.waiting().rate;
    assert!(held <= 825 && away == 5_000 - held, "{held} are held, {away} were deferred");
    frontier.push("other.example", task(5_000), now);
    assert_eq!(started(&mut frontier, now), [5_000]);
}

#[test]
fn what_has_waited_for_long_is_deferred_whatever_it_waits_for() {
    let (mut frontier, now) = (frontier(2, 2, 40), Instant::now());
    frontier.set_limits([("a.example".into(), rate(0.01))], now);
    frontier.push("a.example", task(1), now);
    let Some(Action::Reserve { pattern, wanted }) = frontier.next(now) else { panic!("it needs a slot") };
    frontier.reserved(&pattern, wanted, Reservation::Later(2_000 * SECOND), now, now);
    let nearly = now + 480 * SECOND;
    frontier.tick(nearly);
    assert!(deferred(&all(&mut frontier, nearly)).is_empty());
    let later = now + 481 * SECOND;
    frontier.tick(later);
    assert_eq!(deferred(&all(&mut frontier, later)).len(), 1);
}

#[test]
fn slots_that_an_outage_kept_from_being_used_are_not_used_after_it() {
    let (mut frontier, now) = (frontier(2, 2, 40), Instant::now());
    frontier.set_limits([("a.example".into(), rate(1.0))], now);
    frontier.push("a.example", task(1), now);
    let Some(Action::Reserve { pattern, wanted }) = frontier.next(now) else { panic!("it needs a slot") };
    frontier.set_open(false);
    frontier.reserved(&pattern, wanted, Reservation::From(now), now, now);
    let later = now + SECOND;
    assert!(all(&mut frontier, later).is_empty(), "nothing is asked for either");
    frontier.set_open(true);
    assert!(matches!(all(&mut frontier, later)[..], [Action::Reserve { .. }]));
}

#[test]
fn what_a_host_is_done_with_soon_is_held() {
    let (mut frontier, now) = (frontier(20, 2, 40), Instant::now());
    frontier.set_limits([("a.example".into(), rate(20.0))], now);
    frontier.set_backlog(700, now);
    for item in 0..40 {
        frontier.push("a.example", task(item), now);
        assert!(deferred(&all(&mut frontier, now)).is_empty(), "all that there is takes 37 seconds");
    }
    frontier.set_backlog(800, now);
    assert!(!deferred(&all(&mut frontier, now)).is_empty());
}

#[test]
fn a_paused_host_holds_nothing_and_its_tasks_wait_longer_each_time() {
    let (mut frontier, now) = (frontier(2, 2, 40), Instant::now());
    for item in 0..3 {
        frontier.push("a.example", task(item), now);
    }
    assert_eq!(started(&mut frontier, now), [0, 1]);
    frontier.set_limits([("a.example".into(), PAUSED)], now);
    frontier.push("a.example", Entry { deferrals: Some(2), ..task(3) }, now);
    assert_eq!(deferred(&all(&mut frontier, now)), [(2, 600), (3, 3600)]);
    frontier.set_limits([("a.example".into(), Limit::default())], now);
    frontier.push("a.example", task(4), now);
    let a = frontier.by_name["a.example"];
    frontier.ended(a, now);
    assert_eq!(started(&mut frontier, now), [4]);
}

#[test]
fn a_host_that_cools_down_for_a_moment_is_waited_for_and_for_longer_it_is_not() {
    let (mut frontier, now) = (frontier(2, 2, 40), Instant::now());
    frontier.change_limit("a.example", |limit| limit.cool_down(now + 7 * SECOND), now);
    frontier.push("a.example", task(1), now);
    assert_eq!((started(&mut frontier, now), frontier.wakes_at()), (vec![], Some(now + 7 * SECOND)));
    assert_eq!(started(&mut frontier, now + 7 * SECOND), [1]);
    frontier.change_limit("b.example", |limit| limit.cool_down(now + 90 * SECOND), now);
    frontier.push("b.example", task(2), now);
    assert_eq!(deferred(&all(&mut frontier, now)), [(2, 60)]);
    // Who cannot be deferred is denied.
    frontier.push("b.example", Entry { deferrals: None, ..task(3) }, now);
    assert!(matches!(frontier.next(now), Some(Action::Deny { item: 3, wait }) if wait == 90 * SECOND));
}

#[test]
fn while_the_database_is_away_nothing_starts_and_a_pause_requeues_all() {
    let (mut frontier, now) = (frontier(2, 2, 40), Instant::now());
    frontier.set_open(false);
    frontier.push("a.example", task(1), now);
    assert!(all(&mut frontier, now).is_empty());
    frontier.set_open(true);
    assert_eq!(started(&mut frontier, now), [1]);
    (2..6).for_each(|item| frontier.push("a.example", task(item), now));
    assert_eq!(started(&mut frontier, now), [2]);
    frontier.set_accepting(false, now);
    frontier.push("b.example", task(6), now);
    let requeued = |action: &Action<u32>| matches!(action, Action::Requeue { item: 3..=6 });
    let actions = all(&mut frontier, now);
    assert!(actions.len() == 4 && actions.iter().all(requeued), "{actions:?}");
}

#[test]
fn what_was_begun_when_the_worker_stops_may_go_on_where_nothing_limits_it() {
    let (mut frontier, now) = (frontier(1, 1, 40), Instant::now());
    frontier.push("a.example", task(1), now);
    assert_eq!(started(&mut frontier, now), [1]);
    frontier.set_limits([("b.example".into(), rate(1.0))], now);
    frontier.set_accepting(false, now);
    frontier.push("a.example", Entry { deferrals: None, ..task(2) }, now);
    frontier.push("b.example", Entry { deferrals: None, ..task(3) }, now);
    assert!(matches!(all(&mut frontier, now)[..], [Action::Start { item: 2, .. }, Action::Requeue { item: 3 }]));
}

#[test]
fn what_was_cancelled_is_taken_out() {
    let (mut frontier, now) = (frontier(1, 9, 40), Instant::now());
    (0..6).for_each(|item| frontier.push("a.example", task(item), now));
    assert_eq!(started(&mut frontier, now), [0]);
    assert_eq!(frontier.take_where(|item| item % 2 == 0, now), [2, 4]);
    assert_eq!(frontier.waiting().concurrency, 3);
}

/// A fleet's database, as far as slots are concerned.
#[derive(Default)]
struct Ledger {
    next: BTreeMap<Arc<str>, Instant>,
}

impl Ledger {
    fn reserve(&mut self, pattern: &Arc<str>, wanted: Wanted, at: Instant) -> Instant {
        let next = self.next.get(pattern).copied().unwrap_or(at);
        let first = next.max(at + wanted.lead);
        self.next.insert(pattern.clone(), first + wanted.interval * wanted.slots);
        first
    }
}

/// What may happen.
#[derive(Clone, Debug)]
enum Event {
    Push { host: u8, priority: u8 },
    Redirect { host: u8 },
    End { which: u8 },
    Limit { which: u8, limit: u8 },
    Places(u8),
    Open(bool),
    Accept(bool),
    Cancel(u8),
    Backlog(u16),
    Tick,
    Wait(u16),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0..6_u8, prop_oneof![5 => Just(0), 1 => 0..4_u8]).prop_map(|(host, priority)| Event::Push { host, priority }),
        1 => (0..6_u8).prop_map(|host| Event::Redirect { host }),
        10 => any::<u8>().prop_map(|which| Event::End { which }),
        1 => (0..9_u8, 0..5_u8).prop_map(|(which, limit)| Event::Limit { which, limit }),
        1 => (0..6_u8).prop_map(Event::Places),
        1 => any::<bool>().prop_map(Event::Open),
        1 => prop_oneof![4 => Just(true), 1 => Just(false)].prop_map(Event::Accept),
        1 => (0..7_u8).prop_map(Event::Cancel),
        1 => (0..2_000_u16).prop_map(Event::Backlog),
        2 => Just(Event::Tick),
        8 => (1..400_u16).prop_map(Event::Wait),
    ]
}

const PATTERNS: [&str; 9] = [
    "h0.a.example",
    "h1.a.example",
    "h2.a.example",
    "h3.b.example",
    "h4.b.example",
    "h5.b.example",
    "*.a.example",
    "*.example",
    "*",
];

/// A worker by a virtual clock.
struct World {
    frontier: Frontier<u32>,
    ledger: Ledger,
    now: Instant,
    places: usize,
    open: bool,
    accepting: bool,
    /// Fetches under way: the item, and its host's number and name.
    in_flight: Vec<(u32, usize, u8)>,
    /// Reservations under way: when the answer comes.
    asked: Vec<(Instant, Arc<str>, Wanted, Reservation, Instant)>,
    reservations: u32,
    waiting: BTreeMap<u32, (u8, bool)>,
    done: BTreeSet<u32>,
    limits: BTreeMap<&'static str, Limit>,
    starts: Vec<(Instant, u8)>,
    next_item: u32,
}

const PER_HOST: usize = 2;

impl World {
    fn new() -> Self {
        Self {
            frontier: frontier(3, PER_HOST, 20),
            ledger: Ledger::default(),
            now: Instant::now(),
            places: 3,
            open: true,
            accepting: true,
            in_flight: Vec::new(),
            asked: Vec::new(),
            reservations: 0,
            waiting: BTreeMap::new(),
            done: BTreeSet::new(),
            limits: BTreeMap::new(),
            starts: Vec::new(),
            next_item: 0,
        }
    }

    fn push(&mut self, host: u8, priority: u8, is_task: bool) {
        let item = self.next_item;
        self.next_item += 1;
        self.waiting.insert(item, (host, is_task));
        let entry = Entry { item, priority, deferrals: is_task.then_some(0) };
        self.frontier.push(PATTERNS[usize::from(host)], entry, self.now);
    }

    fn leaves(&mut self, item: u32) -> (u8, bool) {
        assert!(self.done.insert(item), "{item} leaves twice");
        self.waiting.remove(&item).expect("it waits")
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Push { host, priority } => self.push(host, priority, true),
            Event::Redirect { host } => {
                if let Some((_, id, _)) = self.in_flight.pop() {
                    self.frontier.ended(id, self.now);
                    self.push(host, 255, false);
                }
            }
            Event::End { which } if !self.in_flight.is_empty() => {
                let (_, id, _) = self.in_flight.swap_remove(usize::from(which) % self.in_flight.len());
                self.frontier.ended(id, self.now);
            }
            Event::End { .. } => {}
            Event::Limit { which, limit } => {
                let limit = match limit {
                    0 => PAUSED,
                    1 => Limit { cools_until: Some(self.now + 3 * SECOND), ..Limit::default() },
                    2 => rate(20.0),
                    3 => rate(3.0),
                    _ => Limit::default(),
                };
                self.limits.insert(PATTERNS[usize::from(which)], limit);
                self.frontier.set_limits([(PATTERNS[usize::from(which)].into(), limit)], self.now);
                self.starts.clear();
            }
            Event::Places(places) => {
                self.places = usize::from(places);
                self.frontier.set_places(self.places);
            }
            Event::Open(open) => {
                self.open = open;
                self.frontier.set_open(open);
            }
            Event::Accept(accepting) => {
                self.accepting = accepting;
                self.frontier.set_accepting(accepting, self.now);
            }
            Event::Cancel(of) => {
                for item in self.frontier.take_where(|item| item % 7 == u32::from(of), self.now) {
                    self.leaves(item);
                }
            }
            Event::Backlog(messages) => self.frontier.set_backlog(messages.into(), self.now),
            Event::Tick => self.frontier.tick(self.now),
            Event::Wait(ms) => self.now += MS * u32::from(ms),
        }
    }

    fn matches(host: u8) -> impl Iterator<Item = &'static str> {
        let name = PATTERNS[usize::from(host)];
        PATTERNS.into_iter().filter(move |pattern| {
            *pattern == name || pattern.strip_prefix('*').is_some_and(|suffix| name.ends_with(suffix))
        })
    }

    fn holding(&self, host: u8) -> impl Iterator<Item = (&'static str, Limit)> {
        let limits = Self::matches(host).filter_map(|pattern| Some((pattern, *self.limits.get(pattern)?)));
        limits.filter(|(_, limit)| limit.holds(self.now))
    }

    /// Does what is to be done, and checks each.
    fn act(&mut self) {
        while let Some(action) = self.frontier.next(self.now) {
            match action {
                Action::Start { item, host } => {
                    let (of, is_task) = self.leaves(item);
                    self.in_flight.push((item, host, of));
                    let at_host = self.in_flight.iter().filter(|(_, _, other)| *other == of).count();
                    if self.accepting {
                        assert!(self.open && self.in_flight.len() <= self.places && at_host <= PER_HOST);
                    } else {
                        assert!(!is_task, "a task starts though none is accepted");
                    }
                    for (pattern, limit) in self.holding(of) {
                        assert!(!limit.paused && limit.cools_until.is_none_or(|until| until <= self.now), "{pattern}");
                    }
                    self.starts.push((self.now, of));
                }
                Action::Defer { item, .. } => assert!(self.leaves(item).1),
                Action::Deny { item, .. } => assert!(!self.leaves(item).1),
                Action::Requeue { item } => {
                    self.leaves(item);
                    assert!(!self.accepting);
                }
                Action::Reserve { pattern, wanted } => {
                    let reserved = self.now + 15 * MS;
                    self.reservations += 1;
                    let came = match self.reservations % 7 {
                        0 => Reservation::Later(200 * MS),
                        _ => Reservation::From(self.ledger.reserve(&pattern, wanted, reserved)),
                    };
                    self.asked.push((self.now + 30 * MS, pattern, wanted, came, self.now));
                }
            }
        }
        self.keeps_the_limits();
        self.leaves_no_place_free();
    }

    /// In any span there are no more requests than slots, late ones included.
    fn keeps_the_limits(&self) {
        for (pattern, limit) in &self.limits {
            let Some(interval) = limit.interval else { continue };
            let of = self.starts.iter().filter(|(_, host)| Self::matches(*host).any(|other| other == *pattern));
            let times: Vec<Instant> = of.map(|(at, _)| *at).collect();
            for (index, first) in times.iter().enumerate() {
                let span = times[times.len() - 1] - *first;
                // One more, since the last slot keeps.
                let most = (span + interval.max(50 * MS)).as_secs_f64() / interval.as_secs_f64() + 2.0;
                assert!((times.len() - index) as f64 <= most.ceil(), "{pattern}: {:?}", times.len() - index);
            }
        }
    }

    /// No place is free while a task could use it.
    fn leaves_no_place_free(&self) {
        if !self.open || !self.accepting || self.in_flight.len() >= self.places {
            return;
        }
        for (host, _) in self.waiting.values() {
            let at_host = self.in_flight.iter().filter(|(_, _, other)| other == host).count();
            let free = at_host < PER_HOST && self.holding(*host).next().is_none();
            assert!(!free, "a task of host {host} waits for nothing");
        }
    }

    /// Lets time pass until then; answers of the database come when they are due.
    fn pass_to(&mut self, then: Instant) {
        loop {
            let answer = self.asked.iter().map(|(at, ..)| *at).min();
            let next = answer.into_iter().chain(self.frontier.wakes_at()).min().filter(|at| *at <= then);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            if let Some(at) = self.asked.iter().position(|(at, ..)| *at <= self.now) {
                let (_, pattern, wanted, came, asked) = self.asked.swap_remove(at);
                self.frontier.reserved(&pattern, wanted, came, asked, self.now);
            }
            self.act();
        }
        self.now = self.now.max(then);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_limits_hold_and_everything_leaves_once(events in prop::collection::vec(event(), 1..300)) {
        let mut world = World::new();
        for event in events {
            if let Event::Wait(ms) = event {
                world.pass_to(world.now + MS * u32::from(ms));
            } else {
                world.take(event);
            }
            world.act();
        }
        // In the end nothing stands in the way, and each fetch takes 100 ms.
        let lifted: Vec<_> = PATTERNS.into_iter().map(|pattern| (pattern.into(), rate(50.0))).collect();
        world.limits = PATTERNS.into_iter().map(|pattern| (pattern, rate(50.0))).collect();
        world.frontier.set_limits(lifted, world.now);
        world.starts.clear();
        world.take(Event::Places(3));
        world.take(Event::Open(true));
        world.take(Event::Accept(true));
        for _ in 0..600 {
            world.act();
            while !world.in_flight.is_empty() {
                world.take(Event::End { which: 0 });
            }
            world.act();
            let then = world.now + 100 * MS;
            world.pass_to(then);
        }
        prop_assert!(world.waiting.is_empty(), "left: {:?}", world.waiting);
        prop_assert_eq!(world.done.len(), world.next_item as usize);
        while !world.in_flight.is_empty() {
            world.take(Event::End { which: 0 });
        }
        prop_assert_eq!(world.frontier.waiting(), Waiting::default());
        world.frontier.tick(world.now + 60 * SECOND);
        prop_assert!(world.frontier.hosts.is_empty() && world.frontier.blocked == Blocked::default());
    }
}
