//! Publishing that is believed only when the broker has confirmed it.
//!
//! A [`Lane`] is a channel in confirm mode. Messages are sent in a [`Round`], and the round is finished as a whole, for
//! a reason: the client library hands a returned (unroutable) message to whichever confirm is resolved next, which with
//! multiple confirms need not be its own. Only when all confirms of a round are in is it known which message came back,
//! by its id. Two lanes in turn keep the broker busy all the same.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use lapin::message::Delivery;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Event, PublisherConfirm};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use tokio::sync::watch;
use tokio_stream::StreamExt;

use crate::broker::within;
use crate::{DeferReason, Error, NotATask, Part, Task, Tier, Topology, header};

/// Headers have to fit into one frame, 128 KiB by default: a longer one ends the connection.
const MAX_ERROR_CHARS: usize = 1000;
/// Stored on disk by the broker.
const PERSISTENT: u8 = 2;

/// A message as it was delivered, for the copy that may have to replace it.
#[derive(Clone, Debug)]
pub struct Original {
    /// Its properties; boxed, since they are large and it is moved often.
    pub properties: Box<BasicProperties>,
    /// Its body. A task that was read from it shares this memory.
    pub body: Bytes,
}

/// Why a message is given up.
#[derive(Clone, Debug)]
pub struct Death {
    /// One word: `not_a_task`, or the outcome of the task.
    pub reason: &'static str,
    /// For people.
    pub error: String,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// How often it was tried.
    pub attempts: u32,
}

/// A message that is ready to be published.
#[derive(Clone, Debug)]
pub struct Draft {
    routing_key: Cow<'static, str>,
    properties: BasicProperties,
    body: Bytes,
}

impl Draft {
    /// The message of a task.
    pub fn task(task: &Task) -> Self {
        let (body, content_type) = task.order.message();
        let mut headers = FieldTable::default();
        put(&mut headers, header::RUN, task.run.as_str());
        if let Some(part) = &task.part {
            put(&mut headers, header::PART, part.as_str());
        }
        put_number(&mut headers, header::ATTEMPT, task.attempt);
        let mut properties = BasicProperties::default()
            .with_message_id(task.key.to_string().into())
            .with_content_type(content_type.into())
            .with_headers(headers);
        if let Some(priority) = task.priority {
            properties = properties.with_priority(priority);
        }
        Self::stamped(Topology::URLS.into(), properties, body.into())
    }

    /// The message that tells of a part of a run.
    pub fn part(part: &Part) -> Self {
        let mut headers = FieldTable::default();
        put(&mut headers, header::RUN, part.run.as_str());
        put(&mut headers, header::PART, part.part.as_str());
        let properties = BasicProperties::default()
            .with_type(header::TYPE_PART.into())
            .with_message_id(part.message_id().into())
            .with_content_type("application/json".into())
            .with_headers(headers);
        Self::stamped(Topology::RUNS.into(), properties, part.body().into())
    }

    /// The copy of a message that is to be tried again after a delay.
    pub fn retry(original: Original, tier: Tier, attempt: u32) -> Self {
        let (properties, mut headers) = carried(&original.properties);
        put_number(&mut headers, header::ATTEMPT, attempt);
        strip(&mut headers, |name| name == header::PARKED_FOR);
        Self::stamped(tier.key().into(), properties.with_headers(headers), original.body)
    }

    /// The copy of a message that waits without having been tried. It counts how often, so that no copy is taken for the
    /// message that it replaces; and goes on counting redeliveries where the broker begins anew.
    pub fn parked(original: Original, task: &Task, tier: Tier, reason: DeferReason) -> Self {
        let (properties, mut headers) = carried(&original.properties);
        put_number(&mut headers, header::PARKED, task.parked.saturating_add(1));
        let in_a_row = task.deferred_for(reason).saturating_add(1);
        put(&mut headers, header::PARKED_FOR, format!("{} {in_a_row}", reason.as_str()));
        put_number(&mut headers, header::RETURNED, u32::try_from(task.returned).unwrap_or(u32::MAX));
        Self::stamped(tier.key().into(), properties.with_headers(headers), original.body)
    }

