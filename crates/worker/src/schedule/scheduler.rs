//! The owner of the frontier: it takes events one by one, and does what the frontier asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fetchline_queue::{DeferReason, Tier};
use fetchline_store::{HostLimit, Reserved, Store};
use time::OffsetDateTime;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::deferral::Deferral;
use super::frontier::{Action, Denied, Frontier, SlotReply};
use super::handle::{Event, Place, PlaceReply, SchedulerHandle, SlotsReplied};
use super::host_queue::QueuedTask;
use super::limit_publisher::publish;
use super::limits::Limit;
use super::queue_depth::QueueDepth;
use super::reserved_slots::SlotRequest;
use super::throttle::LimitUpdate;
use crate::control::dependencies::Dependencies;
use crate::control::snapshot::{CancelledParts, KnownLimits, Snapshot, Snapshots};
use crate::job::Job;
use crate::timer::until;

/// The most events that are handled before the frontier's actions are.
const EVENTS_AT_ONCE: usize = 256;
/// How often the frontier is tidied up.
const TICK: Duration = Duration::from_secs(1);
/// Requests for slots in progress at once: the database has other work.
const SLOT_REQUESTS_AT_ONCE: usize = 8;
/// The shortest pause after a request for slots that failed; the longest is twice as long.
const SLOT_REQUEST_RETRY: Duration = Duration::from_millis(200);

/// What the scheduler does with tasks.
pub(crate) trait Execute: Send + Sync + 'static {
    /// Fetches a task, concurrently with others.
    fn start(self: Arc<Self>, job: Box<Job>, place: Place);
    /// Puts a task into a delay queue of the broker.
    fn defer(&self, job: Box<Job>, tier: Tier, reason: DeferReason);
    /// Requeues a task.
    fn requeue(&self, job: Box<Job>);
    /// Records that a task is not fetched, because its run was cancelled.
    fn record_cancelled(&self, job: Box<Job>);
}

/// The settings of a scheduler.
pub(crate) struct Settings {
    pub(crate) concurrency: usize,
    pub(crate) per_host: usize,
    pub(crate) prefetch: usize,
    pub(crate) deferral: Deferral,
    /// How long tasks wait for a database that is away, before they are requeued.
    pub(crate) hold: Duration,
}

/// What a scheduler works with.
pub(crate) struct Collaborators<E> {
    pub(crate) scheduler: SchedulerHandle,
    pub(crate) executor: Arc<E>,
    pub(crate) snapshots: Snapshots,
    pub(crate) dependencies: Dependencies,
    pub(crate) store: Arc<Store>,
    pub(crate) queue: QueueDepth,
    /// Whether deliveries are scarce: places are free, and the tasks that wait cannot use them.
    pub(crate) scarce: Arc<AtomicBool>,
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// Tasks are requeued, not started.
    Closed,
    /// No task is submitted any more; the scheduler ends with the last fetch.
    Finishing,
}

/// The one owner of the frontier.
struct Scheduler<E> {
    with: Collaborators<E>,
    frontier: Frontier<Box<Job>, PlaceReply>,
    hold: Duration,
    snapshot: Arc<Snapshot>,
    slot_requests: Arc<Semaphore>,
    phase: Phase,
    /// When waiting tasks are requeued because the database has been away for the whole hold.
    requeue_at: Option<Instant>,
    /// When the backlog was last measured.
    measured_at: Option<Instant>,
}

impl<E: Execute> Collaborators<E> {
    /// Schedules until [`SchedulerHandle::finish`] was called and every fetch has ended.
    pub(crate) async fn run(self, settings: Settings, mut inbox: mpsc::UnboundedReceiver<Event>) {
        let Settings { concurrency, per_host, prefetch, deferral, hold } = settings;
        let mut changes = self.snapshots.changes();
        let mut scheduler = Scheduler {
            frontier: Frontier::new(concurrency, per_host, prefetch, deferral),
            with: self,
            hold,
            // An empty snapshot, so that everything in the first one counts as changed.
            snapshot: Snapshots::new(concurrency).latest(),
            slot_requests: Arc::new(Semaphore::new(SLOT_REQUESTS_AT_ONCE)),
            phase: Phase::Running,
            requeue_at: None,
            measured_at: None,
        };
        scheduler.apply_snapshot(changes.borrow_and_update().clone());
        let mut ticks = ticks();
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        while !scheduler.is_over() {
            tokio::select! {
                _ = inbox.recv_many(&mut events, EVENTS_AT_ONCE) => {}
                _ = changes.changed() => {
                    scheduler.apply_snapshot(changes.borrow_and_update().clone());
                }
                _ = ticks.tick() => scheduler.tick(),
                () = until(scheduler.wakes_at()) => {}
            }
            // The newest snapshot applies to events that have arrived since.
            if changes.has_changed().unwrap_or(false) {
                scheduler.apply_snapshot(changes.borrow_and_update().clone());
            }
            events.drain(..).for_each(|event| scheduler.handle(event));
            scheduler.act();
        }
    }
}

