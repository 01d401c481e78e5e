//! The end of a message: it is acked, requeued, or replaced by another one. No code outside this folder acks.

mod claim;
mod ledger;
mod republisher;
mod settler;

pub(crate) use claim::{Claim, Claims, Receipt};
#[cfg(feature = "bench")]
pub(crate) use ledger::Ledger;
pub(crate) use republisher::{Republish, channel as republishing};
pub(crate) use settler::{Session, Settle, channel as settling};
