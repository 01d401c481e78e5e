//! A file with the progress of a part, so that an interrupted part can be resumed.
//!
//! The file exists while the part is unfinished. It is replaced as a whole, so it is never half
//! written, whatever interrupts the process.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fetchline_queue::Fingerprint;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::entry::Postponed;
use crate::fetched_pages::Period;

/// The format that is written.
const VERSION: u32 = 4;
/// How often the file is written. Tasks that are confirmed in between are sent again after an
/// interruption.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// A position in the tasks of an input, by their number and their fingerprints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// How many tasks come before it. The next one gets its key from this number.
    pub(crate) tasks: u64,
    /// A digest of the fingerprints of these tasks in order. It reveals that the input has changed.
    #[serde(with = "hex_digest")]
    digest: u128,
    /// How many of them are not published, since their pages were fetched lately.
    #[serde(default)]
    pub(crate) skipped: u64,
}

impl Position {
    /// The position after one more task.
    pub(crate) fn after(self, task: &Fingerprint) -> Self {
        // An odd number close to 2^128 divided by the golden ratio: it spreads every bit, and makes
        // the digest depend on the order.
        const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let digest = self.digest.wrapping_mul(SPREAD) ^ task.half();
        Self { tasks: self.tasks + 1, digest, ..self }
    }

    /// The position after a task that is not published.
    pub(crate) fn after_skipped(self, task: &Fingerprint) -> Self {
        Self { skipped: self.skipped + 1, ..self.after(task) }
    }

    /// Whether the same tasks come before both.
    pub(crate) fn has_same_tasks(self, other: Self) -> bool {
        (self.tasks, self.digest) == (other.tasks, other.digest)
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
    /// The format of the file. The first one had no number.
    #[serde(default)]
    version: u32,
    pub(crate) run: String,
    /// A resumed part keeps its id, so that its tasks keep their keys.
    pub(crate) part: String,
    /// Every task before this position is confirmed.
    pub(crate) confirmed: Position,
    /// Pages that have not changed since then are skipped, in seconds since 1970: a part that is
    /// resumed skips the same ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) modified_since: Option<i64>,
    /// Pages that were fetched in this period are skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fetched: Option<Period>,
    /// Sitemaps that are read after everything else, by their URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) postponed: Vec<String>,
}

impl CheckpointState {
    /// The state of a part of which nothing is confirmed.
    pub(crate) fn new(run: String, part: String) -> Self {
        Self {
            version: VERSION,
            run,
            part,
            confirmed: Position::default(),
            modified_since: None,
            fetched: None,
            postponed: Vec::new(),
        }
    }

    /// Skips pages that have not changed for `age`, counted back from when the part began.
    pub(crate) fn limit_age(&mut self, age: Option<Duration>) {
        let since = |age: Duration| {
            let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            OffsetDateTime::now_utc().unix_timestamp().saturating_sub(seconds)
        };
        self.modified_since = age.map(|age| self.modified_since.unwrap_or_else(|| since(age)));
    }

    /// The time since which a page has to have changed.
    pub(crate) fn modified_since(&self) -> Option<OffsetDateTime> {
        // What lies before all years that can be written excludes nothing.
        OffsetDateTime::from_unix_timestamp(self.modified_since?).ok()
    }

    fn read(text: &[u8]) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            #[serde(default)]
            version: u32,
        }

        let Versioned { version } = serde_json::from_slice(text).map_err(io::Error::other)?;
        if version > VERSION {
            return Err(io::Error::other(format!(
                "its format {version} is newer than this version of fetchline; resume the part \
                 with the version that began it"
            )));
        }
        let state: Self = serde_json::from_slice(text).map_err(io::Error::other)?;
        Ok(Self { version: VERSION, ..state })
    }
}

/// The sole right to use a checkpoint. It ends with the process.
///
/// The file itself is locked. It is replaced by a new one that is locked before it gets its name,
/// so a process that opens the file by its name finds it locked.
#[derive(Debug)]
pub(crate) struct CheckpointLock {
    path: PathBuf,
    file: File,
    /// Whether the file is empty and ours, so that it is removed if no part begins.
    is_created: bool,
}

impl CheckpointLock {
    /// Locks the file, and creates it if it is missing.
    pub(crate) fn acquire(path: &Path) -> io::Result<Self> {
        loop {
            let is_created = !path.exists();
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::other(
                        "another `fetchline produce` is using it; wait until it ends, or give \
                         each its own file",
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The file may have been replaced or removed before it was locked.
            let of = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
            if std::fs::metadata(path)
                .is_ok_and(|named| file.metadata().is_ok_and(|locked| of(named) == of(locked)))
            {
                return Ok(Self { path: path.to_owned(), file, is_created });
            }
        }
    }

    /// Reads the file; `None` if it is empty.
    pub(crate) fn read(&mut self) -> io::Result<Option<CheckpointState>> {
        let mut text = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut text)?;
        let is_blank = text.iter().all(u8::is_ascii_whitespace);
        if is_blank { Ok(None) } else { CheckpointState::read(&text).map(Some) }
    }
}

