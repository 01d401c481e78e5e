//! Messages that are ready to be published.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{FieldTable, ShortString};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::death::Death;
use super::wait::Wait;
use crate::message::header::{self, put, put_number};
use crate::{
    DeferReason, FetchRequest, ListLine, NotATask, PartReport, RawMessage, Task, Tier, Topology,
};

/// Headers must fit into one frame, 128 KiB by default: larger ones end the connection.
const MAX_ERROR_CHARS: usize = 1000;
/// The delivery mode of a message that the broker stores on disk.
const PERSISTENT: u8 = 2;

/// A message that is ready to be published.
#[derive(Clone, Debug)]
pub struct Draft {
    routing_key: Cow<'static, str>,
    properties: BasicProperties,
    body: Bytes,
}

impl Draft {
    /// A task of another service, in the run `run`.
    ///
    /// `message_id` identifies the task within its run, for example the number of an order: a
    /// redelivery of a task whose row is committed is not fetched again. Without an id, or with an
    /// empty one, every delivery is fetched and has a row of its own.
    ///
    /// Fails if a worker would not accept the message, or would not send the same request: a
    /// message has one value per header, and texts in UTF-8.
    pub fn request(
        request: &FetchRequest,
        run: &str,
        message_id: Option<&str>,
    ) -> Result<Self, NotATask> {
        let (body, content_type) = request.message();
        let mut headers = FieldTable::default();
        put(&mut headers, header::RUN, run);
        let mut properties =
            BasicProperties::default().with_content_type(content_type.into()).with_headers(headers);
        if let Some(id) = message_id {
            let id = ShortString::try_new(id).map_err(|_| NotATask::MessageIdTooLong(id.len()))?;
            properties = properties.with_message_id(id);
        }
        let draft = Self::own(Topology::URLS.into(), properties, body.into());
        let sent = Task::read(&draft.properties, &draft.body)?.request;
        let is_same = sent.method == request.method
            && sent.address == request.address
            && sent.headers == request.headers
            && sent.body == request.body;
        if is_same { Ok(draft) } else { Err(NotATask::Lossy) }
    }

    /// The message of a task.
    pub fn task(task: &Task) -> Self {
        let (body, content_type) = task.request.message();
        let mut headers = FieldTable::default();
        put(&mut headers, header::RUN, task.run.as_str());
        if let Some(part) = &task.part {
            put(&mut headers, header::PART, part.as_str());
        }
        put_number(&mut headers, header::ATTEMPT, task.attempt);
        let id = task.message_id.clone().unwrap_or_else(|| task.key.to_string());
        let mut properties = BasicProperties::default()
            .with_message_id(id.into())
            .with_content_type(content_type.into())
            .with_headers(headers);
        if let Some(priority) = task.priority {
            properties = properties.with_priority(priority);
        }
        Self::own(Topology::URLS.into(), properties, body.into())
    }

    /// The message of a part report.
    pub fn part_report(report: &PartReport) -> Self {
        let mut headers = FieldTable::default();
        put(&mut headers, header::RUN, report.run.as_str());
        put(&mut headers, header::PART, report.part.as_str());
        let properties = BasicProperties::default()
            .with_type(header::TYPE_PART.into())
            .with_message_id(report.message_id().into())
            .with_content_type("application/json".into())
            .with_headers(headers);
        Self::own(Topology::RUNS.into(), properties, report.body().into())
    }

    /// The message of a fact.
    pub(crate) fn news(json: Vec<u8>) -> Self {
        let properties = BasicProperties::default()
            .with_type(header::TYPE_NEWS.into())
            .with_content_type("application/json".into());
        Self::stamped(Topology::NEWS.into(), properties, json.into())
    }

    /// The message of a directive, for the default exchange. `by` names the operator.
    pub(crate) fn directive(queue: String, text: String, by: &str) -> Self {
        let mut headers = FieldTable::default();
        put(&mut headers, header::BY, by);
        let properties =
            BasicProperties::default().with_content_type("text/plain".into()).with_headers(headers);
        Self::stamped(queue.into(), properties, text.into())
    }

