//! Everything in SQL: the schema, the batch write, items with their prices, limits of hosts, and what is asked about runs.
//!
//! Works on MySQL 8 and MariaDB 10.11 and later. This crate knows neither RabbitMQ nor HTTP. What it promises: a
//! [`Committed`] exists only after the transaction that holds its rows has been committed, every call has a deadline,
//! no code path holds one connection and asks for another, one row never holds up the others, and [`Error::class`]
//! tells an outage from everything else.

mod batch;
mod write;
mod insert;
mod clock;
mod counts;
mod error;
mod fetch;
mod hosts;
mod items;
mod known;
mod poll;
mod quarantine;
mod migrate;
mod pool;
mod product;
mod prune;
mod report;
mod robots;
mod runs;
mod upsert;

pub use batch::{Batch, Committed, Refusal, Unwritten, Written};
pub use error::{Class, Error};
pub use fetch::{Body, Fetch, Outcome};
pub use hosts::{HostLimit, Reserved};
pub use insert::MAX_BATCH_ROWS;
#[cfg(feature = "bench")]
pub use insert::encoded;
pub use items::{ITEM_OF_PAGE, ITEMS, ITEMS_OF_CATEGORY, Item, ItemKey, PRICES_OF_ITEM, PriceSeen};
pub use known::{Known, LookedUp, NotLookedUp};
pub use poll::{Cursor, Reading};
pub use pool::{Store, StoreConfig};
pub use product::{Product, ProductTold};
pub use prune::{Pruned, ROWS_OF_PRUNE};
pub use report::{FailedUrl, HostReport, ROWS_OF_REPORT, Reason, Report, Reported, Span};
pub use robots::RobotsFile;
pub use runs::{FetchTimes, LATEST_RUNS, PARTS_OF_RUN, Part, PartTold, ROWS_OF_RUN, Run};
