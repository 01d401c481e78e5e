//! Runs: series of parts under one name, their rows, and how many tasks remain.
//!
//! Nothing here counts rows of `fetches`: writes keep the counts in `run_counts` up to date.

mod part;
mod run;
mod read;
mod cancel;
mod fold;

pub use self::part::{Part, Selection};
pub use self::read::{
    FetchTimes, LATEST_PARTS, NEWEST_PART, PARTS_OF_RUN, ROWS_OF_PART, ROWS_OF_RUN,
};
pub use self::run::Run;

pub(crate) use self::fold::fold_counts;
