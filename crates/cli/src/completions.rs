//! What is generated from the program: completions, manual pages, and documents for programs.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Command, ValueEnum};
use clap_complete::Shell;
use fetchline_queue::{Tier, schema};
use fetchline_worker::ExecuteConfig;

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

/// Print a document for other programs
#[derive(clap::Args)]
pub(crate) struct SchemaArgs {
    /// The JSON Schema of messages, or the AsyncAPI document of the queues
    #[arg(value_name = "WHICH")]
    which: Document,
}

/// A document for other programs.
#[derive(Clone, Copy, ValueEnum)]
enum Document {
    Message,
    Asyncapi,
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

pub(crate) fn print_schema(args: &SchemaArgs) -> Result {
    let delays = ExecuteConfig::default().retry_delays;
    let document = match args.which {
        Document::Message => schema::message(),
        Document::Asyncapi => schema::async_api(delays.into_iter().filter_map(Tier::of).collect()),
    };
    exit::print(format_args!("{document:#}"));
    Ok(Done::Whole)
}