    /// The copy of a message that is given up. Moved back by hand, it is a first try again.
    /// `failed_at` orders this death among the task's rows, so it is the time of the clock that
    /// stamps them: the database's.
    pub fn dead(original: Original, death: &Death, worker: &str, failed_at: OffsetDateTime) -> Self {
        let (properties, mut headers) = carried(&original.properties);
        // The status may be that of an earlier death, if it was moved back by hand.
        strip(&mut headers, |name| {
            [header::STATUS, header::PARKED, header::PARKED_FOR, header::RETURNED].contains(&name)
        });
        put(&mut headers, header::REASON, death.reason);
        put(&mut headers, header::ERROR, death.error.chars().take(MAX_ERROR_CHARS).collect::<String>());
        if let Some(status) = death.status {
            put_number(&mut headers, header::STATUS, u32::from(status));
        }
        put_number(&mut headers, header::ATTEMPTS, death.attempts);
        put_number(&mut headers, header::ATTEMPT, 1);
        put(&mut headers, header::WORKER, worker);
        put(&mut headers, header::FAILED_AT, utc(failed_at));
        Self::stamped(Topology::DEAD.into(), properties.with_headers(headers), original.body)
    }

    /// A dead letter as a first try. When it was given up stays with it: that tells a replay from a redelivery.
    pub(crate) fn replay(original: Original) -> Self {
        let (properties, mut headers) = carried(&original.properties);
        let told = [
            header::REASON,
            header::ERROR,
            header::STATUS,
            header::ATTEMPTS,
            header::WORKER,
            header::PARKED,
            header::PARKED_FOR,
            header::RETURNED,
        ];
        strip(&mut headers, |name| told.contains(&name));
        put_number(&mut headers, header::ATTEMPT, 1);
        Self::stamped(Topology::URLS.into(), properties.with_headers(headers), original.body)
    }

    /// The key of the queue that the message goes to.
    pub fn routing_key(&self) -> &str {
        &self.routing_key
    }

    /// The same message for another delay queue.
    pub fn delayed_by(self, tier: Tier) -> Self {
        Self { routing_key: tier.key().into(), ..self }
    }

    /// Puts the message into a trace, where it belongs to none yet.
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

    fn stamped(routing_key: Cow<'static, str>, properties: BasicProperties, body: Bytes) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let properties = properties.with_delivery_mode(PERSISTENT).with_timestamp(now).with_app_id("fetchline".into());
        Self { routing_key, properties, body }
    }
}

impl Original {
    /// What the broker delivered.
    pub fn of(delivery: Delivery) -> Self {
        Self { properties: Box::new(delivery.properties), body: Bytes::from(delivery.data) }
    }

    /// About how much memory the message takes, in bytes: its body and its headers.
    pub fn bytes(&self) -> usize {
        self.body.len() + header::bytes(&self.properties)
    }

    /// A header as text; `None` where it is missing or no text.
    pub fn header(&self, name: &str) -> Option<String> {
        header::text(&self.properties, name)
    }
}

impl Death {
    /// The death of a message that is no task.
    pub fn not_a_task(reason: &NotATask) -> Self {
        Self { reason: "not_a_task", error: reason.to_string(), status: None, attempts: 0 }
    }
}

