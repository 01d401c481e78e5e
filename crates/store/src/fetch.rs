//! The row of a task: what became of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

use crate::product::{Product, ProductTold};

/// What became of a task, in the word that stands in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A 2xx answer, also an empty one.
    Ok,
    /// Any other answer.
    HttpError,
    /// No answer within the time-out.
    Timeout,
    /// The host's name has no address.
    Dns,
    /// No connection.
    Connect,
    /// No TLS session.
    Tls,
    /// The answer broke the rules of HTTP, or broke off.
    Protocol,
    /// Too many redirects, or one that leads nowhere.
    Redirect,
    /// An address that is not fetched from: it lies inside some network.
    Blocked,
    /// A body above `--max-body`.
    TooLarge,
    /// A body that cannot be decompressed.
    Decode,
    /// The site's robots.txt forbids it.
    Robots,
    /// The database refused the row; this one stands in for it, without the body.
    Refused,
    /// Delivered and begun again and again, and never ended: it may crash its worker.
    Poison,
    /// Not fetched, since its run was cancelled.
    Cancelled,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 15] = [
        Self::Ok,
        Self::HttpError,
        Self::Timeout,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Protocol,
        Self::Redirect,
        Self::Blocked,
        Self::TooLarge,
        Self::Decode,
        Self::Robots,
        Self::Refused,
        Self::Poison,
        Self::Cancelled,
    ];

    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::HttpError => "http_error",
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::Blocked => "blocked",
            Self::TooLarge => "too_large",
            Self::Decode => "decode",
            Self::Robots => "robots",
            Self::Refused => "refused",
            Self::Poison => "poison",
            Self::Cancelled => "cancelled",
        }
    }

    /// The outcome that a word in the database stands for; `None` for one of a newer release.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A body as it is stored. Its size and hash are kept in any case.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Body {
    /// Nothing is stored.
    #[default]
    None,
    /// Valid JSON, no deeper than every supported database takes it.
    Json(String),
    /// Other text.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

/// A row of `fetches`.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The task's key.
    pub id: [u8; 32],
    /// The run, at most 100 characters.
    pub run: String,
    /// The part of the run; `None` for a message that belongs to none.
    pub part: Option<String>,
    /// What was asked for, normalised, credentials struck out.
    pub url: String,
    /// What was asked for as it was given, where that differs; `None` too where it held credentials.
    pub given_url: Option<String>,
    /// Where redirects led, credentials struck out.
    pub final_url: Option<String>,
    /// The HTTP method.
    pub method: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// As the answer declared it.
    pub content_type: Option<String>,
    /// After decompression.
    pub body_bytes: Option<u64>,
    /// After decompression.
    pub body_sha256: Option<[u8; 32]>,
    /// What is kept of the body.
    pub body: Body,
    /// Whether the page tells a product; `None` where no page was read.
    pub product: Option<ProductTold>,
    /// The product, which becomes the item of this page.
    pub item: Option<Box<Product>>,
    /// For people.
    pub error: Option<String>,
    /// Tries, this one included.
    pub attempts: u32,
    /// How long the last try took, redirects and body included.
    pub elapsed: Duration,
    /// When the last try ended.
    pub fetched_at: OffsetDateTime,
    /// The pod.
    pub worker: Arc<str>,
    /// The message's own id.
    pub message_id: Option<String>,
}

impl Fetch {
    /// The row that stands in for one that the database refused: nothing of what the site sent.
    pub(crate) fn bare(&self, reason: &str) -> Self {
        Self {
            outcome: Outcome::Refused,
            final_url: None,
            content_type: None,
            body: Body::None,
            product: None,
            item: None,
            error: Some(reason.to_owned()),
            ..self.clone()
        }
    }

    /// The row without the body that the server would not take, and with a word about that.
    pub(crate) fn without_body(&self, limit: usize) -> Self {
        let said = format!("the body was left out: the server's max_allowed_packet takes {limit} bytes");
        Self { body: Body::None, error: Some(self.error_and(said)), ..self.clone() }
    }

    /// The row without its item, and with a word about that; `None` where it has none.
    pub(crate) fn without_item(&self, reason: &str) -> Option<Self> {
        self.item.as_ref()?;
        let said = format!("the item was left out: {reason}");
        Some(Self { item: None, error: Some(self.error_and(said)), ..self.clone() })
    }

    fn error_and(&self, said: String) -> String {
        match &self.error {
            Some(error) => format!("{error}; {said}"),
            None => said,
        }
    }

    /// When the last try ended, as the database has it.
    pub(crate) fn fetched_at_utc(&self) -> PrimitiveDateTime {
        let utc = self.fetched_at.to_offset(UtcOffset::UTC);
        PrimitiveDateTime::new(utc.date(), utc.time())
    }

    /// About how many bytes are sent for the row, its item included.
    pub fn weight(&self) -> usize {
        self.row_weight() + self.item_weight()
    }

    /// About how many bytes the row adds to the statement that writes it.
    pub(crate) fn row_weight(&self) -> usize {
        let body = match &self.body {
            Body::None => 0,
            Body::Json(text) | Body::Text(text) => text.len(),
            Body::Bytes(bytes) => bytes.len(),
        };
        // The fixed columns, the lengths of the others, and the texts that are always there.
        const FIXED: usize = 300;
        let long = [
            Some(&self.url),
            Some(&self.run),
            self.given_url.as_ref(),
            self.final_url.as_ref(),
            self.error.as_ref(),
            self.message_id.as_ref(),
        ];
        FIXED + body + long.into_iter().flatten().map(String::len).sum::<usize>()
    }

    /// About how many bytes its item adds to the statement that writes items.
    pub(crate) fn item_weight(&self) -> usize {
        self.item.as_ref().map_or(0, |item| self.url.len() + item.weight())
    }
}

#[cfg(test)]
impl Fetch {
    /// A row that says nothing but this.
    pub(crate) fn bare_of(id: [u8; 32], run: &str, outcome: Outcome) -> Self {
        Self {
            id,
            run: run.to_owned(),
            part: None,
            url: "http://a.example/".to_owned(),
            given_url: None,
            final_url: None,
            method: "GET".to_owned(),
            outcome,
            status: None,
            content_type: None,
            body_bytes: None,
            body_sha256: None,
            body: Body::None,
            product: None,
            item: None,
            error: None,
            attempts: 1,
            elapsed: Duration::ZERO,
            fetched_at: OffsetDateTime::UNIX_EPOCH,
            worker: "pod".into(),
            message_id: None,
        }
    }
}
