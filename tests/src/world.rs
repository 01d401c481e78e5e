//! A test's own world: queues under a prefix, a database and a shop. Dropping it tears it down.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context;
use fetchline_queue::{Broker, BrokerConfig, Role, Topology};
use flate2::Compression;
use flate2::write::GzEncoder;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions,
    QueueDeleteOptions,
};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{AssertSqlSafe, Connection as _, Executor};
use tokio::process::Command;
use tokio::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::binary;
use crate::process::{self, Output, Running};
use crate::services::Services;
use crate::shop::{self, Shop};

/// The delay queues that a test may create: those of the default delays, of shorter ones, and of
/// the longest deferral.
const DELAY_QUEUES: [&str; 6] =
    ["retry.1s", "retry.2s", "retry.10s", "retry.60s", "retry.600s", "retry.3600s"];

/// Deadline for a connection and for the teardown of a world.
const DEADLINE: Duration = Duration::from_secs(120);

/// Quiet worlds and others never exist at the same time. The first quiet world takes the lock for
/// writing, and those that begin before its end share it.
static WORLDS: RwLock<()> = RwLock::const_new(());
/// Few at a time: together they must not need much of the machine either.
static QUIET_PLACES: Semaphore = Semaphore::const_new(2);
static QUIET: Mutex<Weak<RwLockWriteGuard<'static, ()>>> = Mutex::const_new(Weak::new());

/// What keeps worlds of the other kind from existing.
enum Lease {
    Busy { _until_dropped: RwLockReadGuard<'static, ()> },
    Quiet { _until_dropped: (SemaphorePermit<'static>, Arc<RwLockWriteGuard<'static, ()>>) },
}

/// A broker prefix, a database and a shop, all used by one test. A test has one world: a second one
/// may wait for the first.
pub struct World {
    /// RabbitMQ.
    pub amqp_url: String,
    /// The world's own database.
    pub database_url: String,
    /// RabbitMQ's management API, if it is known.
    pub management_url: Option<String>,
    /// The prefix of its exchange and queues.
    pub prefix: String,
    /// The world's own shop.
    pub shop: Shop,
    /// A pool for queries of the test.
    pub database: MySqlPool,
    /// A connection for the test itself.
    pub amqp: Connection,
    /// The services on which it is torn down; `None` if the services themselves are deleted.
    teardown_on: Option<Services>,
    folder: PathBuf,
    started: AtomicU32,
    keep_logs: AtomicBool,
    _lease: Lease,
}

impl Lease {
    async fn busy() -> Self {
        Self::Busy { _until_dropped: WORLDS.read().await }
    }

    async fn quiet() -> anyhow::Result<Self> {
        let place = QUIET_PLACES.acquire().await?;
        let mut present = QUIET.lock().await;
        let shared = match present.upgrade() {
            Some(shared) => shared,
            None => Arc::new(WORLDS.write().await),
        };
        *present = Arc::downgrade(&shared);
        Ok(Self::Quiet { _until_dropped: (place, shared) })
    }
}

impl World {
    /// Creates a world with the topology declared and the schema migrated.
    pub async fn new() -> anyhow::Result<Self> {
        Self::bare().await?.set_up().await
    }

    /// Creates a world that shares the machine only with other quiet worlds, for tests that measure
    /// rates. Such tests must not need much of the machine themselves.
    pub async fn quiet() -> anyhow::Result<Self> {
        Self::bare_on(Services::find()?, Lease::quiet().await?).await?.set_up().await
    }

    /// Creates a world on services that are deleted at the end, and may be down when it is dropped.
    pub async fn on(services: Services) -> anyhow::Result<Self> {
        let mut world = Self::bare_on(services, Lease::busy().await).await?;
        world.teardown_on = None;
        world.set_up().await
    }

    /// Creates a world with a shop, and nothing on the broker and the database yet.
    pub async fn bare() -> anyhow::Result<Self> {
        Self::bare_on(Services::find()?, Lease::busy().await).await
    }

    async fn set_up(self) -> anyhow::Result<Self> {
        self.broker()?.topology().declare(&self.amqp).await?;
        let migrated = self.run(&["migrate"], "").await?;
        anyhow::ensure!(migrated.code == Some(0), "{migrated:?}");
        Ok(self)
    }