/// RFC 3339 has four digits for a year; a time beyond is none.
fn utc(time: OffsetDateTime) -> String {
    let time = time.checked_to_offset(UtcOffset::UTC);
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

fn put(headers: &mut FieldTable, name: &'static str, value: impl Into<String>) {
    headers.insert(name.into(), AMQPValue::LongString(value.into().into()));
}

fn put_number(headers: &mut FieldTable, name: &'static str, value: u32) {
    headers.insert(name.into(), AMQPValue::LongLongInt(i64::from(value)));
}

/// The properties and headers that a copy takes over. Not among them: a time to live, which would end the copy in a
/// queue where that loses it; a user id, which the broker compares with the user of this connection; and what routes it
/// elsewhere, too (`CC`, `BCC`, `reply_to`).
pub(crate) fn carried(of: &BasicProperties) -> (BasicProperties, FieldTable) {
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
    let mut headers = of.headers().clone().unwrap_or_default();
    strip_brokers_own(&mut headers);
    (properties, headers)
}

/// What the broker wrote about a delivery, or where a client sent it besides, is not true of a copy.
fn strip_brokers_own(headers: &mut FieldTable) {
    let own = ["x-death", header::DELIVERY_COUNT, "x-acquired-count", "CC", "BCC"];
    strip(headers, |name| {
        own.contains(&name) || name.starts_with("x-first-death-") || name.starts_with("x-last-death-")
    });
}

fn strip(headers: &mut FieldTable, strip: impl Fn(&str) -> bool) {
    let kept = headers.inner().iter().filter(|(name, _)| !strip(name.as_str()));
    *headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect::<BTreeMap<_, _>>().into();
}

/// Proof that the broker has taken a message over. Only a finished round makes one.
#[derive(Debug)]
#[must_use]
pub struct Confirmed<T>(T);

impl<T> Confirmed<T> {
    /// Keeps a part of what was sent along with the message.
    pub fn map<U>(self, part: impl FnOnce(T) -> U) -> Confirmed<U> {
        Confirmed(part(self.0))
    }

    /// What was sent along with the message.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Confirmed<Option<T>> {
    /// The proof of what is there.
    pub fn transpose(self) -> Option<Confirmed<T>> {
        self.0.map(Confirmed)
    }
}

/// What became of a message.
#[derive(Debug)]
pub enum Verdict<T> {
    /// The broker has it.
    Confirmed(Confirmed<T>),
    /// No queue is bound to its routing key.
    Returned(T),
    /// The broker refused it: a queue is full.
    Nacked(T),
    /// The channel or connection broke first: nobody knows.
    Unknown(T, Error),
}

/// That the broker does not read from a connection, since it is low on memory or disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// What the broker says.
    pub reason: String,
    /// Since when.
    pub since: Instant,
}

/// Watches whether the broker blocks a connection, for as long as the connection lives. It tells only after something was
/// published.
pub fn watch_blocked(connection: &Connection) -> watch::Receiver<Option<Blocked>> {
    let (sender, receiver) = watch::channel(None);
    let mut events = Box::pin(connection.events_listener());
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectionBlocked(reason) => {
                    sender.send_replace(Some(Blocked { reason, since: Instant::now() }));
                }
                Event::ConnectionUnblocked => _ = sender.send_replace(None),
                _ => {}
            }
            if sender.is_closed() {
                return;
            }
        }
    });
    receiver
}

/// A channel in confirm mode.
pub struct Lane {
    channel: Channel,
    exchange: ShortString,
}

/// Messages whose confirms are finished together, each with what the caller wants back.
pub struct Round<T> {
    sent: Vec<Sent<T>>,
}

struct Sent<T> {
    token: T,
    id: Option<ShortString>,
    confirm: Result<PublisherConfirm, lapin::Error>,
}

impl<T> Default for Round<T> {
    fn default() -> Self {
        Self { sent: Vec::new() }
    }
}

impl Lane {
    /// Opens a channel and asks for confirms.
    pub async fn open(connection: &Connection, topology: &Topology) -> Result<Self, Error> {
        within("opening a channel", async {
            let channel = connection.create_channel().await.map_err(Error::amqp("cannot open a channel"))?;
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await
                .map_err(Error::amqp("cannot ask for confirms"))?;
            Ok(Self { channel, exchange: topology.exchange().into() })
        })
        .await
    }

