//! Real processes and signals.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::wait;

/// Deadline for a process to end. A process that exceeds it is killed, and its test fails.
const DEADLINE: Duration = Duration::from_secs(120);

/// The exit code and the output of a process.
#[derive(Debug)]
pub struct Output {
    /// The exit code; `None` if a signal ended the process.
    pub code: Option<i32>,
    /// The whole standard output.
    pub stdout: String,
    /// The whole standard error.
    pub stderr: String,
}

impl Output {
    /// Parses standard output as JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("standard output is not JSON: {self:?}"))
    }
}

/// Runs a command with this standard input until it ends.
pub async fn run(command: &mut Command, input: &str) -> anyhow::Result<Output> {
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
    let output =
        timeout(DEADLINE, child.wait_with_output()).await.context("the process did not end")??;
    feed.await?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    check(&line(command), &stdout)?;
    Ok(Output {
        code: output.status.code(),
        stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The program and the arguments of a command.
fn line(command: &Command) -> Vec<String> {
    let command = command.as_std();
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Compares JSON with its schema. The demonstration does without.
fn check(line: &[String], stdout: &str) -> anyhow::Result<()> {
    #[cfg(feature = "harness")]
    crate::schemas::check(line, stdout)?;
    _ = (line, stdout);
    Ok(())
}

/// A process that runs until it gets a signal. Its log is a file; dropping it kills it.
pub struct Running {
    child: Child,
    line: Vec<String>,
    log: PathBuf,
}

impl Running {
    /// Starts a command that writes its standard error to `log`.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = std::fs::File::create(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a process")?;
        Ok(Self { child, line: line(command), log: log.to_owned() })
    }

    /// The log up to now.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// Waits for a text in the log and returns the log.
    pub async fn logs(&mut self, text: &str) -> anyhow::Result<String> {
        let log = self.log.clone();
        let read = async || {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the process ended ({status}) before it logged {text:?}:\n{}",
                    std::fs::read_to_string(&log)?
                );
            }
            Ok(String::from_utf8_lossy(&std::fs::read(&log)?).into_owned())
        };
        wait::until(&format!("{text:?} in the log"), read, |log| log.contains(text)).await
    }

    /// The address at which a worker with a JSON log serves its health.
    pub async fn health(&mut self) -> anyhow::Result<String> {
        let log = self.logs("health is served").await?;
        let mut lines =
            log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines
            .find_map(|line| Some(line.get("address")?.as_str()?.to_owned()))
            .context("the log names no health address")
    }

    /// A sample of a worker's metrics, by its name and labels. Fails if there is no such sample.
    pub async fn metric(&mut self, sample: &str) -> anyhow::Result<f64> {
        let address = self.health().await?;
        let text = reqwest::get(format!("http://{address}/metrics")).await?.text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("there is no metric {sample}"))?.parse()?)
    }

    /// The exit status, if the process has ended.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal, named without `SIG`.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.id().context("the process has ended")?;
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status().await?;
        if !status.success() {
            bail!("cannot send {name} to process {id}");
        }
        Ok(())
    }

    /// Waits until the process ends.
    pub async fn end(mut self) -> anyhow::Result<Output> {
        let mut stdout = String::new();
        let mut pipe = self.child.stdout.take();
        let ending = async {
            if let Some(pipe) = &mut pipe {
                pipe.read_to_string(&mut stdout).await?;
            }
            self.child.wait().await
        };
        let Ok(status) = timeout(DEADLINE, ending).await else {
            bail!(
                "the process did not end within {} s; its log:\n{}",
                DEADLINE.as_secs(),
                self.log()?
            );
        };
        let status = status?;
        check(&self.line, &stdout)?;
        Ok(Output { code: status.code(), stdout, stderr: self.log()? })
    }

    /// Sends SIGTERM and waits until the process ends.
    pub async fn terminate(self) -> anyhow::Result<Output> {
        self.signal("TERM").await?;
        self.end().await
    }

    /// Sends SIGKILL and waits until the process ends.
    pub async fn kill(self) -> anyhow::Result<Output> {
        self.signal("KILL").await?;
        self.end().await
    }
}
