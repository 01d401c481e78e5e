//! Asks the leader of a queue what it holds. A node that does not reach the leader reports an empty
//! queue without consumers.

use std::time::Duration;

use lapin::Connection;
use lapin::options::BasicGetOptions;
use tokio::time::timeout;

use super::broker::Broker;
use super::channel::open_channel;
use super::counts::QueueCounts;
use crate::Error;

/// How long the leader of a queue may take to answer.
const LEADER: Duration = Duration::from_secs(5);

impl Broker {
    /// Like [`crate::Topology::counts`], but never zeros that nobody has counted: the leader of a
    /// queue that seems to be empty and unused is asked. A user who may not read the queue gets the
    /// zeros.
    ///
    /// # Errors
    ///
    /// [`Error::NoLeader`] if the leader does not answer.
    pub async fn known_counts(
        &self,
        connection: &Connection,
        key: &str,
    ) -> Result<Option<QueueCounts>, Error> {
        match self.topology().counts(connection, key).await? {
            Some(counts) if counts.may_be_unknown() => self.ask_leader(key, counts).await.map(Some),
            counts => Ok(counts),
        }
    }

    /// Gets a message, which only the leader can hand out, and gives it back by closing the
    /// channel. A broker that cannot reach the leader closes the connection, so this has its own.
    async fn ask_leader(&self, key: &str, counts: QueueCounts) -> Result<QueueCounts, Error> {
        let connection = self.connect().await?;
        let queue = self.topology().queue(key);
        let asking = async {
            let channel = open_channel(&connection).await?;
            let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await;
            got.map_err(Error::amqp("cannot look into a queue"))
        };
        match timeout(LEADER, asking).await {
            Ok(Ok(None)) => Ok(counts),
            Ok(Ok(Some(message))) => {
                Ok(QueueCounts { ready: message.message_count.saturating_add(1), ..counts })
            }
            Ok(Err(error)) if error.is_access_refused() => Ok(counts),
            Ok(Err(_)) | Err(_) => Err(Error::NoLeader(queue)),
        }
    }
}
