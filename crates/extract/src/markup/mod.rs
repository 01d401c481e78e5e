//! Everything in an HTML page that can describe a product, as the page has it.
//!
//! `reader` scans the start tags with `tags`, which is enough for most pages. Only for microdata,
//! RDFa and rules, where nesting matters, it runs the HTML parser of `parser` with its `handlers`.

mod annotation;
mod attributes;
mod graph_builder;
mod handlers;
mod parser;
mod parser_state;
mod reader;
mod split_text;
mod tags;

pub(crate) use attributes::decode;
pub(crate) use reader::{Markup, read};
pub(crate) use tags::{Tag, Token, Tokenizer};
