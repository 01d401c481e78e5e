//! Bounds how many fetches run at once: the permit is taken before the work begins.

use std::sync::Arc;
use std::time::Instant;

use fetchline_queue::Task;
use fetchline_store::Outcome;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::batch;
use crate::commit::Finished;
use crate::config::StoreBody;
use crate::extract;
use crate::fetch::Fetcher;
use crate::settle::Receipt;

/// A task with the right to have its message settled.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) task: Task,
    pub(crate) receipt: Receipt,
}

/// Starts fetches, and knows which are under way.
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    stage: Arc<Stage>,
}

/// What every fetch needs.
struct Stage {
    fetcher: Fetcher,
    keep: StoreBody,
    worker: Arc<str>,
    results: mpsc::UnboundedSender<batch::Result>,
    /// When this is cancelled, fetches end where they are: their messages come back.
    grace_over: CancellationToken,
}

impl Admission {
    pub(crate) fn new(
        concurrency: usize,
        fetcher: Fetcher,
        keep: StoreBody,
        worker: Arc<str>,
        results: mpsc::UnboundedSender<batch::Result>,
        grace_over: CancellationToken,
    ) -> Self {
        let stage = Arc::new(Stage { fetcher, keep, worker, results, grace_over });
        Self { permits: Arc::new(Semaphore::new(concurrency)), tasks: TaskTracker::new(), stage }
    }

    /// Waits for a permit and starts the fetch. Gives the job back when `stop` comes first.
    pub(crate) async fn admit(&self, job: Job, stop: &CancellationToken) -> Result<(), Job> {
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(job),
            permit = self.permits.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return Err(job) };
        let stage = self.stage.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stage.work(job) => {}
                () = stage.grace_over.cancelled() => {}
            }
            drop(permit);
        });
        Ok(())
    }

    /// Waits for the fetches that are under way.
    pub(crate) async fn finish(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Stage {
    async fn work(&self, Job { task, receipt }: Job) {
        let started = Instant::now();
        let answer = self.fetcher.fetch(&task.order).await;
        let elapsed = started.elapsed();
        if answer.outcome != Outcome::Ok {
            info!(
                run = task.run,
                host = task.order.address.host(),
                url = %task.order.address,
                pod = &*self.worker,
                attempt = task.attempt,
                outcome = answer.outcome.as_str(),
                error = answer.error,
                "a fetch failed"
            );
        }
        let row = extract::row(task, answer, elapsed, self.keep, &self.worker);
        let finished = Finished { receipt, outcome: row.outcome, elapsed };
        // The batcher lives until every fetch has ended.
        _ = self.results.send((row, finished));
    }
}
