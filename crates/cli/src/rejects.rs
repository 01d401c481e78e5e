//! The file of `fetchline produce --rejects`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, anyhow};
use fetchline_producer::{Rejection, Source};
use same_file::Handle;

use crate::exit::Failure;

/// Writes rejected lines, each under its row of headings, so that they can be corrected and
/// published like any list.
pub(crate) struct Rejects(Mutex<RejectFile>);

struct RejectFile {
    file: File,
    /// Whether the file still holds the lines of an earlier `produce`. They stay until the first
    /// line is rejected, or the whole input is read.
    is_old: bool,
    /// The last row of headings that was written.
    headings: Option<String>,
    /// Whether the file begins with a byte-order mark. It is UTF-8, even if the flag `--encoding`
    /// says otherwise when it is published.
    is_marked: bool,
    /// Why a line could not be written.
    failure: Option<std::io::Error>,
}

impl Rejects {
    /// Opens the file. It must not be one of the sources.
    pub(crate) fn open(path: &Path, sources: &[Source], is_marked: bool) -> Result<Self, Failure> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let opened = file.and_then(|file| {
            Ok((Handle::from_file(file.try_clone()?)?, file.metadata()?.is_file(), file))
        });
        let context = || format!("cannot write --rejects {}", path.display());
        let (handle, is_old, file) = opened.with_context(context).map_err(Failure::usage)?;
        let is_source = sources.iter().any(|source| match source {
            // Opening a pipe would block, or take its data.
            Source::File(file) => {
                file.is_file() && Handle::from_path(file).is_ok_and(|read| read == handle)
            }
            Source::Stdin => Handle::stdin().is_ok_and(|read| read == handle),
            Source::Url(_) => false,
        });
        if is_old && is_source {
            let path = path.display();
            return Err(Failure::usage(anyhow!(
                "--rejects {path} is one of the sources; name another file"
            )));
        }
        Ok(Self(Mutex::new(RejectFile { file, is_old, headings: None, is_marked, failure: None })))
    }

    /// Writes a rejected line.
    pub(crate) fn push(&self, rejection: &Rejection, headings: Option<&str>) {
        self.write(|rejects| {
            let mut lines = Vec::new();
            if std::mem::take(&mut rejects.is_marked) {
                lines.extend_from_slice("\u{feff}".as_bytes());
            }
            if let Some(headings) = headings
                && rejects.headings.as_deref() != Some(headings)
            {
                lines.extend_from_slice(headings.as_bytes());
                lines.push(b'\n');
                rejects.headings = Some(headings.to_owned());
            }
            lines.extend_from_slice(&rejection.raw);
            lines.push(b'\n');
            rejects.file.write_all(&lines)
        });
    }

    /// Drops the lines of an earlier `produce`, now that the whole input is read.
    pub(crate) fn finish(&self) {
        self.write(|_| Ok(()));
    }

    /// Fails if a line could not be written: it is nowhere else.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let mut rejects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match rejects.failure.take() {
            Some(error) => Err(error).context("rejected lines cannot be written to --rejects"),
            None => Ok(()),
        }
    }

    fn write(&self, write: impl FnOnce(&mut RejectFile) -> std::io::Result<()>) {
        let mut rejects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let emptied =
            if std::mem::take(&mut rejects.is_old) { rejects.file.set_len(0) } else { Ok(()) };
        if let Err(error) = emptied.and_then(|()| write(&mut rejects)) {
            if rejects.failure.is_none() {
                tracing::error!(%error, "rejected lines cannot be written to --rejects");
            }
            rejects.failure.get_or_insert(error);
        }
    }
}