    /// Sends messages within a round. A failure shows when the round is finished.
    ///
    /// The library tells of each message when it was written, which is the affair of another thread. So they are handed
    /// over all at once, and then waited for.
    pub async fn send<T>(&self, round: &mut Round<T>, letters: impl IntoIterator<Item = (Draft, T)>) {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let sending = letters.into_iter().map(|(Draft { routing_key, properties, body }, token)| async move {
            let (exchange, routing_key) = (self.exchange.clone(), (&*routing_key).into());
            let id = properties.message_id().clone();
            let confirm = self.channel.basic_publish(exchange, routing_key, options, &body, properties).await;
            Sent { token, id, confirm }
        });
        round.sent.extend(join_all(sending).await);
    }

    /// Whether messages can still be sent.
    pub fn is_open(&self) -> bool {
        self.channel.status().connected()
    }
}

impl<T> Round<T> {
    /// How many messages were sent.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Waits for every confirm; one verdict per message, in the order of sending. There is no deadline of its own: a
    /// broker under an alarm just waits, and a dead one is noticed by the heartbeat.
    pub async fn finish(self) -> Vec<Verdict<T>> {
        let mut returned = HashSet::new();
        let mut returned_without_id = false;
        let mut answers = Vec::with_capacity(self.sent.len());
        for sent in self.sent {
            let answer = match sent.confirm {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) = &answer {
                match message.delivery.properties.message_id() {
                    Some(id) => _ = returned.insert(id.clone()),
                    None => returned_without_id = true,
                }
            }
            answers.push((sent.token, sent.id, answer));
        }
        answers
            .into_iter()
            .map(|(token, id, answer)| match (answer, id) {
                (Err(error), _) => Verdict::Unknown(token, Error::amqp("publishing failed")(error)),
                (Ok(_), Some(id)) if returned.contains(&id) => Verdict::Returned(token),
                (Ok(_), None) if returned_without_id => Verdict::Returned(token),
                (Ok(Confirmation::Nack(_)), _) => Verdict::Nacked(token),
                (Ok(_), _) => Verdict::Confirmed(Confirmed(token)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;

    fn failed_at() -> OffsetDateTime {
        datetime!(2026-03-01 11:30 +01:30)
    }

    fn timeout() -> Death {
        Death { reason: "timeout", error: "no answer".to_owned(), status: None, attempts: 4 }
    }

    #[test]
    fn a_dead_letter_tells_of_this_death_alone() {
        let mut headers = FieldTable::default();
        put_number(&mut headers, header::STATUS, 503);
        put(&mut headers, header::RUN, "nightly");
        let properties = Box::new(BasicProperties::default().with_headers(headers));
        let draft = Draft::dead(Original { properties, body: Bytes::new() }, &timeout(), "pod-1", failed_at());
        assert_eq!(header::number(&draft.properties, header::STATUS), None);
        assert_eq!(header::text(&draft.properties, header::RUN).as_deref(), Some("nightly"));
        assert_eq!(header::text(&draft.properties, header::REASON).as_deref(), Some("timeout"));
    }

    #[test]
    fn a_dead_letter_tells_the_time_that_it_was_given() {
        let original = Original { properties: Box::default(), body: Bytes::from_static(b"https://a.example/") };
        let dead = Draft::dead(original, &timeout(), "pod-1", failed_at());
        assert_eq!(header::text(&dead.properties, header::FAILED_AT).as_deref(), Some("2026-03-01T10:00:00Z"));
        let again = Task::read(&dead.properties, &dead.body).unwrap();
        assert_eq!(again.failed_at, Some(failed_at()));
    }

    #[test]
    fn copies_share_the_body_and_keep_what_was_damaged() {
        let mut inner = FieldTable::default();
        inner.insert("in\u{1a}ner".into(), AMQPValue::Void);
        let mut headers = FieldTable::default();
        headers.insert("x-\u{1a}".into(), AMQPValue::FieldTable(inner));
        headers.insert("x-status".into(), AMQPValue::LongLongInt(503));
        let properties = BasicProperties::default().with_message_id("\u{1a}".into()).with_type("\u{1a}t".into());
        let properties = Box::new(properties.with_headers(headers));
        let original = Original { properties, body: Bytes::from_static(b"https://a.example/") };
        let tier = Tier::of(Duration::from_secs(10)).unwrap();
        let dead = Draft::dead(original.clone(), &timeout(), "pod-1", failed_at());
        let replayed =
            Draft::replay(Original { properties: Box::new(dead.properties.clone()), body: dead.body.clone() });
        let retried = Draft::retry(original.clone(), tier, 2);
        let task = Task::read(&BasicProperties::default(), &original.body).unwrap();
        let parked = Draft::parked(original.clone(), &task, tier, DeferReason::Slot);
        for draft in [dead, replayed, retried, parked] {
            let (new, old) = (&draft.properties, &original.properties);
            assert_eq!((new.message_id(), new.kind()), (old.message_id(), old.kind()));
            let table = |of: &BasicProperties| of.headers().clone().unwrap().inner().get("x-\u{1a}").cloned();
            assert_eq!(table(new), table(old));
            assert_eq!(draft.body.as_ptr(), original.body.as_ptr());
            let read = Task::read(new, &draft.body);
            assert_eq!(read, Err(NotATask::NotUtf8("the property message_id".to_owned())));
        }
    }

    #[test]
    fn a_message_takes_the_memory_of_its_headers_too_however_deep_they_are() {
        let text = || AMQPValue::LongString("x".repeat(10_000).into());
        let mut inner = FieldTable::default();
        inner.insert("a".into(), text());
        let mut headers = FieldTable::default();
        headers.insert("b".into(), AMQPValue::FieldTable(inner));
        headers.insert("c".into(), AMQPValue::FieldArray(vec![text(), AMQPValue::Void].into()));
        let properties = Box::new(BasicProperties::default().with_headers(headers));
        let bytes = Original { properties, body: Bytes::from_static(&[0; 5_000]) }.bytes();
        assert!((25_000..26_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn an_hour_is_a_tier_like_any_other() {
        let hour = Tier::of(Duration::from_secs(3600)).unwrap();
        let original = Original { properties: Box::default(), body: Bytes::from_static(b"https://a.example/") };
        let known = Task { parked: 6, returned: 2, ..Task::read(&original.properties, &original.body).unwrap() };
        let draft = Draft::parked(original, &known, hour, DeferReason::Slot);
        let topology = Topology::new("p").with_tiers(vec![Tier::of(Duration::from_secs(600)).unwrap(), hour]);
        assert_eq!(draft.routing_key, "retry.3600s");
        assert!(topology.keys().contains(&draft.routing_key.into_owned()));
        let task = Task::read(&draft.properties, &draft.body).unwrap();
        assert_eq!((task.parked, task.returned, task.attempt), (7, 2, 1));
    }

    #[test]
    fn deferrals_count_in_all_and_in_a_row_for_one_reason() {
        let tier = Tier::of(Duration::from_secs(10)).unwrap();
        let mut original = Original { properties: Box::default(), body: Bytes::from_static(b"https://a.example/") };
        let mut counts = Vec::new();
        for reason in [DeferReason::Slot, DeferReason::Slot, DeferReason::Memory, DeferReason::Memory] {
            let task = Task::read(&original.properties, &original.body).unwrap();
            let draft = Draft::parked(original, &task, tier, reason);
            original = Original { properties: Box::new(draft.properties), body: draft.body };
            let task = Task::read(&original.properties, &original.body).unwrap();
            counts.push((task.parked, task.deferred_for(DeferReason::Slot), task.deferred_for(DeferReason::Memory)));
        }
        assert_eq!(counts, [(1, 1, 0), (2, 2, 0), (3, 0, 1), (4, 0, 2)]);
        let retried = Draft::retry(original, tier, 2);
        let task = Task::read(&retried.properties, &retried.body).unwrap();
        assert_eq!((task.parked, task.deferred_for(DeferReason::Memory)), (4, 0), "a try ends the row");
    }
}
