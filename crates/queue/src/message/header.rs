//! The headers of fetchline's messages. They are read whatever type a client gave them.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

/// The run of a task.
pub(crate) const RUN: &str = "x-run";
/// The part of the run: one `produce`.
pub(crate) const PART: &str = "x-part";
/// The attempt that the message asks for; the first one is 1.
pub(crate) const ATTEMPT: &str = "x-attempt";
/// The number of deferrals, for all reasons together.
pub(crate) const PARKED: &str = "x-parked";
/// The deferrals since the last attempt, by reason: `slot 1, dns 7`.
pub(crate) const PARKED_FOR: &str = "x-parked-for";
/// The redeliveries before the last deferral, where the broker's own count starts over.
pub(crate) const RETURNED: &str = "x-returned";
/// Why a message waits or is dead, in one word.
pub(crate) const REASON: &str = "x-reason";
/// The same in a sentence.
pub(crate) const ERROR: &str = "x-error";
/// The HTTP status of the last answer, if there was one.
pub(crate) const STATUS: &str = "x-status";
/// The number of attempts before a task was given up.
pub(crate) const ATTEMPTS: &str = "x-attempts";
/// The worker that let a message wait, or gave it up.
pub(crate) const WORKER: &str = "x-worker";
/// When a message was given up; RFC 3339, UTC. A replayed message keeps it: see
/// [`Task::failed_at`](crate::Task::failed_at).
pub(crate) const FAILED_AT: &str = "x-failed-at";
/// Until when a message waits in its delay queue; RFC 3339, UTC. Dead letters do not have it.
pub(crate) const UNTIL: &str = "x-until";
/// Who published a directive.
pub(crate) const BY: &str = "x-by";
/// The place of a message in a stream, which the broker sets.
pub(crate) const STREAM_OFFSET: &str = "x-stream-offset";
/// The trace of a message (W3C Trace Context).
pub(crate) const TRACEPARENT: &str = "traceparent";
/// The broker's count of redeliveries, which quorum queues set.
pub(crate) const DELIVERY_COUNT: &str = "x-delivery-count";

/// The `app_id` property of the messages that fetchline publishes itself.
pub(crate) const APP_ID: &str = "fetchline";
/// The `type` property of news.
pub(crate) const TYPE_NEWS: &str = "news";
/// The `type` property of a part report.
pub(crate) const TYPE_PART: &str = "part";

/// Whether fetchline published the message first.
pub(crate) fn is_own_app(properties: &BasicProperties) -> bool {
    properties.app_id().as_ref().is_some_and(|app| app.as_str() == APP_ID)
}

/// A header as text; `None` if it is missing or not text.
pub(crate) fn text(properties: &BasicProperties, name: &str) -> Option<String> {
    as_text(value(properties, name)?)
}

/// A header as a number; `None` if it is missing or not a number.
pub(crate) fn number(properties: &BasicProperties, name: &str) -> Option<u64> {
    as_number(value(properties, name)?)
}

/// A value as text.
pub(crate) fn as_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

/// A value as a number: any AMQP integer, or digits as text, as users of the console type them.
pub(crate) fn as_number(value: &AMQPValue) -> Option<u64> {
    match value {
        AMQPValue::ShortShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortShortUInt(number) => Some(u64::from(*number)),
        AMQPValue::ShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortUInt(number) => Some(u64::from(*number)),
        AMQPValue::LongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongUInt(number) => Some(u64::from(*number)),
        AMQPValue::LongLongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongString(_) | AMQPValue::ShortString(_) => as_text(value)?.trim().parse().ok(),
        _ => None,
    }
}

fn value<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// Sets a header as text.
pub(crate) fn put(headers: &mut FieldTable, name: &'static str, value: impl Into<String>) {
    headers.insert(name.into(), AMQPValue::LongString(value.into().into()));
}

/// Sets a header as a number.
pub(crate) fn put_number(headers: &mut FieldTable, name: &'static str, value: u32) {
    headers.insert(name.into(), AMQPValue::LongLongInt(i64::from(value)));
}

/// The approximate memory of the headers in bytes.
pub(crate) fn bytes(properties: &BasicProperties) -> usize {
    properties.headers().as_ref().map_or(0, table_bytes)
}

fn table_bytes(table: &FieldTable) -> usize {
    let entry = |(name, value): (&ShortString, &_)| {
        size_of::<ShortString>() + name.as_str().len() + value_bytes(value)
    };
    table.inner().iter().map(entry).sum()
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
