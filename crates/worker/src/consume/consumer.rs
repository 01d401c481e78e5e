//! Deliveries from the broker, through reconnects and outages, until told to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_queue::{Broker, Death, Error, Message, NotATask, Original, Part, Task, Topology};
use fetchline_store::PartTold;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Consumer as Subscription, ErrorKind};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::dedup::Dedup;
use super::prefetch::Prefetch;
use crate::backoff::Backoff;
use crate::budget::Room;
use crate::dependencies::Dependencies;
use crate::failure::chain;
use crate::job::{Done, Finished, Job};
use crate::meters::Meters;
use crate::schedule::Scheduler;
use crate::settle::{Claims, Receipt, Republish, Session, Settle};
use crate::snapshot::{Directives, Snapshots};
use crate::summary::Tally;
use crate::trace::{Step, Traces};

/// How long the broker may take to open a channel and a consumer, or to end one.
const DEADLINE: Duration = Duration::from_secs(15);

/// How often a session that takes nothing is looked at, for whether its connection is lost.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Reports on runs have a queue of their own, and are few: so many messages of it are held unacked, at most.
const PREFETCH_OF_RUNS: u16 = 10;

/// Takes deliveries.
pub(crate) struct Consumer {
    pub(crate) broker: Broker,
    pub(crate) pod: Arc<str>,
    pub(crate) prefetch: Prefetch,
    pub(crate) snapshots: Snapshots,
    pub(crate) dependencies: Dependencies,
    pub(crate) hold: Duration,
    pub(crate) claims: Claims,
    pub(crate) out: Outlets,
    pub(crate) tally: Arc<Tally>,
    pub(crate) traces: Arc<Traces>,
    pub(crate) meters: Arc<Meters>,
    /// The present session, for those who look at the queues.
    pub(crate) session: watch::Sender<Option<Session>>,
    pub(crate) stop: CancellationToken,
}

/// Where deliveries go.
pub(crate) struct Outlets {
    pub(crate) scheduler: Scheduler,
    /// Where deliveries go that can be duplicates.
    pub(crate) dedup: mpsc::UnboundedSender<Box<Job>>,
    /// Where reports on runs go.
    pub(crate) results: mpsc::UnboundedSender<Done>,
    pub(crate) republish: Republish,
    pub(crate) settle: Settle,
}

/// The two consumers of a worker, on one channel: of tasks, and of reports on runs.
struct Subscriptions {
    tasks: Subscription,
    runs: Subscription,
}

impl Subscriptions {
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
    /// Another prefetch is wanted, or none.
    Directed,
}

