//! The schema: brought up to date by `fetchline migrate`, and only looked at by everything else.
//!
//! Migrations only ever grow, and stay compatible one release back: a worker of the last release works on them.

use sqlx::migrate::Migrator;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use crate::pool::{DEADLINE, within};
use crate::{Error, Store};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long to wait while another process migrates.
const LOCK_WAIT_S: u64 = 120;
/// A lock belongs to the whole server, so its name holds the database's; a name may have 64 characters.
const LOCK_NAME: &str = "CONCAT('fetchline.', LEFT(SHA2(DATABASE(), 256), 40))";

/// The server's error numbers that mean something here.
const UNKNOWN_DATABASE: u16 = 1049;
const NO_SUCH_TABLE: u16 = 1146;

impl Store {
    /// The newest migration of this program.
    pub fn schema_needed() -> i64 {
        MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
    }

    /// Makes the database when it is missing, and brings it to this program's schema. Returns the version that was found
    /// and the one that is there now. Safe to run again, from many processes at once, and beside a newer release.
    pub async fn migrate(&self) -> Result<(i64, i64), Error> {
        self.create_database().await?;
        // A connection of its own: a migration may take longer than any other use of a connection.
        let mut connection = self.connect().await?;
        lock(&mut connection).await?;
        let found = applied(&mut connection).await?.unwrap_or(0);
        let migrator = Migrator {
            migrations: MIGRATIONS.migrations.clone(),
            // A newer release may have been here.
            ignore_missing: true,
            // The library's lock waits with a negative time, which MariaDB does not know.
            locking: false,
            ..Migrator::DEFAULT
        };
        migrator.run_direct(None, &mut connection, false).await.map_err(Error::Migration)?;
        let now = applied(&mut connection).await?.unwrap_or(0);
        // Closing the connection releases the lock.
        connection.close().await.map_err(Error::database("cannot close the connection"))?;
        Ok((found, now))
    }

    /// Refuses a schema that is older than this program. It asks on a connection of its own, which says why it cannot be
    /// had; a pool only says that it waited.
    pub async fn check_schema(&self) -> Result<(), Error> {
        let needed = Self::schema_needed();
        let found = within("reading the schema's version", DEADLINE, async {
            let mut connection = self.connect().await?;
            let found = applied(&mut connection).await?;
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

    async fn connect(&self) -> Result<MySqlConnection, Error> {
        self.options.connect().await.map_err(Error::Connect)
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
        let mut connection = self.options.clone().database("").connect().await.map_err(failed)?;
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4")))
            .await
            .map_err(Error::database("cannot create the database"))?;
        connection.close().await.map_err(failed)
    }
}

async fn lock(connection: &mut MySqlConnection) -> Result<(), Error> {
    let locked: Option<i64> =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT CAST(GET_LOCK({LOCK_NAME}, {LOCK_WAIT_S}) AS SIGNED)")))
            .fetch_one(connection)
            .await
            .map_err(Error::database("cannot take the migration lock"))?;
    if locked == Some(1) { Ok(()) } else { Err(Error::MigrationLocked(LOCK_WAIT_S)) }
}

/// The newest migration that was applied; `None` where there is no schema.
async fn applied(connection: &mut MySqlConnection) -> Result<Option<i64>, Error> {
    let newest = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await
        .map_err(Error::database("cannot read the schema's version"));
    match newest {
        Err(error) if error.number() == Some(NO_SUCH_TABLE) => Ok(None),
        newest => newest,
    }
}
