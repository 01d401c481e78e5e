//! The messages that are sent and not confirmed yet.

use fetchline_queue::{Draft, PartReport, Round, Task};

use crate::checkpoint::Position;

/// A message that is not confirmed yet.
pub(super) struct Outgoing {
    pub(super) payload: Payload,
    /// How often the broker has returned it.
    pub(super) returns: u32,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is a task; boxing each would cost more"
)]
pub(super) enum Payload {
    /// A task, and its position in the input.
    Task(Task, Position),
    /// A part report. Without it the run would not be known.
    PartReport(PartReport),
}

impl Outgoing {
    pub(super) fn position(&self) -> Option<Position> {
        match &self.payload {
            Payload::Task(_, position) => Some(*position),
            Payload::PartReport(_) => None,
        }
    }
}

/// A round, and the first position of its tasks.
#[derive(Default)]
pub(super) struct SentRound {
    pub(super) round: Round<Outgoing>,
    pub(super) first: Option<Position>,
}

/// The messages that are not confirmed yet, by how far they have got.
#[derive(Default)]
pub(super) struct Window {
    /// To be sent with the next burst.
    pub(super) collected: Vec<(Draft, Outgoing)>,
    /// The round that is being filled.
    pub(super) current: SentRound,
    /// The round that waits for its confirms.
    pub(super) previous: Option<SentRound>,
    /// To be sent again.
    pub(super) resend: Vec<Outgoing>,
    /// The first task that the broker did not take.
    pub(super) first_not_sent: Option<Position>,
}

impl Window {
    pub(super) fn has_unconfirmed(&self) -> bool {
        !self.current.round.is_empty()
            || !self.collected.is_empty()
            || self.previous.is_some()
            || !self.resend.is_empty()
    }

    pub(super) fn first_unconfirmed(&self) -> Option<Position> {
        let under_way = self.previous.iter().chain([&self.current]).map(|sent| sent.first);
        let resend = self.resend.iter().map(Outgoing::position);
        under_way.chain(resend).chain([self.first_not_sent]).fold(None, Position::earlier)
    }
}
