//! The roster of workers: tells the database that this worker runs, and the operator which workers
//! join, end and are lost, and which runs begin and are complete.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fetchline_store::{Error, Outcome, Run, Store, WorkerState};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::news::{Fact, NewsHandle, identity};
use super::snapshot::Snapshots;
use crate::error_chain::chain;

/// How often a worker says that it runs.
const INTERVAL: Duration = Duration::from_secs(5);
/// A worker that could not use the database for a while does not know who else could not.
const STEADY: Duration = Duration::from_secs(60);
/// How often one of the workers looks at the runs, and at how many of the latest ones.
const RUNS_INTERVAL: Duration = Duration::from_secs(9);
const LATEST_RUNS: u32 = 20;
/// A run that began longer ago is no news.
const NEW_RUN: Duration = Duration::from_secs(86_400);
/// A fact about a run is told once.
const ONCE: Duration = Duration::from_secs(7 * 86_400);
/// How long the end of a worker may wait for the database.
const LEAVING: Duration = Duration::from_secs(2);

/// Keeps the roster.
pub(crate) struct Roster {
    pub(crate) store: Arc<Store>,
    pub(crate) snapshots: Snapshots,
    /// How many messages this worker holds.
    pub(crate) unacked: Box<dyn Fn() -> usize + Send + Sync>,
    pub(crate) news: NewsHandle,
    /// The prefix of the fleet.
    pub(crate) prefix: String,
    pub(crate) pod: Arc<str>,
    pub(crate) started_at: OffsetDateTime,
}

impl Roster {
    /// Runs until `end`, then removes this worker from the roster.
    pub(crate) async fn run(self, end: CancellationToken) {
        let mut changes = self.snapshots.changes();
        let (mut steady_since, mut paused_since, mut told) = (Instant::now(), None, HashMap::new());
        loop {
            let directive = self.snapshots.read(|snapshot| snapshot.directive);
            paused_since = match self.snapshots.read(|snapshot| snapshot.directives.paused) {
                true => paused_since.or_else(|| Some(self.store.now())),
                false => None,
            };
            let is_steady = steady_since.elapsed() >= STEADY;
            let state = self.state(paused_since);
            if let Err(error) = self.round(state, is_steady, &mut told).await {
                debug!(cause = chain(&error), "cannot keep the roster of workers");
                steady_since = Instant::now();
            }
            let obeyed = changes.wait_for(|snapshot| snapshot.directive != directive);
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                // Whoever answers a directive waits for this.
                _ = obeyed => {}
                () = end.cancelled() => break,
            }
        }
        let sentence = format!("{} has ended: it holds no messages any more", self.pod);
        let name = format!("worker ended {} {}", self.pod, self.started_at);
        self.news.tell(Fact::new("worker_ended", name, sentence).with("pod", &*self.pod));
        let leaving = self.store.worker_ended(&self.prefix, &self.pod, self.started_at);
        _ = tokio::time::timeout(LEAVING, leaving).await;
    }

    async fn round(
        &self,
        state: WorkerState,
        is_steady: bool,
        told: &mut HashMap<String, usize>,
    ) -> Result<(), Error> {
        if self.store.worker_seen(&self.prefix, &state).await? {
            let sentence = format!(
                "{} joins the fleet, with a concurrency of {}",
                self.pod, state.concurrency
            );
            let name = format!("worker joined {} {}", self.pod, self.started_at);
            self.news.tell(Fact::new("worker_joined", name, sentence).with("pod", &*self.pod));
        }
        if is_steady {
            for pod in self.store.lost_workers(&self.prefix).await? {
                let sentence = format!(
                    "{pod} is lost: it has not been seen for half a minute; the broker redelivers \
                     its messages"
                );
                let name = format!("worker lost {pod}");
                self.news.tell(Fact::new("worker_lost", name, sentence).with("pod", pod));
            }
        }
        let round = identity(&self.prefix, "a look at the runs");
        if let Some(claimed) = self.store.claim_fact(&round, RUNS_INTERVAL).await? {
            self.store.fact_told(claimed).await?;
            self.look_at_runs(told).await?;
        }
        Ok(())
    }

    fn state(&self, paused_since: Option<OffsetDateTime>) -> WorkerState {
        let unacked = u32::try_from((self.unacked)()).unwrap_or(u32::MAX);
        self.snapshots.read(|snapshot| WorkerState {
            pod: self.pod.to_string(),
            started_at: self.started_at,
            paused_since,
            concurrency: u32::try_from(snapshot.directives.concurrency).unwrap_or(u32::MAX),
            unacked,
            directive: snapshot.directive,
        })
    }

    /// Tells which of the latest runs have begun, and which are complete. `told` has the number of
    /// facts that this worker has told of each.
    async fn look_at_runs(&self, told: &mut HashMap<String, usize>) -> Result<(), Error> {
        let latest = self.store.latest_runs(LATEST_RUNS).await?;
        told.retain(|run, _| latest.contains(run));
        for name in latest {
            let run = self.store.run(&name).await?;
            let newest = run.parts.iter().map(|part| part.created_at).max();
            if newest.is_none_or(|newest| run.asked_at - newest > NEW_RUN) {
                continue;
            }
            let facts = facts(&name, &run);
            if told.insert(name, facts.len()) != Some(facts.len()) {
                facts.into_iter().for_each(|fact| self.news.tell(fact.once_in(ONCE)));
            }
        }
        Ok(())
    }
}

/// What there is to tell of a run.
fn facts(name: &str, run: &Run) -> Vec<Fact> {
    let Some(first) = run.parts.iter().find(|part| !part.part.is_empty()) else {
        return Vec::new();
    };
    let begun = format!("the run {name} begins");
    let mut facts = vec![
        Fact::new("run_begun", format!("run begun {name} {}", first.part), begun).with("run", name),
    ];
    if let Some(planned) = run.planned().filter(|_| run.is_complete() && !run.is_cancelled()) {
        let ok = run.rows_with(Outcome::Ok);
        let others = run.outcomes.iter().filter(|(outcome, _)| *outcome != Outcome::Ok.as_str());
        let others: String = others.map(|(outcome, rows)| format!(", {rows} {outcome}")).collect();
        let sentence = format!("the run {name} is complete: {planned} tasks, {ok} ok{others}");
        // A part that joins later makes it complete once more.
        let name_of_fact = format!("run complete {name} {planned} {}", first.part);
        let complete = Fact::new("run_complete", name_of_fact, sentence).with("run", name);
        let outcomes = serde_json::to_value(&run.outcomes).unwrap_or_default();
        facts.push(complete.with("planned", planned).with("outcomes", outcomes));
    }
    facts
}
