//! The row of a task.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::body::Body;
use crate::outcome::Outcome;
use crate::page::Page;
use crate::product::{Product, ProductStatus};

/// A row of `fetches`.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The task's key.
    pub id: [u8; 16],
    /// The run, at most 100 characters.
    pub run: String,
    /// The part of the run; `None` for a message that belongs to no part.
    pub part: Option<String>,
    /// The requested URL, normalised and without credentials.
    pub url: String,
    /// The URL as it was published, if that differs; `None` as well if it contained credentials.
    pub given_url: Option<String>,
    /// The URL after redirects, without credentials; `None` without a redirect.
    pub final_url: Option<String>,
    /// The HTTP method.
    pub method: String,
    /// How the task ended.
    pub outcome: Outcome,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// The content type that the answer declared.
    pub content_type: Option<String>,
    /// The size of the body after decompression.
    pub body_bytes: Option<u64>,
    /// The hash of the body after decompression.
    pub body_sha256: Option<[u8; 32]>,
    /// The stored body.
    pub body: Body,
    /// Whether the page contains a product; `None` if no page was examined.
    pub product: Option<ProductStatus>,
    /// The product, which becomes the item of this page.
    pub item: Option<Box<Product>>,
    /// What is remembered of the page for its next fetch; `None` to remember nothing new.
    pub page: Option<Box<Page>>,
    /// The error, for people.
    pub error: Option<String>,
    /// The number of attempts, the last one included.
    pub attempts: u32,
    /// The duration of the last attempt, redirects and body included.
    pub elapsed: Duration,
    /// When the last attempt ended.
    pub fetched_at: OffsetDateTime,
    /// The pod of the worker.
    pub worker: Arc<str>,
    /// The id of the message.
    pub message_id: Option<String>,
}

impl Fetch {
    /// The row of a GET request that ended in its first attempt and without an answer. Callers set
    /// the remaining fields.
    pub fn new(
        id: [u8; 16],
        run: &str,
        url: &str,
        outcome: Outcome,
        fetched_at: OffsetDateTime,
    ) -> Self {
        Self {
            id,
            run: run.to_owned(),
            part: None,
            url: url.to_owned(),
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
            page: None,
            error: None,
            attempts: 1,
            elapsed: Duration::ZERO,
            fetched_at,
            worker: "".into(),
            message_id: None,
        }
    }

    /// The bare row that replaces a row that the database refused. It contains nothing that the
    /// site sent.
    pub(crate) fn bare(&self, reason: &str) -> Self {
        Self {
            outcome: Outcome::Refused,
            final_url: None,
            content_type: None,
            body: Body::None,
            product: None,
            item: None,
            page: None,
            error: Some(reason.to_owned()),
            ..self.clone()
        }
    }

    /// A row like the bare one that contains nothing of the list either. A table that accepts it
    /// accepts rows of this run, worker and time.
    pub(crate) fn sample(&self) -> Self {
        Self {
            url: "http://sample.invalid/".to_owned(),
            given_url: None,
            message_id: None,
            ..self.bare("sample")
        }
    }

    /// The row without a body that is too large for the server, and with an error that says so.
    pub(crate) fn without_body(&self, max_bytes: usize) -> Self {
        let note = format!(
            "the body was left out: the server's max_allowed_packet takes {max_bytes} bytes"
        );
        Self { body: Body::None, error: Some(self.error_and(note)), ..self.clone() }
    }

    /// The row without its item, and with an error that says so; `None` if the row has no item.
    pub(crate) fn without_item(&self, reason: &str) -> Option<Self> {
        self.item.as_ref()?;
        let note = format!("the item was left out: {reason}");
        // Not remembered as complete, so that the next fetch brings the item again.
        Some(Self { item: None, page: None, error: Some(self.error_and(note)), ..self.clone() })
    }

    fn error_and(&self, note: String) -> String {
        match &self.error {
            Some(error) => format!("{error}; {note}"),
            None => note,
        }
    }

    /// The approximate number of bytes that are sent for the row, its item included.
    pub fn weight(&self) -> usize {
        self.row_weight() + self.item_weight() + self.page_weight()
    }

    /// The approximate number of bytes that the row adds to a statement on `fetches`.
    pub(crate) fn row_weight(&self) -> usize {
        let body = self.body.as_bytes().len();
        // The fixed-size columns, the length prefixes of the others, and the short texts.
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

    /// The approximate number of bytes that the item adds to a statement on `items`.
    pub(crate) fn item_weight(&self) -> usize {
        self.item.as_ref().map_or(0, |item| self.url.len() + item.weight())
    }

    /// The approximate number of bytes that the page adds to a statement on `pages`.
    pub(crate) fn page_weight(&self) -> usize {
        self.page.as_ref().map_or(0, |page| page.weight())
    }
}

#[cfg(test)]
impl Fetch {
    /// A row for tests.
    pub(crate) fn example(id: u8, run: &str, outcome: Outcome) -> Self {
        Self::new([id; 16], run, "http://a.example/", outcome, OffsetDateTime::UNIX_EPOCH)
    }
}
