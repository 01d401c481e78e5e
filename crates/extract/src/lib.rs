//! Pure functions from a page to what it holds. No IO, no clock, no state.

mod charset;
mod content;
mod json;
mod product;
mod rules;
mod rule_file;
mod host_pattern;
mod markup;
mod handlers;
mod attributes;
mod scopes;
mod lenient_json;
mod json_ld;
mod items;
mod choose;
mod schema;
mod offers;
mod open_graph;
mod finding;
mod availability;
mod text;
mod number;
mod currency;
mod price;

pub use content::{Content, read};
pub use json::{JsonError, MAX_JSON_DEPTH, check};
pub use product::{
    Extraction, Field, MAX_AVAILABILITY, MAX_BRAND, MAX_CATEGORY, MAX_NAME, MAX_SKU, MAX_URL, Method, Product,
};
pub use rules::{Rules, RulesError};
