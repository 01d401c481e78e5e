//! Deliveries from the broker, through reconnects, until told to stop.

use std::sync::Arc;
use std::time::Instant;

use fetchline_queue::{Broker, Draft, Error, Task};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Consumer, ErrorKind};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admit::{Admission, Job};
use crate::backoff::Backoff;
use crate::failure::chain;
use crate::hand_over::HandOver;
use crate::health::Health;
use crate::settle::{Session, Settle};
use crate::summary::Tally;

/// The first stage.
pub(crate) struct Consume {
    pub(crate) broker: Broker,
    pub(crate) pod: Arc<str>,
    pub(crate) prefetch: u16,
    pub(crate) admission: Admission,
    pub(crate) hand_over: mpsc::UnboundedSender<HandOver>,
    pub(crate) settle: Settle,
    pub(crate) tally: Arc<Tally>,
    pub(crate) health: Health,
    /// The present session, for those who look at the queues.
    pub(crate) session: watch::Sender<Option<Session>>,
    pub(crate) stop: CancellationToken,
}

/// Why consuming ended.
enum End {
    Stopped,
    Lost(String),
}

impl Consume {
    /// Consumes until `stop`, then waits for the fetches under way. A lost broker is waited for, and said once.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::default();
        let mut lost_since = None;
        for number in 1.. {
            let end = match self.open(number).await {
                Ok((session, consumer)) => {
                    backoff.reset();
                    self.health.broker_answers();
                    match lost_since.take() {
                        None => info!(broker = self.broker.location(), prefetch = self.prefetch, "consuming"),
                        Some(since) => {
                            let seconds = Instant::duration_since(&Instant::now(), since).as_secs();
                            info!(seconds, "the broker is back, consuming again");
                        }
                    }
                    self.settle.opened(session.clone());
                    self.session.send_replace(Some(session.clone()));
                    self.consume(&session, consumer).await
                }
                Err(error) => End::Lost(chain(&error)),
            };
            self.session.send_replace(None);
            let End::Lost(cause) = end else { break };
            self.health.broker_fails(&cause);
            if lost_since.is_none() {
                lost_since = Some(Instant::now());
                warn!(
                    cause,
                    broker = self.broker.location(),
                    "no connection to the broker; trying again until there is"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = self.stop.cancelled() => break,
            }
        }
        self.admission.finish().await;
    }

    async fn open(&self, number: u64) -> Result<(Session, Consumer), Error> {
        let connection = self.broker.connect().await?;
        let topology = self.broker.topology();
        topology.declare(&connection).await?;
        let amqp = |context| move |source| Error::Amqp { context, source };
        let channel = connection.create_channel().await.map_err(amqp("cannot open a channel"))?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await.map_err(amqp("cannot set the prefetch"))?;
        let consumer = channel
            .basic_consume(
                topology.queue(fetchline_queue::Topology::URLS).into(),
                (&*self.pod).into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(amqp("cannot consume"))?;
        Ok((Session::new(number, channel, Arc::new(connection)), consumer))
    }

    async fn consume(&self, session: &Session, mut consumer: Consumer) -> End {
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                next = consumer.next() => next,
            };
            match next {
                // What was delivered in advance on a channel that is lost comes again on the next one.
                Some(Ok(_)) if !session.channel().status().connected() => {}
                Some(Ok(delivery)) => self.take(session, delivery).await,
                Some(Err(error)) => return End::Lost(describe(&error)),
                None => return End::Lost("the broker cancelled the consumer: was the queue deleted?".to_owned()),
            }
        }
        self.give_back(session, consumer).await;
        End::Stopped
    }

    async fn take(&self, session: &Session, delivery: Delivery) {
        self.tally.begin();
        let receipt = self.settle.receipt(session, delivery.delivery_tag);
        match Task::read(&delivery.properties, &delivery.data) {
            Ok(task) => {
                if let Err(job) = self.admission.admit(Job { task, receipt }, &self.stop).await {
                    self.settle.give_back(job.receipt);
                }
            }
            Err(reason) => {
                warn!(%reason, pod = &*self.pod, "a message is no task; it goes to the dead letters");
                self.tally.dead();
                let draft = Draft::not_a_task(&delivery.properties, delivery.data, &reason, &self.pod);
                // The publisher lives until this stage has ended.
                _ = self.hand_over.send(HandOver { draft, receipt });
            }
        }
    }

    /// Ends the consumer, and gives back at once what it had delivered in advance: other workers may go on with it.
    async fn give_back(&self, session: &Session, mut consumer: Consumer) {
        if session.channel().basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.is_err() {
            // The channel is gone, and everything on it goes back by itself.
            return;
        }
        while let Some(Ok(delivery)) = consumer.next().await {
            let receipt = self.settle.receipt(session, delivery.delivery_tag);
            self.settle.give_back(receipt);
        }
    }
}

/// What ended a channel, for people.
fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => chain(error),
    }
}
