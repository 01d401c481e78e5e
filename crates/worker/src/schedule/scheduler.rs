//! The task of the runtime that owns the frontier: it takes events one after the other, and does what the frontier says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fetchline_queue::{Broker, DeferReason, Depth, Tier, Topology};
use fetchline_store::{HostLimit, Reserved, Store};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::deferral::Deferral;
use super::frontier::{Action, Frontier, Reservation};
use super::host_queue::Entry;
use super::limits::Limit;
use super::pacer::Wanted;
use super::place::{Denied, Event, Held, Place, Scheduler};
use super::throttle::Note;
use crate::dependencies::Dependencies;
use crate::failure::chain;
use crate::job::Job;
use crate::settle::Session;
use crate::snapshot::{CancelledParts, KnownLimits, Snapshot, Snapshots};

/// Events that are taken together.
const EVENTS_AT_ONCE: usize = 256;
/// How often the frontier looks after itself.
const TICK: Duration = Duration::from_secs(1);
/// Reservations under way at once; the database has more to do.
const RESERVING: usize = 8;
/// After a reservation that failed it is tried again in so long, or up to twice that.
const RESERVE_AGAIN: Duration = Duration::from_millis(200);
/// No host is waited for here for longer while it is sent nothing: what is unacked for half an hour comes back.
const LONGEST_PATIENCE: Duration = Duration::from_secs(120);
/// What goes on in the middle of a fetch goes before all tasks.
const UNDER_WAY: u8 = u8::MAX;

/// What becomes of tasks.
pub(crate) trait Execute: Send + Sync + 'static {
    /// Fetches a task, beside others.
    fn start(self: Arc<Self>, job: Box<Job>, place: Place);
    /// Puts a task into a delay queue of the broker.
    fn defer(&self, job: Box<Job>, tier: Tier, reason: DeferReason);
    /// Gives a task back to the queue.
    fn requeue(&self, job: Box<Job>);
    /// Records that a task is not fetched, since its run was cancelled.
    fn record_cancelled(&self, job: Box<Job>);
}

/// What a scheduler starts with.
pub(crate) struct Settings {
    pub(crate) concurrency: usize,
    pub(crate) per_host: usize,
    pub(crate) prefetch: usize,
    pub(crate) deferral: Deferral,
    /// How long tasks wait while the database is away, before they are requeued.
    pub(crate) hold: Duration,
}

/// What a scheduler works with.
pub(crate) struct Scheduling<E> {
    pub(crate) scheduler: Scheduler,
    pub(crate) executor: Arc<E>,
    pub(crate) snapshots: Snapshots,
    pub(crate) dependencies: Dependencies,
    pub(crate) store: Arc<Store>,
    pub(crate) queue: QueueDepth,
    /// Whether places are free, and what is held cannot use them: deliveries are scarce.
    pub(crate) scarce: Arc<AtomicBool>,
}

/// Asks how deep the work queue is.
#[derive(Clone)]
pub(crate) struct QueueDepth {
    pub(crate) broker: Broker,
    /// The present session.
    pub(crate) session: watch::Receiver<Option<Session>>,
}

/// What came of a reservation.
pub(crate) struct Answer {
    pattern: Arc<str>,
    wanted: Wanted,
    asked: Instant,
    came: Result<Reserved, fetchline_store::Error>,
}

/// What is scheduled.
enum Item {
    Task(Box<Job>),
    /// A fetch that wants to send one more request.
    UnderWay(oneshot::Sender<Result<Held, Denied>>),
}

struct Running<E> {
    with: Scheduling<E>,
    frontier: Frontier<Item>,
    hold: Duration,
    /// How long a host may be sent nothing before its tasks are deferred.
    patience: Duration,
    known: Arc<Snapshot>,
    reserving: Arc<Semaphore>,
    closed: bool,
    finishing: bool,
    /// When what waits is requeued, since the database is away for too long.
    requeue_at: Option<Instant>,
    /// When it was asked last what waits behind the prefetch.
    looked_at: Option<Instant>,
}

