//! `--rejects` of `fetchline produce`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, anyhow};
use fetchline_producer::{Rejection, Source};
use same_file::Handle;

use crate::exit::Failure;

/// The file of lines that were refused, under the headings that they stood under.
pub(crate) struct Rejects(Mutex<Refused>);

struct Refused {
    file: File,
    /// Whether it holds what was refused the last time. That goes only when this time's is known.
    is_old: bool,
    /// The row of headings that was written last.
    headings: Option<String>,
}

impl Rejects {
    pub(crate) fn open(path: &Path, sources: &[Source]) -> Result<Self, Failure> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let opened =
            file.and_then(|file| Ok((Handle::from_file(file.try_clone()?)?, file.metadata()?.is_file(), file)));
        let unusable = || format!("cannot write --rejects {}", path.display());
        let (handle, is_old, file) = opened.with_context(unusable).map_err(Failure::usage)?;
        let is_read = sources.iter().any(|source| match source {
            // A pipe is not opened before its time.
            Source::File(file) => file.is_file() && Handle::from_path(file).is_ok_and(|read| read == handle),
            Source::Stdin => Handle::stdin().is_ok_and(|read| read == handle),
            Source::Url(_) => false,
        });
        if is_old && is_read {
            let path = path.display();
            return Err(Failure::usage(anyhow!("--rejects {path} is one of the files that are read: name another")));
        }
        Ok(Self(Mutex::new(Refused { file, is_old, headings: None })))
    }

    pub(crate) fn take(&self, rejection: &Rejection, headings: Option<&str>) {
        self.write(|refused| {
            let mut lines = Vec::new();
            if let Some(headings) = headings.filter(|&headings| refused.headings.as_deref() != Some(headings)) {
                lines.extend_from_slice(headings.as_bytes());
                lines.push(b'\n');
                refused.headings = Some(headings.to_owned());
            }
            lines.extend_from_slice(&rejection.given);
            lines.push(b'\n');
            refused.file.write_all(&lines)
        });
    }

    /// All is read.
    pub(crate) fn end(&self) {
        self.write(|_| Ok(()));
    }

    fn write(&self, lines: impl FnOnce(&mut Refused) -> std::io::Result<()>) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let emptied = if std::mem::take(&mut refused.is_old) { refused.file.set_len(0) } else { Ok(()) };
        if let Err(error) = emptied.and_then(|()| lines(&mut refused)) {
            tracing::error!(%error, "refused lines cannot be written to --rejects");
        }
    }
}
