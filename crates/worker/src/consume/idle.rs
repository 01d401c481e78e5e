//! Stops a worker when there is nothing left to do.

use std::time::Duration;

use fetchline_queue::{Broker, Topology};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::control::dependencies::Dependencies;
use crate::error_chain::chain;
use crate::settle::Session;

/// The time between two checks. A message that moves from one queue to another is in neither count
/// for a moment.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How many checks in a row have to find nothing.
const CHECKS: u32 = 2;

/// Why messages may be left although the queues are empty, after a connection was lost.
const HELD: &str = "the broker may still hold messages for a connection that was lost";

/// What a check finds.
#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    Something,
    /// Nobody knows, for this reason.
    Unknown(String),
}

/// Cancels `stop` once all queues are empty and this worker holds no message. A queue whose depth
/// is unknown does not count as empty.
pub(crate) async fn stop_when_empty(
    broker: Broker,
    session: watch::Receiver<Option<Session>>,
    dependencies: Dependencies,
    stop: CancellationToken,
) {
    let (mut empty_checks, mut logged) = (0, None);
    while empty_checks < CHECKS {
        tokio::select! {
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        let present = session.borrow().clone();
        let left = match present {
            Some(session) if dependencies.database_is_up() && session.held() == 0 => {
                match look(&broker, &session).await {
                    Left::Nothing if may_be_held(&broker, &session) => Left::Unknown(HELD.into()),
                    left => left,
                }
            }
            _ => Left::Something,
        };
        empty_checks = if left == Left::Nothing { empty_checks + 1 } else { 0 };
        let reason = if let Left::Unknown(reason) = left { Some(reason) } else { None };
        if let Some(reason) = reason.as_ref().filter(|reason| logged.as_ref() != Some(*reason)) {
            warn!(reason, "not known whether the queues are empty; waiting until it is known");
        }
        logged = reason;
    }
    info!("nothing is left to do");
    stop.cancel();
}

/// Whether the broker may not have noticed yet that an earlier connection of this worker is gone.
/// Until then it counts messages as delivered that nobody has.
fn may_be_held(broker: &Broker, session: &Session) -> bool {
    session.follows_loss() && session.age() < broker.lost_connection_timeout()
}

/// Reads the depths of all queues but that of the dead letters.
async fn look(broker: &Broker, session: &Session) -> Left {
    let topology = broker.topology();
    for key in topology.keys().iter().filter(|key| *key != Topology::DEAD) {
        match broker.known_counts(session.connection(), key).await {
            Ok(Some(counts)) if counts.ready > 0 => return Left::Something,
            Ok(Some(_)) => {}
            Ok(None) if [Topology::RUNS, Topology::URLS].contains(&key.as_str()) => {
                let reason = format!("the queue {} does not exist", topology.queue(key));
                return Left::Unknown(reason);
            }
            // Declared when a task is deferred for so long.
            Ok(None) => {}
            Err(error) => return Left::Unknown(chain(&error)),
        }
    }
    Left::Nothing
}
