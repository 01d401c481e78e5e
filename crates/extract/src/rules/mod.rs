//! Extraction rules: where the product of a host's pages is, for sites that do not say so
//! themselves.
//!
//! `rule` has the rules and finds the one of a page, `parser` reads and checks a file of rules, and
//! `host_pattern` matches hosts.

mod error;
mod host_pattern;
mod parser;
mod rule;

pub use error::RulesError;
pub use rule::Rules;
pub(crate) use rule::{FieldName, Locator, Rule, RuleMatch};
