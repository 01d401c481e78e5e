//! The count at the end of a trial: what was lost, doubled, left behind or fetched again.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fetchline_queue::{Depth, Topology};

use crate::dead;
use crate::fleet::Fleet;
use crate::trial::Trial;
use crate::wait;

/// How long the workers may take to end when nothing fails any more.
const DONE_WITHIN: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long nothing may have happened before all counts as done: nobody can see what a worker still holds.
const QUIET_FOR: Duration = Duration::from_millis(1_500);
/// The keys of the queues that have to be empty at the end.
const WORK: [&str; 4] = [Topology::RUNS, Topology::URLS, "retry.1s", "retry.2s"];

/// What came of a trial.
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
    /// Tasks that have a dead letter.
    dead: usize,
    /// Further dead letters of the same tasks: a letter is sent again when its sender ends before the message is acked.
    dead_again: usize,
    /// Visits beyond those that each URL needs.
    repeats: u64,
    /// What was fetched and not yet committed at the faults.
    exposed: u64,
    /// What has to be looked into.
    wrong: Vec<String>,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, faults, urls, rows, lost, duplicates, left, dead, dead_again, repeats, exposed, .. } =
            self;
        write!(
            f,
            "faults: {name} seed={seed} faults={faults} urls={urls} rows={rows} lost={lost} duplicates={duplicates} left={left} dead={dead} \
             dead_again={dead_again} repeats={repeats} exposed={exposed}"
        )
    }
}

impl Totals {
    /// Nothing lost, nothing twice, nothing left, and every URL has come to what it had to.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.wrong.is_empty(), "{self}\n{}", self.wrong.join("\n"));
        self.check_repeats()
    }

    /// No more was fetched again than what was fetched and not yet committed when something failed.
    fn check_repeats(&self) -> anyhow::Result<()> {
        ensure!(self.repeats <= self.exposed, "more was fetched again than was exposed: {self}");
        Ok(())
    }
}

impl Trial {
    /// Waits until every URL has its row, stops the workers, counts, prints one line, and fails unless all is as it has to
    /// be.
    pub async fn finish(self, fleet: Fleet) -> anyhow::Result<()> {
        self.finish_within(fleet, DONE_WITHIN).await
    }

    /// The same, with more time.
    pub async fn finish_within(mut self, fleet: Fleet, patience: Duration) -> anyhow::Result<()> {
        // Whatever goes wrong, the count is what has to be known.
        let done = self.done(self.fates.len(), patience).await;
        let stopped = fleet.stop().await;
        let totals = self.count().await?;
        println!("{totals}");
        done.and(stopped).and(totals.check())?;
        self.counted = true;
        Ok(())
    }