    async fn bare_on(services: Services, lease: Lease) -> anyhow::Result<Self> {
        // First, and on a blocking thread: the build may take long, and an open connection would
        // miss its heartbeats.
        tokio::task::spawn_blocking(binary::fetchline).await??;
        let name = format!("test-{:08x}", rand::random::<u32>());
        let folder = std::env::temp_dir().join(format!("fetchline-{name}"));
        std::fs::create_dir_all(&folder)?;
        let mut database_url: reqwest::Url =
            services.database_url.parse().context("DATABASE_URL")?;
        database_url.set_path(&format!("/fetchline_{}", name.replace('-', "_")));
        Ok(Self {
            amqp_url: services.amqp_url.clone(),
            database_url: database_url.to_string(),
            management_url: services.management_url.clone(),
            prefix: name,
            shop: Shop::start(shop::Options::default()).await?,
            database: MySqlPool::connect_lazy(database_url.as_str())?,
            amqp: connect(&services.amqp_url).await?,
            teardown_on: Some(services),
            folder,
            started: AtomicU32::new(0),
            keep_logs: AtomicBool::new(false),
            _lease: lease,
        })
    }

    /// The broker, configured as in the program.
    pub fn broker(&self) -> anyhow::Result<Broker> {
        let config =
            BrokerConfig { url: self.amqp_url.clone(), ca: None, prefix: self.prefix.clone() };
        Ok(Broker::new(&config, Role::Status, "test")?)
    }

    /// A command of the program in this world.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binary::fetchline()?);
        let foreign = std::env::vars().filter(|(name, _)| {
            ["FETCHLINE_", "OTEL_", "RUST_LOG"].iter().any(|known| name.starts_with(known))
        });
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
    pub async fn run(&self, arguments: &[&str], input: &str) -> anyhow::Result<Output> {
        process::run(&mut self.command(arguments)?, input).await
    }

    /// Starts a command of the program; its log is named after the command.
    pub fn start(&self, arguments: &[&str]) -> anyhow::Result<Running> {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let name = arguments.first().unwrap_or(&"none");
        Running::start(
            &mut self.command(arguments)?,
            &self.folder.join(format!("{name}-{number}.log")),
        )
    }

    /// Writes a file into the world's folder and returns its path.
    pub fn file(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Writes a file, compressed by gzip, into the world's folder and returns its path.
    pub fn compressed_file(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        let mut encoder = GzEncoder::new(std::fs::File::create(&path)?, Compression::default());
        encoder.write_all(text.as_bytes())?;
        encoder.finish()?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Publishes URLs under a run.
    pub async fn produce(&self, run: &str, urls: &[String]) -> anyhow::Result<()> {
        let output = self.run(&["produce", "--run", run], &urls.join("\n")).await?;
        anyhow::ensure!(output.code == Some(0), "{output:?}");
        Ok(())
    }

    /// Starts a worker that may fetch from the shop, with health on a free port, and a log and a
    /// summary as JSON.
    pub fn worker(&self, flags: &[&str]) -> anyhow::Result<Running> {
        self.worker_on(&self.amqp_url, flags)
    }

    /// Starts a worker that uses another URL of the broker.
    pub fn worker_on(&self, amqp_url: &str, flags: &[&str]) -> anyhow::Result<Running> {
        self.worker_between(amqp_url, &self.database_url, flags)
    }

    /// Starts a worker that uses other URLs of the broker and the database.
    pub fn worker_between(
        &self,
        amqp_url: &str,
        database_url: &str,
        flags: &[&str],
    ) -> anyhow::Result<Running> {
        self.worker_in(&[("AMQP_URL", amqp_url), ("DATABASE_URL", database_url)], flags)
    }

    /// Starts a worker with additional environment variables.
    pub fn worker_in(
        &self,
        environment: &[(&str, &str)],
        flags: &[&str],
    ) -> anyhow::Result<Running> {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let pod = format!("worker-{number}");
        let always = ["work", "--listen", "127.0.0.1:0", "--json", "--log", "json", "--pod", &pod];
        let mut command = self.command(&[&always, flags].concat())?;
        command.envs(environment.iter().copied());
        // A variable, so that a test can allow less with a flag.
        command.env("FETCHLINE_ALLOW_NETWORK", shop::NETWORK);
        Running::start(&mut command, &self.folder.join(format!("{pod}.log")))
    }

    /// Runs a worker until the queues are empty and returns its summary.
    pub async fn work_until_empty(&self, flags: &[&str]) -> anyhow::Result<serde_json::Value> {
        let output = self.worker(&[&["--until-empty"], flags].concat())?.end().await?;
        anyhow::ensure!(output.code == Some(0), "{output:?}");
        output.json()
    }

    /// Runs `fetchline hosts`, which must succeed, and returns its output.
    pub async fn hosts(&self, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
        let output = self.run(&[&["hosts"], arguments, &["--json"]].concat(), "").await?;
        anyhow::ensure!(output.code == Some(0), "{output:?}");
        output.json()
    }

    /// The URLs of `count` pages below a path, numbered from 0.
    pub fn numbered(&self, path: &str, count: u64) -> Vec<String> {
        (0..count).map(|id| self.shop.url(&format!("{path}{id}"))).collect()
    }

    /// The URLs of the first `count` product pages.
    pub fn pages(&self, count: u64) -> Vec<String> {
        self.numbered("/p/", count)
    }

    /// Keeps the workers' logs when the world is torn down.
    pub fn keep_logs(&self) {
        self.keep_logs.store(true, Ordering::Relaxed);
    }

    /// Locks the table `fetches` against writes until the connection is closed.
    pub async fn hold_table(&self) -> anyhow::Result<MySqlConnection> {
        let mut holder = MySqlConnection::connect(&self.database_url).await?;
        holder.execute("LOCK TABLES fetches READ").await?;
        Ok(holder)
    }

    /// The integer that a query returns.
    pub async fn count(&self, query: &str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&self.database).await?)
    }

