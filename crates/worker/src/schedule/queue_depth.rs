//! How many messages wait at the broker.

use fetchline_queue::{Broker, QueueCounts, Topology};
use tokio::sync::watch;

use crate::settle::Session;

/// Reads the depth of `urls` on the present session.
#[derive(Clone)]
pub(crate) struct QueueDepth {
    pub(crate) broker: Broker,
    pub(crate) session: watch::Receiver<Option<Session>>,
}

impl QueueDepth {
    /// Returns the ready messages and the consumers; `None` if the broker does not answer.
    pub(super) async fn read(&self) -> Option<QueueCounts> {
        let session = self.session.borrow().clone()?;
        self.broker.topology().counts(session.connection(), Topology::URLS).await.ok().flatten()
    }
}
