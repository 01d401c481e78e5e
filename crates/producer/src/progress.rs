//! What those see who watch.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::sift::Rejection;

/// What happens on the way, for those who watch.
#[derive(Debug)]
pub enum Event<'a> {
    /// A line was refused.
    Rejected(&'a Rejection),
    /// A task was not taken by the broker.
    NotSent {
        /// Its URL, credentials struck out.
        url: String,
        /// Why.
        why: &'a str,
    },
    /// Publishing waits.
    Waits {
        /// For what.
        why: &'a str,
    },
    /// The broker takes nothing: it is low on memory or disk. Told again every ten seconds.
    Blocked {
        /// What the broker says.
        reason: &'a str,
        /// For how long.
        since: Duration,
    },
    /// Publishing goes on after a wait.
    GoesOn,
}

/// Is told what happens.
pub(crate) type Observer = dyn Fn(Event<'_>) + Send + Sync;

/// Counts that can be read while publishing goes on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the input that were read.
    pub read: AtomicU64,
    /// Tasks that the broker confirmed.
    pub published: AtomicU64,
    /// Tasks that were sent and are not confirmed yet.
    pub unconfirmed: AtomicU64,
    /// Tasks that the broker did not take.
    pub not_sent: AtomicU64,
    /// Lines that were dropped since their URL was there before.
    pub duplicates: AtomicU64,
    /// Lines that were refused.
    pub rejected: AtomicU64,
}
