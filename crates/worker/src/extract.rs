//! From an answer to the row that is stored, and to the product that its page tells.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use fetchline_extract::{Content, Extraction, Field, Rules};
use fetchline_queue::{Address, Task};
use fetchline_store::{Body, Fetch, Outcome, Product, ProductTold};
use http::Method;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use url::Url;

use crate::config::StoreBody;
use crate::execute::Answer;

/// Reading a larger body takes so long that other fetches are moved to another thread before,
const LARGE: usize = 256 * 1024;
/// and so much memory that only so many are read at once.
const LARGE_AT_ONCE: usize = 2;

/// What becomes of answers.
pub(crate) struct Extract {
    keep: StoreBody,
    rules: Arc<Rules>,
    pub(crate) worker: Arc<str>,
    large: Semaphore,
}

/// What is in a body.
#[derive(Debug, Default)]
pub(crate) struct Read {
    bytes: Option<u64>,
    sha256: Option<[u8; 32]>,
    kept: Body,
    product: Option<ProductTold>,
    item: Option<Box<Product>>,
}

/// When a try ended by the database's clock, which orders rows, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) ended: OffsetDateTime,
    pub(crate) elapsed: Duration,
}

impl Extract {
    pub(crate) fn new(keep: StoreBody, rules: Arc<Rules>, worker: Arc<str>) -> Self {
        Self { keep, rules, worker, large: Semaphore::new(LARGE_AT_ONCE) }
    }

    /// Takes the body out of the answer, and reads it.
    pub(crate) async fn read(&self, task: &Task, answer: &mut Answer) -> Read {
        match answer.body.take() {
            Some(body) if body.len() > LARGE => {
                // It is never closed.
                let _turn = self.large.acquire().await;
                tokio::task::block_in_place(|| self.read_body(task, answer, body))
            }
            Some(body) => self.read_body(task, answer, body),
            None => Read::default(),
        }
    }

    pub(crate) fn read_body(&self, task: &Task, answer: &Answer, body: Vec<u8>) -> Read {
        let (bytes, sha256) = (Some(body.len() as u64), Some(Sha256::digest(&body).into()));
        let content = fetchline_extract::read(answer.content_type.as_deref(), body);
        // The answer to another method is no page: what was sent along decides on it.
        let is_page = answer.outcome == Outcome::Ok && task.order.method == Method::GET;
        let told = is_page.then(|| {
            let page = answer.redirected_to.as_ref().unwrap_or(&task.order.address);
            let category = task.order.category.as_deref();
            match fetchline_extract::product(&content, &public(page), &self.rules, category) {
                Extraction::Found(product) => (ProductTold::Found, Some(product)),
                Extraction::NoPrice(product) => (ProductTold::NoPrice, Some(product)),
                Extraction::None => (ProductTold::None, None),
            }
        });
        let (product, found) = told.map_or((None, None), |(told, found)| (Some(told), found));
        let item = found.map(|found| Box::new(stored(found)));
        Read { bytes, sha256, kept: kept(content, self.keep), product, item }
    }

    /// The row of a task that was answered, or not.
    pub(crate) fn row(&self, task: Task, answer: Answer, read: Read, took: Took) -> Fetch {
        Fetch {
            id: *task.key.as_bytes(),
            run: task.run,
            part: task.part,
            url: task.order.address.into_masked(),
            given_url: task.order.given.map(String::from),
            final_url: answer.redirected_to.map(Address::into_masked),
            method: task.order.method.to_string(),
            outcome: answer.outcome,
            status: answer.status,
            content_type: answer.content_type,
            body_bytes: read.bytes,
            body_sha256: read.sha256,
            body: read.kept,
            product: read.product,
            item: read.item,
            error: answer.error,
            // Nothing is tried for a run that was cancelled.
            attempts: if answer.outcome == Outcome::Cancelled { task.attempt - 1 } else { task.attempt },
            elapsed: took.elapsed,
            fetched_at: took.ended,
            worker: self.worker.clone(),
            message_id: task.message_id,
        }
    }
}

/// The address without credentials: links that are made absolute by it are stored.
fn public(address: &Address) -> Cow<'_, Url> {
    let mut url = Cow::Borrowed(address.as_url());
    if address.has_credentials() {
        // These fail for URLs without a host alone.
        _ = url.to_mut().set_username("");
        _ = url.to_mut().set_password(None);
    }
    url
}

fn stored(found: fetchline_extract::Product) -> Product {
    fn value<T>(field: Option<Field<T>>) -> Option<T> {
        field.map(|field| field.value)
    }
    Product {
        name: value(found.name),
        price: value(found.price),
        currency: value(found.currency).map(str::to_owned),
        category: value(found.category),
        sku: value(found.sku),
        brand: value(found.brand),
        availability: value(found.availability),
        image_url: value(found.image),
        canonical_url: value(found.canonical_url),
        variants: found.variants,
    }
}

/// An empty body is stored as nothing: its size says so.
fn kept(content: Content, keep: StoreBody) -> Body {
    match (content, keep) {
        (_, StoreBody::None) => Body::None,
        (Content::Text(text), _) if text.is_empty() => Body::None,
        (Content::Binary(bytes), _) if bytes.is_empty() => Body::None,
        (Content::Json(text), _) => Body::Json(text),
        (Content::Text(text), StoreBody::Text | StoreBody::All) => Body::Text(text),
        (Content::Binary(bytes), StoreBody::All) => Body::Bytes(bytes),
        _ => Body::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_body_is_the_users_choice() {
        let json = || Body::Json("{}".to_owned());
        let text = || Body::Text("page".to_owned());
        let bytes = || Body::Bytes(vec![0, 1]);
        for (keep, of_json, of_text, of_bytes) in [
            (StoreBody::Text, json(), text(), Body::None),
            (StoreBody::Json, json(), Body::None, Body::None),
            (StoreBody::All, json(), text(), bytes()),
            (StoreBody::None, Body::None, Body::None, Body::None),
        ] {
            let kept =
                |content_type, body: &[u8]| kept(fetchline_extract::read(Some(content_type), body.to_vec()), keep);
            assert_eq!(kept("application/json", b"{}"), of_json, "{keep:?}");
            assert_eq!(kept("text/html", b"page"), of_text, "{keep:?}");
            assert_eq!(kept("image/png", &[0, 1]), of_bytes, "{keep:?}");
            for content_type in ["text/html", "application/json", "image/png"] {
                assert_eq!(kept(content_type, b""), Body::None, "{keep:?}");
            }
        }
    }

    #[test]
    fn what_is_stored_of_a_page_does_not_repeat_the_credentials_that_it_was_fetched_with() {
        let page = Address::parse("http://user:hunter2@a.example/p/1").unwrap();
        assert_eq!(public(&page).as_str(), "http://a.example/p/1");
    }
}
