//! The roster: records that this worker runs, and reports to the operator which workers
//! join, end and are lost, and which runs begin and are complete.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fetchline_store::{Error, Outcome, Part, Run, Store, WorkerState};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::news::{Fact, NewsHandle, identity};
use super::snapshot::{Health, Snapshot, Snapshots};
use crate::error_chain::chain;

/// How often a worker says that it runs.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a worker has to reach the database before it reports others as lost: after an outage,
/// they may not have had the time to be seen.
const STEADY: Duration = Duration::from_secs(60);
/// How often one of the workers looks at the runs, and at how many of their latest parts.
const RUNS_INTERVAL: Duration = Duration::from_secs(9);
const LATEST_PARTS: u32 = 20;
/// A part that began longer ago is not reported.
const NEW_PART: Duration = Duration::from_secs(86_400);
/// A fact about a run is reported once.
const ONCE: Duration = Duration::from_secs(7 * 86_400);
/// How long the end of a worker may wait for the database.
const LEAVING: Duration = Duration::from_secs(2);

/// The number of facts that were reported of each part, by the names of its run and of the part.
type ReportedParts = HashMap<(String, String), usize>;

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
        let (mut steady_since, mut paused_since, mut reported) =
            (Instant::now(), None, HashMap::new());
        loop {
            let directive = self.snapshots.read(|snapshot| snapshot.directive);
            paused_since = match self.snapshots.read(|snapshot| snapshot.directives.paused) {
                true => paused_since.or_else(|| Some(self.store.now())),
                false => None,
            };
            let is_steady = steady_since.elapsed() >= STEADY;
            let state = self.state(paused_since);
            if let Err(error) = self.round(state, is_steady, &mut reported).await {
                debug!(cause = chain(&error), "cannot keep the roster of workers");
                steady_since = Instant::now();
            }
            let obeyed = changes.wait_for(|snapshot| snapshot.directive != directive);
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                // The worker that answers a directive waits for this.
                _ = obeyed => {}
                () = end.cancelled() => break,
            }
        }
        let sentence = format!("{} has ended: it holds no messages any more", self.pod);
        let name = format!("worker ended {} {}", self.pod, self.started_at);
        self.news.report(Fact::new("worker_ended", name, sentence).with("pod", &*self.pod));
        let leaving = self.store.worker_ended(&self.prefix, &self.pod, self.started_at);
        _ = tokio::time::timeout(LEAVING, leaving).await;
    }

    async fn round(
        &self,
        state: WorkerState,
        is_steady: bool,
        reported: &mut ReportedParts,
    ) -> Result<(), Error> {
        if self.store.worker_seen(&self.prefix, &state).await? {
            let sentence = format!(
                "{} joins the fleet, with a concurrency of {}",
                self.pod, state.concurrency
            );
            let name = format!("worker joined {} {}", self.pod, self.started_at);
            self.news.report(Fact::new("worker_joined", name, sentence).with("pod", &*self.pod));
        }
        let first = self.store.first_worker(&self.prefix).await?;
        self.news.set_leader(first.as_deref() == Some(&*self.pod));
        if is_steady {
            for pod in self.store.lost_workers(&self.prefix).await? {
                let sentence = format!(
                    "{pod} is lost: it has not been seen for half a minute; the broker redelivers \
                     its messages"
                );
                let name = format!("worker lost {pod}");
                self.news.report(Fact::new("worker_lost", name, sentence).with("pod", pod));
            }
        }
        let round = identity(&self.prefix, "a look at the runs");
        if let Some(claimed) = self.store.claim_fact(&round, RUNS_INTERVAL).await? {
            self.store.fact_reported(claimed).await?;
            self.look_at_runs(reported).await?;
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
            obstacle: obstacle(snapshot),
        })
    }

    /// Reports which of the latest parts of runs have begun, and which are complete. `reported` has
    /// the number of facts that were reported of each part.
    async fn look_at_runs(&self, reported: &mut ReportedParts) -> Result<(), Error> {
        let mut known = std::mem::take(reported);
        for (name, run) in self.store.latest_parts(None, LATEST_PARTS).await? {
            let Some(part) = run.parts.first() else { continue };
            if run.asked_at - part.created_at > NEW_PART {
                continue;
            }
            let facts = facts(&name, part, &run);
            let identity = (name, part.part.clone());
            let is_reported = known.remove(&identity) == Some(facts.len());
            reported.insert(identity, facts.len());
            if !is_reported {
                facts.into_iter().for_each(|fact| self.news.report(fact.once_in(ONCE)));
            }
        }
        Ok(())
    }
}

/// Why a worker fetches nothing.
fn obstacle(snapshot: &Snapshot) -> Option<String> {
    let why = |health: &Health| health.error.clone().unwrap_or_default();
    let Snapshot { broker, topology, database, .. } = snapshot;
    if !database.up {
        return Some(format!("holds results, the database takes none: {}", why(database)));
    }
    let down = [broker, topology].into_iter().find(|health| !health.up)?;
    Some(format!("not consuming: {}", why(down)))
}

/// What there is to report of a part; `run` is the state of this part alone.
fn facts(name: &str, Part { part, .. }: &Part, run: &Run) -> Vec<Fact> {
    let begun = format!("the run {name} begins");
    let mut facts =
        vec![Fact::new("run_begun", format!("run begun {name} {part}"), begun).with("run", name)];
    if let Some(planned) = run.planned().filter(|_| run.is_complete() && !run.is_cancelled()) {
        let ok = run.rows_with(Outcome::Ok);
        let others = run.outcomes.iter().filter(|(outcome, _)| *outcome != Outcome::Ok.as_str());
        let others: String = others.map(|(outcome, rows)| format!(", {rows} {outcome}")).collect();
        let sentence = format!("the run {name} is complete: {planned} tasks, {ok} ok{others}");
        let name_of_fact = format!("run complete {name} {part}");
        let complete = Fact::new("run_complete", name_of_fact, sentence).with("run", name);
        let outcomes = serde_json::to_value(&run.outcomes).unwrap_or_default();
        facts.push(complete.with("planned", planned).with("outcomes", outcomes));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::dependencies::Dependencies;

    #[test]
    fn a_worker_says_why_it_fetches_nothing() {
        let snapshots = Snapshots::new(1);
        let dependencies = Dependencies::new(snapshots.clone());
        let obstacle = || snapshots.read(obstacle).unwrap_or_default();
        dependencies.database_takes_rows();
        dependencies.broker_fails("ACCESS_REFUSED");
        assert_eq!(obstacle(), "not consuming: ACCESS_REFUSED");
        dependencies.broker_answers();
        dependencies.set_topology(Some("the queue q does not exist"));
        assert_eq!(obstacle(), "not consuming: the queue q does not exist");
        dependencies.set_topology(None);
        assert_eq!(obstacle(), "");
        dependencies.database_fails("Unknown column");
        assert_eq!(obstacle(), "holds results, the database takes none: Unknown column");
    }
}
