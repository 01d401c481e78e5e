//! The result of a fetch.

use std::time::Duration;

use fetchline_queue::{Address, Task};
use fetchline_store::Outcome;

use super::conditional::Version;
use super::failure::Fault;
use crate::memory_budget::Reservation;

/// The result of a fetch, whether it succeeded or failed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// The status of the last response; `None` where there was none.
    pub(crate) status: Option<u16>,
    /// The last address, where it differs from the first one.
    pub(crate) redirected_to: Option<Address>,
    pub(crate) content_type: Option<String>,
    /// The whole body after decompression; `None` where it was not received to its end.
    pub(crate) body: Option<Vec<u8>>,
    /// The version of the page, if that is asked for and the status is 200.
    pub(crate) version: Option<Box<Version>>,
    /// Why the outcome is not `ok`, in one sentence.
    pub(crate) error: Option<String>,
    /// The `Retry-After` of the last response.
    pub(crate) retry_after: Option<Duration>,
    /// The memory of the body.
    pub(crate) reservation: Reservation,
    /// There is no body, and the wait for its memory may be why: the site had to wait meanwhile.
    pub(crate) delayed_by_memory: bool,
    /// Whose fault it is that the outcome is not `ok`.
    pub(crate) fault: Fault,
}

impl Answer {
    /// How many attempts the task has made, if it ends with this result. A fetch that never reached
    /// the site for a reason of ours is not an attempt, and neither is a cancelled task.
    pub(crate) fn attempts(&self, task: &Task) -> u32 {
        let reached_site = self.status.is_some()
            || !(self.fault.is_not_of_site() && self.fault.is_before_request());
        let is_attempt = reached_site && self.outcome != Outcome::Cancelled;
        if is_attempt { task.attempt } else { task.attempt - 1 }
    }

    /// The result of a task whose site has sent nothing.
    pub(crate) fn without_response(outcome: Outcome, error: String) -> Self {
        Self {
            outcome,
            status: None,
            redirected_to: None,
            content_type: None,
            body: None,
            version: None,
            error: Some(error),
            retry_after: None,
            reservation: Reservation::default(),
            delayed_by_memory: false,
            fault: Fault::Site,
        }
    }
}