    /// The message of a line of a list, with the properties of the list. A line that is not a task
    /// becomes a dead letter. If the list has an id, each line gets one that is derived from it.
    pub fn of_list(
        list: &RawMessage,
        (number, line): (usize, ListLine),
        worker: &str,
        now: OffsetDateTime,
    ) -> Self {
        let (mut properties, headers) = carried(&list.properties);
        // An id that leaves no room for a number is left to the list: lines without an id are
        // fetched, however often they are delivered.
        let id = list.properties.message_id().as_ref().filter(|id| !id.as_str().is_empty());
        let id = id.and_then(|id| ShortString::try_new(format!("{id}-{number}")).ok());
        properties = properties.with_message_id(id.unwrap_or_default());
        let properties = properties.with_headers(headers);
        let ListLine { text, reason } = line;
        match reason.map_or_else(|| Task::read(&properties, &text).map(drop), Err) {
            Ok(()) => Self::stamped(Topology::URLS.into(), properties, text),
            Err(reason) => {
                let original = RawMessage { properties: Box::new(properties), body: text };
                Self::dead(original, &Death::not_a_task(&reason), worker, now)
            }
        }
    }

    /// The copy of a message for another attempt after a delay.
    pub fn retry(
        original: RawMessage,
        tier: Tier,
        attempt: u32,
        wait: &Wait,
        worker: &str,
    ) -> Self {
        let (properties, mut headers) = carried(&original.properties);
        put_number(&mut headers, header::ATTEMPT, attempt);
        strip(&mut headers, |name| name == header::PARKED_FOR);
        put_wait(&mut headers, wait, tier, worker);
        Self::stamped(tier.key().into(), properties.with_headers(headers), original.body)
    }

    /// The copy of a message whose task waits without an attempt.
    ///
    /// It counts deferrals, so that no copy is mistaken for the message that it replaces. It also
    /// keeps the number of redeliveries, since the broker's own count starts over.
    pub fn deferred(
        original: RawMessage,
        task: &Task,
        tier: Tier,
        reason: DeferReason,
        worker: &str,
    ) -> Self {
        let (properties, mut headers) = carried(&original.properties);
        put_number(&mut headers, header::PARKED, task.deferrals.saturating_add(1));
        put(&mut headers, header::PARKED_FOR, task.deferred.with(reason).to_string());
        let redeliveries = u32::try_from(task.redeliveries).unwrap_or(u32::MAX);
        put_number(&mut headers, header::RETURNED, redeliveries);
        let error = reason.sentence().to_owned();
        let wait = Wait { reason: reason.as_str(), error, status: None };
        put_wait(&mut headers, &wait, tier, worker);
        Self::stamped(tier.key().into(), properties.with_headers(headers), original.body)
    }

    /// The copy of a message that is given up. It names no attempt, so an operator who moves it
    /// back makes it a first attempt again.
    ///
    /// `failed_at` orders this death among the rows of the task. So it must come from the clock
    /// that stamps them: the database's.
    pub fn dead(
        original: RawMessage,
        death: &Death,
        worker: &str,
        failed_at: OffsetDateTime,
    ) -> Self {
        let (properties, mut headers) = carried(&original.properties);
        // The status may be that of an earlier death if an operator moved the message back.
        strip(&mut headers, |name| {
            [
                header::ATTEMPT,
                header::STATUS,
                header::PARKED,
                header::PARKED_FOR,
                header::RETURNED,
                header::UNTIL,
            ]
            .contains(&name)
        });
        put_reason(&mut headers, death.reason, &death.error, death.status, worker);
        put_number(&mut headers, header::ATTEMPTS, death.attempts);
        put(&mut headers, header::FAILED_AT, utc(failed_at));
        Self::stamped(Topology::DEAD.into(), properties.with_headers(headers), original.body)
    }

    /// A dead letter as a first attempt. It keeps the time of its death, which distinguishes a
    /// replay from a redelivery.
    pub(crate) fn replay(original: RawMessage) -> Self {
        let (properties, mut headers) = carried(&original.properties);
        let of_death = [
            header::REASON,
            header::ERROR,
            header::STATUS,
            header::ATTEMPTS,
            header::WORKER,
            header::UNTIL,
            header::PARKED,
            header::PARKED_FOR,
            header::RETURNED,
        ];
        strip(&mut headers, |name| of_death.contains(&name));
        put_number(&mut headers, header::ATTEMPT, 1);
        Self::stamped(Topology::URLS.into(), properties.with_headers(headers), original.body)
    }

    /// The size of the body, in bytes.
    pub(crate) fn body_len(&self) -> usize {
        self.body.len()
    }

    /// The routing key of the queue that the message goes to.
    pub fn routing_key(&self) -> &str {
        &self.routing_key
    }

    /// The same message for another delay queue.
    pub fn delayed_by(mut self, tier: Tier) -> Self {
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        put(&mut headers, header::UNTIL, until(tier));
        self.properties = self.properties.with_headers(headers);
        Self { routing_key: tier.key().into(), ..self }
    }

