//! The handle of the scheduler, and the places that it hands out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fetchline_queue::Address;
use fetchline_store::Reserved;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::frontier::{Denied, WaitCounts};
use super::reserved_slots::SlotRequest;
use super::throttle::ThrottleSignal;
use crate::job::Job;

/// Sends events to the scheduler; cheap to clone.
#[derive(Clone)]
pub(crate) struct SchedulerHandle {
    events: mpsc::UnboundedSender<Event>,
    /// Whether any host is limited. If none is, a redirect within a host needs no slot.
    has_limits: Arc<AtomicBool>,
    wait_counts: Arc<watch::Sender<WaitCounts>>,
}

/// Receives the result of [`Place::advance`].
pub(crate) type PlaceReply = oneshot::Sender<Result<PlaceGuard, Denied>>;

/// An event for the scheduler.
pub(crate) enum Event {
    /// A task waits to be fetched.
    Submitted(Box<Job>),
    /// A fetch in flight wants to send its next request, and releases the place that it had. One
    /// event, so that the fetch counts as in flight at every moment.
    Advanced { host: Box<str>, released: Option<PlaceGuard>, reply: PlaceReply },
    /// A place is free again. `answered`: the host sent a response that does not throttle.
    Ended { host: usize, answered: bool },
    /// A host throttles.
    Throttled { host: usize, signal: ThrottleSignal },
    /// A host gets no request for `wait`.
    CoolDown { host: Arc<str>, wait: Duration },
    /// A host asks for `delay` between requests.
    SpaceOut { host: Box<str>, delay: Duration },
    /// The database has replied to a request for slots.
    SlotsReplied(SlotsReplied),
    /// This worker's share of the messages that the broker has ready.
    Backlog(usize),
    /// The number of messages that this worker may hold. If it shrinks, waiting tasks are requeued.
    Capacity(usize),
    /// The broker redelivers the messages of the earlier session.
    SessionLost,
    /// No task starts any more, and waiting tasks are requeued.
    Close,
    /// No task is submitted any more.
    Finish,
}

/// The reply of the database to a request for slots.
pub(crate) struct SlotsReplied {
    pub(super) pattern: Arc<str>,
    pub(super) request: SlotRequest,
    pub(super) sent_at: Instant,
    pub(super) reply: Result<Reserved, fetchline_store::Error>,
}

/// One of the worker's and of a host's places. Drop releases it.
pub(crate) struct PlaceGuard {
    events: mpsc::UnboundedSender<Event>,
    host: usize,
    answered: bool,
}

impl Drop for PlaceGuard {
    fn drop(&mut self) {
        #[cfg(feature = "simulation")]
        if fetchline_store::planted::Fault::PlaceLost.is_planted() && !self.answered {
            return;
        }
        // The scheduler outlives all places.
        _ = self.events.send(Event::Ended { host: self.host, answered: self.answered });
    }
}

/// The place of one fetch, at the host of its present request.
pub(crate) struct Place {
    scheduler: SchedulerHandle,
    host: Box<str>,
    guard: Option<PlaceGuard>,
}

/// Creates a handle, and the receiver of its events.
pub(crate) fn channel() -> (SchedulerHandle, mpsc::UnboundedReceiver<Event>) {
    let (events, inbox) = mpsc::unbounded_channel();
    (SchedulerHandle { events, has_limits: Arc::default(), wait_counts: Arc::default() }, inbox)
}

impl SchedulerHandle {
    /// Submits a task to be fetched.
    pub(crate) fn submit(&self, job: Box<Job>) {
        self.send(Event::Submitted(job));
    }

    /// Raises the interval of a host to what its robots.txt asks for.
    pub(crate) fn space_out(&self, host: &str, delay: Duration) {
        self.send(Event::SpaceOut { host: host.into(), delay });
    }

    /// Sets how many messages this worker may hold. If fewer than before, waiting tasks are
    /// requeued.
    pub(crate) fn set_capacity(&self, messages: usize) {
        self.send(Event::Capacity(messages));
    }

    /// Reports that the broker redelivers the messages of the earlier session.
    pub(crate) fn session_lost(&self) {
        self.send(Event::SessionLost);
    }

    /// Requeues what waits. Fetches in flight continue.
    pub(crate) fn close(&self) {
        self.send(Event::Close);
    }