impl<E: Execute> Scheduler<E> {
    fn is_over(&self) -> bool {
        self.phase == Phase::Finishing && self.frontier.in_flight() == 0
    }

    fn wakes_at(&self) -> Option<Instant> {
        let requeue_at = self.requeue_at.filter(|then| *then > Instant::now());
        self.frontier.wakes_at().into_iter().chain(requeue_at).min()
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Submitted(job) => self.submit(job, now),
            Event::Advanced { host, released, reply } => {
                self.frontier.push_request(&host, reply, now);
                // Sends an event of its own, which is handled later.
                drop(released);
            }
            Event::Ended { host, answered } => {
                if answered {
                    self.frontier.answered(host);
                }
                self.frontier.ended(host, now);
            }
            Event::Throttled { host, signal } => {
                if let Some(update) = self.frontier.throttled(host, signal, now) {
                    self.publish(update);
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
            Event::SlotsReplied(reply) => self.slots_replied(reply, now),
            Event::Backlog(messages) => self.frontier.set_backlog(messages, now),
            Event::Capacity(messages) => {
                if self.frontier.set_capacity(messages) > messages {
                    self.frontier.requeue_tasks(|_| true, now);
                }
            }
            Event::SessionLost => self.frontier.requeue_tasks(|job| !job.claim.is_live(), now),
            Event::Close => {
                self.phase = self.phase.max(Phase::Closed);
                self.update_accepting(now);
            }
            Event::Finish => self.phase = Phase::Finishing,
        }
    }

    /// Tasks are accepted unless the worker is paused or stops, or the database has been away for
    /// too long.
    fn update_accepting(&mut self, now: Instant) {
        let is_away = self.requeue_at.is_some_and(|then| then <= now);
        let is_paused = self.snapshot.directives.paused;
        let accepting = self.phase == Phase::Running && !is_paused && !is_away;
        self.frontier.set_accepting(accepting, now);
    }

    fn submit(&mut self, job: Box<Job>, now: Instant) {
        if self.snapshot.cancelled.contains(&job.task) {
            return self.with.executor.record_cancelled(job);
        }
        if let Some(wait) = wait_until(job.task.request.not_before) {
            return self.defer(job, self.frontier.tier_for_time(wait), DeferReason::Delay);
        }
        let priority = job.task.priority.unwrap_or(0);
        let deferrals = job.task.deferred_for(DeferReason::Pause);
        // A copy, since the job is moved.
        let host: Box<str> = job.task.request.address.host().into();
        self.frontier.push_task(&host, QueuedTask { task: job, priority, deferrals }, now);
    }

    /// Applies what differs from the snapshot before.
    fn apply_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        let now = Instant::now();
        let before = std::mem::replace(&mut self.snapshot, snapshot.clone());
        self.frontier.set_places(snapshot.directives.concurrency);
        self.frontier.set_open(snapshot.database.up);
        self.requeue_at = (!snapshot.database.up).then(|| snapshot.database.moment + self.hold);
        self.update_accepting(now);
        if !Arc::ptr_eq(&before.limits, &snapshot.limits) {
            self.frontier.set_limits(changed_limits(&before.limits, &snapshot.limits), now);
            self.limits_changed();
        }
        if !Arc::ptr_eq(&before.cancelled, &snapshot.cancelled) {
            self.record_cancelled(&snapshot.cancelled, now);
        }
    }

    fn record_cancelled(&mut self, cancelled: &CancelledParts, now: Instant) {
        for job in self.frontier.extract_tasks(|job| cancelled.contains(&job.task), now) {
            self.with.executor.record_cancelled(job);
        }
    }

    fn tick(&mut self) {
        self.frontier.tick(Instant::now());
        self.limits_changed();
        self.with.scheduler.set_wait_counts(self.frontier.wait_counts());
    }

    /// Measures what waits behind a clogged prefetch, at most once per tick.
    fn measure_backlog(&mut self, now: Instant) {
        if self.measured_at.is_some_and(|then| now - then < TICK) {
            return;
        }
        self.measured_at = Some(now);
        let (queue, scheduler) = (self.with.queue.clone(), self.with.scheduler.clone());
        tokio::spawn(async move {
            if let Some(depth) = queue.read().await {
                scheduler.send(Event::Backlog((depth.ready / depth.consumers.max(1)) as usize));
            }
        });
    }

    fn limits_changed(&self) {
        self.with.scheduler.set_has_limits(self.frontier.has_limits());
    }

