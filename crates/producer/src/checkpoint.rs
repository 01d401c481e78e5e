//! A file with the progress of a part, so that an interrupted part can be resumed.
//!
//! The file exists while the part is unfinished. It is replaced as a whole, so it is never half
//! written, whatever interrupts the process.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fetchline_queue::Key;
use serde::{Deserialize, Serialize};

/// How often the file is written. Tasks that are confirmed in between are sent again after an
/// interruption.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// A position in the tasks of an input, by their number and their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// How many tasks come before it.
    pub(crate) tasks: u64,
    /// A digest of the keys of these tasks in order. It reveals that the input has changed.
    #[serde(with = "hex_digest")]
    digest: u128,
}

impl Position {
    /// The position after one more task.
    pub(crate) fn after(self, key: &Key) -> Self {
        // An odd number close to 2^128 divided by the golden ratio: it spreads every bit, and makes
        // the digest depend on the order.
        const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        Self { tasks: self.tasks + 1, digest: self.digest.wrapping_mul(SPREAD) ^ key.half() }
    }

    /// The earlier of two positions.
    pub(crate) fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min_by_key(|position| position.tasks)
    }
}

/// Writes the digest as hex, since JSON numbers do not have 128 bits.
mod hex_digest {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        digest: &u128,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{digest:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u128, D::Error> {
        u128::from_str_radix(&String::deserialize(deserializer)?, 16).map_err(de::Error::custom)
    }
}

/// The content of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointState {
    pub(crate) run: String,
    /// A resumed part keeps its name, so that its tasks keep their keys.
    pub(crate) part: String,
    /// Every task before this position is confirmed.
    pub(crate) confirmed: Position,
}

/// The file of an unfinished part.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    path: PathBuf,
    state: CheckpointState,
    written_at: Instant,
}

impl Checkpoint {
    /// Reads a file; `None` if it is missing or empty.
    pub(crate) fn read(path: &Path) -> io::Result<Option<CheckpointState>> {
        match std::fs::read(path) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file for the first time. It has to name the part before any of its tasks is sent.
    pub(crate) fn create(path: &Path, state: CheckpointState) -> io::Result<Self> {
        let mut checkpoint = Self { path: path.to_owned(), state, written_at: Instant::now() };
        checkpoint.write()?;
        Ok(checkpoint)
    }

    /// Whether the last write is long enough ago.
    pub(crate) fn is_due(&self) -> bool {
        self.written_at.elapsed() >= SAVE_INTERVAL
    }

    /// Records that every task before this position is confirmed. It never moves backwards.
    pub(crate) fn save(&mut self, confirmed: Position) -> io::Result<()> {
        self.written_at = Instant::now();
        if confirmed.tasks <= self.state.confirmed.tasks {
            return Ok(());
        }
        self.state.confirmed = confirmed;
        self.write()
    }

    /// Removes the file of a finished part.
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
        file.write_all(&serde_json::to_vec(&self.state)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(name, &self.path)?;
        // The directory holds the new name: without a sync it may be lost in a power failure.
        let directory = self
            .path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use fetchline_queue::{Address, FetchRequest};

    use super::*;

    fn key(path: &str) -> Key {
        let request =
            FetchRequest::get(Address::parse(&format!("http://a.example/{path}")).unwrap());
        Key::of("run", "part", &request, 0)
    }

    #[test]
    fn a_position_depends_on_the_tasks_before_it_and_their_order() {
        let after = |paths: &[&str]| {
            paths.iter().fold(Position::default(), |position, path| position.after(&key(path)))
        };
        assert_eq!(after(&["a", "b"]), after(&["a", "b"]));
        assert_ne!(after(&["a", "b"]), after(&["b", "a"]));
        assert_ne!(after(&["a", "b"]), after(&["a", "c"]));
        assert_eq!(
            Position::earlier(Some(after(&["a", "b"])), Some(after(&["a"]))),
            Some(after(&["a"]))
        );
    }

    #[test]
    fn a_written_state_is_read_back_and_never_moves_backwards() {
        let path = std::env::temp_dir().join(format!("checkpoint-{:08x}", rand::random::<u32>()));
        assert!(Checkpoint::read(&path).unwrap().is_none());
        std::fs::write(&path, "").unwrap();
        assert!(Checkpoint::read(&path).unwrap().is_none());
        let state = CheckpointState {
            run: "r".to_owned(),
            part: "p".to_owned(),
            confirmed: Position::default(),
        };
        let mut checkpoint = Checkpoint::create(&path, state).unwrap();
        let position = Position::default().after(&key("a")).after(&key("b"));
        checkpoint.save(position).unwrap();
        checkpoint.save(Position::default()).unwrap();
        let read = Checkpoint::read(&path).unwrap().unwrap();
        assert_eq!((read.run.as_str(), read.part.as_str(), read.confirmed), ("r", "p", position));
        std::fs::write(&path, "{\"run\":").unwrap();
        assert!(Checkpoint::read(&path).is_err());
        checkpoint.remove().unwrap();
        assert!(Checkpoint::read(&path).unwrap().is_none());
    }
}
