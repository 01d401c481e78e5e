//! The end of a delivery: ack, requeue, or republication. No code outside of this folder acks.

mod claim;
mod early_receipts;
mod ledger;
mod republisher;
mod settler;
#[cfg(test)]
mod model;

pub(crate) use claim::{Claim, Claims, Receipt};
#[cfg(feature = "bench")]
pub(crate) use ledger::Ledger;
pub(crate) use republisher::{RepublisherHandle, channel as republishing};
pub(crate) use settler::{Session, SettlerHandle, channel as settling};
