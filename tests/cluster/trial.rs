//! A trial on the clusters: workers fetch while nodes fail; at the end everything is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fetchline_tests::process::Running;
use fetchline_tests::trial::seed;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::cluster::Cluster;

const RUN: &str = "nightly";
const WORKERS: usize = 3;
const FLAGS: [&str; 11] = [
    "--until-empty",
    "--concurrency",
    "10",
    "--prefetch",
    "50",
    "--timeout",
    "5s",
    "--retry-delays",
    "1s,2s",
    "--hold",
    "10m",
];
/// How long all of a trial may take.
const DEADLINE: Duration = Duration::from_secs(600);
/// The longest stand-still while a majority lives.
pub(crate) const STAND_STILL: Duration = Duration::from_secs(15);

/// Workers that fetch on the clusters.
pub(crate) struct Trial {
    pub(crate) cluster: Cluster,
    pub(crate) world: Arc<World>,
    pub(crate) rng: StdRng,
    name: &'static str,
    seed: u64,
    urls: u64,
    workers: Vec<Running>,
    database: String,
    longest: Duration,
}

impl Trial {
    /// Publishes URLs that take 200 ms each, and starts workers that end when nothing is left.
    pub(crate) async fn begin(name: &'static str, urls: u64) -> anyhow::Result<Self> {
        let cluster = Cluster::start().await?;
        let seed = seed();
        println!("cluster: {name} seed={seed}");
        let mut world = World::on(Cluster::observed()).await?;
        let database = world.database_url.rsplit('/').next().unwrap_or_default().to_owned();
        world.amqp_url = Cluster::amqp_url();
        world.database_url = Cluster::database_url(&database);
        let world = Arc::new(world);
        world.produce(RUN, &world.numbered("/slow/200/", urls)).await?;
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            workers.push(world.worker(&FLAGS)?);
        }
        for worker in &mut workers {
            worker.logs("consuming").await?;
        }
        let rng = StdRng::seed_from_u64(seed);
        let longest = Duration::ZERO;
        Ok(Self { cluster, world, rng, name, seed, urls, workers, database, longest })
    }

    /// Waits until a random part of the pages, between a tenth and a third, was visited.
    pub(crate) async fn reach_moment(&mut self) -> anyhow::Result<()> {
        let visits = self.rng.random_range(self.urls / 10..self.urls / 3);
        let total = async || Ok(self.world.shop.visits().total());
        wait::until("some pages", total, |total| *total >= visits).await.map(drop)
    }

    /// The node of a dependency that worker `number` reports in `/readyz`.
    pub(crate) async fn node_of(&mut self, number: usize, of: &str) -> anyhow::Result<String> {
        let body = self.readiness(number).await?;
        let node = body[of]["node"].as_str().with_context(|| format!("no node in {body}"))?;
        Cluster::name_of(node)
    }

    /// The body of `/readyz`.
    pub(crate) async fn readiness(&mut self, number: usize) -> anyhow::Result<Value> {
        let health = self.workers[number].health().await?;
        let answer = reqwest::get(format!("http://{health}/readyz")).await?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// What a worker has logged.
    pub(crate) fn log(&self, number: usize) -> anyhow::Result<String> {
        self.workers[number].log()
    }

    /// The queue of tasks.
    pub(crate) fn queue(&self) -> String {
        format!("{}.urls", self.world.prefix)
    }

    /// Lets the fault last for a while, and measures the longest time without a visit.
    pub(crate) async fn last(&mut self, duration: Duration) -> anyhow::Result<()> {
        let (began, mut moved) = (Instant::now(), Instant::now());
        let mut visits = self.world.shop.visits().total();
        while began.elapsed() < duration && visits < self.urls {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.world.shop.visits().total();
            if now > visits {
                (visits, moved) = (now, Instant::now());
            }
            self.longest = self.longest.max(moved.elapsed());
        }
        Ok(())
    }

    /// No worker may have ended although there is work.
    pub(crate) fn nobody_has_ended(&mut self) -> anyhow::Result<()> {
        for worker in &mut self.workers {
            ensure!(worker.ended()?.is_none(), "a worker has ended too early");
        }
        Ok(())
    }

    /// Waits until the workers end by themselves, and counts. `still` is the longest stand-still
    /// that is allowed.
    pub(crate) async fn finish(self, still: Duration) -> anyhow::Result<()> {
        let Self { cluster, world, name, seed, urls, workers, database, longest, .. } = self;
        world.keep_logs();
        for worker in workers {
            let ended = tokio::time::timeout(DEADLINE, worker.end()).await;
            let output = ended.context("a worker does not end")??;
            ensure!(output.code == Some(0), "{output:?}");
        }
        cluster.all_up().await?;
        let count = async |query: &str| world.count(query).await;
        let rows = count("SELECT COUNT(*) FROM fetches").await?;
        let distinct = count("SELECT COUNT(DISTINCT url) FROM fetches").await?;
        let ok = count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await?;
        let status = world.run(&["status", "--run", RUN, "--json"], "").await?;
        ensure!(status.code == Some(0), "{status:?}");
        let status = status.json()?;
        let queue = Value::from(format!("{}.dead", world.prefix));
        let queues = status["queues"].as_array().context("no queues")?;
        let dead = queues.iter().find(|all| all["name"] == queue).map(|all| &all["ready"]);
        // A node that was frozen or restarted may still apply what the others have committed.
        let sums = async || cluster.checksums(&database).await;
        let are_equal = |sums: &Vec<String>| sums.windows(2).all(|pair| pair[0] == pair[1]);
        wait::until("equal data on all nodes", sums, are_equal).await?;
        let (visits, expected) = (world.shop.visits(), i64::try_from(urls)?);
        println!(
            "cluster: {name} seed={seed} urls={urls} rows={rows} lost={} duplicates={} \
             dead={dead:?} repeats={} stand_still={:.1}s",
            expected - distinct,
            rows - distinct,
            visits.repeats(),
            longest.as_secs_f64()
        );
        let counted = (rows, distinct, ok);
        let queues = cluster.queues(&world.prefix).await?;
        ensure!(
            counted == (expected, expected, expected),
            "rows, URLs, ok: {counted:?}; queues with ready, unacked, consumers:\n{queues}"
        );
        ensure!(dead.is_some_and(|dead| *dead == 0), "dead letters: {dead:?}");
        ensure!(status["run"]["rows"] == urls, "{status}");
        ensure!(longest <= still, "stand-still of {longest:?}");
        Ok(())
    }
}
