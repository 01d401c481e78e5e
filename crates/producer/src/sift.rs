//! Entries into tasks: what is no URL is refused with a reason, what was there before is dropped.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use fetchline_queue::{Key, NotATask, Task};

use crate::format::{Entry, What};
use crate::record::Record;
use crate::source::Source;

/// A line that cannot be published, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The file.
    pub source: String,
    /// The line's number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
    /// The line as it was given, without its end; empty where it was too long to be held.
    pub given: Vec<u8>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.source, self.line, self.reason)
    }
}

/// What an entry turned out to be.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every entry is a task; a box for each would cost more")]
pub(crate) enum Sifted {
    Task(Task),
    /// Blank, or a comment.
    Nothing,
    Double,
    Rejected(Rejection),
}

/// What all entries of one part of a run have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Common {
    pub(crate) run: String,
    pub(crate) part: String,
    /// For those that name none.
    pub(crate) category: Option<String>,
    /// For those that name none.
    pub(crate) priority: Option<u8>,
}

/// Sifts the entries of one part of a run.
pub(crate) struct Sift {
    common: Common,
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
    pub(crate) fn new(common: Common, allow_duplicates: bool) -> Self {
        Self { common, seen: (!allow_duplicates).then(HashSet::default), tasks: 0 }
    }

    pub(crate) fn entry(&mut self, source: &Source, entry: Entry) -> Sifted {
        let Entry { source: other, line, given, what } = entry;
        let reason = match what {
            What::Nothing => return Sifted::Nothing,
            What::Bad(reason) => reason,
            What::Record(record) => match self.task(record) {
                Ok(sifted) => return sifted,
                Err(error) => error.to_string(),
            },
        };
        let source = other.map_or_else(|| source.to_string(), |other| other.to_string());
        Sifted::Rejected(Rejection { source, line, reason, given })
    }

    fn task(&mut self, Record { mut order, priority }: Record) -> Result<Sifted, NotATask> {
        let Common { run, part, category, priority: usual } = &self.common;
        order.category = order.category.or_else(|| category.clone());
        // Before it keeps out any double. In a message text is escaped once more than in the list.
        if let Some(bytes) = order.too_large() {
            return Err(NotATask::TooLarge(bytes));
        }
        self.tasks += 1;
        // Where doubles are allowed, its place in the input tells a task from its doubles.
        let copy = if self.seen.is_some() { 0 } else { self.tasks };
        let key = Key::of(run, part, &order, copy);
        if self.seen.as_mut().is_some_and(|seen| !seen.insert(key.half())) {
            return Ok(Sifted::Double);
        }
        let task = Task { priority: priority.or(*usual), ..Task::new(order, run.clone(), part.clone(), key) };
        Ok(Sifted::Task(task))
    }
}

#[cfg(test)]
mod tests {
    use fetchline_queue::{MAX_MESSAGE_BYTES, Order};

    use super::*;
    use crate::record;

    fn sift(allow_duplicates: bool, urls: &[&str]) -> Vec<Sifted> {
        let common = Common { category: Some("Tea".to_owned()), priority: Some(3), ..Common::default() };
        let mut sift = Sift::new(common, allow_duplicates);
        let source = Source::File("urls.txt".into());
        let entries = (1..).zip(urls).map(|(line, url)| Entry {
            source: None,
            line,
            given: url.as_bytes().to_vec(),
            what: record::url(url).map_or_else(What::Bad, What::Record),
        });
        entries.map(|entry| sift.entry(&source, entry)).collect()
    }

    #[test]
    fn a_bad_line_is_named_and_costs_no_good_one() {
        let sifted = sift(false, &["http://a.example/", "ftp://a.example/", "http://b.example/"]);
        let [Sifted::Task(_), Sifted::Rejected(rejection), Sifted::Task(task)] = &sifted[..] else {
            panic!("{sifted:?}");
        };
        let text = rejection.to_string();
        assert!(text.starts_with("urls.txt:2: ") && text.contains("`ftp`"), "{text}");
        assert_eq!(rejection.given, b"ftp://a.example/");
        assert_eq!((task.order.category.as_deref(), task.priority), (Some("Tea"), Some(3)));
    }

    #[test]
    fn what_no_message_can_carry_is_refused_here() {
        let refused = |body: &str| {
            let order = Order { body: Some(body.to_owned().into()), ..Order::get_url("http://a.example/").unwrap() };
            let what = What::Record(Record { order, priority: None });
            let entry = Entry { source: None, line: 1, given: Vec::new(), what };
            match Sift::new(Common::default(), false).entry(&Source::Stdin, entry) {
                Sifted::Rejected(rejection) => Some(rejection.reason),
                _ => None,
            }
        };
        // Each quote is written as two bytes.
        assert_eq!(refused(&"\"".repeat(MAX_MESSAGE_BYTES / 2 - 200)), None);
        let reason = refused(&"\"".repeat(MAX_MESSAGE_BYTES / 2)).unwrap_or_default();
        assert!(reason.contains("1048576 are allowed"), "{reason}");
        assert_eq!(refused(&"x".repeat(MAX_MESSAGE_BYTES - 200)), None);
    }

    #[test]
    fn doubles_are_found_after_normalising_unless_they_are_allowed() {
        let urls = ["http://A.example", "http://a.example:80/#x", "http://a.example/?q"];
        let sifted = sift(false, &urls);
        assert!(matches!(&sifted[..], [Sifted::Task(_), Sifted::Double, Sifted::Task(_)]), "{sifted:?}");
        let keys: HashSet<Key> = sift(true, &urls)
            .into_iter()
            .map(|sifted| match sifted {
                Sifted::Task(task) => task.key,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(keys.len(), 3);
    }
}
