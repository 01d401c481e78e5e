//! AMQP's `connection.blocked`.

use lapin::{Connection, Event};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_stream::StreamExt;

use crate::Error;

/// The broker does not read from a connection, since it is low on memory or disk
/// (`connection.blocked`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionBlocked {
    /// The reason that the broker gives.
    pub reason: String,
    /// When this process learned of it.
    pub since: Instant,
}

/// Watches whether the broker blocks a connection, for as long as the connection lives. The broker
/// reports it only after something was published.
pub fn watch_blocked(connection: &Connection) -> watch::Receiver<Option<ConnectionBlocked>> {
    let (sender, receiver) = watch::channel(None);
    let mut events = Box::pin(connection.events_listener());
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectionBlocked(reason) => {
                    let blocked = ConnectionBlocked { reason, since: Instant::now() };
                    sender.send_replace(Some(blocked));
                }
                Event::ConnectionUnblocked => _ = sender.send_replace(None),
                _ => {}
            }
            if sender.is_closed() {
                return;
            }
        }
    });
    receiver
}

/// The result of a publication, or [`Error::Blocked`] once the broker blocks the connection: an
/// operator should not wait for an alarm to end.
pub(crate) async fn unless_blocked<T>(
    connection: &Connection,
    publishing: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut blocked = watch_blocked(connection);
    let is_blocked = async {
        let blocked = blocked.wait_for(Option::is_some).await;
        let reason = blocked.ok().and_then(|blocked| Some(blocked.as_ref()?.reason.clone()));
        match reason {
            Some(reason) => reason,
            // The connection has ended; publishing reports that.
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = publishing => result,
        reason = is_blocked => Err(Error::Blocked(reason)),
    }
}
