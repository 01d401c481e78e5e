//! A separate database for each test, on the server of `DATABASE_URL`, or else on the one that
//! `deploy/local/services up` starts.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fetchline_store::{Batch, Body, Fetch, Outcome, Store, StoreConfig};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The result of a test.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A database with fetchline's schema, which is dropped with this value.
pub(crate) struct Database {
    options: MySqlConnectOptions,
    url: String,
    name: String,
    /// A connection outside of every store.
    pub(crate) connection: MySqlConnection,
}

impl Database {
    /// Creates a database.
    pub(crate) async fn new() -> Result<Self> {
        let database = Self::empty().await?;
        let store = database.store(2)?;
        store.migrate(|_| {}).await?;
        store.close().await;
        Ok(database)
    }

    /// Creates a database with the schema of the last release whose keys have 32 bytes.
    pub(crate) async fn with_former_keys() -> Result<Self> {
        const LAST: &str = "0011";
        let mut database = Self::empty().await?;
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let files: std::io::Result<Vec<_>> =
            std::fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect();
        let mut files = files?;
        files.sort();
        database
            .execute(
                "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, \
                 description TEXT NOT NULL, \
                 installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
                 success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
                 execution_time BIGINT NOT NULL)",
            )
            .await?;
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name[..LAST.len()] > *LAST {
                break;
            }
            database.execute(&std::fs::read_to_string(&file)?).await?;
            let record = format!(
                "INSERT INTO _sqlx_migrations VALUES ({}, '{name}', NOW(), TRUE, 'x', 1)",
                &name[..LAST.len()]
            );
            database.execute(&record).await?;
        }
        Ok(database)
    }

    /// Creates a database without tables.
    pub(crate) async fn empty() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("store_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut url = server_url()?;
        let path =
            url.find("://").and_then(|scheme| Some(scheme + 3 + url[scheme + 3..].find('/')?));
        let path = path.ok_or("DATABASE_URL has no path")?;
        let end = url[path..].find('?').map_or(url.len(), |end| path + end);
        url.replace_range(path + 1..end, &name);
        let options: MySqlConnectOptions = url.parse()?;
        let mut server = MySqlConnection::connect_with(&options.clone().database("")).await?;
        let create = format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4");
        server.execute(AssertSqlSafe(create)).await?;
        let connection = MySqlConnection::connect_with(&options).await?;
        Ok(Self { options, url, name, connection })
    }

    /// A store with this many connections.
    pub(crate) fn store(&self, pool: u32) -> Result<Store> {
        open(&self.url, pool)
    }

    /// The name of the database.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A store of a user without a password.
    pub(crate) fn store_as(&self, user: &str, pool: u32) -> Result<Store> {
        let (scheme, rest) = self.url.split_once("://").ok_or("DATABASE_URL has no scheme")?;
        let host = rest.split_once('@').map_or(rest, |(_, host)| host);
        open(&format!("{scheme}://{user}@{host}"), pool)
    }

    /// A store behind a proxy that falls silent once `true` is sent.
    pub(crate) async fn store_behind_proxy(
        &self,
        pool: u32,
    ) -> Result<(Store, watch::Sender<bool>)> {
        let server = format!("{}:{}", self.options.get_host(), self.options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = self.url.replacen(&server, &listener.local_addr()?.to_string(), 1);
        let (silence, silent) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, mut silent) = (server.clone(), silent.clone());
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    let silenced = async { silent.wait_for(|silent| *silent).await.map(drop) };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
                        _ = silenced => {}
                    }
                    // Both connections stay open.
                    std::future::pending().await
                });
            }
        });
        Ok((open(&url, pool)?, silence))
    }

    /// A store behind a proxy that calls `meddle` with everything that a client sends.
    pub(crate) async fn store_behind_meddler(
        &self,
        pool: u32,
        meddle: fn(&[u8]) -> Meddling,
    ) -> Result<Store> {
        let server = format!("{}:{}", self.options.get_host(), self.options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = self.url.replacen(&server, &listener.local_addr()?.to_string(), 1);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    _ = forward(client, server, meddle).await;
                });
            }
        });
        open(&url, pool)
    }

    /// Opens another connection.
    pub(crate) async fn connect(&self) -> Result<MySqlConnection> {
        Ok(MySqlConnection::connect_with(&self.options).await?)
    }

    /// Runs a statement.
    pub(crate) async fn execute(&mut self, statement: &str) -> Result {
        self.connection.execute(AssertSqlSafe(statement.to_owned())).await?;
        Ok(())
    }

    /// Runs a query that returns a number.
    pub(crate) async fn count(&mut self, query: &str) -> Result<i64> {
        Ok(sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
            .fetch_one(&mut self.connection)
            .await?)
    }

    /// Creates a table in which a trigger counts how often it has fired. The table has no
    /// transactions, so a count survives a rollback.
    pub(crate) async fn count_tries(&mut self) -> Result {
        self.execute("CREATE TABLE tries (number INT) ENGINE = MyISAM").await?;
        self.execute("INSERT INTO tries VALUES (0)").await
    }

    /// Runs `action` before each insert of a row whose URL ends in `bad`, unless the row is bare.
    pub(crate) async fn on_bad_rows(&mut self, action: &str) -> Result {
        self.on_rows("NEW.url LIKE '%bad' AND NEW.outcome <> 'refused'", action).await
    }

    /// Runs `action` before each insert of a row that satisfies the condition.
    pub(crate) async fn on_rows(&mut self, condition: &str, action: &str) -> Result {
        self.execute("DROP TRIGGER IF EXISTS trouble").await?;
        let trigger = format!(
            "CREATE TRIGGER trouble BEFORE INSERT ON fetches FOR EACH ROW \
             BEGIN IF {condition} THEN {action}; END IF; END"
        );
        self.execute(&trigger).await
    }
}