impl<E: Execute> Scheduling<E> {
    /// Schedules until it was told that no task will come, and every fetch has ended.
    pub(crate) async fn run(self, settings: Settings, mut inbox: mpsc::UnboundedReceiver<Event>) {
        let Settings { concurrency, per_host, prefetch, deferral, hold } = settings;
        // What would wait for longer is better kept by the broker, though that costs it more than waiting here.
        let patience = (deferral.tiers()[0].delay() * 2).min(LONGEST_PATIENCE);
        let mut changes = self.snapshots.changes();
        // As if nothing had been known before.
        let known = Snapshots::new(concurrency).latest();
        let mut running = Running {
            frontier: Frontier::new(concurrency, per_host, prefetch, patience, deferral),
            with: self,
            hold,
            patience,
            known,
            reserving: Arc::new(Semaphore::new(RESERVING)),
            closed: false,
            finishing: false,
            requeue_at: None,
            looked_at: None,
        };
        running.take_over(changes.borrow_and_update().clone());
        let mut ticks = ticks();
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        while !running.is_over() {
            tokio::select! {
                _ = inbox.recv_many(&mut events, EVENTS_AT_ONCE) => {}
                _ = changes.changed() => running.take_over(changes.borrow_and_update().clone()),
                _ = ticks.tick() => running.tick(),
                () = until(running.wakes_at()) => {}
            }
            // What holds now holds for what has come since.
            if changes.has_changed().unwrap_or(false) {
                running.take_over(changes.borrow_and_update().clone());
            }
            events.drain(..).for_each(|event| running.take(event));
            running.act();
        }
    }
}

impl<E: Execute> Running<E> {
    fn is_over(&self) -> bool {
        self.finishing && self.frontier.in_flight() == 0
    }

    fn wakes_at(&self) -> Option<Instant> {
        let requeue_at = self.requeue_at.filter(|then| *then > Instant::now());
        self.frontier.wakes_at().into_iter().chain(requeue_at).min()
    }

