//! JSON as web pages contain it: mostly valid, often not.
//!
//! `lenient` reads it with numbers as they are written; `repair` and `requote` fix what the parser
//! cannot take. `large` reads valid JSON that is too long for a tree, part by part.

mod large;
mod lenient;
mod objects;
mod repair;
mod requote;

pub(crate) use large::{find, prefix, prune, scalar_text};
pub(crate) use lenient::{MAX_BYTES, pointer_text, read};
pub(crate) use objects::{Wanted, objects};
