//! The count at the end of a trial: tasks that were lost, duplicated, left behind or repeated.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fetchline_queue::{QueueCounts, Topology};

use crate::dead_letters;
use crate::fleet::Fleet;
use crate::trial::Trial;
use crate::wait;

/// Deadline for the workers to finish once no fault happens any more.
const DEADLINE: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long nothing must happen before the work counts as done: what a worker still holds is not
/// visible from outside.
const QUIET_TIME: Duration = Duration::from_millis(1_500);
/// The keys of the queues that must be empty at the end.
const WORK_QUEUES: [&str; 4] = [Topology::RUNS, Topology::URLS, "retry.1s", "retry.2s"];

/// The result of a trial.
#[derive(Clone, Debug)]
struct Totals {
    name: &'static str,
    seed: u64,
    faults: u64,
    urls: usize,
    rows: usize,
    lost: usize,
    duplicates: usize,
    left: u64,
    /// Tasks with a dead letter.
    dead: usize,
    /// Further dead letters of the same tasks: one is published again if its publisher ends before
    /// it has acked the message.
    dead_again: usize,
    /// Visits beyond the number that each URL needs.
    repeats: u64,
    /// Pages that were fetched and not committed yet when a fault happened, over all faults.
    exposed: u64,
    /// Violations of what the trial promises.
    violations: Vec<String>,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            seed,
            faults,
            urls,
            rows,
            lost,
            duplicates,
            left,
            dead,
            dead_again,
            repeats,
            exposed,
            ..
        } = self;
        write!(
            f,
            "faults: {name} seed={seed} faults={faults} urls={urls} rows={rows} lost={lost} \
             duplicates={duplicates} left={left} dead={dead} dead_again={dead_again} \
             repeats={repeats} exposed={exposed}"
        )
    }
}

impl Totals {
    /// Fails unless nothing is lost, duplicated or left behind, and every URL met its fate.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.violations.is_empty(), "{self}\n{}", self.violations.join("\n"));
        self.check_repeats()
    }

    /// Fails if more pages were repeated than were exposed: fetched and not committed at a fault.
    fn check_repeats(&self) -> anyhow::Result<()> {
        ensure!(self.repeats <= self.exposed, "more pages were repeated than were exposed: {self}");
        Ok(())
    }
}

impl Trial {
    /// Waits until every URL has its row, stops the workers, counts, prints one line, and fails on
    /// any violation.
    pub async fn finish(self, fleet: Fleet) -> anyhow::Result<()> {
        self.finish_within(fleet, DEADLINE).await
    }

    /// Like [`Trial::finish`], with another deadline.
    pub async fn finish_within(mut self, fleet: Fleet, deadline: Duration) -> anyhow::Result<()> {
        // The count is printed whatever went wrong before it.
        let complete = self.wait_for_rows(self.fates.len(), deadline).await;
        let stopped = fleet.stop().await;
        let totals = self.count().await?;
        println!("{totals}");
        complete.and(stopped).and(totals.check())?;
        self.counted = true;
        Ok(())
    }