impl Drop for CheckpointLock {
    fn drop(&mut self) {
        if self.is_created {
            // An empty file is no checkpoint, so it may stay.
            _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The file of an unfinished part.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    lock: CheckpointLock,
    state: CheckpointState,
    postponed: Postponed,
    written_at: Instant,
}

impl Checkpoint {
    /// Writes the file for the first time. It has to name the part before any of its tasks is sent.
    pub(crate) fn create(
        lock: CheckpointLock,
        state: CheckpointState,
        postponed: Postponed,
    ) -> io::Result<Self> {
        let mut checkpoint = Self { lock, state, postponed, written_at: Instant::now() };
        checkpoint.write()?;
        Ok(checkpoint)
    }

    /// Whether the last write is long enough ago.
    pub(crate) fn is_due(&self) -> bool {
        self.written_at.elapsed() >= SAVE_INTERVAL
    }

    /// Whether the file does not say yet that every task before this position is confirmed.
    pub(crate) fn is_behind(&self, confirmed: Position) -> bool {
        confirmed.tasks > self.state.confirmed.tasks
    }

    /// Records that every task before this position is confirmed. It never moves backwards.
    pub(crate) fn save(&mut self, confirmed: Position) -> io::Result<()> {
        self.written_at = Instant::now();
        if !self.is_behind(confirmed) {
            return Ok(());
        }
        self.state.confirmed = confirmed;
        self.write()
    }

    /// Removes the file of a finished part.
    pub(crate) fn remove(self) -> io::Result<()> {
        match std::fs::remove_file(&self.lock.path) {
            // Somebody has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn write(&mut self) -> io::Result<()> {
        self.state.postponed = self.postponed.urls();
        let mut name = self.lock.path.clone().into_os_string();
        name.push(".new");
        let mut file = File::create(&name)?;
        file.try_lock()?;
        file.write_all(&serde_json::to_vec(&self.state)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(name, &self.lock.path)?;
        self.lock.file = file;
        self.lock.is_created = false;
        // The directory holds the new name: without a sync it may be lost in a power failure.
        let directory = self
            .lock
            .path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use fetchline_queue::{Address, FetchRequest};

    use super::*;

    fn task(path: &str) -> Fingerprint {
        let request =
            FetchRequest::get(Address::parse(&format!("http://a.example/{path}")).unwrap());
        Fingerprint::of("run", "part", &request, 0)
    }

    #[test]
    fn a_position_depends_on_the_tasks_before_it_and_their_order() {
        let after = |paths: &[&str]| {
            paths.iter().fold(Position::default(), |position, path| position.after(&task(path)))
        };
        assert_eq!(after(&["a", "b"]), after(&["a", "b"]));
        assert_ne!(after(&["a", "b"]), after(&["b", "a"]));
        assert_ne!(after(&["a", "b"]), after(&["a", "c"]));
        assert_eq!(
            Position::earlier(Some(after(&["a", "b"])), Some(after(&["a"]))),
            Some(after(&["a"]))
        );
    }

    fn path() -> PathBuf {
        std::env::temp_dir().join(format!("checkpoint-{:016x}", rand::random::<u64>()))
    }

    fn read(path: &Path) -> io::Result<Option<CheckpointState>> {
        CheckpointLock::acquire(path)?.read()
    }

    #[test]
    fn a_written_state_is_read_back_and_never_moves_backwards() {
        let path = path();
        std::fs::write(&path, "\n").unwrap();
        let mut lock = CheckpointLock::acquire(&path).unwrap();
        assert!(lock.read().unwrap().is_none());
        let mut state = CheckpointState::new("r".to_owned(), "p".to_owned());
        state.modified_since = Some(1_000);
        let postponed = Postponed::resumed(["http://a.example/2.xml".to_owned()]);
        let mut checkpoint = Checkpoint::create(lock, state, postponed).unwrap();
        let position = Position::default().after(&task("a")).after(&task("b"));
        assert!(checkpoint.is_behind(position));
        checkpoint.save(position).unwrap();
        checkpoint.save(Position::default()).unwrap();
        assert!(!checkpoint.is_behind(position));
        // A process that is killed leaves the file and no lock.
        drop(checkpoint);
        let read_back = read(&path).unwrap().unwrap();
        assert_eq!(
            (read_back.run.as_str(), read_back.part.as_str(), read_back.confirmed),
            ("r", "p", position)
        );
        assert_eq!(read_back.modified_since, Some(1_000));
        assert_eq!(read_back.postponed, ["http://a.example/2.xml"]);
        let lock = CheckpointLock::acquire(&path).unwrap();
        Checkpoint::create(lock, read_back, Postponed::default()).unwrap().remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_checkpoint_has_one_user_from_its_first_to_its_last_write() {
        let path = path();
        let is_taken = || {
            let error = CheckpointLock::acquire(&path).err().map(|error| error.to_string());
            error.is_some_and(|error| error.contains("another `fetchline produce`"))
        };
        let lock = CheckpointLock::acquire(&path).unwrap();
        assert!(is_taken());
        let state = CheckpointState::new("r".to_owned(), "p".to_owned());
        let mut checkpoint = Checkpoint::create(lock, state, Postponed::default()).unwrap();
        assert!(is_taken());
        checkpoint.save(Position::default().after(&task("a"))).unwrap();
        assert!(is_taken());
        checkpoint.remove().unwrap();
        assert!(!is_taken());
        // A part that did not begin leaves no file.
        assert!(!path.exists());
    }

    #[test]
    fn older_formats_are_read_and_newer_ones_are_refused() {
        let path = path();
        let digest = "0".repeat(32);
        let confirmed = format!("\"confirmed\":{{\"tasks\":7,\"digest\":\"{digest}\"}}");
        let first = format!("{{\"run\":\"r\",\"part\":\"p\",{confirmed}}}\n");
        std::fs::write(&path, &first).unwrap();
        let state = read(&path).unwrap().unwrap();
        assert_eq!((state.confirmed.tasks, state.version), (7, VERSION));
        for (text, expected) in [
            (first.replace("{\"run\"", "{\"version\":5,\"run\""), "its format 5 is newer"),
            ("{\"version\":9}".to_owned(), "its format 9 is newer"),
            ("{\"run\":".to_owned(), "EOF"),
            ("no JSON".to_owned(), "expected"),
            ("{\"run\":\"r\"}".to_owned(), "missing field"),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
