//! Brings a worker back to the node of the broker that it prefers, so that a fleet spreads again
//! over all nodes after each of them was restarted.

use std::time::Duration;

use fetchline_queue::Broker;

use crate::settle::Session;

/// The average time between two looks.
const INTERVAL: Duration = Duration::from_secs(60);

/// Waits until the node that this process prefers takes connections again, if the session is on
/// another one.
pub(super) async fn preferred_node(broker: &Broker, session: &Session) {
    loop {
        tokio::time::sleep(INTERVAL.mul_f64(rand::random_range(0.5..1.5))).await;
        if broker.prefers_another_to(session.node())
            && let Ok((_, node)) = broker.connect_to_node(&[]).await
            && node != *session.node()
        {
            return;
        }
    }
}
