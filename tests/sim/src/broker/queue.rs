//! Queues and their messages.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use amq_protocol::types::{AMQPValue, FieldTable};
use tokio::time::Instant;

use crate::message::Message;

/// The release whose rules apply, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 3.10 and 4.0: each return of a message counts as a delivery.
    V3_10,
    /// 4.3: a nack does not count.
    V4_3,
}

/// The first place of a message that has not come back.
const FIRST_PLACE: u64 = 1 << 40;

/// Who consumes: a connection, a channel, and a consumer tag.
pub(super) type ConsumerId = (u64, u16, String);

/// What a queue does with its messages.
#[derive(Debug)]
pub(super) enum Kind {
    /// Messages leave it.
    Quorum(Quorum),
    /// Messages stay. The next offset of each consumer.
    Stream(BTreeMap<ConsumerId, usize>),
}

#[derive(Debug, Default)]
pub(super) struct Quorum {
    pub(super) ttl: Option<Duration>,
    /// The exchange and routing key of expired messages.
    pub(super) dead_letters_to: Option<(String, String)>,
    /// Consumers, the next one to be served first.
    pub(super) consumers: VecDeque<ConsumerId>,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) kind: Kind,
    /// The messages that are ready, by their places. Those that came back are first, in the order
    /// in which they did. In a stream, the place is the offset.
    pub(super) ready: BTreeMap<u64, Message>,
    pub(super) next_place: u64,
    /// The next place of a message that comes back.
    next_returned: u64,
}

impl Queue {
    pub(super) fn declared(arguments: &FieldTable) -> Self {
        let text = |name: &str| match arguments.inner().get(name) {
            Some(AMQPValue::LongString(text)) => Some(text.to_string()),
            _ => None,
        };
        let ttl = match arguments.inner().get("x-message-ttl") {
            Some(AMQPValue::LongLongInt(ms)) => Some(Duration::from_millis(ms.unsigned_abs())),
            _ => None,
        };
        let kind = match text("x-queue-type").as_deref() {
            Some("stream") => Kind::Stream(BTreeMap::new()),
            _ => Kind::Quorum(Quorum {
                ttl,
                dead_letters_to: text("x-dead-letter-exchange")
                    .zip(text("x-dead-letter-routing-key")),
                consumers: VecDeque::new(),
            }),
        };
        let next_place = if matches!(kind, Kind::Stream(_)) { 0 } else { FIRST_PLACE };
        Self { kind, ready: BTreeMap::new(), next_place, next_returned: 0 }
    }

    /// Adds a message, and returns its place.
    pub(super) fn push(&mut self, mut message: Message) -> u64 {
        if let Kind::Quorum(Quorum { ttl: Some(ttl), .. }) = &self.kind {
            message.expires_at = Some(Instant::now() + *ttl);
        }
        let place = self.next_place;
        self.next_place += 1;
        self.ready.insert(place, message);
        place
    }

    /// Puts back a message that a consumer has not settled.
    pub(super) fn put_back(&mut self, message: Message) {
        self.ready.insert(self.next_returned, message);
        self.next_returned += 1;
    }

    pub(super) fn consumers(&self) -> usize {
        match &self.kind {
            Kind::Quorum(queue) => queue.consumers.len(),
            Kind::Stream(cursors) => cursors.len(),
        }
    }

    pub(super) fn remove_consumer(&mut self, consumer: &ConsumerId) {
        match &mut self.kind {
            Kind::Quorum(queue) => queue.consumers.retain(|other| other != consumer),
            Kind::Stream(cursors) => _ = cursors.remove(consumer),
        }
    }
}
