//! Pure functions from a body to what it holds. No IO, no clock, no state.
//!
//! [`read`] tells what a body is, and decodes it. [`product()`] finds the product that it tells, by everything that sites
//! have to say about one, and says by which method it found each field:
//!
//! | method | what is read |
//! |---|---|
//! | `rule` | what a rule of the user's names: CSS selectors in a page, JSON pointers in a JSON body ([`Rules`]) |
//! | `json_ld`, `microdata`, `rdfa` | a Product of schema.org's vocabulary with its offers and variants; its breadcrumbs |
//! | `opengraph` | the meta tags `og:…` and `product:…` |
//! | `json` | an object with a name and a price at the top of a JSON body |
//! | `html` | the page's title, where nothing else names the product, and its canonical link |
//!
//! Fields are taken each from the first method that tells it, so that the methods complete each other; a price and its
//! currency come from one method where they can. Each part says in its own words how it decides:
//!
//! - *which product is the page's own*, and which is a variant, an accessory or a tile: `choose.rs`;
//! - *which of several offers is the price*, and in which currency: `offers.rs`, the lowest of one currency;
//! - *what a number means*: `number.rs`. `1.299` is a thousand in text for people, and little more than one in a field
//!   for machines. No price is ever a float;
//! - *which number in a text is the price*: `price.rs`, and which is none: `no_price.rs`; *what a sign stands for*: `currency.rs`;
//! - *which keys of a JSON body count*: `json_body.rs`.
//!
//! A page that mentions no product costs a search for some words, and one whose head tells everything a look at that head.
//! All others cost a look at each of their tags. Only microdata, RDFa and rules cost a pass of a parser that knows which
//! element stands in which. Whatever a site sends, memory ([`MOST_MEMORY`]), depth and work are bounded, and nothing panics.

mod charset;
mod content;
mod json;
mod product;
mod extract;
mod rules;
mod rule_file;
mod host_pattern;
mod page;
mod markup;
mod tags;
mod handlers;
mod attributes;
mod scopes;
mod json_body;
mod lenient_json;
mod json_repair;
mod json_ld;
mod items;
mod choose;
mod schema;
mod offers;
mod open_graph;
mod ruled;
mod finding;
mod sources;
mod availability;
mod text;
mod number;
mod currency;
mod price;
mod no_price;
mod words;

pub use content::{Content, read};
pub use extract::product;
pub use json::{JsonError, MAX_JSON_DEPTH, check};
pub use product::{
    Extraction, Field, MAX_AVAILABILITY, MAX_BRAND, MAX_CATEGORY, MAX_NAME, MAX_SKU, MAX_URL, Method, Product,
};
pub use rules::{Rules, RulesError};

/// Bytes that an extraction takes at most beside the page itself, for pages of up to 10 MiB.
///
/// The things of four sources (`items.rs`, 4 MiB each) and a tree of JSON (`lenient_json.rs`, 50 times 256 KiB) are held
/// at once. The parser's memory (`markup.rs`, 8 MiB) and a copy of the longest attribute are gone before there is a tree.
pub const MOST_MEMORY: usize = 32 * 1024 * 1024;
