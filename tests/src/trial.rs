//! A trial: URLs are published, workers fetch them, services and workers fail at random moments, and at the end all is
//! counted (`count.rs`).

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use fetchline_queue::Topology;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{AssertSqlSafe, Executor};

use crate::arena::Arena;
use crate::fleet::{CONCURRENCY, Fleet, Link, WORKERS};
use crate::shop::Product;
use crate::wait;
use crate::world::World;

/// The run of every URL.
const RUN: &str = "faults";
/// The product whose pages the database refuses; no other page tells of it.
const POISON: u64 = 900_013;
/// A broker that is killed within a second of a quorum queue's declaration can lose that queue.
const QUEUE_IS_SAFE_AFTER: Duration = Duration::from_millis(1_500);
/// How long the database may take to tell a number, before it counts as away.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// What has to become of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// `outcome` of its row.
    pub outcome: &'static str,
    /// How often it is fetched when nothing goes wrong.
    pub visits: u64,
    /// Whether it leaves a dead letter.
    pub dead: bool,
}

impl Fate {
    /// A page that is there.
    pub const OK: Self = Self { outcome: "ok", visits: 1, dead: false };
    /// An answer that another try would not change.
    pub const HTTP_ERROR: Self = Self { outcome: "http_error", visits: 1, dead: false };
    /// A page that is there at the second try.
    pub const OK_AT_LAST: Self = Self { outcome: "ok", visits: 2, dead: false };
    /// A page that never is; the fleet gives up at the third try.
    pub const GIVEN_UP: Self = Self { outcome: "http_error", visits: 3, dead: true };
    /// A page that kills its worker each time.
    pub const POISON: Self = Self { outcome: "poison", visits: 1, dead: true };
    /// A page that the database refuses, see [`Trial::poison`].
    pub const REFUSED: Self = Self { outcome: "refused", visits: 1, dead: true };
}

/// A world on an arena, with what has to become of it.
pub struct Trial {
    /// Its services, which may be killed.
    pub arena: &'static Arena,
    /// Its world.
    pub world: Arc<World>,
    /// Where random moments come from.
    pub rng: StdRng,
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    pub(crate) fates: HashMap<String, Fate>,
    /// How often something failed.
    pub(crate) faults: u64,
    /// The sum over the faults of what may have to be fetched again.
    pub(crate) exposed: u64,
    /// Rows when they were last counted; there are never fewer.
    known_rows: u64,
    pub(crate) counted: bool,
    declared: Instant,
}

/// The seed of this process: what `FAULT_SEED` says, else any.
///
/// # Panics
/// Where `FAULT_SEED` is no number: a run under another seed would prove nothing about that one.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match std::env::var("FAULT_SEED") {
        Ok(given) if !given.is_empty() => given.parse().unwrap_or_else(|_| panic!("FAULT_SEED is no number: {given}")),
        // Short enough to be typed.
        _ => rand::random_range(0..1_000_000),
    })
}

impl Trial {
    /// A new world on the arena of this process.
    pub async fn new(name: &'static str, seed: u64) -> anyhow::Result<Self> {
        println!("faults: {name} seed={seed}");
        let arena = Arena::shared()?;
        let world = Arc::new(World::on(arena.services()?).await?);
        Ok(Self {
            arena,
            world,
            rng: StdRng::seed_from_u64(seed),
            name,
            seed,
            fates: HashMap::new(),
            faults: 0,
            exposed: 0,
            known_rows: 0,
            counted: false,
            declared: Instant::now(),
        })
    }

    /// So many URLs of a path, numbered from 0.
    pub fn urls(&self, path: &str, count: u64) -> Vec<String> {
        (0..count).map(|number| self.world.shop.url(&format!("{path}{number}"))).collect()
    }

    /// So many URLs of a page that the database refuses, see [`Trial::poison`].
    pub fn poisonous(&self, count: u64) -> Vec<String> {
        self.urls(&format!("/p/{POISON}?n="), count)
    }

