//! A channel in confirm mode.

use futures_util::future::join_all;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Connection};

use super::draft::Draft;
use super::round::{Round, Sent};
use crate::connection::{open_confirm_channel, within};
use crate::{Error, Topology};

/// A channel in confirm mode that publishes to the exchange of a fleet.
///
/// Finish one [`Round`] before the next one begins on the same channel: otherwise an unroutable
/// message of one round may count as confirmed there.
pub struct ConfirmChannel {
    channel: Channel,
    exchange: ShortString,
}

impl ConfirmChannel {
    /// Opens a channel and enables confirms.
    pub async fn open(connection: &Connection, topology: &Topology) -> Result<Self, Error> {
        let channel = within("opening a channel", open_confirm_channel(connection)).await?;
        Ok(Self { channel, exchange: topology.exchange().into() })
    }

    /// Opens a channel that publishes to the exchange in which each queue has its name as key.
    pub(crate) async fn of_default_exchange(connection: &Connection) -> Result<Self, Error> {
        let channel = within("opening a channel", open_confirm_channel(connection)).await?;
        Ok(Self { channel, exchange: "".into() })
    }

    /// Publishes a message, and returns when the broker has confirmed it.
    pub(crate) async fn publish(&self, draft: Draft) -> Result<(), Error> {
        let mut round = Round::default();
        self.send(&mut round, [(draft, ())]).await;
        for verdict in round.finish().await {
            let _proof = verdict.into_result().map_err(|((), error)| error)?;
        }
        Ok(())
    }

    /// Sends messages within a round. A failure shows when the round is finished.
    ///
    /// The library reports for each message when it was written, which another thread does. So all
    /// messages are submitted first and awaited together.
    pub async fn send<T>(
        &self,
        round: &mut Round<T>,
        drafts: impl IntoIterator<Item = (Draft, T)>,
    ) {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let sending = drafts.into_iter().map(|(draft, token)| async move {
            let (routing_key, properties, body) = draft.into_parts();
            let (exchange, routing_key) = (self.exchange.clone(), (&*routing_key).into());
            let message_id = properties.message_id().clone();
            let confirm =
                self.channel.basic_publish(exchange, routing_key, options, &body, properties).await;
            Sent { token, message_id, confirm }
        });
        round.extend(join_all(sending).await);
    }

    /// Whether the channel can still send messages.
    pub fn is_open(&self) -> bool {
        self.channel.status().connected()
    }
}
