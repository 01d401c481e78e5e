//! Pure functions from a page to what it holds. No IO, no clock, no state.

mod charset;
mod content;
mod json;

pub use content::{Content, read};
pub use json::{JsonError, MAX_JSON_DEPTH, check};
