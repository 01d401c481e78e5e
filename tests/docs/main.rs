//! Checks the documents: relative links resolve, command lines are understood, and
//! `configuration.md` lists every flag.

mod commands;
mod flags;
mod links;

use std::path::{Path, PathBuf};

use anyhow::Context;
use fetchline_tests::services::project;

/// Every Markdown file that belongs to the project.
fn documents() -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![project()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name =
                path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                let is_ours = !name.starts_with('.') && !["target", "corpus"].contains(&&*name);
                folders.extend(is_ours.then_some(path));
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}
