//! Routes deliveries: to deduplication, to the scheduler, to the database, or to the dead letters.

use std::sync::Arc;

use fetchline_queue::{Death, Message, NotATask, RawMessage, Task, Topology};
use fetchline_store::PartReport;
use lapin::message::Delivery;
use tokio::sync::mpsc;
use tracing::warn;

use super::dedup::Dedup;
use super::prefetch::Prefetch;
use crate::job::{Job, PendingCommit, Record};
use crate::memory_budget::Reservation;
use crate::observe::metrics::Metrics;
use crate::observe::trace::{Step, Traces};
use crate::schedule::SchedulerHandle;
use crate::settle::{Claims, Receipt, RepublisherHandle, Session, SettlerHandle};

/// Claims deliveries and passes them on.
pub(crate) struct Router {
    pub(crate) pod: Arc<str>,
    pub(crate) prefetch: Prefetch,
    pub(crate) claims: Claims,
    pub(crate) traces: Arc<Traces>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) routes: Routes,
}

/// Where deliveries go.
pub(crate) struct Routes {
    pub(crate) scheduler: SchedulerHandle,
    /// For tasks that can be duplicates.
    pub(crate) dedup: mpsc::UnboundedSender<Box<Job>>,
    /// For part reports.
    pub(crate) results: mpsc::UnboundedSender<Record>,
    pub(crate) republish: RepublisherHandle,
    pub(crate) settle: SettlerHandle,
}

impl Router {
    pub(super) fn session_opened(&self, session: &Session) {
        self.metrics.connected();
        self.claims.session_opened(session.number());
        self.routes.settle.open(session.clone());
    }

    pub(super) fn session_lost(&self) {
        self.claims.session_lost();
        self.routes.scheduler.session_lost();
    }

    /// Routes a delivery.
    pub(super) fn route(&self, session: &Session, delivery: Delivery) {
        self.metrics.delivered(delivery.redelivered);
        let receipt = self.routes.settle.receipt(session, delivery.delivery_tag);
        let redelivered = delivery.redelivered;
        let is_list = delivery.routing_key.as_str() == Topology::LIST;
        let original = RawMessage::from(delivery);
        if is_list {
            let memory = self.prefetch.charge(original.bytes());
            let claim = self.claims.without_task(receipt).with_memory(memory);
            return self.routes.republish.divide(original, claim);
        }
        match Message::read(&original.properties, &original.body) {
            Ok(Message::Task(task)) => self.route_task(task, original, receipt, redelivered),
            Ok(Message::PartReport(part)) => self.route_part(part, original, receipt),
            Err(reason) => self.route_invalid(&reason, original, receipt),
        }
    }

    /// Requeues a delivery without looking at it: another worker may take it.
    pub(super) fn requeue(&self, receipt: Receipt) {
        self.routes.settle.requeue_unclaimed(receipt);
    }

    pub(super) fn receipt(&self, session: &Session, tag: u64) -> Receipt {
        self.routes.settle.receipt(session, tag)
    }

    /// A duplicate of a task in progress joins its claim. A task that can be a duplicate of an
    /// earlier one is looked up. All others are scheduled.
    fn route_task(&self, task: Task, original: RawMessage, receipt: Receipt, redelivered: bool) {
        let Some(claim) = self.claims.claim(&task, receipt) else { return };
        let memory = self.prefetch.charge(original.bytes());
        let trace = self.traces.begin(&task, &original, redelivered);
        let claim = claim.with_memory(memory).with_trace(trace);
        let needs_look_up = Dedup::concerns(&task, redelivered);
        let job = Job::lean(task, original, claim);
        job.claim.enter(Step::Wait);
        match needs_look_up {
            // Deduplication outlives the router.
            true => _ = self.routes.dedup.send(job),
            false => self.routes.scheduler.submit(job),
        }
    }

    /// A part report is written with the next batch.
    fn route_part(
        &self,
        part: fetchline_queue::PartReport,
        original: RawMessage,
        receipt: Receipt,
    ) {
        let fetchline_queue::PartReport { run, part, planned, at } = part;
        let pending = PendingCommit {
            claim: self.claims.without_task(receipt),
            original,
            fetched: None,
            attempts: 0,
            status: None,
            death: None,
            _reservation: Reservation::default(),
        };
        let report = PartReport { run, part, planned, at };
        // The batcher outlives the router.
        _ = self.routes.results.send(Record::Part(report, pending));
    }

    fn route_invalid(&self, reason: &NotATask, original: RawMessage, receipt: Receipt) {
        warn!(%reason, pod = &*self.pod, "a message is not a task; it goes to the dead letters");
        let memory = self.prefetch.charge(original.bytes());
        let claim = self.claims.without_task(receipt).with_memory(memory);
        self.routes.republish.dead(original, &Death::not_a_task(reason), claim);
    }
}
