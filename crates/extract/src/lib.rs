#![doc = include_str!("../README.md")]

mod content;
mod extraction;
mod learn;
mod sources;
mod markup;
mod schema_org;
mod rules;
mod shown;
mod finding;
mod availability;
mod price;
mod product;
mod json;
mod text;

pub use content::{Content, read};
pub use extraction::{Explanation, SourcePrice, canonical_url, explain, product};
pub use learn::{Lesson, Sample, learn};
pub use product::{
    Confidence, Extraction, Field, MAX_AVAILABILITY, MAX_BRAND, MAX_CATEGORY, MAX_NAME, MAX_SKU,
    MAX_URL, Method, Product,
};
pub use rules::{Rules, RulesError};
pub use shown::{ShownPrice, ShownText};

/// Bytes of memory that [`product()`] takes at most in addition to the page, for pages of up to
/// 10 MiB.
///
/// At the peak there are the nodes of four sources (`schema_org/graph.rs`, 4 MiB each) and a tree
/// of JSON (`json/lenient.rs`, 50 times 256 KiB). Instead of one of the sources there may be the
/// decoded strings of scripts (`sources/script_json.rs`, three times 2 MiB). The memory of the HTML
/// parser (`markup/parser.rs`, 8 MiB) and a copy of the longest attribute are freed before there is
/// a tree.
pub const MAX_MEMORY: usize = 32 * 1024 * 1024;
