//! The configuration file: values of flags, as TOML.
//!
//! A value of the file becomes the default of its flag, so that flags and variables take
//! precedence, and each value is checked in the same way wherever it comes from.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Arg, ArgAction, Command};
use toml::{Table, Value};

/// The file that is read if none is named.
const SYSTEM_FILE: &str = "/etc/fetchline.toml";
/// Flags of connections for which other programs have a variable, too.
const SHARED_VARIABLES: [(&str, &str); 2] =
    [("amqp-url", "AMQP_URL"), ("database-url", "DATABASE_URL")];

/// A file and its values.
pub(crate) struct ConfigFile {
    path: PathBuf,
    values: Table,
}

impl ConfigFile {
    /// Reads the file that `--config` or FETCHLINE_CONFIG names, else the one of the system if it
    /// exists. The flag is looked for before the command line is parsed, which needs the values.
    pub(crate) fn find(arguments: &[OsString]) -> anyhow::Result<Option<Self>> {
        let named = named_by_flag(arguments).or_else(|| std::env::var_os("FETCHLINE_CONFIG"));
        match named.filter(|path| !path.is_empty()).map(PathBuf::from) {
            Some(path) => Self::read(path).map(Some),
            None if Path::new(SYSTEM_FILE).exists() => Self::read(SYSTEM_FILE.into()).map(Some),
            None => Ok(None),
        }
    }

    fn read(path: PathBuf) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the configuration file {name}"))?;
        // The error would repeat the line, which may hold a password.
        let values = text.parse::<Table>().map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            anyhow!("{name}, line {line}: {}", error.message())
        })?;
        Ok(Self { path, values })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file sets this flag of a command.
    pub(crate) fn sets(&self, command: &str, flag: &str) -> bool {
        let in_table = self.values.get(command).and_then(Value::as_table);
        let is_set = self.values.get(flag).is_some_and(|value| !value.is_table())
            || in_table.is_some_and(|table| table.contains_key(flag));
        is_set && !is_set_by_shared_variable(flag)
    }

    /// Makes the values the defaults of their flags.
    pub(crate) fn apply(&self, command: Command) -> anyhow::Result<Command> {
        self.check_names(&command)?;
        // Flags of all commands are arguments of the program itself.
        let mut failure = None;
        let command = command.mut_args(|argument| self.default(argument, None, &mut failure));
        let command = command.mut_subcommands(|command| {
            // `health` asks the worker that the same file configures.
            let name = match command.get_name() {
                "health" if !self.values.contains_key("health") => "work",
                name => name,
            };
            let table = self.values.get(name).and_then(Value::as_table);
            self.apply_to(command, table, &mut failure)
        });
        failure.map_or(Ok(command), Err)
    }

    fn apply_to(
        &self,
        command: Command,
        table: Option<&Table>,
        failure: &mut Option<anyhow::Error>,
    ) -> Command {
        command
            .mut_args(|argument| self.default(argument, table, failure))
            .mut_subcommands(|command| self.apply_to(command, table, failure))
    }

    fn default(
        &self,
        argument: Arg,
        table: Option<&Table>,
        failure: &mut Option<anyhow::Error>,
    ) -> Arg {
        let Some(flag) = argument.get_long().map(str::to_owned) else { return argument };
        // A table of the file is that of a command, even if a flag has the same name.
        let for_all = self.values.get(&flag).filter(|value| !value.is_table());
        let value = table.and_then(|table| table.get(&flag)).or(for_all);
        let Some(value) = value else { return argument };
        if is_set_by_shared_variable(&flag) {
            return argument;
        }
        let hidden = argument.is_hide_env_values_set();
        let argument = if hidden { argument.hide_default_value(true) } else { argument };
        match texts(value) {
            Ok(texts) if matches!(argument.get_action(), ArgAction::Append) => {
                argument.default_values(texts)
            }
            // A list of a flag that is not repeated is written with commas.
            Ok(texts) => argument.default_value(texts.join(",")),
            Err(error) => {
                *failure = Some(error.context(format!("{}: {flag}", self.path.display())));
                argument
            }
        }
    }

    /// Refuses names that no command has: a misspelt one would have no effect.
    fn check_names(&self, command: &Command) -> anyhow::Result<()> {
        let path = self.path.display();
        for (name, value) in &self.values {
            let subcommand = command.find_subcommand(name);
            match (value.as_table(), subcommand) {
                (Some(table), Some(subcommand)) => {
                    if let Some(flag) = table.keys().find(|flag| !has_flag(subcommand, flag)) {
                        bail!("{path}: `{name}` has no flag --{flag}");
                    }
                }
                (Some(_), None) => bail!("{path}: there is no command `{name}`"),
                (None, _) if !has_flag(command, name) => {
                    bail!("{path}: no command has a flag --{name}");
                }
                (None, _) => {}
            }
        }
        Ok(())
    }
}

fn is_set_by_shared_variable(flag: &str) -> bool {
    SHARED_VARIABLES.iter().any(|(name, variable)| {
        *name == flag && std::env::var_os(variable).is_some_and(|value| !value.is_empty())
    })
}

fn named_by_flag(arguments: &[OsString]) -> Option<OsString> {
    let mut arguments = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().cloned();
        }
        if let Some(path) = argument.to_str().and_then(|text| text.strip_prefix("--config=")) {
            return Some(OsStr::new(path).to_owned());
        }
    }
    None
}

/// Whether a command or one below it has this flag.
fn has_flag(command: &Command, flag: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_long() == Some(flag) && flag != "config")
        || command.get_subcommands().any(|command| has_flag(command, flag))
}

/// A value as it would be written on the command line.
fn texts(value: &Value) -> anyhow::Result<Vec<String>> {
    Ok(match value {
        Value::String(text) => vec![text.clone()],
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => vec![value.to_string()],
        Value::Array(values) => {
            let texts = values.iter().map(texts).collect::<anyhow::Result<Vec<_>>>()?;
            texts.concat()
        }
        Value::Datetime(_) | Value::Table(_) => {
            bail!("write it as a text, a number, true or false, or a list of them")
        }
    })
}
