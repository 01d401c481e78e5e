//! Tests of the frontier with a virtual clock.

use std::collections::{BTreeMap, BTreeSet};

use fetchline_queue::{DeferReason, Tier};
use proptest::prelude::*;

use super::super::limits::Limit;
use super::super::reserved_slots::SlotRequest;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn deferral() -> Deferral {
    let tiers: Vec<Tier> =
        [10, 60, 600].into_iter().filter_map(|s| Tier::of(Duration::from_secs(s))).collect();
    Deferral::new(&tiers)
}

fn frontier(places: usize, per_host: usize, capacity: usize) -> Frontier<u32, u32> {
    Frontier::new(places, per_host, capacity, deferral())
}

fn task(task: u32) -> QueuedTask<u32> {
    QueuedTask { task, priority: 0, deferrals: 0 }
}

fn rate(per_second: f64) -> Limit {
    Limit { interval: Some(Duration::from_secs_f64(1.0 / per_second)), ..Limit::default() }
}

const PAUSED: Limit = Limit { interval: None, paused: true, cools_until: None };

/// All actions that are due now.
fn actions(frontier: &mut Frontier<u32, u32>, now: Instant) -> Vec<Action<u32, u32>> {
    std::iter::from_fn(|| frontier.next(now)).collect()
}

/// The tasks and requests that start now.
fn started(frontier: &mut Frontier<u32, u32>, now: Instant) -> Vec<u32> {
    let starts = |action| match action {
        Action::Start { task: item, .. } | Action::Resume { request: item, .. } => Some(item),
        Action::Defer { .. }
        | Action::Requeue { .. }
        | Action::Deny { .. }
        | Action::Reserve { .. } => None,
    };
    actions(frontier, now).into_iter().filter_map(starts).collect()
}

/// The tasks that are deferred, each with its delay in seconds.
fn deferred(actions: &[Action<u32, u32>]) -> Vec<(u32, u64)> {
    let defers = |action: &Action<u32, u32>| match action {
        Action::Defer { task, tier, .. } => Some((*task, tier.delay().as_secs())),
        _ => None,
    };
    actions.iter().filter_map(defers).collect()
}

/// The slots that the frontier requests next.
fn reservation(frontier: &mut Frontier<u32, u32>, now: Instant) -> (Arc<str>, SlotRequest) {
    match frontier.next(now) {
        Some(Action::Reserve { pattern, slots }) => (pattern, slots),
        other => panic!("no slots are requested: {other:?}"),
    }
}

#[test]
fn five_throttling_answers_in_a_row_halve_what_the_host_was_sent_and_any_other_answer_resets() {
    let (mut frontier, now) = (frontier(9, 9, 100), Instant::now());
    frontier.push_task("a.example", task(0), now);
    assert_eq!(started(&mut frontier, now), [0]);
    let host = frontier.hosts.find("a.example").unwrap();
    let then = now + 2 * SECOND;
    let throttled = ThrottleSignal { status: Some(429), retry_after: None };
    for _ in 0..4 {
        assert_eq!(frontier.throttled(host, throttled, then), None);
    }
    frontier.answered(host);
    for _ in 0..4 {
        assert_eq!(frontier.throttled(host, throttled, then), None);
    }
    // One request in two seconds is half a request per second.
    let update = frontier.throttled(host, throttled, then);
    assert!(
        matches!(update, Some(LimitUpdate::Slow { rate: 0.5, is_of_fleet: false, .. })),
        "{update:?}"
    );
}

#[test]
fn fetches_are_limited_per_host_and_in_all() {
    let (mut frontier, now) = (frontier(3, 2, 100), Instant::now());
    for item in 0..4 {
        frontier.push_task("a.example", task(item), now);
        frontier.push_task("b.example", task(10 + item), now);
    }
    assert_eq!(started(&mut frontier, now), [0, 10, 1]);
    let a = frontier.hosts.find("a.example").unwrap();
    frontier.ended(a, now);
    assert_eq!(started(&mut frontier, now), [11]);
    assert_eq!(frontier.wait_counts(), WaitCounts { host: 2, rate: 0, concurrency: 2 });
}