/// What a proxy does with data from a client.
pub(crate) enum Meddling {
    /// Forwards it.
    None,
    /// Never answers.
    Hang,
    /// Answers with this error number itself.
    Refuse(u16),
}

async fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    meddle: fn(&[u8]) -> Meddling,
) -> std::io::Result<()> {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.split(), server.split());
    let (mut sent, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            length = from_client.read(&mut sent) => match (length?, &sent) {
                (0, _) => return Ok(()),
                (length, sent) => match meddle(&sent[..length]) {
                    Meddling::None => to_server.write_all(&sent[..length]).await?,
                    Meddling::Hang => std::future::pending().await,
                    Meddling::Refuse(number) => {
                        let mut error = vec![0xff];
                        error.extend(number.to_le_bytes());
                        error.extend(b"#HY000refused by the proxy");
                        let mut packet = vec![u8::try_from(error.len()).unwrap_or(0), 0, 0, 1];
                        packet.append(&mut error);
                        to_client.write_all(&packet).await?;
                    }
                },
            },
            length = from_server.read(&mut answered) => match length? {
                0 => return Ok(()),
                length => to_client.write_all(&answered[..length]).await?,
            },
        }
    }
}

/// Whether data from a client contains this text.
pub(crate) fn contains(sent: &[u8], text: &str) -> bool {
    sent.windows(text.len()).any(|window| window == text.as_bytes())
}

impl Drop for Database {
    fn drop(&mut self) {
        let (options, name) = (self.options.clone(), self.name.clone());
        // A separate thread, because this one already runs a runtime.
        let dropped = std::thread::spawn(move || -> sqlx::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = MySqlConnection::connect_with(&options).await?;
                connection.execute(AssertSqlSafe(format!("DROP DATABASE `{name}`"))).await.map(drop)
            })
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("cannot drop the database {}: drop it by hand", self.name);
        }
    }
}

fn open(url: &str, pool: u32) -> Result<Store> {
    Ok(Store::open(StoreConfig {
        url: url.to_owned(),
        pool,
        pool_timeout: Duration::from_secs(5),
    })?)
}

fn server_url() -> Result<String> {
    if let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) {
        return Ok(url);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/local/services");
    let output = Command::new(script).arg("env").output()?;
    let provided = String::from_utf8(output.stdout)?;
    let url = provided.lines().find_map(|line| line.strip_prefix("export DATABASE_URL='"));
    Ok(url
        .ok_or("the services are not up: run `deploy/local/services up` first")?
        .trim_end_matches('\'')
        .to_owned())
}

/// The key of a task; keys are ordered as the numbers are.
pub(crate) fn key(task: u8) -> [u8; 16] {
    [task; 16]
}

/// The row of a task that succeeded.
pub(crate) fn row(task: u8) -> Fetch {
    let fetched_at = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let url = format!("http://shop.example/{task}");
    Fetch {
        status: Some(200),
        body: Body::Text("tea".to_owned()),
        worker: "pod".into(),
        ..Fetch::new(key(task), "nightly", &url, Outcome::Ok, fetched_at)
    }
}

/// A row for which triggers run their action.
pub(crate) fn bad(task: u8) -> Fetch {
    Fetch { url: format!("http://shop.example/{task}/bad"), ..row(task) }
}

/// A batch of rows; each receipt is the number of the task.
pub(crate) fn batch(rows: impl IntoIterator<Item = Fetch>) -> Batch<u8> {
    let mut batch = Batch::default();
    for row in rows {
        let task = row.id[0];
        batch.push(Box::new(row), task);
    }
    batch
}
