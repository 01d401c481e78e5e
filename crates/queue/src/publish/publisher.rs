//! The simple way to publish from another service.

use std::time::Duration;

use lapin::Connection;
use tokio::time::timeout;

use super::confirm_channel::ConfirmChannel;
use super::draft::Draft;
use super::round::{MAX_ROUND, MAX_ROUND_BYTES, Round};
use crate::{Broker, Error};

/// How long the broker may take to confirm that the connection is closed.
const CLOSING: Duration = Duration::from_secs(5);

/// Publishes tasks from another service and awaits their confirms.
///
/// It owns a connection. After an error, drop it and connect again.
pub struct Publisher {
    channel: ConfirmChannel,
    connection: Connection,
}

impl Publisher {
    /// Connects to the broker.
    pub async fn connect(broker: &Broker) -> Result<Self, Error> {
        let connection = broker.connect().await?;
        let channel = ConfirmChannel::open(&connection, broker.topology()).await?;
        Ok(Self { channel, connection })
    }

    /// Publishes messages and returns when the broker has confirmed all of them.
    ///
    /// After an error some of the messages may be published. When all of them are published again,
    /// a task still has one row, but its request may be sent twice. There is no deadline, since a
    /// broker under an alarm does not confirm until the alarm is over.
    pub async fn publish(&mut self, drafts: impl IntoIterator<Item = Draft>) -> Result<(), Error> {
        let mut drafts = drafts.into_iter().map(|draft| (draft, ())).peekable();
        while drafts.peek().is_some() {
            let (mut round, mut batch, mut bytes) = (Round::default(), Vec::new(), 0);
            while batch.len() < MAX_ROUND
                && let Some((draft, ())) = drafts.next_if(|(draft, ())| {
                    batch.is_empty() || bytes + draft.body_len() <= MAX_ROUND_BYTES
                })
            {
                bytes += draft.body_len();
                batch.push((draft, ()));
            }
            self.channel.send(&mut round, batch).await;
            for verdict in round.finish().await {
                let _proof = verdict.into_result().map_err(|((), error)| error)?;
            }
        }
        Ok(())
    }

    /// Closes the connection. Dropping it does the same without waiting, and the broker logs that
    /// the client was aborted.
    pub async fn close(self) {
        _ = timeout(CLOSING, self.connection.close(200, "done".into())).await;
    }
}
