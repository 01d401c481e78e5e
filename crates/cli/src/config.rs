//! `fetchline config`.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::config_file::ConfigFile;
use crate::exit::{self, Done, Failure, Result};

/// Print the settings of a command that are in force, and where each comes from
///
/// The output is a configuration file. Passwords are not printed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The command, and flags of it [default: work]
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: Args, command: &Command, file: Option<&ConfigFile>) -> Result {
    let mut words = args.command;
    if words.first().is_none_or(|word| word.to_string_lossy().starts_with('-')) {
        words.insert(0, "work".into());
    }
    let line = [OsString::from("fetchline")].into_iter().chain(words);
    let mut command = command.clone();
    let matches = command.try_get_matches_from_mut(line);
    let matches = matches.map_err(|error| Failure::usage(anyhow::anyhow!("{error}")))?;
    let Some((name, own)) = matches.subcommand() else { return Ok(Done::Whole) };
    let Some(subcommand) = command.find_subcommand(name) else { return Ok(Done::Whole) };
    match file {
        Some(file) => exit::print(format_args!("# the file {}", file.path().display())),
        None => exit::print("# no configuration file"),
    }
    // The flags of every command are known to each of them.
    let is_global = |argument: &&Arg| argument.is_global_set();
    for argument in command.get_arguments().filter(is_global) {
        print(argument, own, name, file);
    }
    exit::print(format_args!("\n[{name}]"));
    for argument in subcommand.get_arguments().filter(|argument| !is_global(argument)) {
        print(argument, own, name, file);
    }
    Ok(Done::Whole)
}

/// Prints a flag that has a value; a comment names the flag of one that has none.
fn print(argument: &Arg, matches: &ArgMatches, command: &str, file: Option<&ConfigFile>) {
    let Some(flag) =
        argument.get_long().filter(|flag| !["config", "help", "version"].contains(flag))
    else {
        return;
    };
    let id = argument.get_id().as_str();
    let source = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => "the command line".to_owned(),
        Some(ValueSource::EnvVariable) => {
            argument.get_env().unwrap_or_default().to_string_lossy().into_owned()
        }
        _ if file.is_some_and(|file| file.sets(command, flag)) => "the file".to_owned(),
        _ => "default".to_owned(),
    };
    let values = matches.get_raw(id).into_iter().flatten();
    let values: Vec<String> = values.map(|value| quote(&value.to_string_lossy())).collect();
    let value = match values.as_slice() {
        [] => return exit::print(format_args!("# {flag} is not set")),
        _ if argument.is_hide_env_values_set() => {
            return exit::print(format_args!("# {flag} is not shown, from {source}"));
        }
        [value] => value.clone(),
        values => format!("[{}]", values.join(", ")),
    };
    exit::print(format_args!("{flag} = {value}  # {source}"));
}

/// A text as TOML; numbers and booleans as such.
fn quote(text: &str) -> String {
    let is_bare = text.parse::<i64>().is_ok() || text == "true" || text == "false";
    if is_bare { text.to_owned() } else { toml::Value::from(text).to_string() }
}
