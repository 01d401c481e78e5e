//! Compares the exchange and the queues on the broker with those that would be declared.

use std::fmt;

use lapin::Connection;
use lapin::types::FieldTable;

use super::deadline::within;
use super::topology::Topology;
use crate::Error;

/// Arguments of a delay queue without which tasks stay in it for ever, or come back elsewhere.
const DELAY_ARGUMENTS: [&str; 4] =
    ["x-queue-type", "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key"];
/// Properties of an exchange without which messages reach other queues, or none.
const EXCHANGE_ARGUMENTS: [&str; 2] = ["type", "internal"];

/// An exchange or a queue that is not as it would be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Such as `the queue fetchline.urls`.
    pub what: String,
    /// The broker's description of the first difference.
    pub difference: String,
    /// Whether messages would be multiplied or get stuck.
    pub is_fatal: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, difference, .. } = self;
        write!(f, "{what} is not as a worker declares it: {difference}")
    }
}

impl Topology {
    /// The existing exchange and queues that differ from what [`Self::declare`] would create. The
    /// broker compares them, as far as the user may configure them.
    pub(crate) async fn differences(
        &self,
        connection: &Connection,
    ) -> Result<Vec<Difference>, Error> {
        let comparing = async {
            let mut differences = Vec::new();
            let exists = self.declare_exchange(connection, true).await;
            if is_found(exists)? {
                let compared = self.declare_exchange(connection, false).await;
                let what = format!("the exchange {}", self.exchange());
                differences.extend(difference(compared, what, &EXCHANGE_ARGUMENTS)?);
            }
            for (key, arguments) in self.compared() {
                differences.extend(self.queue_difference(connection, &key, arguments).await?);
            }
            Ok(differences)
        };
        within("comparing the topology", comparing).await
    }

    async fn queue_difference(
        &self,
        connection: &Connection,
        key: &str,
        arguments: FieldTable,
    ) -> Result<Option<Difference>, Error> {
        if !is_found(self.declare_queue(connection, key, None).await)? {
            return Ok(None);
        }
        let compared = self.declare_queue(connection, key, Some(arguments)).await;
        let fatal: &[&str] = match self.is_delay(key) {
            true => &DELAY_ARGUMENTS,
            false => &[],
        };
        let mut difference = difference(compared, format!("the queue {}", self.queue(key)), fatal)?;
        if let Some(found) = &mut difference {
            // Messages of a stream are never removed, so each one would be consumed again.
            found.is_fatal |= found.difference.contains("current is 'stream'");
        }
        Ok(difference)
    }
}

fn is_found<T>(declared: Result<T, Error>) -> Result<bool, Error> {
    match declared {
        Ok(_) => Ok(true),
        // A user without permissions learns nothing; consuming or publishing will say so.
        Err(error) if error.is_not_found() || error.is_access_refused() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Interprets the broker's answer to a declaration of what exists. A user who may not configure
/// learns nothing.
fn difference<T>(
    declared: Result<T, Error>,
    what: String,
    fatal: &[&str],
) -> Result<Option<Difference>, Error> {
    match declared {
        Ok(_) => Ok(None),
        Err(error) if error.is_access_refused() => Ok(None),
        Err(error) => match error.inequivalent_argument() {
            None => Err(error),
            Some((argument, difference)) => {
                let is_fatal = fatal.contains(&argument.as_str());
                Ok(Some(Difference { what, difference, is_fatal }))
            }
        },
    }
}
