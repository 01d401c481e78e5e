//! Joins the stages of a worker, and shuts them down in the order in which messages pass them.
//! Gauges and readiness, which concern all stages, are read here as well.

mod gauges;
mod health;
mod progress_log;
mod shared;
mod stages;

use std::sync::Arc;
use std::time::Duration;

use fetchline_nodes::Backoff;
use fetchline_queue::{Broker, Role};
use fetchline_store::{Cursor, Store};
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::gauges::{Gauges, Sources};
use self::shared::{Shared, Shutdown};
use self::stages::Stages;
use crate::config::WorkerConfig;
use crate::consume::idle;
use crate::control::answers::Answers;
use crate::control::dependencies::FOREVER;
use crate::control::directives::Control;
use crate::control::news::Reporter;
use crate::control::outages;
use crate::control::roster::Roster;
use crate::control::topology::report_differences;
use crate::error::Error;
use crate::error_chain::chain;
use crate::fetch::fetcher::Fetcher;
use crate::observe::summary::Summary;
use crate::schedule::{self, SchedulerHandle};
use crate::settle::Session;

/// How long the broker may refuse a worker that starts.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// How long a worker that has ended may take to say so.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long the last writes may take when the grace is over.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// A worker that can run: its configuration is valid, and its port is bound.
pub(crate) struct Pipeline {
    shared: Shared,
    fetcher: Fetcher,
    scheduler: SchedulerHandle,
    events: mpsc::UnboundedReceiver<schedule::Event>,
    /// The current session: set by the consumer, read by those who query the queues.
    session: watch::Sender<Option<Session>>,
    reporter: Reporter,
}

impl Pipeline {
    /// Sets up a worker and serves its health. `config` has no problems.
    pub(crate) async fn new(
        config: WorkerConfig,
        broker: Broker,
        store: Store,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let (shared, reporter) = Shared::new(config, broker, store, stop)?;
        let (scheduler, events) = schedule::channel();
        let fetcher = shared.fetcher(&scheduler)?;
        let (session, _) = watch::channel(None);
        let pipeline = Self { shared, fetcher, scheduler, events, session, reporter };
        pipeline.serve_health().await?;
        Ok(pipeline)
    }

    async fn serve_health(&self) -> Result<(), Error> {
        let Some(address) = self.shared.config.observe.listen else { return Ok(()) };
        let failed = |error| Error::Listen(address, error);
        let listener = health::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        info!(%address, "health is served");
        let shared = &self.shared;
        let sources = Sources {
            dependencies: shared.dependencies.clone(),
            snapshots: shared.snapshots.clone(),
            scheduler: self.scheduler.clone(),
            store: shared.store.clone(),
            budget: self.fetcher.budget(),
            session: self.session.subscribe(),
        };
        let gauges = Gauges::new(shared.metrics.clone(), sources);
        tokio::spawn(health::serve(listener, gauges, shared.shutdown.end.clone()));
        Ok(())
    }

    /// Runs until `stop`, or with `until_empty` until nothing is left.
    pub(crate) async fn run(self) -> Result<Summary, Error> {
        let Self { shared, fetcher, scheduler, events, session, reporter } = self;
        let _end_sides = shared.shutdown.end.clone().drop_guard();
        // Whatever ends the pipeline, fetches and commits under way end with it.
        let _end_tasks = shared.shutdown.grace_over.clone().drop_guard();
        if let Some(cursor) = shared.begin().await? {
            let farewell = shared.start_sides(cursor, &session, reporter);
            let stages = Stages::start(&shared, fetcher, scheduler, events, session);
            let drained = shared.drain(stages).await;
            shared.shutdown.end.cancel();
            // An error of these only keeps a fact from the operator.
            _ = timeout(FAREWELL, farewell).await;
            drained?;
        }
        Ok(shared.metrics.summary())
    }
}

