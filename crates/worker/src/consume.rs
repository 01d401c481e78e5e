//! Deliveries from the broker, through reconnects and outages, until told to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_queue::{Broker, Death, Error, Message, NotATask, Original, Part, Task, Topology};
use fetchline_store::PartTold;
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
use crate::budget::Room;
use crate::claim::{Claims, Receipt};
use crate::control::{Control, Orders};
use crate::failure::chain;
use crate::hand_over::HandOver;
use crate::job::{Done, Finished, Job};
use crate::judge::is_suspect;
use crate::meters::Meters;
use crate::services::Services;
use crate::settle::{Session, Settle};
use crate::summary::Tally;
use crate::trace::Traces;

/// How long the broker may take to open a channel and a consumer, or to end one.
const DEADLINE: Duration = Duration::from_secs(15);

/// How often a session that takes nothing is looked at, for whether its connection is lost.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What is told of runs has a queue of its own, and is little: so many messages of it are held unacked, at most.
const PREFETCH_OF_RUNS: u16 = 10;

/// The first stage.
pub(crate) struct Consume {
    pub(crate) broker: Broker,
    pub(crate) pod: Arc<str>,
    /// How many messages are held at which concurrency.
    pub(crate) prefetch: Box<dyn Fn(usize) -> u16 + Send + Sync>,
    pub(crate) control: Control,
    pub(crate) hold: Duration,
    pub(crate) claims: Claims,
    pub(crate) admission: Arc<Admission>,
    /// Where deliveries go that can be copies.
    pub(crate) copies: mpsc::UnboundedSender<Box<Job>>,
    /// Where deliveries go that may crash a worker.
    pub(crate) suspects: mpsc::UnboundedSender<Box<Job>>,
    /// Where goes what is told of runs.
    pub(crate) results: mpsc::UnboundedSender<Done>,
    pub(crate) hand_over: HandOver,
    pub(crate) settle: Settle,
    pub(crate) tally: Arc<Tally>,
    pub(crate) traces: Arc<Traces>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) services: Services,
    /// The present session, for those who look at the queues.
    pub(crate) session: watch::Sender<Option<Session>>,
    pub(crate) stop: CancellationToken,
}

/// The two consumers of a worker, on one channel: of tasks, and of what is told of runs.
struct Consumers {
    tasks: Consumer,
    runs: Consumer,
}

impl Consumers {
    /// The next delivery of either; `None` when one of them has ended. Nothing is lost where this is dropped.
    async fn next(&mut self) -> Option<lapin::Result<Delivery>> {
        tokio::select! {
            biased;
            next = self.runs.next() => next,
            next = self.tasks.next() => next,
        }
    }
}

