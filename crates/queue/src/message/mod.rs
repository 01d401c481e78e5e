//! What a message says: a task or a part report.

mod name;
mod typed;
mod address;
mod damage;
mod url_line;
mod not_a_task;
mod json;
mod fetch_request;
mod key;
mod list;
mod defer_reason;
mod defer_counts;
pub(crate) mod header;
mod raw_message;
mod task;
mod part_report;

use bytes::Bytes;
use lapin::BasicProperties;

pub use address::{Address, AddressError, MAX_URL_BYTES};
pub(crate) use damage::{HEADERS_TOO_LARGE, SUBSTITUTE};
pub use defer_counts::DeferCounts;
pub use defer_reason::DeferReason;
pub use fetch_request::FetchRequest;
pub(crate) use json::METHODS;
pub use json::RESERVED_HEADERS;
pub use key::{Fingerprint, Key, PartId};
pub use list::{ListLine, list_lines};
pub use name::{MAX_NAME_BYTES, NO_RUN, is_name};
pub use not_a_task::{MAX_LIST_LINES, MAX_MESSAGE_BYTES, NotATask};
pub use part_report::PartReport;
pub use raw_message::RawMessage;
pub use task::Task;
pub(crate) use typed::bare;
pub use typed::{is_invisible, is_padding, unwrapped};
pub use url_line::{
    Doubt, UrlLines, begins_with_scheme, has_second_url, is_comment, may_continue_url,
};

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is a task; boxing each would cost more"
)]
pub enum Message {
    /// A task.
    Task(Task),
    /// A producer's report that a part of a run began or ended.
    PartReport(PartReport),
}

impl Message {
    /// Parses a delivered message. The queue does not matter: an operator may have moved it.
    pub fn read(properties: &BasicProperties, data: &Bytes) -> Result<Self, NotATask> {
        match properties.kind() {
            Some(kind) if kind.as_str() == header::TYPE_PART => {
                damage::check(properties)?;
                PartReport::read(data).map(Self::PartReport)
            }
            _ => Task::read(properties, data).map(Self::Task),
        }
    }
}
