//! The sources of a product, and the merging of what they find.
//!
//! Each source is a file that reads a [`Finding`](crate::finding::Finding). `page` and `json_body`
//! run the sources of an HTML page and of a JSON body; `merger` merges the findings field by field.
//!
//! CONTRIBUTING.md says how to add a source.

mod breadcrumb_links;
mod doubt;
mod html;
pub(crate) mod json_body;
mod json_keys;
pub(crate) mod merger;
mod open_graph;
pub(crate) mod page;
mod rule;
mod rule_match;
mod script_json;