impl Shared {
    /// Waits for a database with the schema of this version, looks at the broker, and reads the
    /// limits and cancelled parts in force. `None` after a stop.
    async fn begin(&self) -> Result<Option<Cursor>, Error> {
        tokio::spawn(self.metrics.clone().keep_up(self.shutdown.end.clone()));
        if !self.wait_for_schema().await? || !self.inspect_broker().await? {
            return Ok(None);
        }
        Ok(self.poller().begin(&self.shutdown.stop).await)
    }

    /// Waits for a broker, and fails where consuming would do harm, or where the broker refuses the
    /// worker for half a minute: a user may be created, or a limit of connections be reached, only
    /// while the fleet starts. `false` after a stop.
    async fn inspect_broker(&self) -> Result<bool, Error> {
        let stop = &self.shutdown.stop;
        // Deferred tasks wait in longer delay queues than retries.
        let broker = self.broker.clone().with_tiers(self.deferral().tiers().to_vec());
        let (mut backoff, mut refused_since, mut logged) = (Backoff::default(), None, None);
        loop {
            let inspected = tokio::select! {
                inspected = broker.inspect(self.broker.topology()) => inspected,
                () = stop.cancelled() => return Ok(false),
            };
            let error = match inspected {
                Ok(inspection) => {
                    if let Some(text) = inspection.doubt() {
                        warn!("{text}");
                    }
                    report_differences(&self.news, &inspection);
                    return Ok(true);
                }
                Err(error) => error,
            };
            if is_final(&error, &mut refused_since) {
                return Err(Error::Broker(error));
            }
            let cause = chain(&error);
            self.dependencies.broker_fails(&cause);
            if logged.as_ref() != Some(&cause) {
                let broker = self.broker.location();
                warn!(cause, broker, "not consuming; trying again until it works");
                logged = Some(cause);
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = stop.cancelled() => return Ok(false),
            }
        }
    }