    /// The number of rows in `fetches`.
    pub async fn rows(&self) -> anyhow::Result<i64> {
        self.count("SELECT COUNT(*) FROM fetches").await
    }

    /// The ready messages of a queue.
    pub async fn ready(&self, key: &str) -> anyhow::Result<u32> {
        let depth = self.broker()?.topology().counts(&self.amqp, key).await?;
        Ok(depth.context("the queue does not exist")?.ready)
    }

    /// Publishes a message as a person at the console does: a body without properties.
    pub async fn type_message(&self, body: &str) -> anyhow::Result<()> {
        self.publish(body, BasicProperties::default()).await
    }

    /// Publishes a message with these properties.
    pub async fn publish(&self, body: &str, properties: BasicProperties) -> anyhow::Result<()> {
        let channel = self.amqp.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let (exchange, options) = (self.prefix.as_str(), BasicPublishOptions::default());
        channel
            .basic_publish(
                exchange.into(),
                Topology::URLS.into(),
                options,
                body.as_bytes(),
                properties,
            )
            .await?
            .await?;
        Ok(())
    }

    /// Removes a message from a queue.
    pub async fn pop(&self, key: &str) -> anyhow::Result<Option<(BasicProperties, Vec<u8>)>> {
        let queue = self.broker()?.topology().queue(key);
        // RabbitMQ closes a connection that gets a message from a queue which is just being made.
        // The error then costs only this one.
        let own = connect(&self.amqp_url).await?;
        let channel = own.create_channel().await?;
        let message = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await?;
        Ok(message.map(|message| (message.delivery.properties, message.delivery.data)))
    }
}

impl Drop for World {
    /// On a separate thread with its own runtime: this also runs while a failed test unwinds.
    fn drop(&mut self) {
        if std::thread::panicking() || *self.keep_logs.get_mut() {
            eprintln!("the workers' logs are in {}", self.folder.display());
        } else {
            _ = std::fs::remove_dir_all(&self.folder);
        }
        let Some(services) = self.teardown_on.take() else { return };
        let prefix = self.prefix.clone();
        let database = self.database_url.rsplit('/').next().unwrap_or_default().to_owned();
        let teardown = std::thread::spawn(move || -> anyhow::Result<()> {
            let tearing_down =
                async { timeout(DEADLINE, tear_down(&services, &prefix, &database)).await };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(tearing_down).context("the services do not answer")?
        });
        let result = teardown.join();
        if !std::thread::panicking() {
            assert!(matches!(result, Ok(Ok(()))), "the world could not be torn down: {result:?}");
        }
    }
}

/// Connects to the broker, which must answer within the deadline.
async fn connect(amqp_url: &str) -> anyhow::Result<Connection> {
    let connecting = Connection::connect(amqp_url, ConnectionProperties::default());
    Ok(timeout(DEADLINE, connecting).await.context("the broker does not answer")??)
}

/// Deletes the queues and the database.
async fn tear_down(services: &Services, prefix: &str, database: &str) -> anyhow::Result<()> {
    let amqp = connect(&services.amqp_url).await?;
    let channel = amqp.create_channel().await?;
    let topology = Topology::new(prefix);
    let others =
        [Topology::RUNS, Topology::URLS, Topology::DEAD, Topology::NEWS, Topology::CONTROL];
    for key in others.into_iter().chain(DELAY_QUEUES) {
        channel.queue_delete(topology.queue(key).into(), QueueDeleteOptions::default()).await?;
    }
    channel.exchange_delete(prefix.into(), ExchangeDeleteOptions::default()).await?;
    let mut server: reqwest::Url = services.database_url.parse()?;
    server.set_path("");
    let mut server = MySqlConnection::connect(server.as_str()).await?;
    server.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS `{database}`"))).await?;
    Ok(())
}
