//! How many instructions each part takes that a URL goes through, without network, as valgrind counts them: the same on a
//! busy machine as on an idle one. What has changed since the last run is told beside them, and 5 % more is a failure.
//!
//!     make bench-parts

#![expect(missing_docs, reason = "the macros of the library make modules without any")]

mod given;

use bytes::Bytes;
use std::hint::black_box;

use fetchline_queue::{Address, Task};
use fetchline_store::Batch;
use fetchline_worker::bench::Tags;
use gungraun::prelude::*;
use lapin::BasicProperties;

#[library_benchmark]
#[bench::plain(given::URL)]
#[bench::international("HTTP://Bücher.example:80/a/../straße?q=a b#top")]
fn normalise_url(url: &str) -> bool {
    black_box(Address::parse(black_box(url)).is_ok())
}

#[library_benchmark]
#[bench::url(given::url_message())]
#[bench::json(given::json_message())]
fn read_message(message: (BasicProperties, Bytes)) -> Task {
    black_box(given::task(black_box(&message)))
}

#[library_benchmark]
#[bench::json("application/json", given::json())]
#[bench::html_of_40_kb("text/html; charset=utf-8", given::html())]
fn extract(content_type: &str, body: Vec<u8>) -> bool {
    let Ok(page) = given::URL.parse() else { return false };
    drop(black_box(given::extract(content_type, body, &page)));
    true
}

#[library_benchmark]
#[bench::of_500_rows(given::batch())]
fn encode_batch(batch: Batch<()>) -> usize {
    black_box(fetchline_store::encoded(black_box(&batch)))
}

#[library_benchmark]
#[bench::of_500_tags(given::tags())]
fn settle_batch((mut ledger, tags): (Tags, Vec<u64>)) -> usize {
    black_box(ledger.settle(black_box(&tags)))
}

#[library_benchmark]
#[bench::of_a_url(given::url_message(), given::json(), given::tags().0)]
fn whole_way(message: (BasicProperties, Bytes), answer: Vec<u8>, mut ledger: Tags) -> usize {
    black_box(given::whole_way(black_box(&message), answer, &mut ledger))
}

library_benchmark_group!(
    name = parts,
    benchmarks = [normalise_url, read_message, extract, encode_batch, settle_batch, whole_way]
);

main!(library_benchmark_groups = parts);
