//! The session and the two consumers of a worker: of tasks, and of part reports.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Broker, Error, Topology};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Consumer, ErrorKind};
use tokio::time::timeout;
use tokio_stream::StreamExt;

use crate::error_chain::chain;
use crate::settle::Session;

/// How long the broker may take to open a channel, to open a consumer, or to cancel one.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);
/// The prefetch of part reports, which are few and have a queue of their own.
const PREFETCH_OF_RUNS: u16 = 10;

/// The consumers of one channel.
pub(super) struct Subscription {
    tasks: Consumer,
    runs: Consumer,
}

/// Connects, declares the queues, and opens a channel. `number` counts the sessions of this worker.
pub(super) async fn open_session(broker: &Broker, number: u64) -> Result<Session, Error> {
    let connection = broker.connect().await?;
    broker.topology().declare(&connection).await?;
    let opened = timeout(DEADLINE, connection.create_channel()).await;
    let opened = opened.map_err(|_| Error::Deadline(DEADLINE.as_secs(), "opening a channel"))?;
    let channel =
        opened.map_err(|source| Error::Amqp { context: "cannot open a channel", source })?;
    Ok(Session::new(number, channel, Arc::new(connection)))
}

impl Subscription {
    /// Opens the consumers. `number` counts the subscriptions of the session, from 1.
    pub(super) async fn open(
        topology: &Topology,
        session: &Session,
        pod: &str,
        number: u32,
        prefetch: u16,
    ) -> Result<Self, Error> {
        let channel = session.channel();
        let consume = async |key: &str, tag: String, prefetch: u16| {
            let amqp = |context| move |source| Error::Amqp { context, source };
            // Applies to each consumer that is opened afterwards.
            let options = BasicQosOptions::default();
            channel.basic_qos(prefetch, options).await.map_err(amqp("cannot set the prefetch"))?;
            let (queue, options) = (topology.queue(key), BasicConsumeOptions::default());
            let consuming =
                channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default());
            consuming.await.map_err(amqp("cannot consume"))
        };
        let opening = async {
            // Each consumer has a tag of its own. If a tag is reused, quorum queues (seen on 4.0
            // and 4.3) exceed the prefetch: for each message of the earlier consumer that is
            // settled, they deliver one more.
            let tag = if number == 1 { pod.to_owned() } else { format!("{pod}.{number}") };
            let runs = consume(Topology::RUNS, format!("{tag}.runs"), PREFETCH_OF_RUNS).await?;
            let tasks = consume(Topology::URLS, tag, prefetch).await?;
            Ok(Self { tasks, runs })
        };
        let opened = timeout(DEADLINE, opening).await;
        opened.unwrap_or(Err(Error::Deadline(DEADLINE.as_secs(), "opening a consumer")))
    }

    /// Returns the next delivery of either consumer; `None` if one of them has ended. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<lapin::Result<Delivery>> {
        tokio::select! {
            biased;
            next = self.runs.next() => next,
            next = self.tasks.next() => next,
        }
    }

    /// Cancels the consumers, and passes on what they received in advance. Returns `false` if the
    /// broker does not confirm: the channel is lost, and the broker requeues everything on it.
    pub(super) async fn cancel(self, session: &Session, mut handle: impl FnMut(Delivery)) -> bool {
        for mut consumer in [self.tasks, self.runs] {
            let cancel =
                session.channel().basic_cancel(consumer.tag(), BasicCancelOptions::default());
            if !matches!(timeout(DEADLINE, cancel).await, Ok(Ok(()))) {
                return false;
            }
            while let Some(Ok(delivery)) = consumer.next().await {
                handle(delivery);
            }
        }
        true
    }
}

/// Formats an error that has ended a channel.
pub(super) fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => chain(error),
    }
}
