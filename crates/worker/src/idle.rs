//! Whether there is nothing left to do.

use std::time::Duration;

use fetchline_queue::{Broker, Topology};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::dependencies::Dependencies;
use crate::settle::Session;

/// Between two looks at the queue. While a message is on its way between two queues it is in neither one's count.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often nothing has to be seen.
const LOOKS: u32 = 2;

/// Cancels `stop` when the queue was seen empty twice and this worker holds nothing.
pub(crate) async fn stop_when_empty(
    broker: Broker,
    session: watch::Receiver<Option<Session>>,
    dependencies: Dependencies,
    stop: CancellationToken,
) {
    let mut seen_empty = 0;
    while seen_empty < LOOKS {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let present = session.borrow().clone();
        let empty = match present {
            Some(session) => {
                dependencies.database_is_up() && session.held() == 0 && queues_are_empty(&broker, &session).await
            }
            None => false,
        };
        seen_empty = if empty { seen_empty + 1 } else { 0 };
    }
    info!("nothing is left to do");
    stop.cancel();
}

/// The queue of work and every retry queue.
async fn queues_are_empty(broker: &Broker, session: &Session) -> bool {
    let topology = broker.topology();
    for key in topology.keys().iter().filter(|key| *key != Topology::DEAD) {
        let depth = topology.depth(session.connection(), key).await;
        if !depth.is_ok_and(|depth| depth.is_none_or(|depth| depth.ready == 0)) {
            return false;
        }
    }
    true
}
