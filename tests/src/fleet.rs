//! Workers by the number, of which some are killed and replaced.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::process::{Ended, Running};
use crate::proxy::Proxy;
use crate::world::World;

/// How many processes a fleet has.
pub const WORKERS: usize = 3;
/// `--concurrency` of each.
pub const CONCURRENCY: usize = 10;
/// The longest time in which a worker that was told to stop has to be gone: its grace, and its last writes.
const GONE_WITHIN: Duration = Duration::from_secs(20);

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

/// Three workers. Where one ends, another takes its place and its links.
pub struct Fleet {
    world: Arc<World>,
    crew: Vec<Member>,
}

struct Member {
    process: Running,
    links: Links,
}

/// How a worker reaches its services.
struct Links {
    amqp_url: String,
    database_url: String,
    /// Absent where the way is direct.
    proxies: Option<Proxies>,
}

struct Proxies {
    broker: Proxy,
    database: Proxy,
}

/// One of the two services, as a worker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// To the broker.
    Broker,
    /// To the database.
    Database,
}

impl Links {
    fn direct(world: &World) -> Self {
        Self { amqp_url: world.amqp_url.clone(), database_url: world.database_url.clone(), proxies: None }
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
    /// Workers that talk to the services themselves; returns when all of them consume.
    pub async fn direct(world: &Arc<World>) -> anyhow::Result<Self> {
        let links = (0..WORKERS).map(|_| Links::direct(world)).collect();
        Self::start(world, links).await
    }

    /// Workers that reach each service through a proxy of their own; returns when all of them consume.
    pub async fn proxied(world: &Arc<World>) -> anyhow::Result<Self> {
        let mut links = Vec::new();
        for _ in 0..WORKERS {
            links.push(Links::proxied(world).await?);
        }
        Self::start(world, links).await
    }

    async fn start(world: &Arc<World>, links: Vec<Links>) -> anyhow::Result<Self> {
        let mut crew = Vec::new();
        for links in links {
            crew.push(Member { process: links.start(world)?, links });
        }
        for member in &mut crew {
            member.process.logs("consuming").await?;
        }
        Ok(Self { world: world.clone(), crew })
    }

    /// Any one of them.
    pub fn any(&self, rng: &mut StdRng) -> usize {
        rng.random_range(0..self.crew.len())
    }

    /// SIGKILL to one, and another in its place.
    pub async fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        self.all_run()?;
        self.replace(number)?.kill().await?;
        Ok(())
    }

    /// SIGTERM to one, which has to end well, and another in its place at once.
    pub async fn terminate(&mut self, number: usize) -> anyhow::Result<()> {
        self.all_run()?;
        // One that has only just been started does not listen for signals yet.
        self.logs(number, "consuming").await?;
        let leaving = self.replace(number)?;
        leaving.signal("TERM").await?;
        ended_well(leaving).await
    }

    /// Closes one worker's connections to a service.
    pub fn cut(&self, number: usize, link: Link) -> anyhow::Result<()> {
        self.proxy(number, link)?.cut();
        Ok(())
    }

    /// Holds one worker's connections to a service silent, or lets them go on.
    pub fn silence(&self, number: usize, link: Link, silent: bool) -> anyhow::Result<()> {
        self.proxy(number, link)?.silence(silent);
        Ok(())
    }

    /// Waits for a text in one worker's log.
    async fn logs(&mut self, number: usize, text: &str) -> anyhow::Result<()> {
        self.crew[number].process.logs(text).await.map(drop)
    }

    /// Whether one worker says that it reaches a service.
    pub async fn reaches(&mut self, number: usize, link: Link) -> anyhow::Result<bool> {
        let url = format!("http://{}/readyz", self.crew[number].process.health().await?);
        let ready: serde_json::Value = serde_json::from_str(&reqwest::get(url).await?.text().await?)?;
        let service = match link {
            Link::Broker => "broker",
            Link::Database => "database",
        };
        ready[service]["up"].as_bool().with_context(|| format!("no readiness: {ready}"))
    }

    /// Fails if a worker has ended by itself.
    pub fn all_run(&mut self) -> anyhow::Result<()> {
        for member in &mut self.crew {
            if let Some(status) = member.process.ended()? {
                bail!("a worker ended by itself ({status}):\n{}", tail(&member.process.log()?));
            }
        }
        Ok(())
    }

    /// SIGTERM to all; each has to end well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.all_run()?;
        for member in &self.crew {
            member.process.signal("TERM").await?;
        }
        for member in self.crew {
            ended_well(member.process).await?;
        }
        Ok(())
    }

    /// The worker that was there; its place is taken.
    fn replace(&mut self, number: usize) -> anyhow::Result<Running> {
        let member = &mut self.crew[number];
        Ok(std::mem::replace(&mut member.process, member.links.start(&self.world)?))
    }

    fn proxy(&self, number: usize, link: Link) -> anyhow::Result<&Proxy> {
        let proxies = self.crew[number].links.proxies.as_ref().context("this worker has no proxies")?;
        Ok(match link {
            Link::Broker => &proxies.broker,
            Link::Database => &proxies.database,
        })
    }
}

async fn ended_well(worker: Running) -> anyhow::Result<()> {
    let log = worker.log()?;
    let ended = tokio::time::timeout(GONE_WITHIN, worker.end()).await;
    let Ended { code, stderr, .. } = ended.with_context(|| format!("a worker does not stop:\n{}", tail(&log)))??;
    ensure!(code == Some(0), "a worker that was told to stop ended with {code:?}:\n{}", tail(&stderr));
    Ok(())
}

/// The end of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
