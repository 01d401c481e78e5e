//! What operators type into the stream `control`.

use fetchline_queue::control::Directive;
use proptest::prelude::*;

use crate::input;

const PIECES: &[&str] = &[
    "pause",
    "resume",
    "drain",
    "concurrency",
    "host",
    "cancel",
    "replay",
    " ",
    "\t",
    "\n",
    "=",
    ":",
    "\"",
    "`",
    "'",
    "<",
    ">",
    "\u{200b}",
    "blue-1",
    "default",
    "0",
    "65536",
    "-1",
    "5/s",
    "1e309/s",
    "NaN/s",
    "0.5/m",
    "none",
    "clear",
    "*",
    "*.shop.example",
    "[::1]:80",
    "reason=",
    "status=",
    "host=",
    "run=",
    "limit=",
    "older-than=",
    "nightly",
    "ü",
    "{",
    "[",
    "PAUSE",
    ",",
];

#[test]
fn any_word_is_understood_or_refused_and_means_the_same_when_it_is_written_again()
-> anyhow::Result<()> {
    input::check("tests/fuzz/corpus/directives", PIECES, |input| {
        match Directive::read(input) {
            Ok(directive) => {
                let written = directive.to_string();
                let again = Directive::read(written.as_bytes());
                prop_assert_eq!(again.as_ref().ok(), Some(&directive), "{}", written);
            }
            Err(refusal) => {
                let shown = refusal.to_string();
                prop_assert!(!shown.is_empty() && shown.len() < 2_000, "{} bytes", shown.len());
            }
        }
        Ok(())
    })
}
