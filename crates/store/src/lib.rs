#![doc = include_str!("../README.md")]

mod error;
mod outcome;
mod product;
mod page;
mod body;
mod fetch;
mod part_report;
mod clock;
mod statements;
mod url;
mod connector;
mod pool;
mod store;
mod contention;
mod write;
mod lookup;
mod fetched;
mod pages;
mod quarantine;
mod hosts;
mod robots;
mod runs;
mod poll;
mod facts;
mod workers;
mod items;
mod changes;
mod row_groups;
mod report;
mod keys;
mod positions;
mod partitions;
mod prune;
mod migrate;
mod check;

#[cfg(feature = "simulation")]
pub mod planted;

pub use body::Body;
pub use changes::{
    Change, ChangeCounts, ChangeFilter, ChangeKind, Changes, PRICE_CHANGES, STATUS_CHANGES,
    STOCK_CHANGES,
};
pub use check::ServerFacts;
pub use error::{Class, Error};
pub use facts::{ClaimedFact, FACT_LEASE};
pub use fetch::Fetch;
pub use fetched::FETCHES_OF_PERIOD;
pub use hosts::{HostLimit, Reserved};
pub use items::{
    ITEM_OF_PAGE, ITEMS, ITEMS_OF_CATEGORY, Item, ItemKey, PRICES_OF_ITEM, PricePoint,
};
pub use lookup::{FailedLookup, Lookup, StoredFetch};
pub use migrate::FormerRows;
pub use outcome::Outcome;
pub use page::{KnownPage, Page};
pub use pages::{KNOWN_PAGES, PAGES_OF_PRUNE};
pub use part_report::PartReport;
pub use poll::{Cursor, PollResult};
pub use product::{Product, ProductStatus};
pub use prune::{Pruned, ROWS_OF_PRUNE, Retention};
pub use report::{
    FailedUrl, HostReport, ProductCounts, ROWS_OF_REPORT, Reason, Report, ReportRow, Span,
};
pub use robots::RobotsFile;
pub use row_groups::{GROUPS_OF_PART, GROUPS_OF_RUN};
pub use runs::{
    FetchTimes, LATEST_PARTS, NEWEST_PART, PARTS_OF_RUN, Part, ROWS_OF_PART, ROWS_OF_RUN, Run,
    Selection,
};
pub use statements::fetches::{MAX_BATCH_ROWS, stored_content_type};
pub use store::{Store, StoreConfig};
pub use workers::WorkerState;
#[cfg(feature = "bench")]
pub use write::encoded;
pub use write::{Batch, Committed, Refusal, UnwrittenBatch, Written};
