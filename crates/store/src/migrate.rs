//! The schema. `fetchline migrate` updates it; everything else only checks it.
//!
//! Migrations are never edited or removed. Each stays compatible with the previous release, whose
//! workers continue on the new schema.

use std::sync::LazyLock;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, SqlSafeStr};

use crate::pool::{DEADLINE, SESSION, within};
use crate::{Error, Store};

/// The files of the folder `migrations` as version, description and SQL.
const FILES: &[(i64, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let migrations = FILES.iter().map(|(version, description, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(*version, (*description).into(), kind, (*sql).into_sql_str(), false)
    });
    Migrator { migrations: migrations.collect(), ..Migrator::DEFAULT }
});

/// How long to wait for another process that migrates.
const LOCK_WAIT_S: u64 = 120;
/// The name of the lock. Locks belong to the whole server, so the name identifies the database; it
/// may have 64 characters.
const LOCK_NAME: &str = "CONCAT('fetchline.', LEFT(SHA2(DATABASE(), 256), 40))";

/// ER_BAD_DB_ERROR.
const UNKNOWN_DATABASE: u16 = 1049;
/// ER_NO_SUCH_TABLE.
const NO_SUCH_TABLE: u16 = 1146;

impl Store {
    /// The newest migration of this program.
    pub fn schema_needed() -> i64 {
        MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
    }

    /// Creates the database if it is missing, and updates it to this program's schema. Returns the
    /// version before and after. It is safe to run this again, from many processes at once, and on
    /// the schema of a newer release.
    pub async fn migrate(&self) -> Result<(i64, i64), Error> {
        self.create_database().await?;
        // Not a pooled connection: a migration may take longer than the pool's deadline.
        let mut connection = self.connect().await?;
        lock(&mut connection).await?;
        let found = schema_version(&mut connection).await?.unwrap_or(0);
        let migrator = Migrator {
            migrations: MIGRATIONS.migrations.clone(),
            // A newer release may have migrated this database.
            ignore_missing: true,
            // sqlx waits for its lock with a negative timeout, which MariaDB does not support.
            locking: false,
            ..Migrator::DEFAULT
        };
        migrator.run_direct(None, &mut connection, false).await.map_err(Error::Migration)?;
        let now = schema_version(&mut connection).await?.unwrap_or(0);
        // Closing the connection releases the lock.
        connection.close().await.map_err(Error::database("cannot close the connection"))?;
        Ok((found, now))
    }

    /// Fails if the schema is older than this program. Uses its own connection, whose error says
    /// why it cannot be made; a pool only reports a timeout.
    pub async fn check_schema(&self) -> Result<(), Error> {
        let needed = Self::schema_needed();
        let found = within("reading the schema's version", DEADLINE, async {
            let mut connection = self.connect().await?;
            let found = schema_version(&mut connection).await?;
            connection.close().await.map_err(Error::database("cannot close the connection"))?;
            Ok(found)
        });
        match found.await {
            Ok(Some(found)) if found >= needed => Ok(()),
            Ok(Some(found)) => Err(Error::SchemaTooOld { found, needed }),
            Ok(None) => Err(Error::SchemaMissing),
            Err(error) if error.number() == Some(UNKNOWN_DATABASE) => Err(Error::SchemaMissing),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn connect(&self) -> Result<MySqlConnection, Error> {
        let mut connection = self.options.connect().await.map_err(Error::Connect)?;
        connection.execute(SESSION).await.map_err(Error::database("cannot set up a session"))?;
        Ok(connection)
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
        let name = self.options.get_database().unwrap_or_default().replace('`', "``");
        let create = format!("CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4");
        let mut connection = self.options.clone().database("").connect().await.map_err(failed)?;
        connection
            .execute(AssertSqlSafe(create))
            .await
            .map_err(Error::database("cannot create the database"))?;
        connection.close().await.map_err(failed)
    }
}

async fn lock(connection: &mut MySqlConnection) -> Result<(), Error> {
    let lock = format!("SELECT CAST(GET_LOCK({LOCK_NAME}, {LOCK_WAIT_S}) AS SIGNED)");
    let locked: Option<i64> = sqlx::query_scalar(AssertSqlSafe(lock))
        .fetch_one(connection)
        .await
        .map_err(Error::database("cannot take the migration lock"))?;
    if locked == Some(1) { Ok(()) } else { Err(Error::MigrationLocked(LOCK_WAIT_S)) }
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
