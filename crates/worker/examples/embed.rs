//! A worker inside another service.
//!
//! The service has work of its own. It stops the worker with itself, and notices when the worker
//! fails. It takes the locations of the broker and of the database from `AMQP_URL` and
//! `DATABASE_URL`; run `fetchline migrate` first.

use std::error::Error;
use std::time::Duration;

use fetchline_queue::{Broker, BrokerConfig, Role};
use fetchline_store::{Store, StoreConfig};
use fetchline_worker::{Worker, WorkerConfig};

const NAME: &str = "shop-service-1";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker =
        BrokerConfig { url: std::env::var("AMQP_URL")?, ca: None, prefix: "fetchline".to_owned() };
    let store = StoreConfig {
        url: std::env::var("DATABASE_URL")?,
        pool: 4,
        pool_timeout: Duration::from_secs(5),
    };
    let mut config = WorkerConfig::new(NAME);
    config.schedule.concurrency = 50;
    config.fetch.timeout = Duration::from_secs(20);
    config.execute.max_attempts = 3;

    let broker = Broker::new(&broker, Role::Consume, NAME)?;
    let mut worker = Worker::start(config, broker, Store::open(store)?).await?;

    // The service ends on Ctrl-C, and the worker with it.
    let handle = worker.stop_handle();
    tokio::spawn(async move {
        serve_requests().await;
        handle.stop();
    });

    let summary = worker.wait().await?;
    println!("{} pages fetched, {} failed", summary.ok, summary.failed);
    Ok(())
}

/// Stands in for the work of the service.
async fn serve_requests() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("cannot listen for Ctrl-C: {error}");
    }
}
