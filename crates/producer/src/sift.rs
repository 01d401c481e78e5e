//! Lines into tasks: what is no URL is refused with a reason, what was there before is dropped.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use fetchline_queue::{Address, AddressError, Key, MAX_URL_BYTES, Order, Task};

use crate::source::{Line, Source};

/// A line that cannot be published, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The file.
    pub source: String,
    /// The line's number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.source, self.line, self.reason)
    }
}

/// What a line turned out to be.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every line is a task; a box for each would cost more")]
pub(crate) enum Sifted {
    Task(Task),
    /// Blank, or a comment.
    Nothing,
    Double,
    Rejected(Rejection),
}

/// Sifts the lines of one part of a run.
pub(crate) struct Sift {
    run: String,
    part: String,
    /// Halves of the keys that were there before; `None` where doubles are allowed.
    seen: Option<HashSet<u128, BuildHasherDefault<KeyHasher>>>,
    tasks: u64,
}

/// Keys are hashes already: their first bytes do.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(word);
        }
    }

    fn write_u128(&mut self, half: u128) {
        self.0 = half as u64;
    }
}

impl Sift {
    pub(crate) fn new(run: String, part: String, allow_duplicates: bool) -> Self {
        Self { run, part, seen: (!allow_duplicates).then(HashSet::default), tasks: 0 }
    }

    pub(crate) fn line(&mut self, source: &Source, number: u64, line: Line) -> Sifted {
        let reject = |reason: String| Sifted::Rejected(Rejection { source: source.to_string(), line: number, reason });
        let bytes = match line {
            Line::Whole(bytes) => bytes,
            Line::TooLong => return reject(format!("the line is longer than a URL may be ({MAX_URL_BYTES} bytes)")),
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return reject("the line is not UTF-8 text".to_owned());
        };
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() || text.starts_with('#') {
            return Sifted::Nothing;
        }
        match Address::parse(text) {
            Ok(address) => self.task(Order::get(address)),
            Err(error @ AddressError::Empty) => reject(error.to_string()),
            Err(error) => reject(format!("no URL that can be fetched: {error}")),
        }
    }

    fn task(&mut self, order: Order) -> Sifted {
        self.tasks += 1;
        // Where doubles are allowed, its place in the input tells a task from its doubles.
        let copy = if self.seen.is_some() { 0 } else { self.tasks };
        let key = Key::of(&self.run, &self.part, &order, copy);
        if self.seen.as_mut().is_some_and(|seen| !seen.insert(key.half())) {
            return Sifted::Double;
        }
        Sifted::Task(Task::new(order, self.run.clone(), self.part.clone(), key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sift(allow_duplicates: bool, text: &str) -> Vec<Sifted> {
        let mut sift = Sift::new("run".to_owned(), "part".to_owned(), allow_duplicates);
        let source = Source::File("urls.txt".into());
        (1..).zip(text.split('\n')).map(|(n, line)| sift.line(&source, n, Line::Whole(line.into()))).collect()
    }

    #[test]
    fn blank_lines_comments_and_marks_do_no_harm() {
        let sifted = sift(false, "\u{feff}http://a.example/\r\n\r\n  # note\n http://b.example/ ");
        assert!(
            matches!(&sifted[..], [Sifted::Task(_), Sifted::Nothing, Sifted::Nothing, Sifted::Task(_)]),
            "{sifted:?}"
        );
    }

    #[test]
    fn a_bad_line_is_named_and_costs_no_good_one() {
        let sifted = sift(false, "http://a.example/\nftp://a.example/\nhttp://b.example/");
        let [Sifted::Task(_), Sifted::Rejected(rejection), Sifted::Task(_)] = &sifted[..] else {
            panic!("{sifted:?}");
        };
        let text = rejection.to_string();
        assert!(text.starts_with("urls.txt:2: ") && text.contains("`ftp`"), "{text}");
    }

    #[test]
    fn doubles_are_found_after_normalising_unless_they_are_allowed() {
        let text = "http://A.example\nhttp://a.example:80/#x\nhttp://a.example/?q";
        let sifted = sift(false, text);
        assert!(matches!(&sifted[..], [Sifted::Task(_), Sifted::Double, Sifted::Task(_)]), "{sifted:?}");
        let keys: HashSet<Key> = sift(true, text)
            .into_iter()
            .map(|sifted| match sifted {
                Sifted::Task(task) => task.key,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(keys.len(), 3);
    }
}
