//! Real processes, really signalled.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::wait;

/// How long a process may take to end. One that takes longer is killed, and fails the test.
const AT_MOST: Duration = Duration::from_secs(120);

/// What a process that has ended left.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ended {
    /// Standard output as JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {self:?}"))
    }
}

/// Runs a command to its end.
pub async fn run(command: &mut Command, input: &str) -> anyhow::Result<Ended> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a process")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let input = input.to_owned();
    let feed = tokio::spawn(async move { _ = stdin.write_all(input.as_bytes()).await });
    let output = timeout(AT_MOST, child.wait_with_output()).await.context("the process did not end")??;
    feed.await?;
    Ok(Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A process that goes on until it is told to stop. Its log is a file; dropping it kills it.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a command; standard error goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a process")?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// What it has logged so far.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// Waits for a text in the log.
    pub async fn logs(&mut self, text: &str) -> anyhow::Result<String> {
        let log = self.log.clone();
        let look = async || {
            if let Some(status) = self.child.try_wait()? {
                bail!("the process ended ({status}) before it logged {text:?}:\n{}", std::fs::read_to_string(&log)?);
            }
            Ok(String::from_utf8_lossy(&std::fs::read(&log)?).into_owned())
        };
        wait::until(&format!("{text:?} in the log"), look, |log| log.contains(text)).await
    }

    /// Where a worker, whose log is JSON, serves its health.
    pub async fn health(&mut self) -> anyhow::Result<String> {
        let log = self.logs("health is served").await?;
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.find_map(|line| Some(line.get("address")?.as_str()?.to_owned())).context("the log names no address")
    }

    /// A sample of a worker's metrics, by its name and labels. Fails where there is none of that name.
    pub async fn metric(&mut self, sample: &str) -> anyhow::Result<f64> {
        let address = self.health().await?;
        let text = reqwest::get(format!("http://{address}/metrics")).await?.text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("there is no metric {sample}"))?.parse()?)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal, by its name without `SIG`.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.id().context("the process has ended")?;
        let status = Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status().await?;
        if !status.success() {
            bail!("cannot send {name} to process {id}");
        }
        Ok(())
    }

    /// Waits for its end.
    pub async fn end(mut self) -> anyhow::Result<Ended> {
        let mut stdout = String::new();
        let mut pipe = self.child.stdout.take();
        let ending = async {
            if let Some(pipe) = &mut pipe {
                pipe.read_to_string(&mut stdout).await?;
            }
            self.child.wait().await
        };
        let Ok(status) = timeout(AT_MOST, ending).await else {
            bail!("the process did not end within {} s; its log:\n{}", AT_MOST.as_secs(), self.log()?);
        };
        let status = status?;
        Ok(Ended { code: status.code(), stdout, stderr: self.log()? })
    }

    /// SIGTERM, and waits for the end.
    pub async fn terminate(self) -> anyhow::Result<Ended> {
        self.signal("TERM").await?;
        self.end().await
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(self) -> anyhow::Result<Ended> {
        self.signal("KILL").await?;
        self.end().await
    }
}