#[test]
fn hosts_take_turns_and_a_higher_priority_goes_first() {
    let (mut frontier, now) = (frontier(0, 9, 100), Instant::now());
    for item in 0..3 {
        frontier.push_task("a.example", task(item), now);
    }
    frontier.push_task("b.example", task(10), now);
    frontier.push_task("b.example", QueuedTask { priority: 9, ..task(11) }, now);
    frontier.push_task("c.example", task(20), now);
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
        frontier.push_task("a.example", task(item), now);
    }
    assert_eq!(started(&mut frontier, now).len(), 20);
    frontier.tick(now);
    assert!(deferred(&actions(&mut frontier, now)).is_empty());
}

#[test]
fn a_slow_host_leaves_a_part_of_the_prefetch_to_other_hosts() {
    let (mut frontier, now) = (frontier(20, 2, 40), Instant::now());
    frontier.set_backlog(1_000, now);
    let mut away = Vec::new();
    for item in 0..1_000 {
        frontier.push_task("slow.example", task(item), now);
        away.extend(deferred(&actions(&mut frontier, now)));
    }
    let held = frontier.wait_counts().host;
    assert!(held <= 30 && away.len() == 998 - held, "held: {held}, deferred: {}", away.len());
    frontier.push_task("other.example", task(5_000), now);
    assert_eq!(started(&mut frontier, now), [5_000]);
}

#[test]
fn a_limit_of_many_hosts_is_one_bottleneck_and_leaves_a_part_of_the_prefetch_to_others() {
    let (mut frontier, now) = (frontier(100, 30, 1_100), Instant::now());
    frontier.set_limits([("*.shop.example".into(), rate(5.0))], now);
    frontier.set_backlog(20_000, now);
    let mut away = 0;
    for item in 0..5_000 {
        frontier.push_task(&format!("{item}.shop.example"), task(item), now);
        away += deferred(&actions(&mut frontier, now)).len();
    }
    let held = frontier.wait_counts().rate;
    assert!(held <= 825 && away == 5_000 - held, "held: {held}, deferred: {away}");
    frontier.push_task("other.example", task(5_000), now);
    assert_eq!(started(&mut frontier, now), [5_000]);
}

#[test]
fn a_task_that_has_waited_for_long_is_deferred_whatever_it_waits_for() {
    let (mut frontier, now) = (frontier(2, 2, 40), Instant::now());
    frontier.set_limits([("a.example".into(), rate(0.01))], now);
    frontier.push_task("a.example", task(1), now);
    let (pattern, slots) = reservation(&mut frontier, now);
    frontier.slots_replied(&pattern, slots, SlotReply::RetryAfter(2_000 * SECOND), now, now);
    let nearly = now + 480 * SECOND;
    frontier.tick(nearly);
    assert!(deferred(&actions(&mut frontier, nearly)).is_empty());
    let later = now + 481 * SECOND;
    frontier.tick(later);
    assert_eq!(deferred(&actions(&mut frontier, later)).len(), 1);
}

#[test]
fn slots_reserved_during_an_outage_are_not_used_after_it() {
    let (mut frontier, now) = (frontier(2, 2, 40), Instant::now());
    frontier.set_limits([("a.example".into(), rate(1.0))], now);
    frontier.push_task("a.example", task(1), now);
    let (pattern, slots) = reservation(&mut frontier, now);
    frontier.set_open(false);
    frontier.slots_replied(&pattern, slots, SlotReply::From(now), now, now);
    let later = now + SECOND;
    assert!(actions(&mut frontier, later).is_empty(), "no slot is requested either");
    frontier.set_open(true);
    assert!(matches!(actions(&mut frontier, later)[..], [Action::Reserve { .. }]));
}

#[test]
fn tasks_that_pass_their_limit_soon_are_not_deferred() {
    let (mut frontier, now) = (frontier(20, 2, 40), Instant::now());
    frontier.set_limits([("a.example".into(), rate(20.0))], now);
    frontier.set_backlog(700, now);
    for item in 0..40 {
        frontier.push_task("a.example", task(item), now);
        assert!(
            deferred(&actions(&mut frontier, now)).is_empty(),
            "the whole backlog passes within 37 seconds"
        );
    }
    frontier.set_backlog(800, now);
    assert!(!deferred(&actions(&mut frontier, now)).is_empty());
}

