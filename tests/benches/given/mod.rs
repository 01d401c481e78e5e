//! What the benchmarks of the parts are given: a message, a page, a row, each as a worker meets it; and a URL's whole way
//! through these parts.

use bytes::Bytes;
use fetchline_extract::{Content, Extraction, Rules};
use fetchline_queue::{Message, Task};
use fetchline_store::Batch;
use fetchline_worker::bench::{Reader, Tags};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use sha2::{Digest, Sha256};
use url::Url;

pub(crate) const URL: &str = "https://shop.example/products/darjeeling-ftgfop1?variant=217";
const PAGE: &str = include_str!("../../../crates/extract/tests/corpus/woocommerce.html");
/// The rows of a batch.
pub(crate) const ROWS: u64 = 500;

/// A message as `fetchline produce` publishes it.
pub(crate) fn message(body: &str) -> (BasicProperties, Bytes) {
    let mut headers = FieldTable::default();
    for (name, value) in [("x-run", "nightly"), ("x-part", "0192d3f4c1e07a3b8f0e5d6c7b8a9f00")] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    headers.insert("x-attempt".into(), AMQPValue::LongInt(1));
    let id = hex::encode(Sha256::digest(body));
    let properties = BasicProperties::default().with_message_id(id.as_str().into()).with_headers(headers);
    (properties, Bytes::copy_from_slice(body.as_bytes()))
}

pub(crate) fn url_message() -> (BasicProperties, Bytes) {
    message(URL)
}

pub(crate) fn json_message() -> (BasicProperties, Bytes) {
    message(&format!(r#"{{"url":"{URL}","headers":{{"accept-language":"de"}},"category":"tea","run":"nightly"}}"#))
}

pub(crate) fn task((properties, body): &(BasicProperties, Bytes)) -> Task {
    match Message::read(properties, body) {
        Ok(Message::Task(task)) => task,
        other => panic!("no task: {other:?}"),
    }
}

/// A shop's page, as long as pages are: some 40 kB, most of it after what tells the product.
pub(crate) fn html() -> Vec<u8> {
    let filler = "<div class=\"review\"><p>Zart &amp; blumig, <b>gern wieder</b>.</p></div>\n".repeat(530);
    PAGE.replace("</body>", &format!("{filler}</body>")).into_bytes()
}

/// 380 bytes.
pub(crate) fn json() -> Vec<u8> {
    let filler = "x".repeat(317);
    format!(r#"{{"id":217,"name":"Tea","price":"12.90","currency":"EUR","text":"{filler}"}}"#).into_bytes()
}

/// What is taken out of a body.
pub(crate) fn extract(content_type: &str, body: Vec<u8>, page: &Url) -> (Content, Extraction) {
    let content = fetchline_extract::read(Some(content_type), body);
    let found = fetchline_extract::product(&content, page, &Rules::default(), None);
    assert!(matches!(found, Extraction::Found(_)), "a page without a product");
    (content, found)
}

pub(crate) fn batch() -> Batch<()> {
    let (mut batch, reader) = (Batch::default(), Reader::default());
    for number in 0..ROWS {
        batch.push(reader.row(task(&message(&format!("{URL}&n={number}"))), "application/json", json()), ());
    }
    batch
}

/// A channel's ledger, and the tags of a batch in the order in which fetches end: never far from that in which they began.
pub(crate) fn tags() -> (Tags, Vec<u64>) {
    (Tags::new(250), (0..ROWS).map(|n| 1 + n / 100 * 100 + n % 100 * 37 % 100).collect())
}

/// A URL's way but for its fetch and what waits: its message is read, its answer looked at and made a row, the row encoded,
/// the tag settled.
pub(crate) fn whole_way(message: &(BasicProperties, Bytes), answer: Vec<u8>, tags: &mut Tags) -> usize {
    let mut batch = Batch::default();
    batch.push(Reader::default().row(task(message), "application/json", answer), ());
    fetchline_store::encoded(&batch) + tags.settle(&[1])
}
