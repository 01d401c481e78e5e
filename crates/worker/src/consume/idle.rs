//! Stops a worker when there is nothing left to do.

use std::time::Duration;

use fetchline_queue::{Broker, Topology};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::control::dependencies::Dependencies;
use crate::settle::Session;

/// The time between two checks. A message that moves from one queue to another is in neither count
/// for a moment.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How many checks in a row have to find nothing.
const CHECKS: u32 = 2;

/// Cancels `stop` once all queues are empty and this worker holds no message.
pub(crate) async fn stop_when_empty(
    broker: Broker,
    session: watch::Receiver<Option<Session>>,
    dependencies: Dependencies,
    stop: CancellationToken,
) {
    let mut empty_checks = 0;
    while empty_checks < CHECKS {
        tokio::select! {
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        let present = session.borrow().clone();
        let is_empty = match present {
            Some(session) => {
                dependencies.database_is_up()
                    && session.held() == 0
                    && queues_are_empty(&broker, &session).await
            }
            None => false,
        };
        empty_checks = if is_empty { empty_checks + 1 } else { 0 };
    }
    info!("nothing is left to do");
    stop.cancel();
}

/// Whether all queues but that of the dead letters are empty.
async fn queues_are_empty(broker: &Broker, session: &Session) -> bool {
    let topology = broker.topology();
    for key in topology.keys().iter().filter(|key| *key != Topology::DEAD) {
        let depth = topology.counts(session.connection(), key).await;
        if !depth.is_ok_and(|depth| depth.is_none_or(|depth| depth.ready == 0)) {
            return false;
        }
    }
    true
}
