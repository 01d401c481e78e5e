//! The broker's side: what is ready, and what is out on the channels of the workers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::ledger::Ack;
use super::problem::Problem;

/// A message: one attempt of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Message {
    pub(super) task: u8,
    pub(super) attempt: u32,
    /// How often it came back.
    pub(super) redeliveries: u8,
}

/// The queue of tasks, and what the broker has confirmed.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Queue {
    /// In no order: a message that came back may be delivered before or after others.
    ready: Vec<Message>,
    /// The retries that were published and confirmed, at least once.
    retries: BTreeSet<(u8, u32)>,
    /// The tasks whose dead letters were confirmed.
    dead: BTreeSet<u8>,
}

impl Queue {
    pub(super) fn ready(&self) -> &[Message] {
        &self.ready
    }

    /// The messages that may be delivered next. New ones keep their order.
    pub(super) fn deliverable(&self) -> impl Iterator<Item = Message> {
        let is_new = |message: &Message| message.attempt == 1 && message.redeliveries == 0;
        let (new, others): (Vec<_>, Vec<_>) = self.ready.iter().copied().partition(is_new);
        let mut others: Vec<_> = new.into_iter().take(1).chain(others).collect();
        others.dedup();
        others.into_iter()
    }

    pub(super) fn take(&mut self, message: Message) {
        if let Some(at) = self.ready.iter().position(|ready| *ready == message) {
            self.ready.remove(at);
        }
    }

    pub(super) fn publish(&mut self, message: Message) {
        self.ready.push(message);
        self.ready.sort_unstable();
    }

    /// Takes a message back.
    fn requeue(&mut self, message: Message) {
        self.publish(Message { redeliveries: message.redeliveries + 1, ..message });
    }

    /// Publishes a retry: from now on, its original may be acked.
    pub(super) fn accept_retry(&mut self, task: u8, attempt: u32) {
        self.retries.insert((task, attempt));
        self.publish(Message { task, attempt, redeliveries: 0 });
    }

    pub(super) fn accept_dead_letter(&mut self, task: u8) {
        self.dead.insert(task);
    }

    pub(super) fn has_retry(&self, task: u8, attempt: u32) -> bool {
        self.retries.contains(&(task, attempt))
    }

    pub(super) fn has_dead_letter(&self, task: u8) -> bool {
        self.dead.contains(&task)
    }
}

/// What a worker sends on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Frame {
    Ack(Ack),
    Requeue(u64),
}

/// A channel, as long as the broker takes it for open. The worker may have a newer one.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Channel {
    /// The number of deliveries, which is the last tag.
    delivered: u64,
    pub(super) unacked: BTreeMap<u64, Message>,
    /// What is under way to the broker. It is lost with the channel.
    pub(super) wire: VecDeque<Frame>,
    /// The tags that the worker has finished: their claims were settled.
    finished: BTreeSet<u64>,
}

impl Channel {
    /// Delivers a message, and returns its tag.
    pub(super) fn deliver(&mut self, message: Message) -> u64 {
        self.delivered += 1;
        self.unacked.insert(self.delivered, message);
        self.delivered
    }

    pub(super) fn is_idle(&self) -> bool {
        self.unacked.is_empty() && self.wire.is_empty()
    }

    /// Records that the worker has settled the claim of this delivery.
    pub(super) fn finish(&mut self, tag: u64) {
        self.finished.insert(tag);
    }

    pub(super) fn is_finished(&self, tag: u64) -> bool {
        self.finished.contains(&tag)
    }

    /// The tags that an ack covers if all that is under way arrives before it.
    pub(super) fn covered(&self, ack: Ack) -> Vec<(u64, Message)> {
        let is_covered = |tag: &u64| match ack {
            Ack::One(one) => *tag == one,
            Ack::UpTo(last) => *tag <= last && !self.wire.contains(&Frame::Requeue(*tag)),
        };
        let unacked = self.unacked.iter().map(|(tag, message)| (*tag, *message));
        unacked.filter(|(tag, _)| is_covered(tag)).collect()
    }

    /// Receives a frame.
    pub(super) fn receive(&mut self, queue: &mut Queue) -> Result<(), Problem> {
        let Some(frame) = self.wire.pop_front() else { return Ok(()) };
        match frame {
            Frame::Ack(ack) => {
                let (Ack::One(tag) | Ack::UpTo(tag)) = ack;
                if !self.unacked.contains_key(&tag) {
                    return Err(Problem::UnknownTag(tag));
                }
                for (tag, _) in self.covered(ack) {
                    self.unacked.remove(&tag);
                    if !self.finished.remove(&tag) {
                        return Err(Problem::Unfinished(tag));
                    }
                }
            }
            Frame::Requeue(tag) => {
                let message = self.unacked.remove(&tag).ok_or(Problem::UnknownTag(tag))?;
                queue.requeue(message);
            }
        }
        Ok(())
    }

    /// The channel is lost: what is out on it becomes ready again.
    pub(super) fn lose(self, queue: &mut Queue) {
        self.unacked.into_values().for_each(|message| queue.requeue(message));
    }
}
