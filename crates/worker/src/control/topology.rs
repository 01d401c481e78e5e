//! Keeps the exchange and the queues: checks now and then that they exist, and restores bindings.

use std::time::Duration;

use fetchline_queue::lapin::Connection;
use fetchline_queue::{Error, Topology};
use tracing::{debug, info, warn};

use super::dependencies::Dependencies;
use super::news::{Fact, NewsHandle};
use crate::error_chain::chain;

/// The time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Checks until the connection is lost. What is missing is declared; what this worker may not
/// declare makes it unready.
pub(super) async fn keep(
    connection: &Connection,
    topology: &Topology,
    dependencies: &Dependencies,
    news: &NewsHandle,
) -> Result<(), Error> {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        match topology.declare(connection).await {
            Ok(created) => {
                if dependencies.topology_is(None) {
                    info!("the exchange and all queues exist again");
                    news.tell(Fact::new(
                        "topology_restored",
                        "topology restored".to_owned(),
                        "the exchange and all queues exist again".to_owned(),
                    ));
                }
                for what in created {
                    warn!(what, "was missing; this worker has declared it again");
                    news.tell(Fact::new(
                        "topology_restored",
                        format!("topology restored {what}"),
                        format!("{what} was missing; a worker has declared it again"),
                    ));
                }
            }
            Err(error @ Error::Missing(_)) => {
                let cause = chain(&error);
                if dependencies.topology_is(Some(&cause)) {
                    warn!(cause, "the exchange or a queue is missing; retrying until it exists");
                    news.tell(Fact::new(
                        "topology_missing",
                        format!("topology missing {cause}"),
                        cause,
                    ));
                }
            }
            Err(error) if error.is_answer() => {
                debug!(cause = chain(&error), "cannot check the exchange and the queues");
            }
            Err(error) => return Err(error),
        }
    }
}
