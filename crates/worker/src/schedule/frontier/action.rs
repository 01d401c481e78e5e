//! What the frontier asks its owner to do.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{DeferReason, Tier};
use tokio::time::Instant;

use super::super::reserved_slots::SlotRequest;

/// An instruction for the owner of the frontier.
#[derive(Debug)]
pub(crate) enum Action<T, R> {
    /// Start to fetch a task. [`Frontier::ended`](super::Frontier::ended) takes the host's id.
    Start { task: T, host: usize },
    /// Let a fetch in flight send its next request.
    Resume { request: R, host: usize },
    /// Put a task into a delay queue of the broker.
    Defer { task: T, tier: Tier, reason: DeferReason },
    /// Requeue a task: another worker may take it.
    Requeue { task: T },
    /// Deny the next request of a fetch in flight.
    Deny { request: R, denied: Denied },
    /// Reserve slots of a limit. [`Frontier::slots_replied`](super::Frontier::slots_replied) takes
    /// the reply.
    Reserve { pattern: Arc<str>, slots: SlotRequest },
}

/// Why a fetch does not start or does not continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The host gets no request for about this long; `Duration::MAX` in a pause.
    RetryAfter(Duration, DeferReason),
    /// The worker stops or is paused, or the database has been away for too long: another worker
    /// may take the message.
    Requeue,
}

/// The reply to [`Action::Reserve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotReply {
    /// The slots are reserved, and this is the first one.
    From(Instant),
    /// No slot is reserved; the next request may follow after this long.
    RetryAfter(Duration),
}
