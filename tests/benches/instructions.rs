//! How many instructions each part of a URL's way takes without network, as valgrind counts them:
//! the count is the same on a busy machine as on an idle one. The report shows the change since the
//! last run; 5 % more is a failure.
//!
//!     make bench-parts

#![expect(missing_docs, reason = "the macros of the library generate undocumented modules")]

mod fixtures;

use bytes::Bytes;
use std::hint::black_box;

use fetchline_queue::{Address, Task};
use fetchline_store::Batch;
use fetchline_worker::bench::Tags;
use gungraun::prelude::*;
use lapin::BasicProperties;

#[library_benchmark]
#[bench::plain(fixtures::URL)]
#[bench::international("HTTP://Bücher.example:80/a/../straße?q=a b#top")]
fn normalise_url(url: &str) -> bool {
    black_box(Address::parse(black_box(url)).is_ok())
}

#[library_benchmark]
#[bench::url(fixtures::url_message())]
#[bench::json(fixtures::json_message())]
fn read_message(message: (BasicProperties, Bytes)) -> Task {
    black_box(fixtures::task(black_box(&message)))
}

#[library_benchmark]
#[bench::json("application/json", fixtures::json())]
#[bench::html_of_40_kb("text/html; charset=utf-8", fixtures::html())]
fn extract(content_type: &str, body: Vec<u8>) -> bool {
    let Ok(page) = fixtures::URL.parse() else { return false };
    drop(black_box(fixtures::extract(content_type, body, &page)));
    true
}

#[library_benchmark]
#[bench::of_500_rows(fixtures::batch())]
fn encode_batch(batch: Batch<()>) -> usize {
    black_box(fetchline_store::encoded(black_box(&batch)))
}

#[library_benchmark]
#[bench::of_500_tags(fixtures::tags())]
fn settle_batch((mut ledger, tags): (Tags, Vec<u64>)) -> usize {
    black_box(ledger.settle(black_box(&tags)))
}

#[library_benchmark]
#[bench::of_a_url(fixtures::url_message(), fixtures::json(), fixtures::tags().0)]
fn whole_way(message: (BasicProperties, Bytes), answer: Vec<u8>, mut ledger: Tags) -> usize {
    black_box(fixtures::whole_way(black_box(&message), answer, &mut ledger))
}

library_benchmark_group!(
    name = parts,
    benchmarks = [normalise_url, read_message, extract, encode_batch, settle_batch, whole_way]
);

main!(library_benchmark_groups = parts);
