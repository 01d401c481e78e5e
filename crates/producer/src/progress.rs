//! What those see who watch.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fetchline_queue::Blocked;

use crate::sift::Rejection;

/// What happens on the way, for those who watch.
#[derive(Debug)]
pub enum Event<'a> {
    /// A line was refused.
    Rejected {
        /// Which, and why.
        rejection: &'a Rejection,
        /// The row of headings that it stands under, as it was given; `None` where there is none.
        headings: Option<&'a str>,
    },
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
    /// Tasks that an earlier `produce` of the same part had sent.
    pub resumed: AtomicU64,
    blocked: Mutex<Option<Blocked>>,
}

impl Progress {
    /// That the broker takes nothing at the moment, why, and since when.
    pub fn blocked(&self) -> Option<Blocked> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_blocked(&self, blocked: Option<Blocked>) {
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = blocked;
    }
}
