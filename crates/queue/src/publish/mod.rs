//! Publishing with confirms.
//!
//! A [`ConfirmChannel`] publishes messages in a [`Round`] and then awaits the whole round, for this
//! reason: the client library attaches a returned (unroutable) message to whichever confirm is
//! resolved next, which need not be its own if several are outstanding. Only the confirms of a
//! whole round show which message came back, by its id. Two channels in turn keep the broker busy
//! all the same.

mod death;
mod wait;
mod draft;
mod round;
mod confirm_channel;
mod connection_blocked;
mod publisher;

pub use confirm_channel::ConfirmChannel;
pub(crate) use connection_blocked::unless_blocked;
pub use connection_blocked::{ConnectionBlocked, watch_blocked};
pub use death::Death;
pub use draft::Draft;
pub use publisher::Publisher;
pub(crate) use round::MAX_ROUND_BYTES;
pub use round::{Confirmed, MAX_ROUND, Round, Verdict};
pub use wait::Wait;
