//! The state that all parts of a worker act on: directives, host limits, cancelled parts, and the
//! health of the dependencies, in one snapshot. What the operator types is answered here, too.

mod host_answer;
pub(crate) mod answers;
pub(crate) mod dependencies;
pub(crate) mod directives;
mod host_facts;
pub(crate) mod news;
pub(crate) mod outages;
pub(crate) mod poller;
pub(crate) mod roster;
pub(crate) mod snapshot;
pub(crate) mod topology;
