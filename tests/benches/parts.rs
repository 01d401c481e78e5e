//! How long each part of a URL's way takes without network, and how often it allocates.
//!
//!     cargo bench --package fetchline-tests --bench parts

mod fixtures;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use fetchline_queue::Address;
use lapin::BasicProperties;
use url::Url;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = [fixtures::URL, "HTTP://Bücher.example:80/a/../straße?q=a b#top"])]
fn normalise_url(url: &str) -> bool {
    Address::parse(url).is_ok()
}

#[divan::bench]
fn read_message_url(bencher: Bencher<'_, '_>) {
    read(bencher, fixtures::url_message());
}

#[divan::bench]
fn read_message_json(bencher: Bencher<'_, '_>) {
    read(bencher, fixtures::json_message());
}

fn read(bencher: Bencher<'_, '_>, message: (BasicProperties, Bytes)) {
    bencher.bench_local(|| fixtures::task(&message));
}

#[divan::bench]
fn extract_json(bencher: Bencher<'_, '_>) {
    extract(bencher, "application/json", fixtures::json);
}

#[divan::bench]
fn extract_html_of_40_kb(bencher: Bencher<'_, '_>) {
    extract(bencher, "text/html; charset=utf-8", fixtures::html);
}

fn extract(bencher: Bencher<'_, '_>, content_type: &str, body: fn() -> Vec<u8>) {
    let page: Url = fixtures::URL.parse().unwrap_or_else(|_| unreachable!("a URL"));
    bencher
        .with_inputs(body)
        .bench_local_values(|body| fixtures::extract(content_type, body, &page));
}

#[divan::bench]
fn encode_batch(bencher: Bencher<'_, '_>) {
    let batch = fixtures::batch();
    bencher
        .counter(ItemsCount::new(u64::from(fixtures::ROWS)))
        .bench_local(|| fetchline_store::encoded(&batch));
}

#[divan::bench]
fn settle_batch(bencher: Bencher<'_, '_>) {
    let counted = bencher.counter(ItemsCount::new(u64::from(fixtures::ROWS)));
    counted.with_inputs(fixtures::tags).bench_local_refs(|(ledger, tags)| ledger.settle(tags));
}

#[divan::bench]
fn whole_way(bencher: Bencher<'_, '_>) {
    let message = fixtures::url_message();
    let inputs = || (fixtures::json(), fixtures::tags().0);
    bencher
        .with_inputs(inputs)
        .bench_local_values(|(body, mut ledger)| fixtures::whole_way(&message, body, &mut ledger));
}
