//! A world of its own for a test: queues under a prefix, a database, a shop. It is taken down when it is dropped.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use fetchline_queue::{Broker, BrokerConfig, Role, Topology};
use flate2::Compression;
use flate2::write::GzEncoder;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeleteOptions,
};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{AssertSqlSafe, Connection as _, Executor};
use tokio::process::Command;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::timeout;

use crate::binary;
use crate::process::{self, Ended, Running};
use crate::services::Services;
use crate::shop::{self, Shop};

/// The retry queues that a test may make: of the default delays, of shorter ones, and of the longest that a task is deferred to.
const RETRY_KEYS: [&str; 6] = ["retry.1s", "retry.2s", "retry.10s", "retry.60s", "retry.600s", "retry.3600s"];

/// How long the services may take to connect, or to take a world down.
const DEADLINE: Duration = Duration::from_secs(120);

/// Worlds there may be beside each other, or one alone.
static WORLDS: RwLock<()> = RwLock::const_new(());

/// Whether there may be other worlds at the same time.
enum Place {
    Shared { _until_dropped: RwLockReadGuard<'static, ()> },
    Alone { _until_dropped: RwLockWriteGuard<'static, ()> },
}

/// The world.
pub struct World {
    /// RabbitMQ.
    pub amqp_url: String,
    /// The world's own database.
    pub database_url: String,
    /// RabbitMQ's management API, where it is known.
    pub management_url: Option<String>,
    /// Begins the names of its exchange and queues.
    pub prefix: String,
    /// The shop.
    pub shop: Shop,
    /// For looking into the database.
    pub database: MySqlPool,
    /// For looking into the queues.
    pub amqp: Connection,
    /// Where it is taken down; `None` where the services themselves are thrown away.
    taken_down_at: Option<Services>,
    folder: PathBuf,
    started: AtomicU32,
    keep_logs: AtomicBool,
    _place: Place,
}

impl Place {
    async fn shared() -> Self {
        Self::Shared { _until_dropped: WORLDS.read().await }
    }
}

impl World {
    /// Makes the world: the topology is declared and the schema is there.
    pub async fn new() -> anyhow::Result<Self> {
        Self::bare().await?.furnished().await
    }

    /// Makes a world that has the machine to itself, as far as this process is concerned: for what is told by the clock.
    pub async fn alone() -> anyhow::Result<Self> {
        let place = Place::Alone { _until_dropped: WORLDS.write().await };
        Self::bare_on(Services::find()?, place).await?.furnished().await
    }

    /// Makes a world on services that are thrown away at the end, and may be down when the world is dropped.
    pub async fn on(services: Services) -> anyhow::Result<Self> {
        let mut world = Self::bare_on(services, Place::shared().await).await?;
        world.taken_down_at = None;
        world.furnished().await
    }

    /// A world with a shop, and nothing on broker and database yet.
    pub async fn bare() -> anyhow::Result<Self> {
        Self::bare_on(Services::find()?, Place::shared().await).await
    }

    async fn furnished(self) -> anyhow::Result<Self> {
        self.broker()?.topology().declare(&self.amqp).await?;
        let migrated = self.run(&["migrate"], "").await?;
        anyhow::ensure!(migrated.code == Some(0), "{migrated:?}");
        Ok(self)
    }

    async fn bare_on(services: Services, place: Place) -> anyhow::Result<Self> {
        // First, and beside the runtime: it may have to be built, and a connection would miss its heartbeats meanwhile.
        tokio::task::spawn_blocking(binary::fetchline).await??;
        let name = format!("test-{:08x}", rand::random::<u32>());
        let folder = std::env::temp_dir().join(format!("fetchline-{name}"));
        std::fs::create_dir_all(&folder)?;
        let mut database_url: reqwest::Url = services.database_url.parse().context("DATABASE_URL")?;
        database_url.set_path(&format!("/fetchline_{}", name.replace('-', "_")));
        Ok(Self {
            amqp_url: services.amqp_url.clone(),
            database_url: database_url.to_string(),
            management_url: services.management_url.clone(),
            prefix: name,
            shop: Shop::start(shop::Options::default()).await?,
            database: MySqlPool::connect_lazy(database_url.as_str())?,
            amqp: connect(&services.amqp_url).await?,
            taken_down_at: Some(services),
            folder,
            started: AtomicU32::new(0),
            keep_logs: AtomicBool::new(false),
            _place: place,
        })
    }

    /// The broker as the program sees it.
    pub fn broker(&self) -> anyhow::Result<Broker> {
        let config = BrokerConfig { url: self.amqp_url.clone(), ca: None, prefix: self.prefix.clone() };
        Ok(Broker::new(&config, Role::Status, "test")?)
    }

    /// A command of the program, in this world.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binary::fetchline()?);
        let foreign = std::env::vars()
            .filter(|(name, _)| ["FETCHLINE_", "OTEL_", "RUST_LOG"].iter().any(|known| name.starts_with(known)));
        for (name, _) in foreign {
            command.env_remove(name);
        }
        command
            .env("AMQP_URL", &self.amqp_url)
            .env("DATABASE_URL", &self.database_url)
            .env("FETCHLINE_PREFIX", &self.prefix)
            .args(arguments);
        Ok(command)
    }

    /// Runs a command of the program to its end.
    pub async fn run(&self, arguments: &[&str], input: &str) -> anyhow::Result<Ended> {
        process::run(&mut self.command(arguments)?, input).await
    }

    /// Starts a command of the program; its log is named after it.
    pub fn start(&self, arguments: &[&str]) -> anyhow::Result<Running> {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let name = arguments.first().unwrap_or(&"none");
        Running::start(&mut self.command(arguments)?, &self.folder.join(format!("{name}-{number}.log")))
    }

    /// Writes a file into the world's folder; its path.
    pub fn file(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Writes a file into the world's folder, compressed by gzip; its path.
    pub fn compressed_file(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        let mut encoder = GzEncoder::new(std::fs::File::create(&path)?, Compression::default());
        encoder.write_all(text.as_bytes())?;
        encoder.finish()?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Publishes URLs under a run.
    pub async fn produce(&self, run: &str, urls: &[String]) -> anyhow::Result<()> {
        let ended = self.run(&["produce", "--run", run], &urls.join("\n")).await?;
        anyhow::ensure!(ended.code == Some(0), "{ended:?}");
        Ok(())
    }

    /// Starts a worker that may fetch from the shop, with health on a free port, logs and summary as JSON.
    pub fn worker(&self, flags: &[&str]) -> anyhow::Result<Running> {
        self.worker_on(&self.amqp_url, flags)
    }

    /// Starts a worker that finds its broker at another URL.
    pub fn worker_on(&self, amqp_url: &str, flags: &[&str]) -> anyhow::Result<Running> {
        self.worker_between(amqp_url, &self.database_url, flags)
    }

    /// Starts a worker that finds its broker and its database at other URLs.
    pub fn worker_between(&self, amqp_url: &str, database_url: &str, flags: &[&str]) -> anyhow::Result<Running> {
        self.worker_in(&[("AMQP_URL", amqp_url), ("DATABASE_URL", database_url)], flags)
    }

    /// Starts a worker with environment variables of its own.
    pub fn worker_in(&self, environment: &[(&str, &str)], flags: &[&str]) -> anyhow::Result<Running> {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let pod = format!("worker-{number}");
        let always = ["work", "--listen", "127.0.0.1:0", "--json", "--log", "json", "--pod", &pod];
        let mut command = self.command(&[&always, flags].concat())?;
        command.envs(environment.iter().copied());
        // As a variable, so that a test can open less with a flag.
        command.env("FETCHLINE_ALLOW_NETWORK", shop::NETWORK);
        Running::start(&mut command, &self.folder.join(format!("{pod}.log")))
    }

    /// Runs a worker until nothing is left, and returns its summary.
    pub async fn work_until_empty(&self, flags: &[&str]) -> anyhow::Result<serde_json::Value> {
        let ended = self.worker(&[&["--until-empty"], flags].concat())?.end().await?;
        anyhow::ensure!(ended.code == Some(0), "{ended:?}");
        ended.json()
    }

    /// Runs `fetchline hosts`, which has to succeed; what it prints.
    pub async fn hosts(&self, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
        let ended = self.run(&[&["hosts"], arguments, &["--json"]].concat(), "").await?;
        anyhow::ensure!(ended.code == Some(0), "{ended:?}");
        ended.json()
    }

    /// Addresses of `count` pages below a path, numbered from 0.
    pub fn numbered(&self, path: &str, count: u64) -> Vec<String> {
        (0..count).map(|id| self.shop.url(&format!("{path}{id}"))).collect()
    }

    /// Addresses of `count` product pages.
    pub fn pages(&self, count: u64) -> Vec<String> {
        (0..count).map(|id| self.shop.url(&format!("/p/{id}"))).collect()
    }

    /// Leaves the workers' logs where they are when the world is taken down.
    pub fn keep_logs(&self) {
        self.keep_logs.store(true, Ordering::Relaxed);
    }

    /// Holds the table of fetches so that nothing can be written, until the connection is closed.
    pub async fn hold_table(&self) -> anyhow::Result<MySqlConnection> {
        let mut holder = MySqlConnection::connect(&self.database_url).await?;
        holder.execute("LOCK TABLES fetches READ").await?;
        Ok(holder)
    }

    /// One number from the database.
    pub async fn count(&self, query: &str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&self.database).await?)
    }

    /// Rows of `fetches`.
    pub async fn rows(&self) -> anyhow::Result<i64> {
        self.count("SELECT COUNT(*) FROM fetches").await
    }

    /// Ready messages of a queue.
    pub async fn ready(&self, key: &str) -> anyhow::Result<u32> {
        let depth = self.broker()?.topology().depth(&self.amqp, key).await?;
        Ok(depth.context("the queue does not exist")?.ready)
    }

    /// Publishes a message as a person in the console would: nothing but a body.
    pub async fn type_message(&self, body: &str) -> anyhow::Result<()> {
        self.publish(body, BasicProperties::default()).await
    }

    /// Publishes a message with properties of its own.
    pub async fn publish(&self, body: &str, properties: BasicProperties) -> anyhow::Result<()> {
        let channel = self.amqp.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let (exchange, options) = (self.prefix.as_str(), BasicPublishOptions::default());
        channel
            .basic_publish(exchange.into(), Topology::URLS.into(), options, body.as_bytes(), properties)
            .await?
            .await?;
        Ok(())
    }

    /// Takes a message out of a queue.
    pub async fn take(&self, key: &str) -> anyhow::Result<Option<(BasicProperties, Vec<u8>)>> {
        let queue = self.broker()?.topology().queue(key);
        let channel = self.amqp.create_channel().await?;
        let taken = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await?;
        Ok(taken.map(|message| (message.delivery.properties, message.delivery.data)))
    }
}

impl Drop for World {
    /// On a thread with a runtime of its own: this runs also while a failed test unwinds.
    fn drop(&mut self) {
        if std::thread::panicking() || *self.keep_logs.get_mut() {
            eprintln!("the workers' logs are in {}", self.folder.display());
        } else {
            _ = std::fs::remove_dir_all(&self.folder);
        }
        let Some(services) = self.taken_down_at.take() else { return };
        let prefix = self.prefix.clone();
        let database = self.database_url.rsplit('/').next().unwrap_or_default().to_owned();
        let taken_down = std::thread::spawn(move || -> anyhow::Result<()> {
            let taking_down = async { timeout(DEADLINE, take_down(&services, &prefix, &database)).await };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(taking_down).context("the services do not answer")?
        });
        let result = taken_down.join();
        if !std::thread::panicking() {
            assert!(matches!(result, Ok(Ok(()))), "the world could not be taken down: {result:?}");
        }
    }
}

/// Connects to the broker, which has to answer.
async fn connect(amqp_url: &str) -> anyhow::Result<Connection> {
    let connecting = Connection::connect(amqp_url, ConnectionProperties::default());
    Ok(timeout(DEADLINE, connecting).await.context("the broker does not answer")??)
}

/// Deletes the queues and the database.
async fn take_down(services: &Services, prefix: &str, database: &str) -> anyhow::Result<()> {
    let amqp = connect(&services.amqp_url).await?;
    let channel = amqp.create_channel().await?;
    let topology = Topology::new(prefix);
    for key in [Topology::RUNS, Topology::URLS, Topology::DEAD, Topology::CONTROL].into_iter().chain(RETRY_KEYS) {
        channel.queue_delete(topology.queue(key).into(), QueueDeleteOptions::default()).await?;
    }
    channel.exchange_delete(prefix.into(), ExchangeDeleteOptions::default()).await?;
    let mut server: reqwest::Url = services.database_url.parse()?;
    server.set_path("");
    let mut server = MySqlConnection::connect(server.as_str()).await?;
    server.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS `{database}`"))).await?;
    Ok(())
}