impl Consumer {
    /// Consumes until `stop`. A lost broker is waited for, and said once; while the database is away nothing is taken.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::default();
        let mut lost: Option<(Instant, String)> = None;
        for number in 1.. {
            tokio::select! {
                () = self.dependencies.database_up() => {}
                () = self.stop.cancelled() => break,
            }
            let opened = tokio::select! {
                opened = self.open(number) => opened,
                () = self.stop.cancelled() => break,
            };
            let end = match opened {
                Ok(session) => {
                    self.dependencies.broker_answers();
                    self.meters.connected();
                    match lost.take() {
                        None => info!(broker = self.broker.location(), "connected"),
                        Some((since, _)) => {
                            info!(seconds = since.elapsed().as_secs(), "the broker is back, consuming again");
                        }
                    }
                    self.claims.session_begins(session.number());
                    self.out.settle.opened(session.clone());
                    self.session.send_replace(Some(session.clone()));
                    let began = Instant::now();
                    let end = self.consume(&session).await;
                    backoff.lived(began.elapsed());
                    end
                }
                Err(error) => End::Lost(chain(&error)),
            };
            self.session.send_replace(None);
            match end {
                // What operators want is done within the session.
                End::Stopped | End::Directed => break,
                End::DatabaseAway => {
                    warn!(hold_s = self.hold.as_secs(), "the database is still away: messages are given back");
                    continue;
                }
                End::Lost(cause) => {
                    self.claims.session_is_lost();
                    self.out.scheduler.session_lost();
                    self.dependencies.broker_fails(&cause);
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

    /// Begins to consume on the session's channel. `number` counts the subscriptions of the session, from 1.
    async fn subscribe(&self, session: &Session, number: u32, prefetch: u16) -> Result<Subscriptions, Error> {
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
            // Each has a tag of its own: to one that has the tag of an earlier one, quorum queues (seen on 4.0 and 4.3) go
            // on to deliver more for each message of that earlier one that is settled, beyond the prefetch.
            let tag = if number == 1 { self.pod.to_string() } else { format!("{}.{number}", self.pod) };
            let runs = consumer(Topology::RUNS, format!("{tag}.runs"), PREFETCH_OF_RUNS).await?;
            let tasks = consumer(Topology::URLS, tag, prefetch).await?;
            Ok(Subscriptions { tasks, runs })
        };
        let subscribed = timeout(DEADLINE, subscribing).await;
        subscribed.unwrap_or(Err(Error::Deadline(DEADLINE.as_secs(), "opening a consumer")))
    }

    /// Consumes while operators want it, and as they want it, until the session ends for another reason.
    async fn consume(&self, session: &Session) -> End {
        // A worker that starts while all are paused takes nothing.
        tokio::select! {
            _ = self.snapshots.wait_for(|snapshot| snapshot.directives_known) => {}
            () = self.stop.cancelled() => return End::Stopped,
            end = lost(session) => return end,
        }
        let mut number = 0;
        loop {
            let directives = self.snapshots.look(|snapshot| snapshot.directives);
            let end = if directives.paused {
                self.rest(session).await
            } else {
                if let Err(end) = self.sample(session).await {
                    return end;
                }
                number += 1;
                let prefetch = self.prefetch.wanted(directives.concurrency);
                // What waits is as much as was wanted before, and the broker counts it for each consumer anew.
                self.out.scheduler.set_capacity(prefetch.into());
                session.set_prefetch(prefetch);
                match self.subscribe(session, number, prefetch).await {
                    Ok(consumers) => {
                        info!(prefetch, concurrency = directives.concurrency, "consuming");
                        self.take_all(session, consumers, prefetch, directives).await
                    }
                    Err(error) => End::Lost(chain(&error)),
                }
            };
            if !matches!(end, End::Directed) {
                return end;
            }
        }
    }

    /// Looks how large the messages are that wait, before it is too late: what the broker has sent cannot be sent back.
    async fn sample(&self, session: &Session) -> Result<(), End> {
        let depth = self.broker.topology().depth(session.connection(), Topology::URLS).await;
        let ready = depth.ok().flatten().map_or(0, |depth| depth.ready);
        let mut receipts = Vec::new();
        for _ in 0..self.prefetch.sample(ready as usize) {
            let queue = self.broker.topology().queue(Topology::URLS);
            let get = session.channel().basic_get(queue.into(), BasicGetOptions { no_ack: false });
            let got = tokio::select! {
                got = timeout(DEADLINE, get) => got,
                () = self.stop.cancelled() => return Err(End::Stopped),
            };
            // Where it is not known whether there is an answer on its way, its tag would never be settled.
            let got = got.map_err(|_| End::Lost("the broker does not answer".to_owned()))?;
            let Some(message) = got.map_err(|error| End::Lost(describe(&error)))? else { break };
            receipts.push(self.out.settle.receipt(session, message.delivery.delivery_tag));
            self.prefetch.see(Original::of(message.delivery).bytes());
        }
        // Together, at the end: what is requeued is delivered next.
        receipts.into_iter().for_each(|receipt| self.out.settle.requeue_unclaimed(receipt));
        Ok(())
    }

    /// Takes nothing, while paused. What is being fetched is finished, and acked on this session.
    async fn rest(&self, session: &Session) -> End {
        info!("paused: nothing is taken until `resume`");
        tokio::select! {
            biased;
            () = self.stop.cancelled() => End::Stopped,
            _ = self.snapshots.wait_for(|snapshot| !snapshot.directives.paused) => End::Directed,
            end = lost(session) => end,
        }
    }

    /// Waits until an operator wants no consumer, or one with another prefetch.
    async fn directed(&self, from: Directives) {
        let present = self.prefetch.of_concurrency(from.concurrency);
        let differs = |now: Directives| now.paused || self.prefetch.of_concurrency(now.concurrency) != present;
        self.snapshots.wait_for(|snapshot| differs(snapshot.directives)).await;
    }

    async fn take_all(
        &self,
        session: &Session,
        mut consumers: Subscriptions,
        prefetch: u16,
        directives: Directives,
    ) -> End {
        let mut stopped = std::pin::pin!(self.stop.cancelled());
        let mut away = std::pin::pin!(self.dependencies.database_down_for(self.hold));
        let mut directed = std::pin::pin!(self.directed(directives));
        let mut lost = std::pin::pin!(lost(session));
        let end = loop {
            let next = tokio::select! {
                biased;
                () = &mut stopped => break End::Stopped,
                () = &mut directed => break End::Directed,
                () = &mut away => break End::DatabaseAway,
                // Seen here first where nothing is taken, since the database is away.
                end = &mut lost => return end,
                next = self.next(&mut consumers) => next,
            };
            match next {
                // What was delivered in advance on a channel that is lost comes again on the next one.
                Some(Ok(_)) if !session.channel().status().connected() => {}
                Some(Ok(delivery)) => self.take(session, delivery),
                Some(Err(error)) => return End::Lost(describe(&error)),
                None => return End::Lost("the broker cancelled the consumer: was the queue deleted?".to_owned()),
            }
            if self.prefetch.is_outdated(prefetch, directives.concurrency) {
                break End::Directed;
            }
        };
        // Where more is wanted, what was delivered in advance is welcome.
        let grows = matches!(end, End::Directed) && self.wants_more_than(prefetch);
        let ended = self.end(session, consumers, grows).await;
        match end {
            End::Directed if !ended => End::Lost("the broker does not end the consumer".to_owned()),
            end => end,
        }
    }

    fn wants_more_than(&self, prefetch: u16) -> bool {
        let directives = self.snapshots.look(|snapshot| snapshot.directives);
        !directives.paused && self.prefetch.wanted(directives.concurrency) > prefetch
    }

    /// The next delivery. While the database is away there is none: its result could only be held.
    async fn next(&self, consumers: &mut Subscriptions) -> Option<lapin::Result<Delivery>> {
        if !self.dependencies.database_is_up() {
            self.dependencies.database_up().await;
        }
        consumers.next().await
    }

    fn take(&self, session: &Session, delivery: Delivery) {
        self.tally.begin();
        self.meters.delivered(delivery.redelivered);
        let receipt = self.out.settle.receipt(session, delivery.delivery_tag);
        let redelivered = delivery.redelivered;
        let original = Original::of(delivery);
        match Message::read(&original.properties, &original.body) {
            Ok(Message::Task(task)) => self.route(task, original, receipt, redelivered),
            Ok(Message::Part(part)) => self.report(part, original, receipt),
            Err(reason) => self.refuse(&reason, original, receipt),
        }
    }

    fn refuse(&self, reason: &NotATask, original: Original, receipt: Receipt) {
        warn!(%reason, pod = &*self.pod, "a message is no task; it goes to the dead letters");
        self.tally.dead();
        let memory = self.prefetch.charge(original.bytes());
        let claim = self.claims.without_task(receipt).with_memory(memory);
        self.out.republish.dead(original, &Death::not_a_task(reason), claim);
    }

    /// A report on a part of a run is written with the next batch.
    fn report(&self, part: Part, original: Original, receipt: Receipt) {
        let Part { run, part, planned, at } = part;
        let claim = self.claims.without_task(receipt);
        let finished =
            Finished { claim, original, fetched: None, attempts: 0, status: None, death: None, _room: Room::default() };
        // The batcher lives until this stage has ended.
        _ = self.out.results.send(Done::Part(PartTold { run, part, planned, at }, finished));
    }

    /// A duplicate of what is under way joins it; what can be one of something older is looked up; the rest is fetched.
    fn route(&self, task: Task, original: Original, receipt: Receipt, redelivered: bool) {
        let Some(claim) = self.claims.take(&task, receipt) else { return };
        let memory = self.prefetch.charge(original.bytes());
        let claim = claim.with_memory(memory).traced(self.traces.begin(&task, &original, redelivered));
        let is_looked_up = Dedup::concerns(&task, redelivered);
        let job = Job::lean(task, original, claim);
        job.claim.enter(Step::Wait);
        match is_looked_up {
            // It lives until this has ended.
            true => _ = self.out.dedup.send(job),
            false => self.out.scheduler.submit(job),
        }
    }

    /// Ends the consumers. What they had delivered in advance is taken, or else requeued at once: other workers may go on
    /// with it. `false` where the broker did not say that it ended them.
    async fn end(&self, session: &Session, consumers: Subscriptions, takes: bool) -> bool {
        for mut consumer in [consumers.tasks, consumers.runs] {
            let cancel = session.channel().basic_cancel(consumer.tag(), BasicCancelOptions::default());
            if !matches!(timeout(DEADLINE, cancel).await, Ok(Ok(()))) {
                // The channel is gone, or will be, and everything on it goes back by itself.
                return false;
            }
            while let Some(Ok(delivery)) = consumer.next().await {
                if takes {
                    self.take(session, delivery);
                    continue;
                }
                let receipt = self.out.settle.receipt(session, delivery.delivery_tag);
                self.out.settle.requeue_unclaimed(receipt);
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
