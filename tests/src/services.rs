//! The URLs of the broker and the database.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

/// The services that the tests use.
#[derive(Clone, Debug)]
pub struct Services {
    /// RabbitMQ.
    pub amqp_url: String,
    /// MySQL or MariaDB; the path names a database.
    pub database_url: String,
    /// RabbitMQ's management API, if it is known.
    pub management_url: Option<String>,
}

impl Services {
    /// The services that the environment names, else those of `deploy/local/services up`.
    pub fn find() -> anyhow::Result<Self> {
        let from_environment =
            |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let script = project().join("deploy/local/services");
        let provided = || -> anyhow::Result<String> {
            let output = Command::new(&script)
                .arg("env")
                .output()
                .context("cannot run deploy/local/services")?;
            if !output.status.success() {
                bail!(
                    "the services are not running: run `make test` or `deploy/local/services up`"
                );
            }
            Ok(String::from_utf8(output.stdout)?)
        };
        if let (Some(amqp_url), Some(database_url)) =
            (from_environment("AMQP_URL"), from_environment("DATABASE_URL"))
        {
            return Ok(Self {
                amqp_url,
                database_url,
                management_url: from_environment("MANAGEMENT_URL"),
            });
        }
        let provided = provided()?;
        let from_script = |name: &str| {
            let line =
                provided.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")))?;
            Some(line.trim_end_matches('\'').to_owned()).filter(|value| !value.is_empty())
        };
        Ok(Self {
            amqp_url: from_script("AMQP_URL")
                .context("deploy/local/services prints no AMQP_URL")?,
            database_url: from_script("DATABASE_URL")
                .context("deploy/local/services prints no DATABASE_URL")?,
            management_url: from_script("MANAGEMENT_URL"),
        })
    }
}

/// The root folder of the project.
pub fn project() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder
}