#[test]
fn tasks_of_a_paused_host_are_deferred_for_longer_each_time() {
    let (mut frontier, now) = (frontier(2, 2, 40), Instant::now());
    for item in 0..3 {
        frontier.push_task("a.example", task(item), now);
    }
    assert_eq!(started(&mut frontier, now), [0, 1]);
    frontier.set_limits([("a.example".into(), PAUSED)], now);
    frontier.push_task("a.example", QueuedTask { deferrals: 2, ..task(3) }, now);
    assert_eq!(deferred(&actions(&mut frontier, now)), [(2, 600), (3, 3600)]);
    frontier.set_limits([("a.example".into(), Limit::default())], now);
    frontier.push_task("a.example", task(4), now);
    let a = frontier.hosts.find("a.example").unwrap();
    frontier.ended(a, now);
    assert_eq!(started(&mut frontier, now), [4]);
}

#[test]
fn tasks_wait_for_a_short_cool_down_and_are_deferred_for_a_long_one() {
    let (mut frontier, now) = (frontier(2, 2, 40), Instant::now());
    frontier.change_limit("a.example", |limit| limit.cool_down(now + 7 * SECOND), now);
    frontier.push_task("a.example", task(1), now);
    assert_eq!(
        (started(&mut frontier, now), frontier.wakes_at()),
        (vec![], Some(now + 7 * SECOND))
    );
    assert_eq!(started(&mut frontier, now + 7 * SECOND), [1]);
    frontier.change_limit("b.example", |limit| limit.cool_down(now + 90 * SECOND), now);
    frontier.push_task("b.example", task(2), now);
    assert_eq!(deferred(&actions(&mut frontier, now)), [(2, 60)]);
    // A request cannot be deferred.
    frontier.push_request("b.example", 3, now);
    let denied = |frontier: &mut Frontier<u32, u32>| match frontier.next(now) {
        Some(Action::Deny { request: 3, denied }) => denied,
        other => panic!("{other:?}"),
    };
    let cools = Denied::RetryAfter(90 * SECOND, DeferReason::Slot);
    assert_eq!(denied(&mut frontier), cools);
    frontier.change_limit("c.example", |limit| limit.paused = true, now);
    frontier.push_request("c.example", 3, now);
    let paused = Denied::RetryAfter(Duration::MAX, DeferReason::Pause);
    assert_eq!(denied(&mut frontier), paused);
}

#[test]
fn nothing_starts_while_the_database_is_away_and_a_pause_requeues_everything() {
    let (mut frontier, now) = (frontier(2, 2, 40), Instant::now());
    frontier.set_open(false);
    frontier.push_task("a.example", task(1), now);
    assert!(actions(&mut frontier, now).is_empty());
    frontier.set_open(true);
    assert_eq!(started(&mut frontier, now), [1]);
    (2..6).for_each(|item| frontier.push_task("a.example", task(item), now));
    assert_eq!(started(&mut frontier, now), [2]);
    frontier.set_accepting(false, now);
    frontier.push_task("b.example", task(6), now);
    let requeued = |action: &Action<u32, u32>| matches!(action, Action::Requeue { task: 3..=6 });
    let actions = actions(&mut frontier, now);
    assert!(actions.len() == 4 && actions.iter().all(requeued), "{actions:?}");
}

#[test]
fn a_fetch_in_flight_may_continue_after_a_stop_unless_a_limit_applies() {
    let (mut frontier, now) = (frontier(1, 1, 40), Instant::now());
    frontier.push_task("a.example", task(1), now);
    assert_eq!(started(&mut frontier, now), [1]);
    frontier.set_limits([("b.example".into(), rate(1.0))], now);
    frontier.set_accepting(false, now);
    frontier.push_request("a.example", 2, now);
    frontier.push_request("b.example", 3, now);
    assert!(matches!(
        actions(&mut frontier, now)[..],
        [Action::Resume { request: 2, .. }, Action::Deny { request: 3, denied: Denied::Requeue }]
    ));
}

#[test]
fn extracted_tasks_leave_in_no_action() {
    let (mut frontier, now) = (frontier(1, 9, 40), Instant::now());
    (0..6).for_each(|item| frontier.push_task("a.example", task(item), now));
    assert_eq!(started(&mut frontier, now), [0]);
    assert_eq!(frontier.extract_tasks(|item| item % 2 == 0, now), [2, 4]);
    assert_eq!(frontier.wait_counts().concurrency, 3);
}