    /// Waits until so many URLs have their rows, and nothing happens any more.
    pub async fn done(&self, urls: usize, patience: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            // A row may be missing since a service is not back yet.
            if let Ok(rows) = self.rows().await
                && rows >= urls as u64
            {
                return self.quiet().await;
            }
            if started.elapsed() > patience {
                bail!("not every URL has its row after {} s", patience.as_secs());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until nothing waits in a queue, no page is fetched and no row is written for a while.
    pub(crate) async fn quiet(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut before = (0, 0);
        let mut since = Instant::now();
        while since.elapsed() < QUIET_FOR {
            if started.elapsed() > DONE_WITHIN {
                bail!("the workers do not come to rest: {} messages are left", self.left().await?);
            }
            let now = (self.world.shop.visits().total(), self.rows().await?);
            if now != before || self.left().await? > 0 {
                (before, since) = (now, Instant::now());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Published URLs that have no row.
    pub(crate) async fn missing(&self) -> anyhow::Result<HashSet<String>> {
        let rows = self.outcomes().await?;
        Ok(self.fates.keys().filter(|url| !rows.contains_key(*url)).cloned().collect())
    }

    /// A queue's depth, over a connection of its own: the others may have been closed.
    pub(crate) async fn depth(&self, key: &str) -> anyhow::Result<Option<Depth>> {
        let broker = self.world.broker()?;
        let connection = broker.connect().await?;
        let depth = broker.topology().depth(&connection, key).await?;
        _ = connection.close(200, "seen".into()).await;
        Ok(depth)
    }

    /// Ready messages of a queue; none where it does not exist.
    pub(crate) async fn ready(&self, key: &str) -> anyhow::Result<u64> {
        Ok(self.depth(key).await?.map_or(0, |depth| depth.ready.into()))
    }

    /// Ready messages that are still to be worked on.
    async fn left(&self) -> anyhow::Result<u64> {
        let mut left = 0;
        for key in WORK {
            left += self.ready(key).await?;
        }
        Ok(left)
    }

    /// Each URL with the outcomes of its rows.
    async fn outcomes(&self) -> anyhow::Result<HashMap<String, Vec<String>>> {
        let query = sqlx::query_as::<_, (String, String)>("SELECT url, outcome FROM fetches");
        let mut rows: HashMap<String, Vec<String>> = HashMap::new();
        for (url, outcome) in query.fetch_all(&self.world.database).await? {
            rows.entry(url).or_default().push(outcome);
        }
        Ok(rows)
    }

    /// Counts, when the workers are gone.
    async fn count(&self) -> anyhow::Result<Totals> {
        let consumers = async || Ok(self.depth(Topology::URLS).await?.map_or(0, |depth| depth.consumers));
        wait::until("the workers are gone", consumers, |consumers| *consumers == 0).await?;
        let rows = self.outcomes().await?;
        let mut wrong = Vec::new();
        for (url, fate) in &self.fates {
            match rows.get(url).map(Vec::as_slice) {
                Some([outcome]) if outcome == fate.outcome => {}
                found => wrong.push(format!("{url}: {found:?} instead of {:?}", fate.outcome)),
            }
        }
        wrong.extend(rows.keys().filter(|url| !self.fates.contains_key(*url)).map(|url| format!("{url}: unexpected")));
        let lost = self.fates.keys().filter(|url| !rows.contains_key(*url)).count();
        let left = self.left().await?;
        if left > 0 {
            wrong.push(format!("{left} messages are left"));
        }
        wrong.extend(self.miscounted().await?);
        let letters = dead::letters(&self.world).await?;
        let dead: HashSet<&str> = letters.iter().map(|letter| letter.url.as_str()).collect();
        let doomed: HashSet<&str> =
            self.fates.iter().filter(|(_, fate)| fate.dead).map(|(url, _)| url.as_str()).collect();
        wrong.extend(doomed.difference(&dead).map(|url| format!("{url}: no dead letter")));
        wrong.extend(dead.difference(&doomed).map(|url| format!("{url}: an unexpected dead letter")));
        let dead_again = letters.len() - dead.len();
        if dead_again > 0 && self.faults == 0 {
            wrong.push(format!("{dead_again} dead letters too many, and nothing had failed"));
        }
        // The first few tell what is the matter.
        wrong.truncate(20);
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
            wrong,
        })
    }

    /// What `runs` and `run_counts` tell otherwise than `fetches` does.
    async fn miscounted(&self) -> anyhow::Result<Vec<String>> {
        const COUNTED: &str = "SELECT run, outcome, CAST(SUM(tasks) AS SIGNED) FROM run_counts \
                               GROUP BY run, outcome HAVING SUM(tasks) <> 0 ORDER BY run, outcome";
        const ROWS: &str = "SELECT run, outcome, COUNT(*) FROM fetches GROUP BY run, outcome ORDER BY run, outcome";
        const OPEN: &str = "SELECT CONCAT(part, ' of the run ', run, ': ', COALESCE(planned, 'not closed')) FROM runs \
                            WHERE planned IS NULL OR planned <> \
                            (SELECT SUM(tasks) FROM run_counts AS counts \
                             WHERE counts.run = runs.run AND counts.part = runs.part)";
        let database = &self.world.database;
        let counted: Vec<(String, String, i64)> = sqlx::query_as(COUNTED).fetch_all(database).await?;
        let rows: Vec<(String, String, i64)> = sqlx::query_as(ROWS).fetch_all(database).await?;
        let mut wrong: Vec<String> = sqlx::query_scalar(OPEN).fetch_all(database).await?;
        if counted != rows {
            wrong.push(format!("counted {counted:?} instead of {rows:?}"));
        }
        Ok(wrong)
    }

    /// Visits beyond those that each URL needs.
    fn repeats(&self) -> anyhow::Result<u64> {
        let origin = self.world.shop.url("");
        let visits = self.world.shop.visits();
        let mut repeats = 0;
        for (url, fate) in &self.fates {
            let path = url.strip_prefix(&origin).context("a URL of another shop")?;
            repeats += visits.of(path).saturating_sub(fate.visits);
        }
        Ok(repeats)
    }
}
