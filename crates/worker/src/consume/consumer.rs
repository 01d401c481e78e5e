//! Consumes from the broker until a stop, through reconnects, outages and directives.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fetchline_nodes::Backoff;
use fetchline_queue::{Broker, DEADLINE, RawMessage, Topology};
use lapin::message::Delivery;
use lapin::options::BasicGetOptions;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::balance::preferred_node;
use super::router::Router;
use super::subscription::{Plan, Subscription, Tags, describe, open_session};
use crate::control::dependencies::Dependencies;
use crate::control::news::NewsHandle;
use crate::control::snapshot::{Directives, Snapshots};
use crate::control::topology::{report_declared, report_differences};
use crate::error_chain::chain;
use crate::settle::Session;

/// How often a session without deliveries is checked for a lost connection.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Why a session has ended in which a consumer was cancelled.
const CANCELLED: &str = "the broker cancelled the consumer: was the queue deleted?";

/// How long fetches in flight may take before this worker moves to another node.
const LAST_ACKS: Duration = Duration::from_secs(30);

/// Receives deliveries and passes them to the router.
pub(crate) struct Consumer {
    pub(crate) broker: Broker,
    pub(crate) pod: Arc<str>,
    /// The concurrency of the configuration.
    pub(crate) concurrency: usize,
    pub(crate) snapshots: Snapshots,
    pub(crate) dependencies: Dependencies,
    pub(crate) news: NewsHandle,
    pub(crate) hold: Duration,
    pub(crate) router: Router,
    /// Publishes the present session to those that read queue depths.
    pub(crate) session: watch::Sender<Option<Session>>,
    pub(crate) stop: CancellationToken,
}

/// Why a session has ended.
enum SessionEnd {
    Stopped,
    /// The broker is gone.
    Lost(String),
    /// The broker has cancelled a consumer, as it does when somebody deletes the queue.
    Cancelled,
    /// The database has been away for the whole hold.
    DatabaseAway,
    /// The node that this worker prefers is back.
    NodeBack,
}

/// An outage of the broker.
struct Outage {
    since: Instant,
    /// The cause that was logged last.
    cause: String,
}

