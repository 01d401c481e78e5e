//! When and where tasks are fetched: the frontier, host limits, and deferral to the broker.
//!
//! The [`Frontier`](frontier::Frontier) decides, and is plain data. The scheduler owns it: one
//! task of the runtime takes events from [`SchedulerHandle`]s one by one, and does what the
//! frontier asks.

mod config;
mod deferral;
mod frontier;
mod handle;
mod host_queue;
mod limit_publisher;
mod limits;
mod queue_depth;
mod rank;
mod reserved_slots;
mod scheduler;
mod throttle;
mod throughput;

pub use config::Config;
pub(crate) use deferral::Deferral;
pub use deferral::delay_tiers;
pub(crate) use frontier::{Denied, LONGEST_WAIT, WaitCounts};
pub(crate) use handle::{Event, Place, SchedulerHandle, channel};
pub(crate) use queue_depth::QueueDepth;
pub(crate) use scheduler::{Collaborators, Execute, Settings};
