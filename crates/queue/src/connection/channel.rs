//! Channels of a connection.

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};

use crate::Error;

/// Opens a channel.
pub async fn open_channel(connection: &Connection) -> Result<Channel, Error> {
    connection.create_channel().await.map_err(Error::amqp("cannot open a channel"))
}

/// Opens a channel in confirm mode.
pub(crate) async fn open_confirm_channel(connection: &Connection) -> Result<Channel, Error> {
    let channel = open_channel(connection).await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .map_err(Error::amqp("cannot enable publisher confirms"))?;
    Ok(channel)
}
