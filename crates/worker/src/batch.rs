//! Results into batches: a batch closes by rows, bytes or age, whichever comes first.

use std::time::Duration;

use fetchline_store::{Batch, Fetch};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::commit::{Commits, Finished};

/// When a batch closes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) age: Duration,
}

/// A row with what is to be settled once it is durable.
pub(crate) type Result = (Fetch, Finished);

/// Runs until nobody is left who could bring a result, and every batch is committed or given up.
pub(crate) async fn run(mut results: mpsc::UnboundedReceiver<Result>, limits: Limits, commits: Commits) {
    while let Some(batch) = collect(&mut results, limits).await {
        commits.begin(batch).await;
    }
    commits.finish().await;
}

/// The next batch; `None` when there will be no more.
async fn collect(results: &mut mpsc::UnboundedReceiver<Result>, limits: Limits) -> Option<Batch<Finished>> {
    let mut batch = Batch::default();
    let (row, finished) = results.recv().await?;
    batch.push(row, finished);
    let closes = Instant::now() + limits.age;
    while batch.len() < limits.rows && batch.weight() < limits.bytes {
        match timeout_at(closes, results.recv()).await {
            Ok(Some((row, finished))) => batch.push(row, finished),
            // Too old, or the last one.
            Ok(None) | Err(_) => break,
        }
    }
    Some(batch)
}
