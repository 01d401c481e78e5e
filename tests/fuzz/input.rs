//! The inputs of a target.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use fetchline_tests::services::project;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestError, TestRunner};
use sha2::{Digest, Sha256};

/// The most edits of a file.
const MAX_EDITS: usize = 12;
/// The longest input, in bytes. Longer bodies have tests of their own.
const MAX_BYTES: usize = 256 * 1024;
/// The inputs of a target that are tried in one round.
const ROUND: u32 = 400;

/// A change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Insert(Index, Vec<u8>),
    Overwrite(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    Truncate(Index),
    /// The rest of the input is that of another file.
    Splice(Index, Vec<u8>),
}

/// Tries a property with the files of the corpus, and with random edits of them. `pieces` are what
/// inputs of this kind are made of.
///
/// The corpus is a folder of the project.
pub(crate) fn check(
    folder: &str,
    pieces: &'static [&'static str],
    property: impl Fn(&[u8]) -> Result<(), TestCaseError>,
) -> anyhow::Result<()> {
    let files = corpus(folder)?;
    for (path, bytes) in &files {
        property(bytes).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    let files: Vec<Vec<u8>> = files.into_iter().map(|(_, bytes)| bytes).collect();
    let inputs = inputs(files, pieces);
    let config = || Config { cases: ROUND, failure_persistence: None, ..Config::default() };
    let until = minutes()?.map(|minutes| Instant::now() + minutes);
    loop {
        match TestRunner::new(config()).run(&inputs, |input| property(&input)) {
            Ok(()) => {}
            Err(TestError::Abort(reason)) => bail!("{folder}: {reason}"),
            Err(TestError::Fail(reason, input)) => {
                let path = keep(&input)?;
                let shown = String::from_utf8_lossy(&input);
                bail!("{reason}\ninput, also in {}:\n{shown}", path.display());
            }
        }
        if until.is_none_or(|until| Instant::now() >= until) {
            return Ok(());
        }
    }
}

/// How long each target is tried, if that is longer than one round.
fn minutes() -> anyhow::Result<Option<Duration>> {
    let Ok(minutes) = std::env::var("FUZZ_MINUTES") else { return Ok(None) };
    let minutes: f64 = minutes.parse().context("FUZZ_MINUTES is not a number")?;
    Ok(Some(Duration::try_from_secs_f64(minutes * 60.0)?))
}

fn corpus(folder: &str) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = project().join(folder);
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        files.push((path.clone(), fs::read(path)?));
    }
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    files.sort();
    Ok(files)
}

/// Writes an input that failed beside the binaries.
fn keep(input: &[u8]) -> anyhow::Result<PathBuf> {
    let digest = hex::encode(&Sha256::digest(input)[..4]);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{digest}"));
    fs::write(&path, input)?;
    Ok(path)
}

fn inputs(files: Vec<Vec<u8>>, pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let edit = prop_oneof![
        4 => (any::<Index>(), piece(pieces)).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        2 => (any::<Index>(), piece(pieces)).prop_map(|(at, piece)| Edit::Overwrite(at, piece)),
        2 => (any::<Index>(), 1..64_usize).prop_map(|(at, bytes)| Edit::Remove(at, bytes)),
        1 => (any::<Index>(), 1..64_usize, 1..200_usize)
            .prop_map(|(at, bytes, times)| Edit::Repeat(at, bytes, times)),
        1 => any::<Index>().prop_map(Edit::Truncate),
        1 => (any::<Index>(), select(files.clone())).prop_map(|(at, file)| Edit::Splice(at, file)),
    ];
    (select(files), prop::collection::vec(edit, 0..=MAX_EDITS)).prop_map(|(mut input, edits)| {
        for edit in edits {
            edit.apply(&mut input);
            input.truncate(MAX_BYTES);
        }
        input
    })
}

fn piece(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..8),
        1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
    ]
}

impl Edit {
    fn apply(self, input: &mut Vec<u8>) {
        let position = |at: Index| at.index(input.len() + 1);
        match self {
            Self::Insert(at, piece) => {
                let at = position(at);
                input.splice(at..at, piece);
            }
            Self::Overwrite(at, piece) => {
                let at = position(at);
                let end = input.len().min(at + piece.len());
                input.splice(at..end, piece);
            }
            Self::Remove(at, bytes) => {
                let at = position(at);
                input.drain(at..input.len().min(at + bytes));
            }
            Self::Repeat(at, bytes, times) => {
                let at = position(at);
                let part = input[at..input.len().min(at + bytes)].repeat(times);
                input.splice(at..at, part);
            }
            Self::Truncate(at) => input.truncate(position(at)),
            Self::Splice(at, file) => {
                let at = position(at);
                input.truncate(at);
                input.extend_from_slice(&file[at.min(file.len())..]);
            }
        }
    }
}
