//! The session and the two consumers of a worker: of tasks, and of part reports. A paused worker
//! has only the second one.

use std::collections::HashMap;

use fetchline_queue::{Broker, Error, Topology, open_channel, within};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Consumer, ErrorKind};
use tokio_stream::StreamExt;

use crate::error_chain::chain;
use crate::settle::Session;

/// The prefetch of part reports, which are few and have a queue of their own.
const PREFETCH_OF_RUNS: u16 = 10;

/// The consumers of one channel.
pub(super) struct Subscription {
    /// `None` while the worker is paused.
    tasks: Option<Consumer>,
    runs: Consumer,
}

/// The consumer tags of a channel. The console shows them, so they say what the worker does.
#[derive(Default)]
pub(super) struct Tags(HashMap<String, u32>);

impl Tags {
    /// A tag that was not used before. If a tag is reused, quorum queues (seen on 4.0 and 4.3)
    /// exceed the prefetch: for each message of the earlier consumer that is settled, they deliver
    /// one more.
    fn unused(&mut self, tag: String) -> String {
        let uses = self.0.entry(tag.clone()).or_default();
        *uses += 1;
        if *uses == 1 { tag } else { format!("{tag} #{uses}") }
    }
}

/// What a worker consumes, and what its consumers are called.
pub(super) struct Plan<'a> {
    pub(super) pod: &'a str,
    /// The prefetch of tasks; `None` for a worker that is paused.
    pub(super) prefetch: Option<u16>,
    /// The concurrency that an operator has set.
    pub(super) concurrency: Option<usize>,
}

impl Plan<'_> {
    fn tag(&self) -> String {
        match (self.prefetch, self.concurrency) {
            (None, _) => format!("{} paused", self.pod),
            (Some(_), Some(number)) => format!("{} concurrency={number}", self.pod),
            (Some(_), None) => self.pod.to_owned(),
        }
    }
}

/// Connects, declares the queues, and opens a channel. `number` counts the sessions of this worker.
/// Returns the names of what was declared, too.
pub(super) async fn open_session(
    broker: &Broker,
    number: u64,
    follows_loss: bool,
) -> Result<(Session, Vec<String>), Error> {
    let (connection, node) = broker.connect_to_node(&[]).await?;
    let opening = async {
        let declared = broker.topology().declare(&connection).await?;
        let channel = within("opening a channel", open_channel(&connection)).await?;
        Ok::<_, Error>((channel, declared))
    };
    match opening.await {
        Ok((channel, declared)) => {
            Ok((Session::new(number, follows_loss, channel, connection, node), declared))
        }
        Err(error) => {
            // Another node may be able to do what this one cannot.
            if !error.is_configuration() && !matches!(error, Error::Missing(_)) {
                broker.leave(&node);
            }
            Err(error)
        }
    }
}

impl Subscription {
    /// Opens the consumers.
    pub(super) async fn open(
        topology: &Topology,
        session: &Session,
        plan: Plan<'_>,
        tags: &mut Tags,
    ) -> Result<Self, Error> {
        let channel = session.channel();
        let consume = async |key: &str, tag: String, prefetch: u16| {
            // Applies to each consumer that is opened afterwards.
            let options = BasicQosOptions::default();
            let set = channel.basic_qos(prefetch, options).await;
            set.map_err(Error::amqp("cannot set the prefetch"))?;
            let (queue, options) = (topology.queue(key), BasicConsumeOptions::default());
            let consuming =
                channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default());
            consuming.await.map_err(Error::amqp("cannot consume"))
        };
        let opening = async {
            let tag = plan.tag();
            // A paused worker shows in the console by the consumer that it has.
            let of_runs = if plan.prefetch.is_some() { format!("{tag} runs") } else { tag.clone() };
            let runs = consume(Topology::RUNS, tags.unused(of_runs), PREFETCH_OF_RUNS).await?;
            let tasks = match plan.prefetch {
                Some(prefetch) => Some(consume(Topology::URLS, tags.unused(tag), prefetch).await?),
                None => None,
            };
            Ok(Self { tasks, runs })
        };
        within("opening a consumer", opening).await
    }

    /// Returns the next delivery of either consumer; `None` if one of them has ended. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<lapin::Result<Delivery>> {
        let Self { tasks, runs } = self;
        match tasks {
            Some(tasks) => tokio::select! {
                biased;
                next = runs.next() => next,
                next = tasks.next() => next,
            },
            None => runs.next().await,
        }
    }

    /// Cancels the consumers, and passes on what they received in advance. Returns `false` if the
    /// broker does not confirm: the channel is lost, and the broker requeues everything on it.
    pub(super) async fn cancel(self, session: &Session, mut handle: impl FnMut(Delivery)) -> bool {
        for mut consumer in self.tasks.into_iter().chain([self.runs]) {
            let cancelling = async {
                let options = BasicCancelOptions::default();
                let cancelled = session.channel().basic_cancel(consumer.tag(), options).await;
                cancelled.map_err(Error::amqp("cannot cancel a consumer"))
            };
            if within("cancelling a consumer", cancelling).await.is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_what_the_worker_does_and_is_used_once() {
        let mut tags = Tags::default();
        let mut tag = |prefetch, concurrency| {
            tags.unused(Plan { pod: "blue-1", prefetch, concurrency }.tag())
        };
        assert_eq!(tag(Some(10), None), "blue-1");
        assert_eq!(tag(None, None), "blue-1 paused");
        assert_eq!(tag(Some(10), None), "blue-1 #2");
        assert_eq!(tag(Some(10), Some(5)), "blue-1 concurrency=5");
        assert_eq!(tag(None, Some(5)), "blue-1 paused #2");
    }
}