    /// Waits for a database, and fails where it lacks the schema of this version. `false` after a
    /// stop.
    async fn wait_for_schema(&self) -> Result<bool, Error> {
        let stop = &self.shutdown.stop;
        let mut repeater = self.dependencies.repeater(FOREVER, stop);
        let mut is_logged = false;
        loop {
            let checked = tokio::select! {
                checked = self.store.check_tables() => checked,
                () = stop.cancelled() => return Ok(false),
            };
            match checked {
                Ok(()) => {
                    self.dependencies.database_takes_rows();
                    return Ok(true);
                }
                Err(error) if error.is_configuration() => return Err(error.into()),
                Err(error) => {
                    if !std::mem::replace(&mut is_logged, true) {
                        let (cause, database) = (chain(&error), self.store.location());
                        warn!(
                            cause,
                            database, "cannot connect to the database; retrying until it works"
                        );
                    }
                    if repeater.failed(&error).await.is_err() {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Starts what runs beside the stages. Returns what ends after them: this worker leaves the
    /// roster and reports that.
    fn start_sides(
        &self,
        cursor: Cursor,
        session: &watch::Sender<Option<Session>>,
        reporter: Reporter,
    ) -> impl Future<Output = ()> + use<> {
        let Shutdown { stop, end, .. } = &self.shutdown;
        tokio::spawn(self.control().listen(end.clone()));
        tokio::spawn(self.poller().follow(cursor, end.clone()));
        let (snapshots, news) = (self.snapshots.clone(), self.news.clone());
        tokio::spawn(outages::report(snapshots, news, end.clone()));
        tokio::spawn(progress_log::run(self.metrics.clone(), session.subscribe(), end.clone()));
        if self.config.consume.until_empty {
            // Deferred tasks wait in delay queues of their own.
            let broker = self.broker.clone().with_tiers(self.deferral().tiers().to_vec());
            let dependencies = self.dependencies.clone();
            let session = session.subscribe();
            tokio::spawn(idle::stop_when_empty(broker, session, dependencies, stop.clone()));
        }
        let held = session.subscribe();
        let roster = Roster {
            store: self.store.clone(),
            snapshots: self.snapshots.clone(),
            unacked: Box::new(move || held.borrow().as_ref().map_or(0, Session::held)),
            news: self.news.clone(),
            prefix: self.broker.topology().exchange().to_owned(),
            pod: self.pod(),
            started_at: OffsetDateTime::now_utc(),
        };
        let roster = tokio::spawn(roster.run(end.clone()));
        let last_news = CancellationToken::new();
        let reporter = tokio::spawn(reporter.run(last_news.clone()));
        async move {
            _ = roster.await;
            last_news.cancel();
            _ = reporter.await;
        }
    }

    fn control(&self) -> Control {
        let broker = self.broker.clone().with_role(Role::Control);
        let answers = Answers {
            store: self.store.clone(),
            broker: broker.clone(),
            news: self.news.clone(),
            pod: self.pod(),
        };
        Control {
            broker,
            snapshots: self.snapshots.clone(),
            dependencies: self.dependencies.clone(),
            answers: Arc::new(answers),
            pod: self.pod(),
            concurrency: self.config.schedule.concurrency,
            stop: self.shutdown.stop.clone(),
        }
    }

    /// Waits until every stage has ended, or the grace is over. The order of a shutdown, of which
    /// `stages.rs` has the first four steps:
    ///
    /// 5. The batcher ends when the executor and the consumer have dropped their senders. It
    ///    commits what it has collected.
    /// 6. The republisher ends after the last committer, when it has published what it holds.
    /// 7. The settler ends after the republisher. It sends the last acks and closes the connection.
    /// 8. The remaining spans are exported, and what runs beside the stages ends.
    ///
    /// A stage that panics ends all of them, since nothing would be settled any more; so does the
    /// end of the grace. The broker then redelivers what is not settled.
    async fn drain(&self, stages: Stages) -> Result<(), Error> {
        let Stages { fetches, batches, republisher, settler } = stages;
        let drained = async { tokio::try_join!(fetches, batches, republisher, settler) };
        let Shutdown { stop, grace_over, .. } = &self.shutdown;
        let deadline = async {
            stop.cancelled().await;
            info!(grace_s = self.config.grace.as_secs(), "stopping: finishing what has begun");
            tokio::time::sleep(self.config.grace).await;
            warn!("the grace is over: the broker redelivers what is left");
            grace_over.cancel();
            tokio::time::sleep(LAST_WRITES).await;
        };
        let ended = tokio::select! {
            drained = drained => drained.map(drop).map_err(|panic| Error::Panic(panic.to_string())),
            () = deadline => Ok(()),
        };
        self.traces.finish().await;
        ended?;
        match grace_over.is_cancelled() {
            true => Err(Error::GraceOver(Box::new(self.metrics.summary()))),
            false => Ok(()),
        }
    }
}

/// Whether an error of the broker ends a worker that starts. `refused_since`: since when the broker
/// has refused the worker without a break.
fn is_final(error: &fetchline_queue::Error, refused_since: &mut Option<Instant>) -> bool {
    if error.refusal().is_none() {
        *refused_since = None;
        return error.is_configuration();
    }
    refused_since.get_or_insert_with(Instant::now).elapsed() >= REFUSED_FOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_starts_ends_once_the_broker_refuses_it_for_half_a_minute_on_end() {
        use fetchline_queue::Error::{Blocked, MayNotPublish, Topology};
        let refused = || MayNotPublish("fetchline".to_owned());
        let mut since = None;
        assert!(!is_final(&refused(), &mut since));
        tokio::time::advance(REFUSED_FOR / 2).await;
        // An outage begins, and lasts.
        assert!(!is_final(&Blocked("memory".to_owned()), &mut since));
        tokio::time::advance(20 * REFUSED_FOR).await;
        assert!(!is_final(&refused(), &mut since), "it has been refused only now");
        tokio::time::advance(REFUSED_FOR).await;
        assert!(is_final(&refused(), &mut since));
        assert!(is_final(&Topology("the queue is a stream".to_owned()), &mut None));
    }
}
