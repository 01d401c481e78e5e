//! The way to the scheduler, and the places that it gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fetchline_queue::Address;
use tokio::sync::{mpsc, oneshot, watch};

use super::frontier::Waiting;
use super::throttle::Throttled;
use crate::job::Job;

/// Tells the scheduler what happens; cheap to clone.
#[derive(Clone)]
pub(crate) struct Scheduler {
    events: mpsc::UnboundedSender<Event>,
    /// Whether any host is limited: where none is, a redirect within a host needs no slot.
    has_limits: Arc<AtomicBool>,
    waiting: Arc<watch::Sender<Waiting>>,
}

/// The events that the scheduler takes.
pub(crate) enum Event {
    /// A task waits to be fetched.
    Submitted(Box<Job>),
    /// A fetch goes on at this host, and lets go of the place that it had. One event, so that there is no moment in
    /// which it is not under way.
    Moved { to: Box<str>, from: Option<Held>, reply: oneshot::Sender<Result<Held, Denied>> },
    /// A place is free again. `fine`: an answer came, and it did not throttle us.
    Ended { host: usize, fine: bool },
    /// A host answers that it gets too many requests.
    Throttled { host: usize, answer: Throttled },
    /// A host wants nothing for so long.
    CoolDown { host: Arc<str>, wait: Duration },
    /// A host wants so much time between requests.
    SpaceOut { host: Box<str>, delay: Duration },
    /// What came of a reservation.
    Reserved(super::scheduler::Answer),
    /// The broker has so many messages ready for this worker, if each takes its share.
    Backlog(usize),
    /// This worker may hold so many messages. Where these are fewer than before, what waits is requeued.
    Capacity(usize),
    /// Messages that came in by an earlier session are delivered again.
    SessionLost,
    /// From now on no task starts, and what waits is requeued.
    Close,
    /// No task will come any more.
    Finish,
}

/// Why a fetch does not begin, or does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The host is sent nothing for about this long.
    RetryAfter(Duration),
    /// The worker stops or is paused, or the database is away for too long: another worker may have the message.
    Requeue,
}

/// A place among the fetches of the worker and of a host. Dropping it gives it back.
pub(crate) struct Held {
    events: mpsc::UnboundedSender<Event>,
    host: usize,
    fine: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        // The scheduler lives as long as there is a place.
        _ = self.events.send(Event::Ended { host: self.host, fine: self.fine });
    }
}

/// The right to send a request to a host.
pub(crate) struct Place {
    scheduler: Scheduler,
    host: Box<str>,
    held: Option<Held>,
}

/// The way to a scheduler, and where it comes out.
pub(crate) fn channel() -> (Scheduler, mpsc::UnboundedReceiver<Event>) {
    let (events, inbox) = mpsc::unbounded_channel();
    (Scheduler { events, has_limits: Arc::default(), waiting: Arc::default() }, inbox)
}

impl Scheduler {
    /// A task waits to be fetched.
    pub(crate) fn submit(&self, job: Box<Job>) {
        self.send(Event::Submitted(job));
    }

    /// The host's robots.txt asks for so much time between requests.
    pub(crate) fn space_out(&self, host: &str, delay: Duration) {
        self.send(Event::SpaceOut { host: host.into(), delay });
    }

    /// From now on this worker holds at most so many messages. Where these are fewer than before, what waits is requeued.
    pub(crate) fn set_capacity(&self, messages: usize) {
        self.send(Event::Capacity(messages));
    }

    /// What came in so far is delivered again, here or elsewhere.
    pub(crate) fn session_lost(&self) {
        self.send(Event::SessionLost);
    }

    /// Requeues what waits. What is being fetched goes on.
    pub(crate) fn close(&self) {
        self.send(Event::Close);
    }

    /// No task will come any more: the scheduler ends when all fetches have.
    pub(crate) fn finish(&self) {
        self.send(Event::Finish);
    }

    /// How many waited a moment ago, by what for.
    pub(crate) fn waiting(&self) -> Waiting {
        *self.waiting.borrow()
    }

    pub(super) fn set_waiting(&self, waiting: Waiting) {
        self.waiting.send_replace(waiting);
    }

    pub(crate) fn has_limits(&self) -> bool {
        self.has_limits.load(Ordering::Relaxed)
    }

    pub(super) fn set_has_limits(&self, has_limits: bool) {
        self.has_limits.store(has_limits, Ordering::Relaxed);
    }

    /// A place that was given.
    pub(super) fn held(&self, host: usize) -> Held {
        Held { events: self.events.clone(), host, fine: false }
    }

    pub(super) fn place(&self, host: &str, held: Held) -> Place {
        Place { scheduler: self.clone(), host: host.into(), held: Some(held) }
    }

    pub(super) fn send(&self, event: Event) {
        // The scheduler lives until every fetch has ended.
        _ = self.events.send(event);
    }
}

impl Place {
    /// The place for one more request, to wherever a redirect led. What is held is let go of first.
    pub(crate) async fn advance(&mut self, address: &Address) -> Result<(), Denied> {
        let elsewhere = &*self.host != address.host();
        if self.held.is_some() && !elsewhere && !self.scheduler.has_limits() {
            return Ok(());
        }
        if elsewhere {
            self.host = address.host().into();
        }
        let (reply, answer) = oneshot::channel();
        self.scheduler.send(Event::Moved { to: self.host.clone(), from: self.held.take(), reply });
        self.held = Some(answer.await.unwrap_or(Err(Denied::Requeue))?);
        Ok(())
    }

    /// Lets others go first, while this one waits for something else. [`Self::advance`] takes a place again.
    pub(crate) fn release(&mut self) {
        self.held = None;
    }

    /// The host has answered.
    pub(crate) fn answered(&mut self, status: u16, retry_after: Option<Duration>) {
        let Some(held) = &mut self.held else { return };
        held.fine = !matches!(status, 429 | 503);
        if !held.fine {
            self.scheduler.send(Event::Throttled { host: held.host, answer: Throttled { status, retry_after } });
        }
    }
}

#[cfg(test)]
impl Place {
    /// A place that always may go on.
    pub(crate) fn unlimited(host: &str) -> Self {
        let (scheduler, mut inbox) = channel();
        let gives = scheduler.clone();
        tokio::spawn(async move {
            while let Some(event) = inbox.recv().await {
                if let Event::Moved { reply, .. } = event {
                    drop(reply.send(Ok(gives.held(0))));
                }
            }
        });
        scheduler.place(host, scheduler.held(0))
    }
}
