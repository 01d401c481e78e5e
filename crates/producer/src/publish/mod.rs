//! From tasks to confirmed messages.

mod pacer;
mod reporter;
mod link;
mod queue_limit;
mod window;
mod sender;
mod publisher;

pub(crate) use publisher::{MAX_DELAY, PublishError, Publisher};
pub(crate) use sender::Sender;