    /// Does what the frontier asks.
    fn act(&mut self) {
        let now = Instant::now();
        self.update_accepting(now);
        while let Some(action) = self.frontier.next(now) {
            match action {
                Action::Start { task, host } => self.start(task, host),
                // If the fetch has ended, dropping the guard releases the place.
                Action::Resume { request, host } => {
                    _ = request.send(Ok(self.with.scheduler.guard(host)));
                }
                Action::Defer { task, tier, reason } => self.defer(task, tier, reason),
                Action::Requeue { task } => self.with.executor.requeue(task),
                Action::Deny { request, denied } => deny(request, denied),
                Action::Reserve { pattern, slots } => self.reserve(pattern, slots),
            }
        }
        let is_clogged = self.frontier.is_clogged();
        self.with.scarce.store(is_clogged, Ordering::Relaxed);
        if is_clogged {
            self.measure_backlog(now);
        }
    }

    fn start(&self, job: Box<Job>, host: usize) {
        let guard = self.with.scheduler.guard(host);
        // If its channel was lost while it waited, the message is redelivered, and another worker
        // may have it already.
        if !job.claim.is_live() {
            return self.with.executor.requeue(job);
        }
        let place = self.with.scheduler.place(job.task.request.address.host(), guard);
        self.with.executor.clone().start(job, place);
    }

    fn defer(&self, job: Box<Job>, tier: Tier, reason: DeferReason) {
        match job.claim.is_live() {
            true => self.with.executor.defer(job, tier, reason),
            false => self.with.executor.requeue(job),
        }
    }

    fn reserve(&self, pattern: Arc<str>, request: SlotRequest) {
        let (scheduler, store) = (self.with.scheduler.clone(), self.with.store.clone());
        let (patience, slot_requests) = (self.frontier.patience(), self.slot_requests.clone());
        tokio::spawn(async move {
            let Ok(_permit) = slot_requests.acquire().await else { return };
            let sent_at = Instant::now();
            let SlotRequest { slots, interval, lead } = request;
            let reply = store.reserve(&pattern, slots, interval, lead, patience).await;
            let replied = SlotsReplied { pattern, request, sent_at, reply };
            scheduler.send(Event::SlotsReplied(replied));
        });
    }

    fn slots_replied(&mut self, replied: SlotsReplied, now: Instant) {
        let SlotsReplied { pattern, request, sent_at, reply } = replied;
        let reply = match reply {
            Ok(Reserved::From(first)) => {
                self.with.dependencies.database_answers();
                SlotReply::From(first)
            }
            Ok(Reserved::Later(wait)) => {
                let patience = self.frontier.patience();
                SlotReply::RetryAfter(wait.saturating_sub(patience).max(TICK))
            }
            // The next snapshot contains the pause. If it were set here, nothing would lift it.
            Ok(Reserved::Paused) => SlotReply::RetryAfter(TICK),
            // The row has been deleted, which no poll reports.
            Ok(Reserved::Unlimited) => {
                self.frontier.set_limits([(pattern, Limit::default())], now);
                return self.limits_changed();
            }
            Err(error) => {
                self.with.dependencies.report(&error);
                let pause = SLOT_REQUEST_RETRY.mul_f64(rand::random_range(1.0..=2.0));
                SlotReply::RetryAfter(pause)
            }
        };
        self.frontier.slots_replied(&pattern, request, reply, sent_at, now);
    }

    /// Writes a limit to the database, for all workers. This worker obeys it in any case.
    fn publish(&self, update: LimitUpdate) {
        let (store, queue) = (self.with.store.clone(), self.with.queue.clone());
        let scheduler = self.with.scheduler.clone();
        tokio::spawn(async move { publish(update, &store, &queue, &scheduler).await });
    }
}

/// The time until a task may be fetched; `None` if it may be now.
fn wait_until(not_before: Option<OffsetDateTime>) -> Option<Duration> {
    let wait = not_before? - OffsetDateTime::now_utc();
    Duration::try_from(wait).ok().filter(|wait| !wait.is_zero())
}

fn deny(reply: PlaceReply, denied: Denied) {
    // The fetch may have ended in the meantime.
    _ = reply.send(Err(denied));
}

/// Returns the limits that differ. A limit that was lifted becomes the default, which limits
/// nothing.
fn changed_limits(before: &KnownLimits, now: &KnownLimits) -> Vec<(Arc<str>, Limit)> {
    let limit = |(pattern, (limit, read_at)): (&Arc<str>, &(HostLimit, Instant))| {
        (pattern.clone(), Limit::of(limit, *read_at))
    };
    let lifted = before.keys().filter(|pattern| !now.contains_key(*pattern));
    let lifted = lifted.map(|pattern| (pattern.clone(), Limit::default()));
    now.iter()
        .filter(|(pattern, known)| before.get(*pattern) != Some(known))
        .map(limit)
        .chain(lifted)
        .collect()
}

fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests;
