//! Processes with a wrong clock.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::services::project;

/// Path of the library in Debian's package `libfaketime`, below the folder of the architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The environment of a process whose clock is off by a difference such as `+1h` or `-10m`. Timers
/// are not affected.
pub fn shifted(difference: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let library = match library() {
        Some(library) => library,
        None => {
            let install = project().join("deploy/local/install");
            let installed = Command::new(install).arg("faketime").stdout(Stdio::null()).status()?;
            ensure!(installed.success(), "Debian's package faketime is missing");
            library().context("Debian's package faketime has no library")?
        }
    };
    Ok(vec![
        ("LD_PRELOAD", library.to_string_lossy().into_owned()),
        ("FAKETIME", difference.to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    folders.map(|folder| folder.path().join(LIBRARY)).find(|library| library.exists())
}
