//! Directives of operators: their words, the stream that each worker reads, and the news with which
//! workers answer.

mod directive;
mod host_change;
mod news;
mod refusal;
mod stream;

use lapin::options::BasicPublishOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation};
use time::OffsetDateTime;

pub use directive::{Directive, Scope};
pub use host_change::{HostChange, parse_rate};
pub use news::{News, publish_news};
pub use refusal::{Refusal, Verb};
pub use stream::{Begin, ControlStream, TypedWord};

use crate::connection::{open_confirm_channel, within};
pub use crate::host::{covers, parse_pattern};
use crate::message::header;
use crate::publish::unless_blocked;
use crate::{Broker, Error, Topology};

/// Publishes a directive, and returns when the broker has confirmed it. `by` names the operator.
///
/// # Errors
///
/// [`Error::Blocked`] while the broker is under an alarm.
pub async fn publish(broker: &Broker, directive: &Directive, by: &str) -> Result<(), Error> {
    let connection = broker.connect().await?;
    broker.topology().declare_control(&connection).await?;
    let published = within("publishing a directive", async {
        let channel = open_confirm_channel(&connection).await?;
        // The default exchange: a user who may only write to the fleet's exchange cannot direct the
        // workers.
        let queue = broker.topology().queue(Topology::CONTROL);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let mut headers = FieldTable::default();
        header::put(&mut headers, header::BY, by);
        let properties = BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_delivery_mode(2)
            .with_timestamp(u64::try_from(now).unwrap_or_default())
            .with_headers(headers);
        let body = directive.to_string();
        let failed = Error::amqp("publishing failed");
        let confirm = channel
            .basic_publish("".into(), queue.into(), options, body.as_bytes(), properties)
            .await
            .map_err(&failed)?;
        match confirm.await.map_err(&failed)? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(Error::Unroutable),
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(Error::Nacked),
        }
    });
    unless_blocked(&connection, published).await
}
