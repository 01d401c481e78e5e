//! Turns the result of a fetch into a row, and reads the product that the page contains.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use fetchline_extract::{Content, Extraction, Field, Rules};
use fetchline_queue::{Address, Task};
use fetchline_store::{Body, Fetch, Outcome, Page, Product, ProductStatus};
use http::Method;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use url::Url;

use super::config::{CompressBodies, Config, StoreBody};
use crate::fetch::answer::Answer;
use crate::revalidate::{FullResponse, Revisit};

/// A body above this size is large: its product may take much memory.
const LARGE: usize = 256 * 1024;
/// How many large bodies are read at once.
const MAX_LARGE_AT_ONCE: usize = 2;
/// A body above this size takes milliseconds to read: other tasks of its thread move to another
/// one. For a smaller one the move would cost too much.
const SLOW: usize = 1024 * 1024;

/// Reads bodies and makes rows.
pub(crate) struct Extractor {
    store_body: StoreBody,
    compress_bodies: CompressBodies,
    rules: Arc<Rules>,
    worker: Arc<str>,
    large: Semaphore,
}

/// What a row says about a body. Empty where there is none.
#[derive(Debug, Default)]
pub(crate) struct BodyFacts {
    bytes: Option<u64>,
    sha256: Option<[u8; 32]>,
    stored: Body,
    product: Option<ProductStatus>,
    item: Option<Box<Product>>,
    page: Option<Box<Page>>,
}

/// When a fetch ended and how long it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchTime {
    /// By the database's clock, which orders rows.
    pub(crate) ended: OffsetDateTime,
    pub(crate) elapsed: Duration,
}

impl BodyFacts {
    /// What is known of a page whose site has said that it is unchanged.
    fn not_modified(revisit: Option<Box<Revisit>>) -> Self {
        let Some(revisit) = revisit else { return Self::default() };
        let sha256 = revisit.known_body().map(|(sha256, _)| sha256);
        Self::without_body(None, sha256, revisit.after_not_modified().map(Box::new))
    }

    fn without_body(bytes: Option<u64>, sha256: Option<[u8; 32]>, page: Option<Box<Page>>) -> Self {
        Self { bytes, sha256, page, ..Self::default() }
    }
}

impl Extractor {
    pub(crate) fn new(config: &Config, worker: Arc<str>) -> Self {
        let Config { store_body, compress_bodies, ref rules, .. } = *config;
        let large = Semaphore::new(MAX_LARGE_AT_ONCE);
        Self { store_body, compress_bodies, rules: rules.clone(), worker, large }
    }

    /// The name of the worker, for rows.
    pub(crate) fn worker(&self) -> &str {
        &self.worker
    }

    /// Takes the body out of the result and reads it. A body that is known is not read again: the
    /// outcome becomes `unchanged`.
    pub(crate) async fn read(
        &self,
        task: &Task,
        answer: &mut Answer,
        revisit: Option<Box<Revisit>>,
    ) -> BodyFacts {
        match (answer.body.take(), answer.outcome) {
            (_, Outcome::Unchanged) => BodyFacts::not_modified(revisit),
            (Some(body), _) if body.len() > LARGE => {
                // The semaphore is never closed.
                let _permit = self.large.acquire().await;
                match body.len() > SLOW {
                    true => {
                        tokio::task::block_in_place(|| self.read_body(task, answer, body, revisit))
                    }
                    false => self.read_body(task, answer, body, revisit),
                }
            }
            (Some(body), _) => self.read_body(task, answer, body, revisit),
            (None, _) => BodyFacts::default(),
        }
    }

    pub(crate) fn read_body(
        &self,
        task: &Task,
        answer: &mut Answer,
        body: Vec<u8>,
        revisit: Option<Box<Revisit>>,
    ) -> BodyFacts {
        let (bytes, sha256) = (body.len() as u64, Sha256::digest(&body).into());
        let Some((revisit, version)) = revisit.zip(answer.version.take()) else {
            return self.read_new(task, answer, body, sha256);
        };
        if revisit.is_known(&sha256, answer.content_type.as_deref(), &version) {
            answer.outcome = Outcome::Unchanged;
            let page = revisit.after_same_body(*version).map(Box::new);
            return BodyFacts::without_body(Some(bytes), Some(sha256), page);
        }
        let facts = self.read_new(task, answer, body, sha256);
        let response = FullResponse {
            fetch_id: *task.key.as_bytes(),
            body_sha256: sha256,
            has_body: facts.stored.is_some(),
            version: *version,
        };
        BodyFacts { page: Some(Box::new(revisit.after_full_response(response))), ..facts }
    }