    /// From now on the database refuses the text of poisonous pages; a row without it is taken.
    pub async fn poison(&self) -> anyhow::Result<()> {
        let sku = Product::nth(POISON).sku;
        let refuse = format!(
            "ALTER TABLE fetches ADD CONSTRAINT poisoned CHECK (body_text IS NULL OR body_text NOT LIKE '%{sku}%')"
        );
        self.world.database.execute(AssertSqlSafe(refuse)).await?;
        Ok(())
    }

    /// Says what has to become of URLs.
    pub fn expect(&mut self, urls: &[String], fate: Fate) {
        self.fates.extend(urls.iter().map(|url| (url.clone(), fate)));
    }

    /// Publishes URLs by `fetchline produce`, which has to succeed.
    pub async fn produce(&mut self, urls: &[String], fate: Fate) -> anyhow::Result<()> {
        self.expect(urls, fate);
        self.world.produce(RUN, urls).await
    }

    /// Publishes URLs as another program would, under ids of its own: publishing them again makes no new tasks of them.
    pub async fn publish(&mut self, urls: &[String], fate: Fate) -> anyhow::Result<()> {
        self.expect(urls, fate);
        let connection = self.world.broker()?.connect().await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut confirms = Vec::new();
        for url in urls {
            let mut headers = FieldTable::default();
            headers.insert("x-run".into(), AMQPValue::LongString(RUN.into()));
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_message_id(url.as_str().into())
                .with_headers(headers);
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let exchange = self.world.prefix.as_str();
            let sent =
                channel.basic_publish(exchange.into(), Topology::URLS.into(), options, url.as_bytes(), properties);
            confirms.push(sent.await?);
        }
        for confirm in confirms {
            let confirmation = confirm.await?;
            anyhow::ensure!(confirmation.is_ack() && confirmation.take_message().is_none(), "a message was not taken");
        }
        Ok(())
    }

    /// Random moments, in order: how many visits the shop has had by then, of `all` that are to come.
    pub fn moments(&mut self, count: usize, all: usize) -> Vec<u64> {
        let all = all as u64;
        let mut moments: Vec<u64> = (0..count).map(|_| self.rng.random_range(all / 20..all * 17 / 20)).collect();
        moments.sort_unstable();
        moments
    }

    /// Waits until the shop has had so many visits.
    pub async fn reach(&self, visits: u64) -> anyhow::Result<()> {
        let seen = async || Ok(self.world.shop.visits().total());
        wait::until("some pages", seen, |seen| *seen >= visits).await.map(drop)
    }

    /// Waits for a random time of at most `longest`.
    pub async fn pause(&mut self, longest: Duration) {
        let pause = longest.mul_f64(self.rng.random_range(0.0..1.0));
        tokio::time::sleep(pause).await;
    }

    /// Notes that something is about to fail: what was fetched and is not yet committed may have to be fetched again, and
    /// what is begun until the fault is over as well.
    pub async fn expose(&mut self) {
        let fetched = self.world.shop.visits().paths();
        self.known_rows = self.rows().await.unwrap_or(self.known_rows);
        self.faults += 1;
        self.exposed += fetched.saturating_sub(self.known_rows) + (WORKERS * CONCURRENCY) as u64;
    }

    /// Notes that so many messages may be published twice: a producer that loses its broker sends again what was not confirmed.
    pub fn expose_to_doubles(&mut self, messages: usize) {
        self.exposed += messages as u64;
    }

    /// Rows of `fetches`; fails where the database does not tell soon.
    pub async fn rows(&self) -> anyhow::Result<u64> {
        let rows =
            tokio::time::timeout(LOOK_WITHIN, self.world.rows()).await.context("the database does not answer")?;
        Ok(u64::try_from(rows?)?)
    }

    /// SIGKILL to a worker.
    pub async fn kill_worker(&mut self, fleet: &mut Fleet) -> anyhow::Result<()> {
        self.expose().await;
        let any = fleet.any(&mut self.rng);
        fleet.kill(any).await
    }