/// The slots of the database.
#[derive(Default)]
struct Ledger {
    next: BTreeMap<Arc<str>, Instant>,
}

impl Ledger {
    fn reserve(&mut self, pattern: &Arc<str>, request: SlotRequest, at: Instant) -> Instant {
        let next = self.next.get(pattern).copied().unwrap_or(at);
        let first = next.max(at + request.lead);
        self.next.insert(pattern.clone(), first + request.interval * request.slots);
        first
    }
}

/// An event of the property test.
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
        12 => (0..6_u8, prop_oneof![5 => Just(0), 1 => 0..4_u8])
            .prop_map(|(host, priority)| Event::Push { host, priority }),
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

/// A worker with a virtual clock. The flags and counts are those that the frontier was given.
struct World {
    frontier: Frontier<u32, u32>,
    ledger: Ledger,
    now: Instant,
    places: usize,
    open: bool,
    accepting: bool,
    /// Fetches in flight: the item, its host's id, and the index of its host in `PATTERNS`.
    in_flight: Vec<(u32, usize, u8)>,
    /// Reservations in progress: when the reply arrives, what it says, and when it was requested.
    asked: Vec<(Instant, Arc<str>, SlotRequest, SlotReply, Instant)>,
    reservations: u32,
    /// Queued items: the index of the host, and whether the item is a task.
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

    fn push_task(&mut self, host: u8, priority: u8) {
        let task = self.add_item(host, true);
        let task = QueuedTask { task, priority, deferrals: 0 };
        self.frontier.push_task(PATTERNS[usize::from(host)], task, self.now);
    }

    fn push_request(&mut self, host: u8) {
        let request = self.add_item(host, false);
        self.frontier.push_request(PATTERNS[usize::from(host)], request, self.now);
    }

    fn add_item(&mut self, host: u8, is_task: bool) -> u32 {
        let item = self.next_item;
        self.next_item += 1;
        self.waiting.insert(item, (host, is_task));
        item
    }

    /// Removes an item from those that wait, and returns its host.
    fn remove(&mut self, item: u32, is_task: bool) -> u8 {
        assert!(self.done.insert(item), "{item} leaves twice");
        let (host, was_task) = self.waiting.remove(&item).expect("only queued items leave");
        assert_eq!(was_task, is_task, "{item} leaves as the other kind");
        host
    }

    /// Records that a task or a request has started, and checks that it may.
    fn start(&mut self, item: u32, host: usize, is_task: bool) {
        let of = self.remove(item, is_task);
        self.in_flight.push((item, host, of));
        let at_host = self.in_flight.iter().filter(|(_, _, other)| *other == of).count();
        if self.accepting {
            assert!(self.open && self.in_flight.len() <= self.places && at_host <= PER_HOST);
        } else {
            assert!(!is_task, "a task starts though none is accepted");
        }
        for (pattern, limit) in self.limits_in_force(of) {
            assert!(!limit.is_closed(self.now), "{pattern}");
        }
        self.starts.push((self.now, of));
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Push { host, priority } => self.push_task(host, priority),
            Event::Redirect { host } => {
                if let Some((_, id, _)) = self.in_flight.pop() {
                    self.frontier.ended(id, self.now);
                    self.push_request(host);
                }
            }
            Event::End { which } if !self.in_flight.is_empty() => {
                let (_, id, _) =
                    self.in_flight.swap_remove(usize::from(which) % self.in_flight.len());
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
                for task in self.frontier.extract_tasks(|task| task % 7 == u32::from(of), self.now)
                {
                    self.remove(task, true);
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
            *pattern == name
                || pattern.strip_prefix('*').is_some_and(|suffix| name.ends_with(suffix))
        })
    }

    fn limits_in_force(&self, host: u8) -> impl Iterator<Item = (&'static str, Limit)> {
        let limits =
            Self::matches(host).filter_map(|pattern| Some((pattern, *self.limits.get(pattern)?)));
        limits.filter(|(_, limit)| limit.is_in_force(self.now))
    }

