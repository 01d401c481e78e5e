//! Writes limits that follow from throttling to the database, for all workers.

use fetchline_store::Store;
use tracing::{info, warn};

use super::handle::{Event, SchedulerHandle};
use super::queue_depth::QueueDepth;
use super::throttle::LimitUpdate;
use crate::error_chain::chain;

/// Writes one update, and logs the result.
pub(super) async fn publish(
    update: LimitUpdate,
    store: &Store,
    queue: &QueueDepth,
    scheduler: &SchedulerHandle,
) {
    let (published, host, why) = match update {
        LimitUpdate::CoolDown { host, wait, why } => {
            let published = store.cool_down(&host, wait, &why).await;
            // A poll in the meantime may have read the host's row without the cool-down.
            scheduler.send(Event::CoolDown { host: host.clone(), wait });
            (published, host, why)
        }
        LimitUpdate::Slow { host, rate, is_of_fleet, why } => {
            // Every consumer of the queue is taken to send at this worker's rate.
            let workers = if is_of_fleet {
                1
            } else {
                queue.read().await.map_or(1, |depth| depth.consumers.max(1))
            };
            (store.slow(&host, rate * f64::from(workers) / 2.0, &why).await, host, why)
        }
    };
    match published {
        Ok(()) => info!(host = &*host, why, "rate limit tightened for host"),
        Err(error) => {
            let cause = chain(&error);
            let host = &*host;
            warn!(host, why, cause, "cannot tighten the rate limit of a host for other workers");
        }
    }
}