    /// SIGTERM to a worker. It finishes what it has begun, so nothing of it is fetched again.
    pub async fn terminate_worker(&mut self, fleet: &mut Fleet) -> anyhow::Result<()> {
        self.faults += 1;
        let any = fleet.any(&mut self.rng);
        fleet.terminate(any).await
    }

    /// SIGKILL to the broker, and after a while its start.
    pub async fn kill_broker(&mut self) -> anyhow::Result<()> {
        tokio::time::sleep_until((self.declared + QUEUE_IS_SAFE_AFTER).into()).await;
        self.expose().await;
        self.arena.broker.kill().await?;
        self.pause(Duration::from_secs(2)).await;
        self.arena.broker.start().await
    }

    /// SIGKILL to the database, and after a while its start.
    pub async fn kill_database(&mut self) -> anyhow::Result<()> {
        self.expose().await;
        self.arena.database.kill().await?;
        self.pause(Duration::from_secs(2)).await;
        self.arena.database.start().await
    }

    /// SIGSTOP to the database for so long.
    pub async fn freeze_database(&mut self, long: Duration) -> anyhow::Result<()> {
        self.expose().await;
        let frozen = self.arena.database.freeze()?;
        tokio::time::sleep(long).await;
        drop(frozen);
        Ok(())
    }

    /// Closes a worker's connections to a service.
    pub async fn cut(&mut self, fleet: &Fleet, link: Link) -> anyhow::Result<()> {
        self.expose().await;
        fleet.cut(fleet.any(&mut self.rng), link)
    }

    /// Has the broker close every connection.
    pub async fn close_all_connections(&mut self) -> anyhow::Result<()> {
        self.expose().await;
        self.arena.rabbitmqctl(&["close_all_connections", "a fault"]).await.map(drop)
    }

    /// Brings the broker's memory alarm on, or ends it.
    pub async fn memory_alarm(&mut self, on: bool) -> anyhow::Result<()> {
        self.faults += u64::from(on);
        let limit: &[&str] = if on { &["absolute", "1MB"] } else { &["0.4"] };
        self.arena.rabbitmqctl(&[&["set_vm_memory_high_watermark"], limit].concat()).await.map(drop)
    }

    /// Publishes URLs, and when the workers hold all of them, deletes the queue as an operator might, and kills a worker:
    /// what that one held comes to nothing, and is published again. Nothing else may be under way. Returns how many were
    /// published again, when all have their rows.
    pub async fn delete_queue(&mut self, fleet: &mut Fleet, urls: &[String]) -> anyhow::Result<usize> {
        let before = self.rows().await?;
        self.publish(urls, Fate::OK).await?;
        let ready = async || self.ready(Topology::URLS).await;
        wait::until("the workers hold every message", ready, |ready| *ready == 0).await?;
        self.pause(Duration::from_millis(500)).await;
        self.expose().await;
        let connection = self.world.broker()?.connect().await?;
        let channel = connection.create_channel().await?;
        let queue = self.world.broker()?.topology().queue(Topology::URLS);
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        anyhow::ensure!(deleted == 0, "{deleted} ready messages went with the queue");
        fleet.kill(fleet.any(&mut self.rng)).await?;

        let consumers = async || Ok(self.depth(Topology::URLS).await?.map_or(0, |depth| depth.consumers));
        wait::until("every worker consumes again", consumers, |consumers| *consumers as usize == WORKERS).await?;
        self.declared = Instant::now();
        self.quiet().await?;
        let missing = self.missing().await?;
        let again: Vec<String> = urls.iter().filter(|url| missing.contains(*url)).cloned().collect();
        self.publish(&again, Fate::OK).await?;
        let rows = async || self.rows().await;
        wait::until("what was published again has its rows", rows, |rows| *rows == before + urls.len() as u64).await?;
        Ok(again.len())
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if !self.counted {
            self.world.keep_logs();
            self.arena.keep();
        }
    }
}