    fn take(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Submitted(job) => self.submit(job, now),
            Event::Moved { to, from, reply } => {
                let entry = Entry { item: Item::UnderWay(reply), priority: UNDER_WAY, deferrals: None };
                self.frontier.push(&to, entry, now);
                // Dropping the place sends an event of its own, which comes next.
                drop(from);
            }
            Event::Ended { host, fine } => {
                if fine {
                    self.frontier.answered(host);
                }
                self.frontier.ended(host, now);
            }
            Event::Throttled { host, answer } => {
                if let Some(note) = self.frontier.throttled(host, answer, now) {
                    self.note(note);
                }
                self.limits_changed();
            }
            Event::CoolDown { host, wait } => {
                self.frontier.change_limit(&host, |limit| limit.cool_down(now + wait), now);
                self.limits_changed();
            }
            Event::SpaceOut { host, delay } => {
                self.frontier.change_limit(&host, |limit| limit.space_out(delay), now);
                self.limits_changed();
            }
            Event::Reserved(answer) => self.reserved(answer, now),
            Event::Backlog(messages) => self.frontier.set_backlog(messages, now),
            Event::Capacity(messages) => {
                if self.frontier.set_capacity(messages) > messages {
                    self.frontier.requeue_where(|item| matches!(item, Item::Task(_)), now);
                }
            }
            Event::SessionLost => {
                self.frontier.requeue_where(|item| matches!(item, Item::Task(job) if !job.claim.is_live()), now);
            }
            Event::Close => {
                self.closed = true;
                self.accept_or_not(now);
            }
            Event::Finish => self.finishing = true,
        }
    }

    /// Tasks are accepted unless the worker is paused, stops, or the database has been away for too long.
    fn accept_or_not(&mut self, now: Instant) {
        let is_away = self.requeue_at.is_some_and(|then| then <= now);
        self.frontier.set_accepting(!self.closed && !self.known.directives.paused && !is_away, now);
    }

    fn submit(&mut self, job: Box<Job>, now: Instant) {
        if self.known.cancelled.contains(&job.task) {
            return self.with.executor.record_cancelled(job);
        }
        let (priority, deferrals) = (job.task.priority.unwrap_or(0), Some(job.task.deferred_for(DeferReason::Pause)));
        // The name is borrowed from what is moved.
        let host: Box<str> = job.task.order.address.host().into();
        self.frontier.push(
            &host,
            Entry { item: Item::Task(job), priority: priority.min(UNDER_WAY - 1), deferrals },
            now,
        );
    }

    /// Takes over what has changed from the snapshot before.
    fn take_over(&mut self, snapshot: Arc<Snapshot>) {
        let (now, known) = (Instant::now(), std::mem::replace(&mut self.known, snapshot.clone()));
        self.frontier.set_places(snapshot.directives.concurrency);
        self.frontier.set_open(snapshot.database.up);
        self.requeue_at = (!snapshot.database.up).then(|| snapshot.database.moment + self.hold);
        self.accept_or_not(now);
        if !Arc::ptr_eq(&known.limits, &snapshot.limits) {
            self.frontier.set_limits(changed(&known.limits, &snapshot.limits), now);
            self.limits_changed();
        }
        if !Arc::ptr_eq(&known.cancelled, &snapshot.cancelled) {
            self.record_cancelled(&snapshot.cancelled, now);
        }
    }

    fn record_cancelled(&mut self, cancelled: &CancelledParts, now: Instant) {
        let is_cancelled = |item: &Item| matches!(item, Item::Task(job) if cancelled.contains(&job.task));
        for item in self.frontier.take_where(is_cancelled, now) {
            if let Item::Task(job) = item {
                self.with.executor.record_cancelled(job);
            }
        }
    }

    fn tick(&mut self) {
        self.frontier.tick(Instant::now());
        self.limits_changed();
        self.with.scheduler.set_waiting(self.frontier.waiting());
    }

    /// Asks what waits behind a prefetch that is clogged, once in a while.
    fn look_behind(&mut self, now: Instant) {
        if self.looked_at.is_some_and(|then| now - then < TICK) {
            return;
        }
        self.looked_at = Some(now);
        let (queue, scheduler) = (self.with.queue.clone(), self.with.scheduler.clone());
        tokio::spawn(async move {
            if let Some(depth) = queue.ask().await {
                scheduler.send(Event::Backlog((depth.ready / depth.consumers.max(1)) as usize));
            }
        });
    }

    fn limits_changed(&self) {
        self.with.scheduler.set_has_limits(self.frontier.has_limits());
    }

    /// Does what the frontier says.
    fn act(&mut self) {
        let now = Instant::now();
        self.accept_or_not(now);
        while let Some(action) = self.frontier.next(now) {
            match action {
                Action::Start { item, host } => self.start(item, host),
                Action::Defer { item: Item::Task(job), tier, reason } => self.defer(job, tier, reason),
                Action::Requeue { item: Item::Task(job) } => self.with.executor.requeue(job),
                Action::Deny { item: Item::UnderWay(reply), wait } => deny(reply, Denied::RetryAfter(wait)),
                Action::Requeue { item: Item::UnderWay(reply) } => deny(reply, Denied::Requeue),
                // Each kind has its own way out.
                Action::Defer { item: Item::UnderWay(reply), .. } => deny(reply, Denied::Requeue),
                Action::Deny { item: Item::Task(job), .. } => self.with.executor.requeue(job),
                Action::Reserve { pattern, wanted } => self.reserve(pattern, wanted),
            }
        }
        let is_clogged = self.frontier.is_clogged();
        self.with.scarce.store(is_clogged, Ordering::Relaxed);
        if is_clogged {
            self.look_behind(now);
        }
    }

    fn start(&self, item: Item, host: usize) {
        let held = self.with.scheduler.held(host);
        match item {
            // Its channel was lost while it waited: it is delivered again, and may be with another worker already.
            Item::Task(job) if !job.claim.is_live() => self.with.executor.requeue(job),
            Item::Task(job) => {
                let place = self.with.scheduler.place(job.task.order.address.host(), held);
                self.with.executor.clone().start(job, place);
            }
            // If the fetch has ended, dropping the place frees it.
            Item::UnderWay(reply) => _ = reply.send(Ok(held)),
        }
    }

    fn defer(&self, job: Box<Job>, tier: Tier, reason: DeferReason) {
        match job.claim.is_live() {
            true => self.with.executor.defer(job, tier, reason),
            false => self.with.executor.requeue(job),
        }
    }

    fn reserve(&self, pattern: Arc<str>, wanted: Wanted) {
        let (scheduler, store, patience) = (self.with.scheduler.clone(), self.with.store.clone(), self.patience);
        let reserving = self.reserving.clone();
        tokio::spawn(async move {
            let Ok(_reserving) = reserving.acquire().await else { return };
            let asked = Instant::now();
            let Wanted { slots, interval, lead } = wanted;
            let came = store.reserve(&pattern, slots, interval, lead, patience).await;
            scheduler.send(Event::Reserved(Answer { pattern, wanted, asked, came }));
        });
    }

    fn reserved(&mut self, answer: Answer, now: Instant) {
        let Answer { pattern, wanted, asked, came } = answer;
        let reservation = match came {
            Ok(Reserved::From(first)) => {
                self.with.dependencies.database_answers();
                Reservation::From(Instant::from_std(first))
            }
            Ok(Reserved::Later(wait)) => Reservation::Later(wait.saturating_sub(self.patience).max(TICK)),
            // The next snapshot says so; were it said here, nothing would take it back.
            Ok(Reserved::Paused) => Reservation::Later(TICK),
            // Its row is gone, and no reading will tell.
            Ok(Reserved::Unlimited) => {
                self.frontier.set_limits([(pattern, Limit::default())], now);
                return self.limits_changed();
            }
            Err(error) => {
                self.with.dependencies.report(&error);
                Reservation::Later(RESERVE_AGAIN.mul_f64(rand::random_range(1.0..=2.0)))
            }
        };
        self.frontier.reserved(&pattern, wanted, reservation, asked, now);
    }

    /// Writes down for all workers what a host wants. That it fails changes nothing for this worker.
    fn note(&self, note: Note) {
        let (store, queue, scheduler) = (self.with.store.clone(), self.with.queue.clone(), self.with.scheduler.clone());
        tokio::spawn(async move {
            let (noted, host, why) = match note {
                Note::CoolDown { host, wait, why } => {
                    let noted = store.cool_down(&host, wait, &why).await;
                    // What was read of the host meanwhile did not have it yet.
                    scheduler.send(Event::CoolDown { host: host.clone(), wait });
                    (noted, host, why)
                }
                Note::Slow { host, rate, of_fleet, why } => {
                    // Others are at work on the same queue: to the host, the fleet is one.
                    let workers =
                        if of_fleet { 1 } else { queue.ask().await.map_or(1, |depth| depth.consumers.max(1)) };
                    (store.slow(&host, rate * f64::from(workers) / 2.0, &why).await, host, why)
                }
            };
            match noted {
                Ok(()) => info!(host = &*host, why, "rate limit tightened for host"),
                Err(error) => {
                    warn!(host = &*host, cause = chain(&error), "the other workers cannot be told what a host wants");
                }
            }
        });
    }
}

impl QueueDepth {
    /// Ready messages and consumers; `None` where the broker does not answer.
    async fn ask(&self) -> Option<Depth> {
        let session = self.session.borrow().clone()?;
        self.broker.topology().depth(session.connection(), Topology::URLS).await.ok().flatten()
    }
}

fn deny(reply: oneshot::Sender<Result<Held, Denied>>, denied: Denied) {
    // The fetch may have ended meanwhile.
    _ = reply.send(Err(denied));
}

/// The limits that differ, as they are now.
fn changed(before: &KnownLimits, now: &KnownLimits) -> Vec<(Arc<str>, Limit)> {
    let limit =
        |(pattern, (limit, read_at)): (&Arc<str>, &(HostLimit, Instant))| (pattern.clone(), Limit::of(limit, *read_at));
    let lifted = before.keys().filter(|pattern| !now.contains_key(*pattern));
    let lifted = lifted.map(|pattern| (pattern.clone(), Limit::default()));
    now.iter().filter(|(pattern, known)| before.get(*pattern) != Some(known)).map(limit).chain(lifted).collect()
}

fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
