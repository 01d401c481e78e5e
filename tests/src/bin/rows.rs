//! Writes rows through the store alone, as fast as it takes them, and prints the rate of each
//! tenth. For `make bench-years`: the rate must not fall as the table grows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use fetchline_queue::{FetchRequest, Fingerprint, PartId};
use fetchline_store::{Batch, Body, Fetch, Outcome, Store, StoreConfig};
use time::OffsetDateTime;

/// Rows of a part; each night is one.
const ROWS_OF_PART: u32 = 100_000;
const ROWS_OF_BATCH: u32 = 500;
/// Batches that are written at the same time, as by two workers.
const WRITES: usize = 2;

/// Writes rows and prints the rate of each tenth of them.
#[derive(Parser)]
struct Args {
    /// MySQL or MariaDB, with the schema of fetchline
    #[arg(long, env = "DATABASE_URL")]
    database_url: String,
    /// Rows to write
    #[arg(long, default_value_t = 10_000_000)]
    count: u32,
}

/// The rows of a batch: small pages with a body of 380 bytes.
fn batch(run: &str, part: PartId, first: u32) -> anyhow::Result<Batch<()>> {
    let mut batch = Batch::default();
    let name = part.to_string();
    for ordinal in first..first + ROWS_OF_BATCH {
        let url = format!("https://shop.example/p/{ordinal}");
        let fingerprint = Fingerprint::of(run, &name, &FetchRequest::get_url(&url)?, 0);
        let key = part.task(ordinal, &fingerprint);
        let fetched_at = OffsetDateTime::now_utc();
        let row = Fetch {
            part: Some(name.clone()),
            status: Some(200),
            body: Body::Text("tea ".repeat(95)),
            worker: "rows".into(),
            ..Fetch::new(*key.as_bytes(), run, &url, Outcome::Ok, fetched_at)
        };
        batch.push(Box::new(row), ());
    }
    Ok(batch)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (url, pool_timeout) = (args.database_url, Duration::from_secs(5));
    let store = Arc::new(Store::open(StoreConfig { url, pool: 4, pool_timeout })?);
    let tenth = args.count / 10;
    let (mut part, mut began) = (PartId::new(), Instant::now());
    let mut writes = VecDeque::new();
    for first in (0..args.count).step_by(ROWS_OF_BATCH as usize) {
        if first % ROWS_OF_PART == 0 {
            part = PartId::new();
        }
        let batch = batch("rows", part, first % ROWS_OF_PART)?;
        let store = store.clone();
        writes.push_back(tokio::spawn(async move { store.write(batch).await }));
        while writes.len() >= WRITES {
            let Some(write) = writes.pop_front() else { break };
            let written = write.await?;
            ensure!(written.unwritten.is_none(), "a batch was not written");
        }
        let next = first + ROWS_OF_BATCH;
        if next.is_multiple_of(tenth) {
            println!("{next} {:.0}", f64::from(tenth) / began.elapsed().as_secs_f64());
            began = Instant::now();
        }
    }
    for write in writes {
        ensure!(write.await?.unwritten.is_none(), "a batch was not written");
    }
    store.close().await;
    Ok(())
}
