//! Random inputs that strangers control: messages, URLs, directives, pages, bodies, robots.txt.
//!
//! Each input is a file of a corpus with random edits. A few hundred inputs of each target
//! are tried with the other tests; `make fuzz MINUTES=10` tries new ones for that long. What failed
//! once is added to the corpus, and is tried first from then on.

mod addresses;
mod bodies;
mod directives;
mod input;
mod messages;
mod pages;
mod robots;
