//! A trial: URLs are published and fetched while services and workers fail at random moments; at
//! the end everything is counted (`count.rs`).

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
/// The product whose pages the database refuses; no other page contains it.
const REFUSED_PRODUCT: u64 = 900_013;
/// A broker that is killed within a second of the declaration of a quorum queue can lose that
/// queue.
const QUEUE_SAFETY_DELAY: Duration = Duration::from_millis(1_500);
/// How long a count may take before the database counts as away.
const COUNT_DEADLINE: Duration = Duration::from_secs(5);

/// How the task of a URL must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The `outcome` of its row.
    pub outcome: &'static str,
    /// How often it is fetched if no fault happens.
    pub visits: u64,
    /// Whether it becomes a dead letter.
    pub dead: bool,
}

impl Fate {
    /// A page that is available.
    pub const OK: Self = Self { outcome: "ok", visits: 1, dead: false };
    /// A permanent failure.
    pub const HTTP_ERROR: Self = Self { outcome: "http_error", visits: 1, dead: false };
    /// A page that is available at the second attempt.
    pub const OK_AFTER_RETRY: Self = Self { outcome: "ok", visits: 2, dead: false };
    /// A page that fails forever; the fleet gives up after the third attempt.
    pub const GIVEN_UP: Self = Self { outcome: "http_error", visits: 3, dead: true };
    /// A page that kills its worker at every fetch.
    pub const POISON: Self = Self { outcome: "poison", visits: 1, dead: true };
    /// A page that the database refuses, see [`Trial::refuse_product`].
    pub const REFUSED: Self = Self { outcome: "refused", visits: 1, dead: true };
}

/// A world on an arena, with the fates of its URLs.
pub struct Trial {
    /// Its services, which the trial may kill.
    pub arena: &'static Arena,
    /// Its world.
    pub world: Arc<World>,
    /// The source of random moments.
    pub rng: StdRng,
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    pub(crate) fates: HashMap<String, Fate>,
    /// The number of faults.
    pub(crate) faults: u64,
    /// How many repeated fetches the faults explain, over all faults.
    pub(crate) exposed: u64,
    /// The last count of rows, which never decreases.
    known_rows: u64,
    pub(crate) counted: bool,
    declared: Instant,
}

/// The seed of this process: `FAULT_SEED`, or a random one.
///
/// If `FAULT_SEED` is not a number: a run under another seed would prove nothing about that one.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match std::env::var("FAULT_SEED") {
        Ok(given) if !given.is_empty() => {
            given.parse().unwrap_or_else(|_| panic!("FAULT_SEED is not a number: {given}"))
        }
        // Short enough to be typed.
        _ => rand::random_range(0..1_000_000),
    })
}

impl Trial {
    /// Creates a world on the arena of this process.
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

    /// The first `count` URLs of a path, numbered from 0.
    pub fn urls(&self, path: &str, count: u64) -> Vec<String> {
        (0..count).map(|number| self.world.shop.url(&format!("{path}{number}"))).collect()
    }

    /// The first `count` URLs of the refused product, see [`Trial::refuse_product`].
    pub fn refused_urls(&self, count: u64) -> Vec<String> {
        self.urls(&format!("/p/{REFUSED_PRODUCT}?n="), count)
    }

    /// Makes the database refuse bodies with the refused product; it still takes bare rows.
    pub async fn refuse_product(&self) -> anyhow::Result<()> {
        let sku = Product::nth(REFUSED_PRODUCT).sku;
        let refuse = format!(
            "ALTER TABLE fetches ADD CONSTRAINT poisoned \
             CHECK (body_text IS NULL OR body_text NOT LIKE '%{sku}%')"
        );
        self.world.database.execute(AssertSqlSafe(refuse)).await?;
        Ok(())
    }

    /// Sets the fate of URLs.
    pub fn expect(&mut self, urls: &[String], fate: Fate) {
        self.fates.extend(urls.iter().map(|url| (url.clone(), fate)));
    }

    /// Publishes URLs by `fetchline produce`, which must succeed.
    pub async fn produce(&mut self, urls: &[String], fate: Fate) -> anyhow::Result<()> {
        self.expect(urls, fate);
        self.world.produce(RUN, urls).await
    }

