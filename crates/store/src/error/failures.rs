//! The failures of the nodes of a database, of which the caller gets one error.

use std::io::ErrorKind;
use std::time::Duration;

use fetchline_nodes::Node;

use super::Error;
use super::class::number;

/// ER_CON_COUNT_ERROR: too many connections.
const TOO_MANY_CONNECTIONS: u16 = 1040;

/// Why each node takes no connection; `None` stands for one that did not answer in time.
pub(crate) struct Failures(pub(crate) Vec<(Node, Option<sqlx::Error>)>);

impl Failures {
    /// Whether this may be over in a moment: a server starts, or its connections are in use.
    pub(crate) fn may_pass(&self) -> bool {
        self.0.iter().any(|(_, error)| match error {
            None => false,
            Some(sqlx::Error::Io(error)) => error.kind() == ErrorKind::ConnectionRefused,
            Some(error) => number(error) == Some(TOO_MANY_CONNECTIONS),
        })
    }

    /// One error. That of a server says more than that of a network.
    pub(crate) fn into_error(self, timeout: Duration) -> Error {
        let text = self.0.iter().map(|(node, error)| match error {
            Some(error) => format!("{node}: {error}"),
            None => format!("{node}: it does not answer within {} s", timeout.as_secs_f64()),
        });
        let failures = text.collect::<Vec<_>>().join("; ");
        let mut errors: Vec<_> = self.0.into_iter().filter_map(|(_, error)| error).collect();
        errors.sort_by_key(|error| number(error).is_none());
        Error::NoNode { failures, decisive: errors.into_iter().next() }
    }
}

/// Whether this is what a database answers.
pub(crate) fn is_answer(error: &sqlx::Error) -> bool {
    number(error).is_some() || matches!(error, sqlx::Error::Tls(_))
}
