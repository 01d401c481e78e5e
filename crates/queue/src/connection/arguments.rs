//! The arguments of queues. They hold the structure; operators tune the rest by policies.

use lapin::types::{AMQPValue, FieldTable};

/// How often a message may be redelivered before the broker drops it. Newer brokers default to 20,
/// which would drop a dead letter that was listed twenty times; a policy can only lower it.
const DELIVERY_LIMIT: i64 = 1_000_000;

/// The most news that their queue keeps. It drops the oldest ones.
const MAX_NEWS: i64 = 500;

/// The arguments of the queue of news.
pub(super) fn news() -> FieldTable {
    let mut arguments = limited(quorum());
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(MAX_NEWS));
    put(&mut arguments, "x-overflow", "drop-head");
    arguments
}

/// The arguments of the control stream.
pub(super) fn stream() -> FieldTable {
    let mut arguments = FieldTable::default();
    put(&mut arguments, "x-queue-type", "stream");
    arguments
}

/// The arguments of a quorum queue.
pub(super) fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    put(&mut arguments, "x-queue-type", "quorum");
    arguments
}

/// Adds the delivery limit.
pub(super) fn limited(mut arguments: FieldTable) -> FieldTable {
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    arguments
}

/// Adds a text.
pub(super) fn put(arguments: &mut FieldTable, name: &'static str, value: &str) {
    arguments.insert(name.into(), AMQPValue::LongString(value.into()));
}