    /// Lets the scheduler end once all fetches have: no task is submitted any more.
    pub(crate) fn finish(&self) {
        self.send(Event::Finish);
    }

    /// Returns how many tasks wait, as counted within the last second.
    pub(crate) fn wait_counts(&self) -> WaitCounts {
        *self.wait_counts.borrow()
    }

    pub(super) fn set_wait_counts(&self, counts: WaitCounts) {
        self.wait_counts.send_replace(counts);
    }

    pub(crate) fn has_limits(&self) -> bool {
        self.has_limits.load(Ordering::Relaxed)
    }

    pub(super) fn set_has_limits(&self, has_limits: bool) {
        self.has_limits.store(has_limits, Ordering::Relaxed);
    }

    /// Creates the guard of a place that the frontier has given out.
    pub(super) fn guard(&self, host: usize) -> PlaceGuard {
        PlaceGuard { events: self.events.clone(), host, answered: false }
    }

    pub(super) fn place(&self, host: &str, guard: PlaceGuard) -> Place {
        Place { scheduler: self.clone(), host: host.into(), guard: Some(guard) }
    }

    pub(super) fn send(&self, event: Event) {
        // The scheduler outlives all fetches.
        _ = self.events.send(event);
    }
}

impl Place {
    /// Waits until the fetch may send a request to this address, after a redirect or a retry. The
    /// present place is released first, unless it is still good.
    pub(crate) async fn advance(&mut self, address: &Address) -> Result<(), Denied> {
        let is_same_host = &*self.host == address.host();
        if self.guard.is_some() && is_same_host && !self.scheduler.has_limits() {
            return Ok(());
        }
        if !is_same_host {
            self.host = address.host().into();
        }
        let (reply, outcome) = oneshot::channel();
        let (host, released) = (self.host.clone(), self.guard.take());
        self.scheduler.send(Event::Advanced { host, released, reply });
        self.guard = Some(outcome.await.unwrap_or(Err(Denied::Requeue))?);
        Ok(())
    }

    /// Releases the place while the fetch waits for something else. [`Self::advance`] acquires one
    /// again.
    pub(crate) fn release(&mut self) {
        self.guard = None;
    }

    /// Records the response of the host.
    pub(crate) fn answered(&mut self, status: u16, retry_after: Option<Duration>) {
        let Some(guard) = &mut self.guard else { return };
        guard.answered = !matches!(status, 429 | 503);
        if !guard.answered {
            self.throttled(ThrottleSignal { status: Some(status), retry_after });
        }
    }

    /// Records that the host refuses requests without a response.
    pub(crate) fn refused(&self) {
        self.throttled(ThrottleSignal { status: None, retry_after: None });
    }

    fn throttled(&self, signal: ThrottleSignal) {
        if let Some(guard) = &self.guard {
            self.scheduler.send(Event::Throttled { host: guard.host, signal });
        }
    }
}

impl Place {
    /// A place outside of any schedule, for trials and tests. It may always advance.
    pub(crate) fn unlimited(host: &str) -> Self {
        Self::counted(host).0
    }

    /// A place at a limited host that may always advance, and how often it has.
    #[cfg(test)]
    pub(crate) fn limited(host: &str) -> (Self, Arc<AtomicUsize>) {
        let (place, slots) = Self::counted(host);
        place.scheduler.set_has_limits(true);
        (place, slots)
    }

    /// A place that never advances.
    #[cfg(test)]
    pub(crate) fn denied(host: &str) -> Self {
        let (scheduler, _) = channel();
        scheduler.set_has_limits(true);
        scheduler.place(host, scheduler.guard(0))
    }

    fn counted(host: &str) -> (Self, Arc<AtomicUsize>) {
        let (scheduler, mut inbox) = channel();
        let (granting, slots) = (scheduler.clone(), Arc::<AtomicUsize>::default());
        let count = slots.clone();
        tokio::spawn(async move {
            while let Some(event) = inbox.recv().await {
                if let Event::Advanced { reply, .. } = event {
                    count.fetch_add(1, Ordering::SeqCst);
                    drop(reply.send(Ok(granting.guard(0))));
                }
            }
        });
        (scheduler.place(host, scheduler.guard(0)), slots)
    }
}
