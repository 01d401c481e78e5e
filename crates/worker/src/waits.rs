//! How many tasks wait for what: for those who watch the worker from outside.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many wait for their turn, by what they wait for.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// A place among those who are fetched from one host at once.
    pub(crate) host: Count,
    /// The next slot of a host whose rate is limited.
    pub(crate) rate: Count,
    /// A permit of the worker.
    pub(crate) concurrency: Count,
}

/// How many there are at the moment.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, while this lives.
    pub(crate) fn one(&self) -> One<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        One(self)
    }
}

/// One that waits. Dropped when it does so no longer.
#[must_use]
pub(crate) struct One<'a>(&'a Count);

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
