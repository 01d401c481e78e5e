//! The headers that fetchline sets on its messages, and reading them whatever type a client gave them.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::{NotATask, frames};

/// The run that a task belongs to.
pub(crate) const RUN: &str = "x-run";
/// The part of the run: one `produce`.
pub(crate) const PART: &str = "x-part";
/// 1 for the first try.
pub(crate) const ATTEMPT: &str = "x-attempt";
/// How often a task was put off without a try, since its host had no slot.
pub(crate) const PARKED: &str = "x-parked";
/// What a task was put off for the last time, and for how many times in a row: `pause 3`.
pub(crate) const PARKED_FOR: &str = "x-parked-for";
/// How often the broker had delivered a message and got it back before it was put off: its own count begins anew then.
pub(crate) const RETURNED: &str = "x-returned";
/// Why a message is dead, as one word.
pub(crate) const REASON: &str = "x-reason";
/// Why a message is dead, for people.
pub(crate) const ERROR: &str = "x-error";
/// The status of the last answer, where there was one.
pub(crate) const STATUS: &str = "x-status";
/// How often a task was tried before it was given up.
pub(crate) const ATTEMPTS: &str = "x-attempts";
/// The worker that gave up on a message.
pub(crate) const WORKER: &str = "x-worker";
/// When a message was given up; RFC 3339, UTC. A replayed message keeps it: see [`Task::failed_at`](crate::Task).
pub(crate) const FAILED_AT: &str = "x-failed-at";

/// The trace that a message belongs to (W3C Trace Context).
pub(crate) const TRACEPARENT: &str = "traceparent";

/// The `type` property of a message that tells of a part of a run.
pub(crate) const TYPE_PART: &str = "part";

fn value<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// How often the broker has delivered a message and got it back; set by quorum queues.
pub(crate) const DELIVERY_COUNT: &str = "x-delivery-count";

/// A header as text; `None` where it is missing or no text.
pub(crate) fn text(properties: &BasicProperties, name: &str) -> Option<String> {
    match value(properties, name)? {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

/// A header as a number: any AMQP integer, or digits as text, as the console's users type them.
pub(crate) fn number(properties: &BasicProperties, name: &str) -> Option<u64> {
    match value(properties, name)? {
        AMQPValue::ShortShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortShortUInt(number) => Some(u64::from(*number)),
        AMQPValue::ShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortUInt(number) => Some(u64::from(*number)),
        AMQPValue::LongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongUInt(number) => Some(u64::from(*number)),
        AMQPValue::LongLongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongString(_) | AMQPValue::ShortString(_) => text(properties, name)?.trim().parse().ok(),
        _ => None,
    }
}

/// Whether the properties are those of the publisher: what was repaired when the message was read
/// is no longer what the publisher wrote. See [`crate::frames`].
pub(crate) fn undamaged(properties: &BasicProperties) -> Result<(), NotATask> {
    let texts = [
        ("content_type", properties.content_type()),
        ("content_encoding", properties.content_encoding()),
        ("correlation_id", properties.correlation_id()),
        ("reply_to", properties.reply_to()),
        ("expiration", properties.expiration()),
        ("message_id", properties.message_id()),
        ("type", properties.kind()),
        ("user_id", properties.user_id()),
        ("app_id", properties.app_id()),
        ("cluster_id", properties.cluster_id()),
    ];
    for (name, text) in texts {
        if text.as_ref().is_some_and(|text| is_damaged(text.as_str())) {
            return Err(NotATask::NotUtf8(format!("the property {name}")));
        }
    }
    let Some(name) = properties.headers().as_ref().and_then(damaged_name) else { return Ok(()) };
    if name == frames::TOO_LARGE {
        return Err(NotATask::HeadersTooLarge);
    }
    let shown = name.replace(char::is_control, "\u{fffd}");
    Err(NotATask::NotUtf8(format!("the name of the header `{shown}`")))
}

/// About how much memory the properties take, in bytes.
pub(crate) fn bytes(properties: &BasicProperties) -> usize {
    properties.headers().as_ref().map_or(0, table_bytes)
}

fn table_bytes(table: &FieldTable) -> usize {
    let entry = |(name, value): (&_, &_)| name_bytes(name) + value_bytes(value);
    table.inner().iter().map(entry).sum()
}

fn name_bytes(name: &ShortString) -> usize {
    size_of::<ShortString>() + name.as_str().len()
}

fn value_bytes(value: &AMQPValue) -> usize {
    size_of::<AMQPValue>()
        + match value {
            AMQPValue::LongString(text) => text.as_bytes().len(),
            AMQPValue::ShortString(text) => text.as_str().len(),
            AMQPValue::ByteArray(bytes) => bytes.len(),
            AMQPValue::FieldTable(table) => table_bytes(table),
            AMQPValue::FieldArray(array) => array.as_slice().iter().map(value_bytes).sum(),
            _ => 0,
        }
}

fn is_damaged(text: &str) -> bool {
    text.as_bytes().contains(&frames::SUBSTITUTE)
}

/// The first damaged text in a table: the name of an entry, at any depth.
fn damaged_name(table: &FieldTable) -> Option<&str> {
    table.inner().iter().find_map(|(name, value)| {
        let name = name.as_str();
        if is_damaged(name) { Some(name) } else { damaged_value(value) }
    })
}

fn damaged_value(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::ShortString(text) => Some(text.as_str()).filter(|text| is_damaged(text)),
        AMQPValue::FieldTable(table) => damaged_name(table),
        AMQPValue::FieldArray(array) => array.as_slice().iter().find_map(damaged_value),
        _ => None,
    }
}
