//! How busy the worker is: its places, and its share of the prefetch.

/// The places of a worker: how many fetches may be in flight.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) limit: usize,
    pub(super) used: usize,
    /// The most fetches at one host.
    pub(super) per_host: usize,
    /// Whether tasks start: not while the database is away.
    pub(super) is_open: bool,
}

impl Places {
    pub(super) fn has_free(&self) -> bool {
        self.used < self.limit
    }
}

/// The messages that a worker holds, and those that the broker has for it.
#[derive(Debug)]
pub(super) struct Load {
    /// The most messages that this worker may hold.
    pub(super) capacity: usize,
    /// This worker's share of the messages that the broker has ready, as last measured.
    pub(super) backlog: usize,
    pub(super) blocked: Blocked,
}

/// What could not use a free place of the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Blocked {
    pub(super) tasks: usize,
    /// Hosts with as many fetches in flight as they may have, and limits that hosts wait for.
    pub(super) bottlenecks: usize,
}

impl Load {
    /// Whether blocked tasks use so much of the prefetch that the broker might not deliver others
    /// while places are free.
    pub(super) fn is_clogged(&self, places: &Places) -> bool {
        places.has_free() && self.blocked.tasks * 4 >= self.capacity.saturating_sub(places.used) * 3
    }

    /// One bottleneck's share of the prefetch.
    pub(super) fn share(&self) -> usize {
        (self.capacity * 3 / 4 / self.blocked.bottlenecks.max(1)).max(1)
    }
}