    /// Publishes URLs as another program would, under its own ids: publishing them again creates no
    /// new tasks.
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
            let sent = channel.basic_publish(
                exchange.into(),
                Topology::URLS.into(),
                options,
                url.as_bytes(),
                properties,
            );
            confirms.push(sent.await?);
        }
        for confirm in confirms {
            let confirmation = confirm.await?;
            anyhow::ensure!(
                confirmation.is_ack() && confirmation.take_message().is_none(),
                "the broker did not accept a message"
            );
        }
        Ok(())
    }

    /// Random moments in ascending order: numbers of visits, of `all` expected ones.
    pub fn moments(&mut self, count: usize, all: usize) -> Vec<u64> {
        let all = all as u64;
        let mut moments: Vec<u64> =
            (0..count).map(|_| self.rng.random_range(all / 20..all * 17 / 20)).collect();
        moments.sort_unstable();
        moments
    }

    /// Waits until the shop has had this many visits.
    pub async fn wait_for_visits(&self, visits: u64) -> anyhow::Result<()> {
        let total = async || Ok(self.world.shop.visits().total());
        wait::until("some pages", total, |total| *total >= visits).await.map(drop)
    }

    /// Sleeps for a random time of at most `longest`.
    pub async fn pause(&mut self, longest: Duration) {
        let pause = longest.mul_f64(self.rng.random_range(0.0..1.0));
        tokio::time::sleep(pause).await;
    }

    /// Records an imminent fault: pages that are fetched and not committed yet may be fetched
    /// again, and so may all that start before the fault is over.
    pub async fn expose(&mut self) {
        let fetched = self.world.shop.visits().paths();
        self.known_rows = self.rows().await.unwrap_or(self.known_rows);
        self.faults += 1;
        self.exposed += fetched.saturating_sub(self.known_rows) + (WORKERS * CONCURRENCY) as u64;
    }

    /// Allows for this many messages that are published twice: a producer that loses its broker
    /// publishes unconfirmed messages again.
    pub fn expose_to_duplicates(&mut self, messages: usize) {
        self.exposed += messages as u64;
    }

    /// The number of rows in `fetches`; fails if the database does not answer soon.
    pub async fn rows(&self) -> anyhow::Result<u64> {
        let rows = tokio::time::timeout(COUNT_DEADLINE, self.world.rows())
            .await
            .context("the database does not answer")?;
        Ok(u64::try_from(rows?)?)
    }

    /// Kills a random worker.
    pub async fn kill_worker(&mut self, fleet: &mut Fleet) -> anyhow::Result<()> {
        self.expose().await;
        let worker = fleet.pick(&mut self.rng);
        fleet.kill(worker).await
    }

    /// Sends SIGTERM to a random worker. It finishes what it has begun, so nothing is fetched
    /// again.
    pub async fn terminate_worker(&mut self, fleet: &mut Fleet) -> anyhow::Result<()> {
        self.faults += 1;
        let worker = fleet.pick(&mut self.rng);
        fleet.terminate(worker).await
    }

    /// Kills the broker and restarts it after a random time.
    pub async fn kill_broker(&mut self) -> anyhow::Result<()> {
        tokio::time::sleep_until((self.declared + QUEUE_SAFETY_DELAY).into()).await;
        self.expose().await;
        self.arena.broker.kill().await?;
        self.pause(Duration::from_secs(2)).await;
        self.arena.broker.start().await
    }

    /// Kills the database and restarts it after a random time.
    pub async fn kill_database(&mut self) -> anyhow::Result<()> {
        self.expose().await;
        self.arena.database.kill().await?;
        self.pause(Duration::from_secs(2)).await;
        self.arena.database.start().await
    }

    /// Stops the database by SIGSTOP for this time.
    pub async fn freeze_database(&mut self, duration: Duration) -> anyhow::Result<()> {
        self.expose().await;
        let frozen = self.arena.database.freeze()?;
        tokio::time::sleep(duration).await;
        drop(frozen);
        Ok(())
    }

    /// Closes the connections of a random worker to a dependency.
    pub async fn cut(&mut self, fleet: &Fleet, link: Link) -> anyhow::Result<()> {
        self.expose().await;
        fleet.cut(fleet.pick(&mut self.rng), link)
    }

    /// Makes the broker close every connection.
    pub async fn close_all_connections(&mut self) -> anyhow::Result<()> {
        self.expose().await;
        self.arena.rabbitmqctl(&["close_all_connections", "a fault"]).await.map(drop)
    }

    /// Triggers or ends the broker's memory alarm.
    pub async fn memory_alarm(&mut self, on: bool) -> anyhow::Result<()> {
        self.faults += u64::from(on);
        let limit: &[&str] = if on { &["absolute", "1MB"] } else { &["0.4"] };
        self.arena.rabbitmqctl(&[&["set_vm_memory_high_watermark"], limit].concat()).await.map(drop)
    }

    /// Publishes URLs; once the workers hold all of them, deletes the queue as an operator might
    /// and kills a worker. The messages that this worker held are lost, and are published again.
    /// Nothing else may be under way. Returns how many were published again, once all URLs have
    /// their rows.
    pub async fn delete_queue(
        &mut self,
        fleet: &mut Fleet,
        urls: &[String],
    ) -> anyhow::Result<usize> {
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
        anyhow::ensure!(deleted == 0, "{deleted} ready messages were deleted with the queue");
        fleet.kill(fleet.pick(&mut self.rng)).await?;

        let consumers =
            async || Ok(self.depth(Topology::URLS).await?.map_or(0, |depth| depth.consumers));
        wait::until("every worker consumes again", consumers, |consumers| {
            *consumers as usize == WORKERS
        })
        .await?;
        self.declared = Instant::now();
        self.wait_until_quiet().await?;
        let missing = self.missing().await?;
        let lost: Vec<String> = urls.iter().filter(|url| missing.contains(*url)).cloned().collect();
        self.publish(&lost, Fate::OK).await?;
        let rows = async || self.rows().await;
        wait::until("the URLs published again have their rows", rows, |rows| {
            *rows == before + urls.len() as u64
        })
        .await?;
        Ok(lost.len())
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