impl Consumer {
    /// Consumes until `stop`. It reconnects to a lost broker, and logs each cause once. While the
    /// database is away, it receives nothing.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::default();
        let (mut outage, mut sessions, mut has_lost_one) = (None, 0, false);
        let mut was_cancelled = false;
        loop {
            tokio::select! {
                () = self.dependencies.database_up() => {}
                () = self.stop.cancelled() => break,
            }
            let opened = tokio::select! {
                opened = open_session(&self.broker, sessions + 1, has_lost_one) => opened,
                () = self.stop.cancelled() => break,
            };
            let end = match opened {
                Ok((session, declared)) => {
                    sessions += 1;
                    self.session_opened(&session, outage.take());
                    if sessions > 1 {
                        declared.iter().for_each(|what| report_declared(&self.news, what));
                    }
                    let began = Instant::now();
                    let end = match was_cancelled {
                        true => self.consume_if_same(&session).await,
                        false => self.consume(&session).await,
                    };
                    was_cancelled |= matches!(end, SessionEnd::Cancelled);
                    backoff.reset_after(began.elapsed());
                    if matches!(end, SessionEnd::Lost(_) | SessionEnd::Cancelled) {
                        has_lost_one = true;
                        self.broker.leave(session.node());
                    }
                    end
                }
                Err(error) => SessionEnd::Lost(chain(&error)),
            };
            self.session.send_replace(None);
            match end {
                SessionEnd::Stopped => break,
                SessionEnd::DatabaseAway => {
                    warn!(
                        hold_s = self.hold.as_secs(),
                        "the database has been away for all of the hold; messages are requeued"
                    );
                    continue;
                }
                SessionEnd::NodeBack => {
                    info!("moving to the node of the broker that this worker prefers");
                    continue;
                }
                SessionEnd::Cancelled => {
                    outage = Some(self.session_lost(CANCELLED.to_owned(), outage));
                }
                SessionEnd::Lost(cause) => outage = Some(self.session_lost(cause, outage)),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = self.stop.cancelled() => break,
            }
        }
    }

    fn session_opened(&self, session: &Session, outage: Option<Outage>) {
        self.dependencies.broker_answers();
        match outage {
            None => {
                let (broker, node) = (self.broker.location(), session.node());
                info!(broker, %node, "connected");
            }
            Some(Outage { since, .. }) => {
                let (seconds, node) = (since.elapsed().as_secs(), session.node());
                info!(seconds, %node, "the broker is back, consuming again");
            }
        }
        self.router.session_opened(session);
        self.session.send_replace(Some(session.clone()));
    }

    fn session_lost(&self, cause: String, outage: Option<Outage>) -> Outage {
        self.router.session_lost();
        self.dependencies.broker_fails(&cause);
        if outage.as_ref().is_none_or(|outage| outage.cause != cause) {
            warn!(
                cause,
                broker = self.broker.location(),
                "not consuming; trying again until it works"
            );
        }
        Outage { since: outage.map_or_else(Instant::now, |outage| outage.since), cause }
    }

    /// Consumes, unless a queue has been replaced meanwhile by one with which no worker would
    /// start.
    async fn consume_if_same(&self, session: &Session) -> SessionEnd {
        match self.broker.inspect_on(session.connection()).await {
            Ok(inspection) => report_differences(&self.news, &inspection),
            Err(error) => return SessionEnd::Lost(chain(&error)),
        }
        self.consume(session).await
    }

    /// Consumes as the directives demand, until the session ends.
    async fn consume(&self, session: &Session) -> SessionEnd {
        // A worker that starts during a pause receives nothing.
        tokio::select! {
            _ = self.snapshots.wait_for(|snapshot| snapshot.directives_known) => {}
            () = self.stop.cancelled() => return SessionEnd::Stopped,
            end = lost(session) => return end,
        }
        let mut tags = Tags::default();
        loop {
            let directives = self.snapshots.read(|snapshot| snapshot.directives);
            let result = match directives.paused {
                true => self.pause(session, &mut tags, directives).await,
                false => self.subscribe(session, &mut tags, directives).await,
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    /// Receives no tasks until the pause ends. Fetches in flight are finished, and acked on this
    /// session. Part reports are still received: a new run is known during a pause, too.
    async fn pause(
        &self,
        session: &Session,
        tags: &mut Tags,
        directives: Directives,
    ) -> Result<(), SessionEnd> {
        info!("paused: nothing is consumed until the directive `resume`, except reports on runs");
        let plan = Plan { pod: &self.pod, prefetch: None, concurrency: None };
        let subscription = self.open(session, plan, tags).await?;
        let prefetch = self.router.prefetch.wanted(directives.concurrency);
        self.receive(session, subscription, prefetch, directives).await
    }

    async fn open(
        &self,
        session: &Session,
        plan: Plan<'_>,
        tags: &mut Tags,
    ) -> Result<Subscription, SessionEnd> {
        let opened = Subscription::open(self.broker.topology(), session, plan, tags).await;
        opened.map_err(|error| SessionEnd::Lost(chain(&error)))
    }

    /// Consumes with one prefetch. `Ok` if another one, or a pause, is due.
    async fn subscribe(
        &self,
        session: &Session,
        tags: &mut Tags,
        directives: Directives,
    ) -> Result<(), SessionEnd> {
        self.sample(session).await?;
        let concurrency = directives.concurrency;
        let prefetch = self.router.prefetch.wanted(concurrency);
        // Messages of an earlier subscription still wait, and the broker counts the prefetch for
        // each consumer separately.
        self.router.routes.scheduler.set_capacity(prefetch.into());
        session.set_prefetch(prefetch);
        let set = Some(concurrency).filter(|concurrency| *concurrency != self.concurrency);
        let plan = Plan { pod: &self.pod, prefetch: Some(prefetch), concurrency: set };
        let subscription = self.open(session, plan, tags).await?;
        info!(prefetch, concurrency, "consuming");
        self.receive(session, subscription, prefetch, directives).await
    }

    /// Samples the size of waiting messages before the first subscription: what the broker delivers
    /// has to be held.
    async fn sample(&self, session: &Session) -> Result<(), SessionEnd> {
        let depth = self.broker.topology().counts(session.connection(), Topology::URLS).await;
        let ready = depth.ok().flatten().map_or(0, |depth| depth.ready);
        let mut receipts = Vec::new();
        for _ in 0..self.router.prefetch.sample_size(ready as usize) {
            let queue = self.broker.topology().queue(Topology::URLS);
            let get = session.channel().basic_get(queue.into(), BasicGetOptions { no_ack: false });
            let received = tokio::select! {
                received = timeout(DEADLINE, get) => received,
                () = self.stop.cancelled() => return Err(SessionEnd::Stopped),
            };
            // After a timeout the session ends: the tag of a late reply would never be settled.
            let received = received
                .map_err(|_| SessionEnd::Lost("the broker does not answer".to_owned()))?
                .map_err(|error| SessionEnd::Lost(describe(&error)))?;
            let Some(message) = received else { break };
            receipts.push(self.router.receipt(session, message.delivery.delivery_tag));
            self.router.prefetch.record_size(RawMessage::from(message.delivery).bytes());
        }
        // Only now: a message that is requeued is delivered next.
        receipts.into_iter().for_each(|receipt| self.router.requeue(receipt));
        Ok(())
    }

    /// Receives deliveries until the subscription ends, and cancels its consumers.
    async fn receive(
        &self,
        session: &Session,
        mut subscription: Subscription,
        prefetch: u16,
        directives: Directives,
    ) -> Result<(), SessionEnd> {
        let mut stopped = pin!(self.stop.cancelled());
        let mut away = pin!(self.dependencies.database_down_for(self.hold));
        let mut changed = pin!(self.directives_changed(directives));
        let mut back = pin!(preferred_node(&self.broker, session));
        let mut lost = pin!(lost(session));
        let result = loop {
            let next = tokio::select! {
                biased;
                () = &mut stopped => break Err(SessionEnd::Stopped),
                () = &mut changed => break Ok(()),
                () = &mut away => break Err(SessionEnd::DatabaseAway),
                () = &mut back => break Err(SessionEnd::NodeBack),
                // Needed while nothing is received, because the database is away.
                end = &mut lost => return Err(end),
                next = self.next(&mut subscription) => next,
            };
            match next {
                // The broker redelivers what was received in advance on a lost channel.
                Some(Ok(_)) if !session.channel().status().connected() => {}
                Some(Ok(delivery)) => self.router.route(session, delivery),
                Some(Err(error)) => return Err(SessionEnd::Lost(describe(&error))),
                None => return Err(SessionEnd::Cancelled),
            }
            if !directives.paused
                && self.router.prefetch.is_outdated(prefetch, directives.concurrency)
            {
                break Ok(());
            }
        };
        // Deliveries received in advance are kept if the prefetch grows, else requeued at once, so
        // that other workers can take them.
        let is_growing = result.is_ok() && self.wants_more_than(prefetch);
        let handle = |delivery: Delivery| match is_growing {
            true => self.router.route(session, delivery),
            false => self.router.requeue(self.router.receipt(session, delivery.delivery_tag)),
        };
        let is_cancelled = subscription.cancel(session, handle).await;
        if matches!(result, Err(SessionEnd::NodeBack)) {
            // What has begun is acked here; what is left after that is redelivered.
            tokio::select! {
                _ = timeout(LAST_ACKS, nothing_held(session)) => {}
                () = self.stop.cancelled() => {}
            }
        }
        match result {
            Ok(()) if !is_cancelled => {
                Err(SessionEnd::Lost("the broker does not cancel the consumer".to_owned()))
            }
            result => result,
        }
    }

    /// Returns the next delivery. While the database is away, there is none: its result could only
    /// be held.
    async fn next(&self, subscription: &mut Subscription) -> Option<lapin::Result<Delivery>> {
        if !self.dependencies.database_is_up() {
            self.dependencies.database_up().await;
        }
        subscription.next().await
    }

    /// Waits until the directives demand a pause, its end, or other consumers. The tag of a
    /// consumer shows the concurrency, so a new one needs another consumer.
    async fn directives_changed(&self, from: Directives) {
        let differs = |now: Directives| match from.paused {
            true => !now.paused,
            false => now != from,
        };
        self.snapshots.wait_for(|snapshot| differs(snapshot.directives)).await;
    }

    fn wants_more_than(&self, prefetch: u16) -> bool {
        let directives = self.snapshots.read(|snapshot| snapshot.directives);
        !directives.paused && self.router.prefetch.wanted(directives.concurrency) > prefetch
    }
}

/// Waits until everything that a session holds is settled.
async fn nothing_held(session: &Session) {
    while session.held() > 0 && session.channel().status().connected() {
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

/// Waits until the connection of a session without deliveries is lost.
async fn lost(session: &Session) -> SessionEnd {
    while session.channel().status().connected() {
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
    SessionEnd::Lost("the connection is lost".to_owned())
}
