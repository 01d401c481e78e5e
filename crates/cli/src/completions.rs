//! What is generated from the command line: completions and manual pages.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

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
    /// The folder, which is created if it is missing
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
    let mut command = command.disable_help_subcommand(true);
    command.build();
    std::fs::create_dir_all(&args.folder)
        .and_then(|()| write_pages(&command, &args.folder))
        .with_context(|| format!("cannot write to {}", args.folder.display()))
        .map_err(Failure::Failed)?;
    Ok(Done::Whole)
}

/// Writes the page of a command and those of the commands below it.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        write_pages(command, folder)?;
    }
    let page = Man::new(command.clone()).source(format!("fetchline {}", *crate::VERSION));
    let mut text = Vec::new();
    page.render(&mut text)?;
    // What stands after the help of a command is examples.
    let text = String::from_utf8_lossy(&text).replace(".SH EXTRA\n", ".SH EXAMPLES\n");
    std::fs::write(folder.join(page.get_filename()), text.replace("Examples:\n", ""))
}
