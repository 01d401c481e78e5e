//! What is generated from the command line: completions and manual pages.

use std::path::PathBuf;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

use crate::exit::{self, Done, Failure, Result};

/// Print a script that completes commands and flags in a shell
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Write the manual pages into a folder
#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// The folder
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args, mut command: Command) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "fetchline", &mut script);
    exit::print(String::from_utf8_lossy(&script).trim_end());
    Ok(Done::Whole)
}

pub(crate) fn write_manual(args: &ManArgs, command: Command) -> Result {
    std::fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(command, &args.folder))
        .with_context(|| format!("cannot write to {}", args.folder.display()))
        .map_err(Failure::Failed)?;
    Ok(Done::Whole)
}
