//! Directives of operators: their words, the stream that each worker reads, and the news with which
//! workers answer.

mod directive;
mod host_change;
mod news;
mod refusal;
mod stream;

pub use directive::{Directive, Scope};
pub use host_change::{HostChange, parse_rate};
pub use news::{News, publish_news};
pub use refusal::{Refusal, Verb};
pub use stream::{Begin, ControlStream, TypedWord};

use crate::connection::within;
pub use crate::host::{covers, parse_pattern, split_port};
use crate::publish::unless_blocked;
use crate::{Broker, ConfirmChannel, Draft, Error, Topology};

/// Publishes a directive, and returns when the broker has confirmed it. `by` names the operator.
///
/// # Errors
///
/// [`Error::Blocked`] while the broker is under an alarm.
pub async fn publish(broker: &Broker, directive: &Directive, by: &str) -> Result<(), Error> {
    let connection = broker.connect().await?;
    broker.topology().declare_control(&connection).await?;
    let published = within("publishing a directive", async {
        // A user who may only write to the fleet's exchange cannot direct the workers.
        let channel = ConfirmChannel::of_default_exchange(&connection).await?;
        let queue = broker.topology().queue(Topology::CONTROL);
        channel.publish(Draft::directive(queue, directive.to_string(), by)).await
    });
    unless_blocked(&connection, published).await
}
