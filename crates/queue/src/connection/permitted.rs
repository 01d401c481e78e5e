//! Declares the topology as far as the user may, for producers.

use lapin::Connection;
use lapin::types::FieldTable;

use super::deadline::within;
use super::permissions::{MissingPermission, Trial, may_exist};
use super::topology::Topology;
use crate::Error;

/// What is missing, since the user may not declare it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undeclared {
    /// The names.
    pub names: Vec<String>,
    /// What the user lacks.
    pub lacking: Vec<MissingPermission>,
}

impl Topology {
    /// Declares what is missing as far as the user may. Returns what is missing then. What the
    /// broker does not show to the user counts as present. With `binds_all` also binds what exists.
    pub async fn declare_permitted(
        &self,
        connection: &Connection,
        binds_all: bool,
    ) -> Result<Undeclared, Error> {
        let mut missing = Undeclared::default();
        let existing = within("declaring", self.declare_exchange(connection, true)).await;
        let mut binds_all = binds_all;
        if !may_exist(existing)? {
            match within("declaring", self.declare_exchange(connection, false)).await {
                Err(error) if error.is_access_refused() => {
                    let (name, purpose) = (self.exchange().to_owned(), "declaring the exchange");
                    missing.names.push(name.clone());
                    missing.lacking.push(MissingPermission { kind: "configure", name, purpose });
                    return Ok(missing);
                }
                declared => declared?,
            }
            binds_all = true;
        }
        for (key, arguments) in self.queues() {
            let declaring = self.declare_permitted_queue(connection, &key, arguments, binds_all);
            if !within("declaring a queue", declaring).await? {
                let trial = Trial { topology: self, connection };
                missing.lacking.extend(within("declaring", trial.declaration(&key)).await?);
                missing.names.push(self.queue(&key));
            }
        }
        Ok(missing)
    }

    /// `false` if the queue is missing, and the user may not declare it.
    async fn declare_permitted_queue(
        &self,
        connection: &Connection,
        key: &str,
        arguments: FieldTable,
        binds_existing: bool,
    ) -> Result<bool, Error> {
        let is_missing = !may_exist(self.declare_queue(connection, key, None).await)?;
        if is_missing {
            match self.declare_queue(connection, key, Some(arguments)).await {
                Err(error) if error.is_access_refused() => return Ok(false),
                declared => _ = declared?,
            }
        }
        if is_missing || binds_existing {
            match self.bind_all(connection, key).await {
                // Binding what exists is only a repair.
                Err(error) if error.is_access_refused() => {}
                bound => bound?,
            }
        }
        Ok(true)
    }
}
