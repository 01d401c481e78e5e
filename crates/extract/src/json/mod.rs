//! JSON as web pages contain it: mostly valid, often not.
//!
//! `lenient` reads it with numbers as they are written; `repair` fixes what the parser cannot take.

mod lenient;
mod repair;

pub(crate) use lenient::{MAX_BYTES, read, resolve_pointer};