    /// Adds the message to a trace, unless it belongs to one.
    pub fn within_trace(mut self, traceparent: impl FnOnce() -> Option<String>) -> Self {
        if header::text(&self.properties, header::TRACEPARENT).is_none()
            && let Some(traceparent) = traceparent()
        {
            let mut headers = self.properties.headers().clone().unwrap_or_default();
            put(&mut headers, header::TRACEPARENT, traceparent);
            self.properties = self.properties.with_headers(headers);
        }
        self
    }

    pub(super) fn into_parts(self) -> (Cow<'static, str>, BasicProperties, Bytes) {
        (self.routing_key, self.properties, self.body)
    }

    /// A message of our own. Copies of other messages do not get our `app_id`: the message of
    /// another program must not turn into one of ours, which would change its key.
    fn own(routing_key: Cow<'static, str>, properties: BasicProperties, body: Bytes) -> Self {
        Self::stamped(routing_key, properties.with_app_id(header::APP_ID.into()), body)
    }

    fn stamped(routing_key: Cow<'static, str>, properties: BasicProperties, body: Bytes) -> Self {
        let now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let properties = properties.with_delivery_mode(PERSISTENT).with_timestamp(now);
        Self { routing_key, properties, body }
    }
}

/// Says in the headers why a message waits, and until when.
fn put_wait(headers: &mut FieldTable, wait: &Wait, tier: Tier, worker: &str) {
    strip(headers, |name| name == header::STATUS);
    put_reason(headers, wait.reason, &wait.error, wait.status, worker);
    put(headers, header::UNTIL, until(tier));
}

fn put_reason(
    headers: &mut FieldTable,
    reason: &str,
    error: &str,
    status: Option<u16>,
    worker: &str,
) {
    put(headers, header::REASON, reason);
    put(headers, header::ERROR, error.chars().take(MAX_ERROR_CHARS).collect::<String>());
    if let Some(status) = status {
        put_number(headers, header::STATUS, u32::from(status));
    }
    put(headers, header::WORKER, worker);
}

/// The end of a delay that begins now, in whole seconds.
fn until(tier: Tier) -> String {
    let now = OffsetDateTime::now_utc();
    utc(now.replace_nanosecond(0).unwrap_or(now) + tier.delay())
}

/// RFC 3339 has four digits for a year; a time outside becomes an empty text.
fn utc(time: OffsetDateTime) -> String {
    let time = time.checked_to_offset(UtcOffset::UTC);
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// The properties and headers that a copy takes over.
///
/// Three kinds are left out: a time to live, which would end the copy in a queue where that loses
/// it; a user id, which the broker compares with the user of this connection; and what would route
/// the copy elsewhere too (`CC`, `BCC`, `reply_to`).
fn carried(of: &BasicProperties) -> (BasicProperties, FieldTable) {
    let mut properties = BasicProperties::default();
    if let Some(value) = of.message_id() {
        properties = properties.with_message_id(value.clone());
    }
    if let Some(value) = of.kind() {
        properties = properties.with_type(value.clone());
    }
    if let Some(value) = of.content_type() {
        properties = properties.with_content_type(value.clone());
    }
    if let Some(value) = of.content_encoding() {
        properties = properties.with_content_encoding(value.clone());
    }
    if let Some(value) = of.priority() {
        properties = properties.with_priority(*value);
    }
    if let Some(value) = of.correlation_id() {
        properties = properties.with_correlation_id(value.clone());
    }
    if header::is_own_app(of) {
        properties = properties.with_app_id(header::APP_ID.into());
    }
    let mut headers = of.headers().clone().unwrap_or_default();
    strip_delivery_headers(&mut headers);
    (properties, headers)
}

/// Removes what the broker wrote about a delivery, and what routes a message to further queues:
/// neither applies to a copy.
fn strip_delivery_headers(headers: &mut FieldTable) {
    let names = ["x-death", header::DELIVERY_COUNT, "x-acquired-count", "CC", "BCC"];
    strip(headers, |name| {
        names.contains(&name)
            || name.starts_with("x-first-death-")
            || name.starts_with("x-last-death-")
    });
}

fn strip(headers: &mut FieldTable, strip: impl Fn(&str) -> bool) {
    let kept = headers.inner().iter().filter(|(name, _)| !strip(name.as_str()));
    *headers =
        kept.map(|(name, value)| (name.clone(), value.clone())).collect::<BTreeMap<_, _>>().into();
}

#[cfg(test)]
mod tests;
