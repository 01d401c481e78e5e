//! What is published, and why it cannot be.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use fetchline_queue::MAX_NAME_BYTES;

use crate::entry::Format;
use crate::fetched_pages::{FetchedError, SkipFetched};
use crate::source::Source;
use crate::text::Encoding;

/// What is published, and how.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The run of the tasks; `None` for that of the checkpoint, else for a run with a new name.
    pub run: Option<String>,
    /// Whether duplicate URLs are published.
    pub allow_duplicates: bool,
    /// Read one after the other.
    pub sources: Vec<Source>,
    /// The format of all sources.
    pub format: Format,
    /// The encoding of sources that have no byte-order mark; `None` to recognise it.
    pub encoding: Option<Encoding>,
    /// The field or column of the URL; `None` to recognise the column, and for the field `url`.
    pub url_field: Option<String>,
    /// The category of an entry that has none.
    pub category: Option<String>,
    /// The priority of an entry that has none, from 0 to [`MAX_PRIORITY`](crate::MAX_PRIORITY).
    pub priority: Option<u8>,
    /// Tasks per second, at most and above 0; `None` for as fast as the broker confirms.
    pub rate: Option<f64>,
    /// Pages of sitemaps and feeds that have not changed for longer are skipped, if their last
    /// change is known.
    pub modified_since: Option<Duration>,
    /// Pages that were fetched lately are skipped; `None` to skip none.
    pub skip_fetched: Option<SkipFetched>,
    /// How long tasks wait before they are fetched, where an entry names no time.
    pub delay: Option<Duration>,
    /// Whether pages are fetched only if they have changed, where an entry does not say so.
    pub revalidate: bool,
    /// Publishing waits while so many tasks or more are ready in the queue.
    pub max_queued: Option<u32>,
    /// How long to wait for a worker to declare the exchange and the queues, if this user may not;
    /// `None` for ever.
    pub wait_for_topology: Option<Duration>,
    /// A file that records the progress of the part until it is finished. If it exists, the part
    /// is resumed.
    pub checkpoint: Option<PathBuf>,
    /// Whether tasks are counted but not published.
    pub dry_run: bool,
}

/// Why nothing could be published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name of the run is invalid.
    #[error("the name of a run must have 1 to {MAX_NAME_BYTES} bytes and no control characters")]
    Run,
    /// A source cannot be opened.
    #[error("{0} cannot be read")]
    Source(String, #[source] io::Error),
    /// The checkpoint cannot be used.
    #[error("the checkpoint {0} cannot be used: {1}")]
    Checkpoint(String, String),
    /// The broker does not say how many tasks are ready.
    #[error(
        "the broker does not say how many tasks are queued, which --max-queued needs: grant the \
         user `read` on the queue"
    )]
    QueueCounts(#[source] fetchline_queue::Error),
    /// It is not known which pages were fetched lately.
    #[error(transparent)]
    Fetched(#[from] FetchedError),
    /// The exchange or queues do not exist, and the user may not declare them.
    #[error("{0}")]
    Topology(String),
    /// The broker refuses the connection or is not trusted, or tasks would not reach their queue.
    #[error("{}", .0.refusal().unwrap_or("the exchange and the queues cannot be used as they are"))]
    Broker(#[source] fetchline_queue::Error),
}
