//! A private broker and database that a test may kill, freeze and restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use crate::authority::Authority;
use crate::services::{Services, project};
use crate::wait;

/// Deadline for a service to start and for a broker command to end.
const DEADLINE: Duration = Duration::from_secs(120);

/// Stops both services once the process that started them has ended, however it ended: that closes
/// the standard input of this script.
const CLEANER: &str = r#"
    read -r _
    for service in rabbitmq mariadb; do "$1/$service" stop "$2/$service" & done
    wait
    [ -e "$2/keep" ] || rm -rf "$2"
"#;

/// Private instances of Debian's RabbitMQ and MariaDB, in a folder that is deleted at the end.
pub struct Arena {
    /// RabbitMQ.
    pub broker: Service,
    /// MariaDB.
    pub database: Service,
    folder: PathBuf,
    _cleaner: Child,
}

/// The broker or the database.
pub struct Service {
    script: PathBuf,
    folder: PathBuf,
    /// The first output of the script's `env`; ports must never change.
    env: OnceLock<String>,
}

/// A service that is stopped by SIGSTOP until this is dropped.
pub struct Frozen {
    pid: String,
}

impl Arena {
    /// The arena of this process. The first call starts it, which takes about ten seconds.
    pub fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceLock<Result<Arena, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start(None).map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// A separate arena whose services also speak TLS, with a certificate of this authority for
    /// `localhost`. The database refuses connections without TLS.
    pub fn secured(authority: &Authority) -> anyhow::Result<Self> {
        Self::start(Some(authority))
    }

    /// Starts both services and waits until they answer.
    fn start(authority: Option<&Authority>) -> anyhow::Result<Self> {
        let scripts = project().join("deploy/local");
        let folder =
            std::env::temp_dir().join(format!("fetchline-arena-{:08x}", rand::random::<u32>()));
        fs::create_dir_all(&folder)?;
        let cleaner = cleaner(&scripts, &folder)?;
        let service = |name: &str| Service {
            script: scripts.join(name),
            folder: folder.join(name),
            env: OnceLock::new(),
        };
        let (broker, database) = (service("rabbitmq"), service("mariadb"));
        let installed =
            std::process::Command::new(scripts.join("install")).stdout(Stdio::null()).status()?;
        ensure!(installed.success(), "rabbitmq-server and mariadb-server are missing");
        let mut starting = Vec::new();
        for service in [&broker, &database] {
            if let Some(authority) = authority {
                authority.certify("localhost", &service.folder.join("tls"))?;
            }
            let start = std::process::Command::new(&service.script)
                .arg("start")
                .arg(&service.folder)
                .spawn();
            starting
                .push(start.with_context(|| format!("cannot run {}", service.script.display()))?);
        }
        for mut start in starting {
            ensure!(
                start.wait()?.success(),
                "a service in {} could not be started",
                folder.display()
            );
        }
        Ok(Self { broker, database, folder, _cleaner: cleaner })
    }

    /// The URLs of both services.
    pub fn services(&self) -> anyhow::Result<Services> {
        Ok(Services {
            amqp_url: self.broker.variable("AMQP_URL")?,
            database_url: self.database.variable("DATABASE_URL")?,
            management_url: self.broker.variable("MANAGEMENT_URL").ok(),
        })
    }

    /// The URL of RabbitMQ's TLS port.
    pub fn amqps_url(&self) -> anyhow::Result<String> {
        self.broker.variable("AMQPS_URL")
    }

    /// Runs `rabbitmqctl` and returns its output.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.broker.script);
        command
            .arg("ctl")
            .arg(&self.broker.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, command.output())
            .await
            .context("rabbitmqctl did not end")??;
        ensure!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Keeps the folder with its logs, so that a failed test can be analysed.
    pub fn keep(&self) {
        _ = fs::write(self.folder.join("keep"), "");
        eprintln!("the logs of broker and database are in {}", self.folder.display());
    }
}

/// Starts [`CLEANER`] in its own process group, so that Ctrl-C does not end it as well.
fn cleaner(scripts: &Path, folder: &Path) -> anyhow::Result<Child> {
    use std::os::unix::process::CommandExt;
    std::process::Command::new("sh")
        .args(["-c", CLEANER, "cleaner"])
        .args([scripts, folder])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot run sh")
}

impl Service {
    /// Restarts the service on the same ports and with the same data, and waits until it answers.
    pub async fn start(&self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.script);
        command
            .arg("start")
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, command.output())
            .await
            .context("a service did not start")??;
        ensure!(
            output.status.success(),
            "{}: {}",
            self.script.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(
            self.env.get().is_none_or(|env| self.read_env().is_ok_and(|now| now == *env)),
            "a port has changed"
        );
        Ok(())
    }

    /// Sends SIGKILL and returns when the process is gone.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let pid = self.pid()?;
        signal("KILL", &pid)?;
        let state =
            async || Ok(fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default());
        wait::until("the end of a killed service", state, |stat| {
            stat.is_empty() || stat.contains(") Z ")
        })
        .await?;
        Ok(())
    }

    /// Sends SIGSTOP: the service keeps its connections and is silent on them.
    pub fn freeze(&self) -> anyhow::Result<Frozen> {
        let pid = self.pid()?;
        signal("STOP", &pid)?;
        Ok(Frozen { pid })
    }

    fn pid(&self) -> anyhow::Result<String> {
        let file = self.folder.join("pid");
        let pid = fs::read_to_string(&file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        Ok(pid.trim().to_owned())
    }

    fn variable(&self, name: &str) -> anyhow::Result<String> {
        let env = match self.env.get() {
            Some(env) => env.clone(),
            None => self.read_env()?,
        };
        let line = env.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")));
        let value = line.with_context(|| format!("{} prints no {name}", self.script.display()))?;
        _ = self.env.set(env.clone());
        Ok(value.trim_end_matches('\'').to_owned())
    }

    fn read_env(&self) -> anyhow::Result<String> {
        let output =
            std::process::Command::new(&self.script).arg("env").arg(&self.folder).output()?;
        ensure!(
            output.status.success(),
            "{}: {}",
            self.script.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = signal("CONT", &self.pid) {
            eprintln!("{error:#}");
        }
    }
}

fn signal(name: &str, pid: &str) -> anyhow::Result<()> {
    if !std::process::Command::new("kill").arg(format!("-{name}")).arg(pid).status()?.success() {
        bail!("cannot send {name} to process {pid}");
    }
    Ok(())
}
