//! Which task is fetched when: the frontier, host limits, and what is deferred to the broker.
//!
//! [`Frontier`](frontier::Frontier) decides, and is plain data. [`Scheduler`] is its way in: one task of the runtime owns
//! the frontier, takes events one after the other, and does what the frontier says.

mod deferral;
mod frontier;
mod host_queue;
mod limits;
mod pacer;
mod place;
mod scheduler;
mod throttle;

pub(crate) use deferral::Deferral;
pub use deferral::delay_tiers;
pub(crate) use frontier::Waiting;
pub(crate) use place::{Denied, Event, Place, Scheduler, channel};
pub(crate) use scheduler::{Execute, QueueDepth, Scheduling, Settings};