    fn read_new(&self, task: &Task, answer: &Answer, body: Vec<u8>, sha256: [u8; 32]) -> BodyFacts {
        let (bytes, sha256) = (Some(body.len() as u64), Some(sha256));
        let content = fetchline_extract::read(answer.content_type.as_deref(), body);
        // An answer to another method depends on the request's body, so it is not a page.
        let is_page = answer.outcome == Outcome::Ok && task.request.method == Method::GET;
        let (product, item) = match is_page.then(|| self.extract(task, answer, &content)) {
            None => (None, None),
            Some(Extraction::Found(product)) => (Some(ProductStatus::Found), Some(product)),
            Some(Extraction::Suspect(product)) => (Some(ProductStatus::Suspect), Some(product)),
            Some(Extraction::NoPrice(product)) => (Some(ProductStatus::NoPrice), Some(product)),
            Some(Extraction::None) => (Some(ProductStatus::None), None),
        };
        let item = item.map(|product| Box::new(stored_product(product)));
        let stored = stored_body(content, self.store_body);
        let stored = match self.compress_bodies {
            CompressBodies::None => stored,
            CompressBodies::Zstd => stored.compressed(),
        };
        BodyFacts { stored, product, item, ..BodyFacts::without_body(bytes, sha256, None) }
    }

    fn extract(&self, task: &Task, answer: &Answer, content: &Content) -> Extraction {
        let page = answer.redirected_to.as_ref().unwrap_or(&task.request.address);
        let category = task.request.category.as_deref();
        fetchline_extract::product(content, &without_credentials(page), &self.rules, category)
    }

    /// The row of a task.
    pub(crate) fn row(
        &self,
        task: Task,
        answer: Answer,
        facts: BodyFacts,
        time: FetchTime,
    ) -> Fetch {
        let attempts = answer.attempts(&task);
        Fetch {
            id: *task.key.as_bytes(),
            run: task.run,
            part: task.part,
            url: task.request.address.into_masked(),
            given_url: task.request.given.map(String::from),
            final_url: answer.redirected_to.map(Address::into_masked),
            method: task.request.method.to_string(),
            outcome: answer.outcome,
            status: answer.status,
            content_type: answer.content_type,
            body_bytes: facts.bytes,
            body_sha256: facts.sha256,
            body: facts.stored,
            product: facts.product,
            item: facts.item,
            page: facts.page,
            error: answer.error,
            attempts,
            elapsed: time.elapsed,
            fetched_at: time.ended,
            worker: self.worker.clone(),
            message_id: task.message_id,
        }
    }
}

/// The URL without credentials, since links that are resolved against it are stored.
pub(crate) fn without_credentials(address: &Address) -> Cow<'_, Url> {
    let mut url = Cow::Borrowed(address.as_url());
    if address.has_credentials() {
        // These fail only for URLs without a host.
        _ = url.to_mut().set_username("");
        _ = url.to_mut().set_password(None);
    }
    url
}

fn stored_product(found: fetchline_extract::Product) -> Product {
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

/// The part of a row that stores the body. An empty body is not stored, since its size says it all.
fn stored_body(content: Content, store_body: StoreBody) -> Body {
    let (json, text, bytes) = match store_body {
        StoreBody::None => (false, false, false),
        StoreBody::Json => (true, false, false),
        StoreBody::Text => (true, true, false),
        StoreBody::All => (true, true, true),
    };
    match content {
        Content::Json(body) if json => Body::Json(body),
        Content::Text(body) if text && !body.is_empty() => Body::Text(body),
        Content::Binary(body) if bytes && !body.is_empty() => Body::Bytes(body),
        Content::Json(_) | Content::Text(_) | Content::Binary(_) => Body::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_decides_which_bodies_are_stored() {
        let json = || Body::Json("{}".to_owned());
        let text = || Body::Text("page".to_owned());
        let bytes = || Body::Bytes(vec![0, 1]);
        for (setting, of_json, of_text, of_bytes) in [
            (StoreBody::Text, json(), text(), Body::None),
            (StoreBody::Json, json(), Body::None, Body::None),
            (StoreBody::All, json(), text(), bytes()),
            (StoreBody::None, Body::None, Body::None, Body::None),
        ] {
            let stored = |content_type, body: &[u8]| {
                stored_body(fetchline_extract::read(Some(content_type), body.to_vec()), setting)
            };
            assert_eq!(stored("application/json", b"{}"), of_json, "{setting:?}");
            assert_eq!(stored("text/html", b"page"), of_text, "{setting:?}");
            assert_eq!(stored("image/png", &[0, 1]), of_bytes, "{setting:?}");
            for content_type in ["text/html", "application/json", "image/png"] {
                assert_eq!(stored(content_type, b""), Body::None, "{setting:?}");
            }
        }
    }

    #[test]
    fn links_on_a_page_do_not_repeat_the_credentials_of_its_url() {
        let page = Address::parse("http://user:hunter2@a.example/p/1").unwrap();
        assert_eq!(without_credentials(&page).as_str(), "http://a.example/p/1");
    }
}
