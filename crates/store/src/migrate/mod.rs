//! The schema. `fetchline migrate` updates it; everything else only checks it.
//!
//! Migrations are never edited or removed. A process may be killed at any point, and several may
//! migrate at the same time, also through different nodes of a cluster. So there is no lock: each
//! step may be done twice, by anyone, at any time, and the second process finds it done.

mod former_keys;
mod steps;

use std::sync::LazyLock;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr};

pub use self::former_keys::FormerRows;

use crate::connector::Purpose;
use crate::partitions::{self, Crowd};
use crate::pool::{DEADLINE, within};
use crate::{Error, Store, check, contention};

/// The files of the folder `migrations` as version, description and SQL.
const FILES: &[(i64, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let migrations = FILES.iter().map(|(version, description, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(*version, (*description).into(), kind, (*sql).into_sql_str(), false)
    });
    Migrator { migrations: migrations.collect(), ..Migrator::DEFAULT }
});

/// How long a change of a table waits for those who use the table, in seconds. Everybody who comes
/// later waits behind it.
const TABLE_WAIT_S: u32 = 5;
/// How often a migration that loses against other transactions is tried.
const MAX_TRIES: u32 = 60;

/// ER_BAD_DB_ERROR.
const UNKNOWN_DATABASE: u16 = 1049;
/// ER_NO_SUCH_TABLE.
const NO_SUCH_TABLE: u16 = 1146;
/// ER_BAD_TABLE_ERROR: there is none to drop.
const BAD_TABLE: u16 = 1051;

impl Store {
    /// The newest migration of this program.
    pub fn schema_needed() -> i64 {
        MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
    }

    /// The rows that [`Self::migrate`] would copy; `None` if there are none.
    pub async fn former_rows(&self) -> Result<Option<FormerRows>, Error> {
        match self.count_former_rows().await {
            Err(error) if error.number() == Some(UNKNOWN_DATABASE) => Ok(None),
            result => result,
        }
    }

    async fn count_former_rows(&self) -> Result<Option<FormerRows>, Error> {
        let mut connection = self.connect().await?;
        let rows = former_keys::count(&mut connection).await?;
        connection.close().await.map_err(Error::database("cannot close the connection"))?;
        Ok(rows)
    }

    /// Creates the database if it is missing, and updates it to this program's schema. Returns the
    /// version before and after. It is safe to run this again after it was killed, from many
    /// processes at once, and on the schema of a newer release. Fails with
    /// [`Error::SchemaDamaged`] if parts of the schema are missing afterwards.
    ///
    /// If there are rows with keys of an earlier release, they are copied at the end, and
    /// `on_progress` is called with the number of rows so far. Workers of this release can run
    /// meanwhile: at worst they fetch a task again whose row is not copied yet.
    pub async fn migrate(&self, mut on_progress: impl FnMut(u64)) -> Result<(i64, i64), Error> {
        self.create_database().await?;
        // Not a pooled connection: a migration may take longer than the pool's deadline.
        let mut connection = self.connect().await?;
        set_up(&mut connection).await?;
        let found = schema_version(&mut connection).await?;
        if found.is_none() {
            refuse_foreign_tables(&mut connection).await?;
        }
        let found = found.unwrap_or(0);
        let mut tries = 1;
        while let Err(error) = update_tables(&mut connection).await {
            if !error.is_contention() || tries >= MAX_TRIES {
                return Err(error);
            }
            tokio::time::sleep(contention::pause_after(tries)).await;
            tries += 1;
        }
        former_keys::copy(&mut connection, &mut on_progress).await?;
        let now = schema_version(&mut connection).await?.unwrap_or(0);
        connection.close().await.map_err(Error::database("cannot close the connection"))?;
        // Each migration runs once, so what somebody has dropped or renamed since is not created.
        self.check_tables().await?;
        Ok((found, now))
    }

    /// Fails if the schema is older than this program. Uses its own connection, whose error says
    /// why it cannot be made; a pool only reports a timeout.
    pub async fn check_schema(&self) -> Result<(), Error> {
        self.newer_schema().await.map(drop)
    }

    /// Whether the schema is newer than this program. Fails if it is older.
    pub(crate) async fn newer_schema(&self) -> Result<bool, Error> {
        let needed = Self::schema_needed();
        let found = within("reading the schema's version", DEADLINE, async {
            let mut connection = self.connect().await?;
            let found = schema_version(&mut connection).await?;
            connection.close().await.map_err(Error::database("cannot close the connection"))?;
            Ok(found)
        });
        match found.await {
            Ok(Some(found)) if found >= needed => Ok(found > needed),
            Ok(Some(found)) => Err(Error::SchemaTooOld { found, needed }),
            Ok(None) => Err(Error::SchemaMissing),
            Err(error) if error.number() == Some(UNKNOWN_DATABASE) => Err(Error::SchemaMissing),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn connect(&self) -> Result<MySqlConnection, Error> {
        self.pool.connect(Purpose::Own).await
    }

    async fn create_database(&self) -> Result<(), Error> {
        let failed = Error::Connect;
        let error = match self.connect().await {
            Ok(connection) => return connection.close().await.map_err(failed),
            Err(error) => error,
        };
        if error.number() != Some(UNKNOWN_DATABASE) {
            return Err(error);
        }
        let name = self.pool.connector().database().replace('`', "``");
        let create = format!("CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4");
        let mut connection = self.pool.connect(Purpose::NoDatabase).await?;
        connection
            .execute(AssertSqlSafe(create))
            .await
            .map_err(Error::database("cannot create the database"))?;
        connection.close().await.map_err(failed)
    }
}

/// Fails if another program has tables of our names: a migration would leave half a schema beside
/// them.
async fn refuse_foreign_tables(connection: &mut MySqlConnection) -> Result<(), Error> {
    if check::foreign_tables(connection).await?.is_empty() {
        return Ok(());
    }
    // Another process may have begun to migrate meanwhile. It creates its records first.
    let foreign = check::foreign_tables(connection).await?;
    if foreign.is_empty() { Ok(()) } else { Err(Error::ForeignTables(foreign.join(", "))) }
}

async fn update_tables(connection: &mut MySqlConnection) -> Result<(), Error> {
    steps::run(connection).await?;
    partitions::prepare(connection, Crowd::Moves).await.map(drop)
}

/// Prepares the session for changes of tables, and for copies that lock only what they write.
async fn set_up(connection: &mut MySqlConnection) -> Result<(), Error> {
    let wait = format!("SET SESSION lock_wait_timeout = {TABLE_WAIT_S}");
    for statement in [&*wait, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"]
    {
        let set = connection.execute(AssertSqlSafe(statement.to_owned())).await;
        set.map_err(Error::database("cannot set up a session"))?;
    }
    Ok(())
}

/// The newest migration that was applied; `None` if there is no schema.
async fn schema_version(connection: &mut MySqlConnection) -> Result<Option<i64>, Error> {
    let newest = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await
        .map_err(Error::database("cannot read the schema's version"));
    match newest {
        Err(error) if error.number() == Some(NO_SUCH_TABLE) => Ok(None),
        newest => newest,
    }
}