    /// Takes all actions, and checks each.
    fn act(&mut self) {
        while let Some(action) = self.frontier.next(self.now) {
            match action {
                Action::Start { task, host } => self.start(task, host, true),
                Action::Resume { request, host } => self.start(request, host, false),
                Action::Defer { task, .. } => _ = self.remove(task, true),
                Action::Requeue { task } => {
                    self.remove(task, true);
                    assert!(!self.accepting);
                }
                Action::Deny { request, denied } => {
                    self.remove(request, false);
                    assert!(!self.accepting || denied != Denied::Requeue);
                }
                Action::Reserve { pattern, slots } => {
                    let reserved = self.now + 15 * MS;
                    self.reservations += 1;
                    let reply = match self.reservations % 7 {
                        0 => SlotReply::RetryAfter(200 * MS),
                        _ => SlotReply::From(self.ledger.reserve(&pattern, slots, reserved)),
                    };
                    self.asked.push((self.now + 30 * MS, pattern, slots, reply, self.now));
                }
            }
        }
        self.check_limits();
        self.check_no_place_is_idle();
    }

    /// Checks that in any span there are no more requests than slots, late ones included.
    fn check_limits(&self) {
        for (pattern, limit) in &self.limits {
            let Some(interval) = limit.interval else { continue };
            let of = self
                .starts
                .iter()
                .filter(|(_, host)| Self::matches(*host).any(|other| other == *pattern));
            let times: Vec<Instant> = of.map(|(at, _)| *at).collect();
            for (index, first) in times.iter().enumerate() {
                let span = times[times.len() - 1] - *first;
                // One more, since the last slot expires later.
                let most =
                    (span + interval.max(50 * MS)).as_secs_f64() / interval.as_secs_f64() + 2.0;
                assert!(
                    (times.len() - index) as f64 <= most.ceil(),
                    "{pattern}: {:?}",
                    times.len() - index
                );
            }
        }
    }

    /// Checks that no place is free while a task could use it.
    fn check_no_place_is_idle(&self) {
        if !self.open || !self.accepting || self.in_flight.len() >= self.places {
            return;
        }
        for (host, _) in self.waiting.values() {
            let at_host = self.in_flight.iter().filter(|(_, _, other)| other == host).count();
            let free = at_host < PER_HOST && self.limits_in_force(*host).next().is_none();
            assert!(!free, "a task of host {host} waits although it could start");
        }
    }

    /// Advances the clock to `then`. Replies of the database arrive when they are due.
    fn advance_to(&mut self, then: Instant) {
        loop {
            let answer = self.asked.iter().map(|(at, ..)| *at).min();
            let next =
                answer.into_iter().chain(self.frontier.wakes_at()).min().filter(|at| *at <= then);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            if let Some(at) = self.asked.iter().position(|(at, ..)| *at <= self.now) {
                let (_, pattern, request, reply, sent_at) = self.asked.swap_remove(at);
                self.frontier.slots_replied(&pattern, request, reply, sent_at, self.now);
            }
            self.act();
        }
        self.now = self.now.max(then);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn limits_hold_and_everything_leaves_once_whatever_happens(
        events in prop::collection::vec(event(), 1..300),
    ) {
        let mut world = World::new();
        for event in events {
            if let Event::Wait(ms) = event {
                world.advance_to(world.now + MS * u32::from(ms));
            } else {
                world.apply(event);
            }
            world.act();
        }
        // At the end all limits are mild, and each fetch takes 100 ms.
        let mild: Vec<_> =
            PATTERNS.into_iter().map(|pattern| (pattern.into(), rate(50.0))).collect();
        world.limits = PATTERNS.into_iter().map(|pattern| (pattern, rate(50.0))).collect();
        world.frontier.set_limits(mild, world.now);
        world.starts.clear();
        world.apply(Event::Places(3));
        world.apply(Event::Open(true));
        world.apply(Event::Accept(true));
        for _ in 0..600 {
            world.act();
            while !world.in_flight.is_empty() {
                world.apply(Event::End { which: 0 });
            }
            world.act();
            let then = world.now + 100 * MS;
            world.advance_to(then);
        }
        prop_assert!(world.waiting.is_empty(), "left: {:?}", world.waiting);
        prop_assert_eq!(world.done.len(), world.next_item as usize);
        while !world.in_flight.is_empty() {
            world.apply(Event::End { which: 0 });
        }
        prop_assert_eq!(world.frontier.wait_counts(), WaitCounts::default());
        world.frontier.tick(world.now + 60 * SECOND);
        prop_assert!(world.frontier.hosts.ids().is_empty());
        prop_assert_eq!(world.frontier.load.blocked, Blocked::default());
    }
}
