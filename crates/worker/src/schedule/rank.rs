//! The order of hosts that wait for the same thing.

use std::cmp::Reverse;

/// The priority of what a host sends next. Fetches in flight go before all tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// A task; higher numbers go first.
    Task(u8),
    /// The next request of a fetch in flight.
    Request,
}

/// The rank of a host: by priority, then hosts with a limit, then round robin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) priority: Reverse<Priority>,
    /// `false` goes first: a reserved slot expires.
    pub(crate) is_unlimited: bool,
    /// Grows with every start, so that hosts of equal priority take turns.
    pub(crate) round: u64,
    pub(crate) host: usize,
}
