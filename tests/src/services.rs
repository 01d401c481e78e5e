//! Where the broker and the database are.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

/// The services that tests run on.
#[derive(Clone, Debug)]
pub struct Services {
    /// RabbitMQ.
    pub amqp_url: String,
    /// MySQL or MariaDB; its path names a database.
    pub database_url: String,
    /// The console, where it is known.
    pub management_url: Option<String>,
}

impl Services {
    /// What the environment names, else what `deploy/local/services up` has provided.
    pub fn find() -> anyhow::Result<Self> {
        let of_environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let script = project().join("deploy/local/services");
        let provided = || -> anyhow::Result<String> {
            let output = Command::new(&script).arg("env").output().context("cannot run deploy/local/services")?;
            if !output.status.success() {
                bail!("the services are not up: run `make test`, or `deploy/local/services up` first");
            }
            Ok(String::from_utf8(output.stdout)?)
        };
        if let (Some(amqp_url), Some(database_url)) = (of_environment("AMQP_URL"), of_environment("DATABASE_URL")) {
            return Ok(Self { amqp_url, database_url, management_url: of_environment("MANAGEMENT_URL") });
        }
        let provided = provided()?;
        let of_script = |name: &str| {
            let line = provided.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")))?;
            Some(line.trim_end_matches('\'').to_owned()).filter(|value| !value.is_empty())
        };
        Ok(Self {
            amqp_url: of_script("AMQP_URL").context("deploy/local/services tells no AMQP_URL")?,
            database_url: of_script("DATABASE_URL").context("deploy/local/services tells no DATABASE_URL")?,
            management_url: of_script("MANAGEMENT_URL"),
        })
    }
}

/// The top folder of the project.
pub fn project() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder
}
