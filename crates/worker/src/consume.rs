//! Deliveries from the broker, through reconnects and outages, until told to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_queue::{Broker, Death, Error, Original, Task, Topology};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Consumer, ErrorKind};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admit::Admission;
use crate::backoff::Backoff;
use crate::claim::{Claims, Receipt};
use crate::failure::chain;
use crate::hand_over::HandOver;
use crate::job::Job;
use crate::judge::is_suspect;
use crate::services::Services;
use crate::settle::{Session, Settle};
use crate::summary::Tally;

/// How long the broker may take to open a channel and a consumer, or to end one.
const DEADLINE: Duration = Duration::from_secs(15);

/// The first stage.
pub(crate) struct Consume {
    pub(crate) broker: Broker,
    pub(crate) pod: Arc<str>,
    pub(crate) prefetch: u16,
    pub(crate) hold: Duration,
    pub(crate) claims: Claims,
    pub(crate) admission: Arc<Admission>,
    /// Where deliveries go that can be copies.
    pub(crate) copies: mpsc::UnboundedSender<Job>,
    /// Where deliveries go that may crash a worker.
    pub(crate) suspects: mpsc::UnboundedSender<Job>,
    pub(crate) hand_over: HandOver,
    pub(crate) settle: Settle,
    pub(crate) tally: Arc<Tally>,
    pub(crate) services: Services,
    /// The present session, for those who look at the queues.
    pub(crate) session: watch::Sender<Option<Session>>,
    pub(crate) stop: CancellationToken,
}

/// Why consuming ended.
enum End {
    Stopped,
    /// The broker, or the consumer, is gone.
    Lost(String),
    /// The database was away for longer than results are held.
    DatabaseAway,
}

impl Consume {
    /// Consumes until `stop`. A lost broker is waited for, and said once; while the database is away nothing is taken.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::default();
        let mut lost: Option<(Instant, String)> = None;
        for number in 1.. {
            tokio::select! {
                () = self.services.database_up() => {}
                () = self.stop.cancelled() => break,
            }
            let opened = tokio::select! {
                opened = self.open(number) => opened,
                () = self.stop.cancelled() => break,
            };
            let end = match opened {
                Ok((session, consumer)) => {
                    backoff.reset();
                    self.services.broker_answers();
                    match lost.take() {
                        None => info!(broker = self.broker.location(), prefetch = self.prefetch, "consuming"),
                        Some((since, _)) => {
                            info!(seconds = since.elapsed().as_secs(), "the broker is back, consuming again");
                        }
                    }
                    self.claims.session_begins(session.number());
                    self.settle.opened(session.clone());
                    self.session.send_replace(Some(session.clone()));
                    self.consume(&session, consumer).await
                }
                Err(error) => End::Lost(chain(&error)),
            };
            self.session.send_replace(None);
            match end {
                End::Stopped => break,
                End::DatabaseAway => {
                    warn!(hold_s = self.hold.as_secs(), "the database is still away: messages are given back");
                    continue;
                }
                End::Lost(cause) => {
                    self.claims.session_is_lost();
                    self.services.broker_fails(&cause);
                    // Once per cause, not per try.
                    let since = lost.as_ref().map_or_else(Instant::now, |(since, _)| *since);
                    if lost.replace((since, cause.clone())).is_none_or(|(_, told)| told != cause) {
                        warn!(cause, broker = self.broker.location(), "not consuming; trying again until it works");
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = self.stop.cancelled() => break,
            }
        }
    }

    async fn open(&self, number: u64) -> Result<(Session, Consumer), Error> {
        let connection = self.broker.connect().await?;
        self.broker.topology().declare(&connection).await?;
        let amqp = |context| move |source| Error::Amqp { context, source };
        let opening = async {
            let channel = connection.create_channel().await.map_err(amqp("cannot open a channel"))?;
            channel
                .basic_qos(self.prefetch, BasicQosOptions::default())
                .await
                .map_err(amqp("cannot set the prefetch"))?;
            let consumer = channel
                .basic_consume(
                    self.broker.topology().queue(Topology::URLS).into(),
                    (&*self.pod).into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await
                .map_err(amqp("cannot consume"))?;
            Ok((channel, consumer))
        };
        let opened = timeout(DEADLINE, opening).await;
        let (channel, consumer) = opened.unwrap_or(Err(Error::Deadline(DEADLINE.as_secs(), "opening a consumer")))?;
        Ok((Session::new(number, channel, Arc::new(connection)), consumer))
    }

    async fn consume(&self, session: &Session, mut consumer: Consumer) -> End {
        let mut away = std::pin::pin!(self.services.database_down_for(self.hold));
        let end = loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => break End::Stopped,
                () = &mut away => break End::DatabaseAway,
                next = self.next(&mut consumer) => next,
            };
            match next {
                // What was delivered in advance on a channel that is lost comes again on the next one.
                Some(Ok(_)) if !session.channel().status().connected() => {}
                Some(Ok(delivery)) => self.take(session, delivery),
                Some(Err(error)) => return End::Lost(describe(&error)),
                None => return End::Lost("the broker cancelled the consumer: was the queue deleted?".to_owned()),
            }
        };
        self.give_back(session, consumer).await;
        end
    }

    /// The next delivery. While the database is away there is none: its result could only be held.
    async fn next(&self, consumer: &mut Consumer) -> Option<lapin::Result<Delivery>> {
        if !self.services.database_is_up() {
            self.services.database_up().await;
        }
        consumer.next().await
    }

    fn take(&self, session: &Session, delivery: Delivery) {
        self.tally.begin();
        let receipt = self.settle.receipt(session, delivery.delivery_tag);
        let redelivered = delivery.redelivered;
        let original = Original { properties: delivery.properties, body: delivery.data };
        match Task::read(&original.properties, &original.body) {
            Ok(task) => self.route(task, original, receipt, redelivered),
            Err(reason) => {
                warn!(%reason, pod = &*self.pod, "a message is no task; it goes to the dead letters");
                self.tally.dead();
                self.hand_over.dead(original, &Death::not_a_task(&reason), self.claims.without_task(receipt));
            }
        }
    }

    /// A copy of what is under way joins it; what can be a copy of something older is looked up; the rest is fetched.
    fn route(&self, task: Task, original: Original, receipt: Receipt, redelivered: bool) {
        let Some(claim) = self.claims.take(&task, receipt) else { return };
        let can_be_copy = task.message_id.is_some() && (redelivered || task.attempt > 1 || task.parked > 0);
        let job = Job { task, original, claim };
        if can_be_copy {
            // The stage lives until this one has ended, and so does the other.
            _ = self.copies.send(job);
        } else if is_suspect(&job.task) {
            _ = self.suspects.send(job);
        } else {
            self.admission.admit(job);
        }
    }

    /// Ends the consumer, and gives back at once what it had delivered in advance: other workers may go on with it.
    async fn give_back(&self, session: &Session, mut consumer: Consumer) {
        let cancel = session.channel().basic_cancel(consumer.tag(), BasicCancelOptions::default());
        if !matches!(timeout(DEADLINE, cancel).await, Ok(Ok(()))) {
            // The channel is gone, or will be, and everything on it goes back by itself.
            return;
        }
        while let Some(Ok(delivery)) = consumer.next().await {
            let receipt = self.settle.receipt(session, delivery.delivery_tag);
            self.settle.give_back_unclaimed(receipt);
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
