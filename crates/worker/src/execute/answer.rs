//! What a fetch comes to.

use std::time::Duration;

use fetchline_queue::Address;
use fetchline_store::Outcome;

use crate::budget::Room;

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    /// The last address, where it is not the first one.
    pub(crate) redirected_to: Option<Address>,
    pub(crate) content_type: Option<String>,
    /// The whole body after decompression; `None` where it was not received whole.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) error: Option<String>,
    /// How long the site asks to wait.
    pub(crate) retry_after: Option<Duration>,
    /// The memory of the body.
    pub(crate) room: Room,
    /// There is no answer, and it may have been us: the site had to wait until there was room for its body.
    pub(crate) hindered: bool,
}

impl Answer {
    /// No answer at all.
    pub(crate) fn without(outcome: Outcome, error: String) -> Self {
        Self {
            outcome,
            status: None,
            redirected_to: None,
            content_type: None,
            body: None,
            error: Some(error),
            retry_after: None,
            room: Room::default(),
            hindered: false,
        }
    }
}