/// Why consuming ended.
enum End {
    Stopped,
    /// The broker, or the consumer, is gone.
    Lost(String),
    /// The database was away for longer than results are held.
    DatabaseAway,
    /// An operator wants something that another consumer is needed for, or none.
    Told,
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
                Ok(session) => {
                    backoff.reset();
                    self.services.broker_answers();
                    self.meters.connected();
                    match lost.take() {
                        None => info!(broker = self.broker.location(), "connected"),
                        Some((since, _)) => {
                            info!(seconds = since.elapsed().as_secs(), "the broker is back, consuming again");
                        }
                    }
                    self.claims.session_begins(session.number());
                    self.settle.opened(session.clone());
                    self.session.send_replace(Some(session.clone()));
                    self.consume(&session).await
                }
                Err(error) => End::Lost(chain(&error)),
            };
            self.session.send_replace(None);
            match end {
                // What operators want is done within the session.
                End::Stopped | End::Told => break,
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

    async fn open(&self, number: u64) -> Result<Session, Error> {
        let connection = self.broker.connect().await?;
        self.broker.topology().declare(&connection).await?;
        let opening = async {
            let failed = |source| Error::Amqp { context: "cannot open a channel", source };
            connection.create_channel().await.map_err(failed)
        };
        let opened = timeout(DEADLINE, opening).await;
        let channel = opened.unwrap_or(Err(Error::Deadline(DEADLINE.as_secs(), "opening a channel")))?;
        Ok(Session::new(number, channel, Arc::new(connection)))
    }

    /// Begins to consume on the session's channel.
    /// `times` counts the subscriptions of the session, from 0.
    async fn subscribe(&self, session: &Session, prefetch: u16, times: usize) -> Result<Consumers, Error> {
        let channel = session.channel();
        let consumer = async |key: &str, tag: String, prefetch: u16| {
            let amqp = |context| move |source| Error::Amqp { context, source };
            // It holds for the consumers that come after it, for each of them.
            let options = BasicQosOptions::default();
            channel.basic_qos(prefetch, options).await.map_err(amqp("cannot set the prefetch"))?;
            let (queue, options) = (self.broker.topology().queue(key), BasicConsumeOptions::default());
            let consuming = channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default());
            consuming.await.map_err(amqp("cannot consume"))
        };
        let subscribing = async {
            // Each has a tag of its own: to one that has the tag of an earlier one, quorum queues (seen on 4.0 and 4.3) go on to deliver
            // more for each message of that earlier one that is settled, beyond the prefetch.
            let tag = if times == 0 { self.pod.to_string() } else { format!("{}.{}", self.pod, times + 1) };
            let runs = consumer(Topology::RUNS, format!("{tag}.runs"), PREFETCH_OF_RUNS).await?;
            let tasks = consumer(Topology::URLS, tag, prefetch).await?;
            Ok(Consumers { tasks, runs })
        };
        let subscribed = timeout(DEADLINE, subscribing).await;
        subscribed.unwrap_or(Err(Error::Deadline(DEADLINE.as_secs(), "opening a consumer")))
    }

    /// Consumes while operators want it, and as they want it, until the session ends for another reason.
    async fn consume(&self, session: &Session) -> End {
        // A worker that starts while all are paused takes nothing.
        tokio::select! {
            () = self.control.heard() => {}
            () = self.stop.cancelled() => return End::Stopped,
            end = lost(session) => return end,
        }
        let mut times = 0;
        loop {
            let orders = self.control.now();
            let end = if orders.paused {
                self.rest(session, orders).await
            } else {
                let prefetch = (self.prefetch)(orders.concurrency);
                match self.subscribe(session, prefetch, times).await {
                    Ok(consumers) => {
                        times += 1;
                        info!(prefetch, concurrency = orders.concurrency, "consuming");
                        self.take_all(session, consumers, prefetch).await
                    }
                    Err(error) => End::Lost(chain(&error)),
                }
            };
            if !matches!(end, End::Told) {
                return end;
            }
        }
    }

    /// Takes nothing, while paused. What is being fetched is finished, and acked on this session.
    async fn rest(&self, session: &Session, orders: Orders) -> End {
        info!("paused: nothing is taken until `resume`");
        tokio::select! {
            biased;
            () = self.stop.cancelled() => End::Stopped,
            _ = self.control.changed_from(orders) => End::Told,
            end = lost(session) => end,
        }
    }

    /// Waits until an operator wants no consumer, or one with another prefetch.
    async fn told(&self, prefetch: u16) {
        let mut orders = self.control.now();
        while !orders.paused && (self.prefetch)(orders.concurrency) == prefetch {
            orders = self.control.changed_from(orders).await;
        }
    }

    async fn take_all(&self, session: &Session, mut consumers: Consumers, prefetch: u16) -> End {
        let mut stopped = std::pin::pin!(self.stop.cancelled());
        let mut away = std::pin::pin!(self.services.database_down_for(self.hold));
        let mut told = std::pin::pin!(self.told(prefetch));
        let end = loop {
            let next = tokio::select! {
                biased;
                () = &mut stopped => break End::Stopped,
                () = &mut told => break End::Told,
                () = &mut away => break End::DatabaseAway,
                next = self.next(&mut consumers) => next,
            };
            match next {
                // What was delivered in advance on a channel that is lost comes again on the next one.
                Some(Ok(_)) if !session.channel().status().connected() => {}
                Some(Ok(delivery)) => self.take(session, delivery),
                Some(Err(error)) => return End::Lost(describe(&error)),
                None => return End::Lost("the broker cancelled the consumer: was the queue deleted?".to_owned()),
            }
        };
        let ended = self.give_back(session, consumers).await;
        match end {
            End::Told if !ended => End::Lost("the broker does not end the consumer".to_owned()),
            End::Told => {
                // What is held is as much as was wanted before, and the broker counts it for each consumer anew.
                self.control.recall();
                End::Told
            }
            end => end,
        }
    }

    /// The next delivery. While the database is away there is none: its result could only be held.
    async fn next(&self, consumers: &mut Consumers) -> Option<lapin::Result<Delivery>> {
        if !self.services.database_is_up() {
            self.services.database_up().await;
        }
        consumers.next().await
    }

    fn take(&self, session: &Session, delivery: Delivery) {
        self.tally.begin();
        self.meters.delivered(delivery.redelivered);
        let receipt = self.settle.receipt(session, delivery.delivery_tag);
        let redelivered = delivery.redelivered;
        let original = Original { properties: Box::new(delivery.properties), body: delivery.data };
        match Message::read(&original.properties, &original.body) {
            Ok(Message::Task(task)) => self.route(task, original, receipt, redelivered),
            Ok(Message::Part(part)) => self.note(part, original, receipt),
            Err(reason) => self.refuse(&reason, original, receipt),
        }
    }

    fn refuse(&self, reason: &NotATask, original: Original, receipt: Receipt) {
        warn!(%reason, pod = &*self.pod, "a message is no task; it goes to the dead letters");
        self.tally.dead();
        self.hand_over.dead(original, &Death::not_a_task(reason), self.claims.without_task(receipt));
    }

    /// What is told of a part of a run is written with the next batch.
    fn note(&self, part: Part, original: Original, receipt: Receipt) {
        let Part { run, part, planned, at } = part;
        let claim = self.claims.without_task(receipt);
        let finished =
            Finished { claim, original, fetched: None, attempts: 0, status: None, death: None, _room: Room::default() };
        // The batcher lives until this stage has ended.
        _ = self.results.send(Done::Part(PartTold { run, part, planned, at }, finished));
    }

    /// A copy of what is under way joins it; what can be a copy of something older is looked up; the rest is fetched.
    fn route(&self, task: Task, original: Original, receipt: Receipt, redelivered: bool) {
        let Some(claim) = self.claims.take(&task, receipt) else { return };
        let claim = claim.traced(self.traces.begin(&task, &original, redelivered));
        let can_be_copy = task.message_id.is_some() && (redelivered || task.attempt > 1 || task.parked > 0);
        let job = Box::new(Job { task, original, claim });
        if can_be_copy {
            // The stage lives until this one has ended, and so does the other.
            _ = self.copies.send(job);
        } else if is_suspect(&job.task) {
            _ = self.suspects.send(job);
        } else {
            self.admission.admit(job);
        }
    }

    /// Ends the consumers, and gives back at once what they had delivered in advance: other workers may go on with it. `false`
    /// where the broker did not say that it ended them.
    async fn give_back(&self, session: &Session, consumers: Consumers) -> bool {
        for mut consumer in [consumers.tasks, consumers.runs] {
            let cancel = session.channel().basic_cancel(consumer.tag(), BasicCancelOptions::default());
            if !matches!(timeout(DEADLINE, cancel).await, Ok(Ok(()))) {
                // The channel is gone, or will be, and everything on it goes back by itself.
                return false;
            }
            while let Some(Ok(delivery)) = consumer.next().await {
                let receipt = self.settle.receipt(session, delivery.delivery_tag);
                self.settle.give_back_unclaimed(receipt);
            }
        }
        true
    }
}

/// Waits until a session that takes nothing is lost.
async fn lost(session: &Session) -> End {
    while session.channel().status().connected() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    End::Lost("the connection is lost".to_owned())
}

/// What ended a channel, for people.
fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => chain(error),
    }
}
