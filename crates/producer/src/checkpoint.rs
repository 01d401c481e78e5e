//! How far a part of a run has come, in a file: so that it can be gone on with after an interruption of any kind.
//!
//! The file is there for as long as the part is unfinished. It is replaced as a whole, so it is never half written.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fetchline_queue::Key;
use serde::{Deserialize, Serialize};

/// How often the file is written while tasks are published. What is confirmed in between would be sent twice.
const EVERY: Duration = Duration::from_secs(1);

/// A place in the tasks of an input, by their number and by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Tasks before it.
    pub(crate) tasks: u64,
    /// Of the keys of these tasks in their order, so that another input is noticed.
    #[serde(with = "hex_digest")]
    digest: u128,
}

impl Mark {
    /// The place after the next task.
    pub(crate) fn after(self, key: &Key) -> Self {
        // An odd number near to the golden ratio of 2^128: it spreads every bit, and the order counts.
        const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        Self { tasks: self.tasks + 1, digest: self.digest.wrapping_mul(SPREAD) ^ key.half() }
    }

    /// The earlier one of two.
    pub(crate) fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min_by_key(|mark| mark.tasks)
    }
}

/// JSON has no numbers of 128 bits.
mod hex_digest {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(digest: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{digest:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        u128::from_str_radix(&String::deserialize(deserializer)?, 16).map_err(de::Error::custom)
    }
}

/// What stands in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Progressed {
    /// The run.
    pub(crate) run: String,
    /// The part of the run: its tasks have the same keys when it is gone on with.
    pub(crate) part: String,
    /// Every task before it was confirmed.
    pub(crate) confirmed: Mark,
}

/// The file of a part that is not finished.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    path: PathBuf,
    progressed: Progressed,
    written: Instant,
}

impl Checkpoint {
    /// Reads what stands in a file; `None` where there is none yet, or an empty one.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Progressed>> {
        match std::fs::read(path) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file for the first time: it has to name the part before anything of the part is sent.
    pub(crate) fn begin(path: &Path, progressed: Progressed) -> io::Result<Self> {
        let mut checkpoint = Self { path: path.to_owned(), progressed, written: Instant::now() };
        checkpoint.write()?;
        Ok(checkpoint)
    }

    /// Whether it is time to write.
    pub(crate) fn is_due(&self) -> bool {
        self.written.elapsed() >= EVERY
    }

    /// Writes that every task before this place was confirmed.
    pub(crate) fn save(&mut self, confirmed: Mark) -> io::Result<()> {
        self.written = Instant::now();
        if confirmed.tasks <= self.progressed.confirmed.tasks {
            return Ok(());
        }
        self.progressed.confirmed = confirmed;
        self.write()
    }

    /// The part is finished.
    pub(crate) fn remove(self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            // Another process has finished the same part.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let mut file = std::fs::File::create(&name)?;
        file.write_all(&serde_json::to_vec(&self.progressed)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(name, &self.path)?;
        // The name is a part of the folder: without this, it may be missing after a power failure.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use fetchline_queue::{Address, Order};

    use super::*;

    fn key(path: &str) -> Key {
        let order = Order::get(Address::parse(&format!("http://a.example/{path}")).unwrap());
        Key::of("run", "part", &order, 0)
    }

    #[test]
    fn a_mark_tells_which_tasks_were_before_it_and_in_which_order() {
        let mark = |paths: &[&str]| paths.iter().fold(Mark::default(), |mark, path| mark.after(&key(path)));
        assert_eq!(mark(&["a", "b"]), mark(&["a", "b"]));
        assert_ne!(mark(&["a", "b"]), mark(&["b", "a"]));
        assert_ne!(mark(&["a", "b"]), mark(&["a", "c"]));
        assert_eq!(Mark::earlier(Some(mark(&["a", "b"])), Some(mark(&["a"]))), Some(mark(&["a"])));
    }

    #[test]
    fn what_was_written_is_read_back_and_never_goes_backwards() {
        let path = std::env::temp_dir().join(format!("checkpoint-{:08x}", rand::random::<u32>()));
        assert!(Checkpoint::read(&path).unwrap().is_none());
        std::fs::write(&path, "").unwrap();
        assert!(Checkpoint::read(&path).unwrap().is_none());
        let progressed = Progressed { run: "r".to_owned(), part: "p".to_owned(), confirmed: Mark::default() };
        let mut checkpoint = Checkpoint::begin(&path, progressed).unwrap();
        let mark = Mark::default().after(&key("a")).after(&key("b"));
        checkpoint.save(mark).unwrap();
        checkpoint.save(Mark::default()).unwrap();
        let read = Checkpoint::read(&path).unwrap().unwrap();
        assert_eq!((read.run.as_str(), read.part.as_str(), read.confirmed), ("r", "p", mark));
        std::fs::write(&path, "{\"run\":").unwrap();
        assert!(Checkpoint::read(&path).is_err());
        checkpoint.remove().unwrap();
        assert!(Checkpoint::read(&path).unwrap().is_none());
    }
}