    /// Waits until this many URLs have their rows and the workers are quiet.
    pub async fn wait_for_rows(&self, urls: usize, deadline: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            // Counting fails while a service is still away.
            if let Ok(rows) = self.rows().await
                && rows >= urls as u64
            {
                return self.wait_until_quiet().await;
            }
            if started.elapsed() > deadline {
                bail!("not every URL has its row after {} s", deadline.as_secs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until the queues are empty, and no page is fetched and no row written for a while.
    pub(crate) async fn wait_until_quiet(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut before = (0, 0);
        let mut since = Instant::now();
        while since.elapsed() < QUIET_TIME {
            if started.elapsed() > DEADLINE {
                bail!("the workers are still busy: {} messages are left", self.left().await?);
            }
            let now = (self.world.shop.visits().total(), self.rows().await?);
            if now != before || self.left().await? > 0 {
                (before, since) = (now, Instant::now());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Published URLs without a row.
    pub(crate) async fn missing(&self) -> anyhow::Result<HashSet<String>> {
        let rows = self.outcomes().await?;
        Ok(self.fates.keys().filter(|url| !rows.contains_key(*url)).cloned().collect())
    }

    /// A queue's depth, over its own connection: a fault may have closed the others.
    pub(crate) async fn depth(&self, key: &str) -> anyhow::Result<Option<QueueCounts>> {
        let broker = self.world.broker()?;
        let connection = broker.connect().await?;
        let depth = broker.topology().counts(&connection, key).await?;
        _ = connection.close(200, "done".into()).await;
        Ok(depth)
    }

    /// Ready messages of a queue; 0 if it does not exist.
    pub(crate) async fn ready(&self, key: &str) -> anyhow::Result<u64> {
        Ok(self.depth(key).await?.map_or(0, |depth| depth.ready.into()))
    }

    /// Ready messages in all work queues.
    async fn left(&self) -> anyhow::Result<u64> {
        let mut left = 0;
        for key in WORK_QUEUES {
            left += self.ready(key).await?;
        }
        Ok(left)
    }

    /// The outcomes of the rows of each URL.
    async fn outcomes(&self) -> anyhow::Result<HashMap<String, Vec<String>>> {
        let query = sqlx::query_as::<_, (String, String)>("SELECT url, outcome FROM fetches");
        let mut rows: HashMap<String, Vec<String>> = HashMap::new();
        for (url, outcome) in query.fetch_all(&self.world.database).await? {
            rows.entry(url).or_default().push(outcome);
        }
        Ok(rows)
    }

    /// Counts, after the last worker has gone.
    async fn count(&self) -> anyhow::Result<Totals> {
        let consumers =
            async || Ok(self.depth(Topology::URLS).await?.map_or(0, |depth| depth.consumers));
        wait::until("the workers are gone", consumers, |consumers| *consumers == 0).await?;
        let rows = self.outcomes().await?;
        let mut violations = Vec::new();
        for (url, fate) in &self.fates {
            match rows.get(url).map(Vec::as_slice) {
                Some([outcome]) if outcome == fate.outcome => {}
                found => violations.push(format!("{url}: {found:?} instead of {:?}", fate.outcome)),
            }
        }
        violations.extend(
            rows.keys()
                .filter(|url| !self.fates.contains_key(*url))
                .map(|url| format!("{url}: unexpected")),
        );
        let lost = self.fates.keys().filter(|url| !rows.contains_key(*url)).count();
        let left = self.left().await?;
        if left > 0 {
            violations.push(format!("{left} messages are left"));
        }
        violations.extend(self.count_mismatches().await?);
        let letters = dead_letters::peek(&self.world).await?;
        let dead: HashSet<&str> = letters.iter().map(|letter| letter.url.as_str()).collect();
        let doomed: HashSet<&str> =
            self.fates.iter().filter(|(_, fate)| fate.dead).map(|(url, _)| url.as_str()).collect();
        violations.extend(doomed.difference(&dead).map(|url| format!("{url}: no dead letter")));
        violations.extend(
            dead.difference(&doomed).map(|url| format!("{url}: an unexpected dead letter")),
        );
        let dead_again = letters.len() - dead.len();
        if dead_again > 0 && self.faults == 0 {
            violations.push(format!("{dead_again} repeated dead letters without a fault"));
        }
        // The first few show the cause.
        violations.truncate(20);
        let all: usize = rows.values().map(Vec::len).sum();
        Ok(Totals {
            name: self.name,
            seed: self.seed,
            faults: self.faults,
            urls: self.fates.len(),
            rows: all,
            lost,
            duplicates: all - rows.len(),
            left,
            dead: dead.len(),
            dead_again,
            repeats: self.repeats()?,
            exposed: self.exposed,
            violations,
        })
    }

    /// Differences between `fetches` and what `runs` and `run_counts` say of it.
    async fn count_mismatches(&self) -> anyhow::Result<Vec<String>> {
        const COUNTED: &str = "SELECT run, outcome, CAST(SUM(tasks) AS SIGNED) FROM run_counts \
                               GROUP BY run, outcome HAVING SUM(tasks) <> 0 ORDER BY run, outcome";
        const ROWS: &str = "SELECT run, outcome, COUNT(*) FROM fetches \
                            GROUP BY run, outcome ORDER BY run, outcome";
        const OPEN: &str = "SELECT CONCAT(part, ' of the run ', run, ': ', \
                            COALESCE(planned, 'not closed')) FROM runs \
                            WHERE planned IS NULL OR planned <> \
                            (SELECT SUM(tasks) FROM run_counts AS counts \
                             WHERE counts.run = runs.run AND counts.part = runs.part)";
        let database = &self.world.database;
        let counted: Vec<(String, String, i64)> =
            sqlx::query_as(COUNTED).fetch_all(database).await?;
        let rows: Vec<(String, String, i64)> = sqlx::query_as(ROWS).fetch_all(database).await?;
        let mut violations: Vec<String> = sqlx::query_scalar(OPEN).fetch_all(database).await?;
        if counted != rows {
            violations.push(format!("counted {counted:?} instead of {rows:?}"));
        }
        Ok(violations)
    }

    /// Visits beyond the number that each URL needs.
    fn repeats(&self) -> anyhow::Result<u64> {
        let origin = self.world.shop.url("");
        let visits = self.world.shop.visits();
        let mut repeats = 0;
        for (url, fate) in &self.fates {
            let path = url.strip_prefix(&origin).context("the URL belongs to another shop")?;
            repeats += visits.of(path).saturating_sub(fate.visits);
        }
        Ok(repeats)
    }
}
