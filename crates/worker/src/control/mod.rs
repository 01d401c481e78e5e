//! The state that all parts of a worker act on: directives, host limits, cancelled parts, and the
//! health of the dependencies, in one snapshot.

pub(crate) mod dependencies;
pub(crate) mod directives;
pub(crate) mod poller;
pub(crate) mod snapshot;
