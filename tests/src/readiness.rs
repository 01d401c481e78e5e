//! Monitors a worker's `/readyz`: only continuous polling shows that it never answered 503.

use std::time::Duration;

use anyhow::ensure;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::process::Running;
use crate::wait;

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A monitor of one worker, from the moment at which it is ready for the first time.
pub struct Readiness {
    end: CancellationToken,
    watching: JoinHandle<Vec<String>>,
}

impl Readiness {
    /// Waits until the worker is ready and monitors it from then on.
    pub async fn of(worker: &mut Running) -> anyhow::Result<Self> {
        let url = format!("http://{}/readyz", worker.health().await?);
        let answers = async || Ok(reqwest::get(&url).await?.status().as_u16());
        wait::until("the worker is ready", answers, |status| *status == 200).await?;
        let end = CancellationToken::new();
        let watching = tokio::spawn(watch(url, end.clone()));
        Ok(Self { end, watching })
    }

    /// Fails if the worker was ever not ready. Call it while the worker still runs.
    pub async fn never_failed(self) -> anyhow::Result<()> {
        self.end.cancel();
        let failures = self.watching.await?;
        ensure!(
            failures.is_empty(),
            "the worker was not ready {} times, at first: {:?}",
            failures.len(),
            failures.first()
        );
        Ok(())
    }
}

/// Polls until the end and returns all answers other than 200.
async fn watch(url: String, end: CancellationToken) -> Vec<String> {
    let mut failures = Vec::new();
    loop {
        match reqwest::get(&url).await {
            Ok(answer) if answer.status() == 200 => {}
            Ok(answer) => {
                let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
                failures.push(format!("{status} {text}"));
            }
            Err(error) => failures.push(error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = end.cancelled() => return failures,
        }
    }
}
