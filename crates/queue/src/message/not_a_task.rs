//! Why a message is not a task.

use super::address::AddressError;
use super::name::MAX_NAME_BYTES;
use super::url_line::Doubt;

/// The most lines of a list in one message. Each becomes a message that the worker holds until the
/// broker has confirmed it.
pub const MAX_LIST_LINES: usize = 5000;
/// The largest message that a worker accepts, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Why a message is not a task. A retry cannot help. No text repeats the value of a header or a
/// field, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATask {
    /// The message is larger than [`MAX_MESSAGE_BYTES`].
    #[error("the message has {0} bytes; at most {MAX_MESSAGE_BYTES} are allowed")]
    TooLarge(usize),
    /// The part has no room for another task.
    #[error("a part has at most {} tasks; publish the rest with another `produce`", u32::MAX)]
    PartFull,
    /// The body is not text.
    #[error("the message is not UTF-8 text")]
    NotText,
    /// A property or the name of a header, which the text names, was not UTF-8. Its invalid bytes
    /// are replaced by SUB.
    #[error(
        "{0} is not UTF-8 text, or holds the character SUB; publish the message again with valid \
         text"
    )]
    NotUtf8(String),
    /// The headers left no room in a frame and were dropped.
    #[error(
        "the headers of the message take nearly a frame of AMQP or more, and were dropped; publish \
         the message again with fewer or shorter headers"
    )]
    HeadersTooLarge,
    /// Several URLs in one message.
    #[error(
        "the message has {0} lines, and a message is one task; publish a list with the routing key \
         `list`, a task a line"
    )]
    SeveralLines(usize),
    /// A list with too many lines.
    #[error(
        "the list has {0} lines; a message may hold {MAX_LIST_LINES}. Divide it, or publish it \
         with `fetchline produce`"
    )]
    ListTooLong(usize),
    /// The body looks like JSON and is not an object that names a URL.
    #[error("the message is not a JSON object with a `url`: {0}")]
    Json(String),
    /// The URL cannot be fetched.
    #[error("the URL is not usable: {0}")]
    Url(#[from] AddressError),
    /// More than a URL, or perhaps more.
    #[error(
        "it is not clear where the URL ends: {0}; publish each URL alone, or, if all of this is \
         one URL, as the `url` of a JSON object"
    )]
    UnclearEnd(Doubt),
    /// The method is not supported.
    #[error("the method is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")]
    Method,
    /// The time before which the task must not be fetched is invalid.
    #[error(
        "`not_before` is neither RFC 3339, such as 2026-03-01T11:30:00Z, nor seconds since 1970"
    )]
    NotBefore,
    /// A header of the request cannot be sent.
    #[error("the header `{0}` cannot be sent: {1}")]
    Header(String, &'static str),
    /// The name of the run or of its part is invalid.
    #[error(
        "the name of a run or part must have 1 to {MAX_NAME_BYTES} bytes and no control characters"
    )]
    Run,
    /// The message id does not fit into its property. A delivered message cannot have such an id.
    #[error("the message id has {0} bytes; at most 255 are allowed")]
    MessageIdTooLong(usize),
    /// The request cannot be written as a message. A delivered message cannot have this error.
    #[error("a message cannot hold a header twice, nor a header or body that is not UTF-8")]
    Lossy,
    /// The message has the type of a part report and is not a valid one.
    #[error("the message is not a valid part report: {0}")]
    PartReport(String),
}
