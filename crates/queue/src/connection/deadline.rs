//! The deadline of every request to the broker.

use std::time::Duration;

use crate::Error;

/// How long the broker may take to answer a request.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// Bounds a request to the broker. `what` completes the sentence "the broker did not answer".
pub async fn within<T>(
    what: &'static str,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(DEADLINE, request)
        .await
        .unwrap_or(Err(Error::Deadline(DEADLINE.as_secs(), what)))
}
