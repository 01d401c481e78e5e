//! The sources that the arguments of `fetchline produce` name.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use fetchline_producer::Source;
use fetchline_queue::Address;

use crate::exit::Failure;
use crate::secret::mask;

/// Each source is opened before anything is published, so there is a limit to their number.
const MAX_FILES: usize = 10_000;

/// The sources in order. A folder stands for its files, and a pattern for the files that match it,
/// both in the order of their names.
pub(crate) fn parse(names: Vec<PathBuf>) -> Result<Vec<Source>, Failure> {
    if names.is_empty() {
        return Ok(vec![Source::Stdin]);
    }
    let mut sources = Vec::new();
    for name in names {
        sources.extend(expand(name).map_err(Failure::usage)?);
    }
    Ok(sources)
}

fn expand(name: PathBuf) -> anyhow::Result<Vec<Source>> {
    match name.to_str() {
        Some("-") => return Ok(vec![Source::Stdin]),
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            let address = Address::parse(url)
                .map_err(|error| anyhow!("the URL of a list is not usable: {error}"))?;
            return Ok(vec![Source::Url(address)]);
        }
        Some(url) if url.contains("://") && !name.exists() => {
            bail!("{} is not a list: lists are fetched from http:// and https:// URLs", mask(url));
        }
        _ => {}
    }
    let is_pattern = name.to_str().is_some_and(|name| name.contains(['*', '?', '[']));
    let files = if name.is_dir() {
        files_in(&name)?
    } else if is_pattern && !name.exists() {
        matching(&name)?
    } else {
        return Ok(vec![Source::File(name)]);
    };
    let name = name.display();
    match files.len() {
        0 => Err(anyhow!("{name} has no files to read; hidden files and folders do not count")),
        count if count > MAX_FILES => {
            Err(anyhow!("{name} has {count} files; at most {MAX_FILES} are read at once"))
        }
        _ => Ok(files.into_iter().map(Source::File).collect()),
    }
}

/// The files in a folder, not those in folders within it.
fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let context = || format!("the folder {} cannot be read", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if is_list(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The files that match a pattern, which the shell has not expanded.
fn matching(pattern: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let text = pattern.to_string_lossy();
    let paths = glob::glob(&text).with_context(|| format!("{text} is no valid pattern"))?;
    let paths = paths.collect::<Result<Vec<PathBuf>, _>>()?;
    Ok(paths.into_iter().filter(|path| is_list(path)).collect())
}

fn is_list(path: &Path) -> bool {
    let is_hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
    path.is_file() && !path.file_name().is_some_and(is_hidden)
}
