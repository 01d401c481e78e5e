//! Several workers, of which some are killed and replaced.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::process::{Output, Running};
use crate::proxy::Proxy;
use crate::world::World;

/// The number of worker processes.
pub const WORKERS: usize = 3;
/// The `--concurrency` of each worker.
pub const CONCURRENCY: usize = 10;
/// Deadline for a worker to end after SIGTERM: its grace and its last writes.
const EXIT_DEADLINE: Duration = Duration::from_secs(20);

const FLAGS: [&str; 14] = [
    "--concurrency",
    "10",
    "--prefetch",
    "100",
    "--timeout",
    "5s",
    "--connect-timeout",
    "2s",
    "--grace",
    "10s",
    "--retry-delays",
    "1s,2s",
    "--max-attempts",
    "3",
];

/// Three workers. When one ends, another takes over its place and its links.
pub struct Fleet {
    world: Arc<World>,
    members: Vec<Member>,
}

struct Member {
    process: Running,
    links: Links,
}

/// How a worker reaches its dependencies.
struct Links {
    amqp_url: String,
    database_url: String,
    /// `None` for direct connections.
    proxies: Option<Proxies>,
}

struct Proxies {
    broker: Proxy,
    database: Proxy,
}

/// A dependency as a worker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The connections to the broker.
    Broker,
    /// The connections to the database.
    Database,
}

impl Links {
    fn direct(world: &World) -> Self {
        Self {
            amqp_url: world.amqp_url.clone(),
            database_url: world.database_url.clone(),
            proxies: None,
        }
    }

    async fn proxied(world: &World) -> anyhow::Result<Self> {
        let (broker, amqp_url) = Proxy::before(&world.amqp_url).await?;
        let (database, database_url) = Proxy::before(&world.database_url).await?;
        Ok(Self { amqp_url, database_url, proxies: Some(Proxies { broker, database }) })
    }

    fn start(&self, world: &World) -> anyhow::Result<Running> {
        world.worker_between(&self.amqp_url, &self.database_url, &FLAGS)
    }
}

impl Fleet {
    /// Starts workers with direct connections; returns when all of them consume.
    pub async fn direct(world: &Arc<World>) -> anyhow::Result<Self> {
        let links = (0..WORKERS).map(|_| Links::direct(world)).collect();
        Self::start(world, links).await
    }

    /// Starts workers that reach each dependency through their own proxy; returns when all of them
    /// consume.
    pub async fn proxied(world: &Arc<World>) -> anyhow::Result<Self> {
        let mut links = Vec::new();
        for _ in 0..WORKERS {
            links.push(Links::proxied(world).await?);
        }
        Self::start(world, links).await
    }

    async fn start(world: &Arc<World>, links: Vec<Links>) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for links in links {
            members.push(Member { process: links.start(world)?, links });
        }
        for member in &mut members {
            member.process.logs("consuming").await?;
        }
        Ok(Self { world: world.clone(), members })
    }

    /// The number of a random worker.
    pub fn pick(&self, rng: &mut StdRng) -> usize {
        rng.random_range(0..self.members.len())
    }

    /// Kills a worker and starts another in its place.
    pub async fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        self.ensure_running()?;
        self.replace(number)?.kill().await?;
        Ok(())
    }

    /// Sends SIGTERM to a worker, starts another in its place at once, and fails unless the first
    /// one exits with 0.
    pub async fn terminate(&mut self, number: usize) -> anyhow::Result<()> {
        self.ensure_running()?;
        // A worker that has just started has no signal handler yet.
        self.logs(number, "consuming").await?;
        let leaving = self.replace(number)?;
        leaving.signal("TERM").await?;
        ensure_clean_exit(leaving).await
    }

    /// Closes the connections of a worker to a dependency.
    pub fn cut(&self, number: usize, link: Link) -> anyhow::Result<()> {
        self.proxy(number, link)?.cut();
        Ok(())
    }

    /// Silences the connections of a worker to a dependency, or ends the silence.
    pub fn silence(&self, number: usize, link: Link, silent: bool) -> anyhow::Result<()> {
        self.proxy(number, link)?.silence(silent);
        Ok(())
    }

    /// Waits for a text in the log of a worker.
    async fn logs(&mut self, number: usize, text: &str) -> anyhow::Result<()> {
        self.members[number].process.logs(text).await.map(drop)
    }

    /// Whether a worker reports that it reaches a dependency.
    pub async fn reaches(&mut self, number: usize, link: Link) -> anyhow::Result<bool> {
        let url = format!("http://{}/readyz", self.members[number].process.health().await?);
        let ready: serde_json::Value =
            serde_json::from_str(&reqwest::get(url).await?.text().await?)?;
        let dependency = match link {
            Link::Broker => "broker",
            Link::Database => "database",
        };
        ready[dependency]["up"]
            .as_bool()
            .with_context(|| format!("the readiness names no {dependency}: {ready}"))
    }

    /// Fails if a worker has ended without a signal of the test.
    pub fn ensure_running(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            if let Some(status) = member.process.ended()? {
                bail!("a worker ended early ({status}):\n{}", tail(&member.process.log()?));
            }
        }
        Ok(())
    }

    /// Sends SIGTERM to all workers and fails unless each exits with 0.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.ensure_running()?;
        for member in &self.members {
            member.process.signal("TERM").await?;
        }
        for member in self.members {
            ensure_clean_exit(member.process).await?;
        }
        Ok(())
    }

    /// Starts a worker in place of another, and returns the replaced one.
    fn replace(&mut self, number: usize) -> anyhow::Result<Running> {
        let member = &mut self.members[number];
        Ok(std::mem::replace(&mut member.process, member.links.start(&self.world)?))
    }

    fn proxy(&self, number: usize, link: Link) -> anyhow::Result<&Proxy> {
        let proxies =
            self.members[number].links.proxies.as_ref().context("this worker has no proxies")?;
        Ok(match link {
            Link::Broker => &proxies.broker,
            Link::Database => &proxies.database,
        })
    }
}

async fn ensure_clean_exit(worker: Running) -> anyhow::Result<()> {
    let log = worker.log()?;
    let output = tokio::time::timeout(EXIT_DEADLINE, worker.end()).await;
    let Output { code, stderr, .. } =
        output.with_context(|| format!("a worker did not stop:\n{}", tail(&log)))??;
    ensure!(code == Some(0), "a worker exited with {code:?} after SIGTERM:\n{}", tail(&stderr));
    Ok(())
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
