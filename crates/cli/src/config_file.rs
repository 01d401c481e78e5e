//! The configuration file: values of flags, as TOML.
//!
//! A value of the file becomes the default of its flag, so that flags and variables take
//! precedence, and each value is checked in the same way wherever it comes from.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Arg, ArgAction, Command};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

/// The file that is read if none is named.
pub(crate) const SYSTEM_FILE: &str = "/etc/fetchline.toml";
/// How similar a name has to be to be proposed, from 0 to 1.
const SIMILAR: f64 = 0.8;

/// A file and its values.
pub(crate) struct ConfigFile {
    path: PathBuf,
    values: Table,
    /// The line of each key, by its table and name. The table of keys at the top is empty.
    lines: HashMap<(String, String), usize>,
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
        Self::parse(path, &text)
    }

    fn parse(path: PathBuf, text: &str) -> anyhow::Result<Self> {
        let name = path.display();
        // The error would repeat the line, which may hold a password.
        let refuse = |error: toml::de::Error| {
            let span = error.span().unwrap_or_default();
            let line = line_of(text, span.start);
            let key =
                text.get(span).filter(|key| error.message() == "duplicate key" && is_word(key));
            let key = key.map(|key| format!(" `{key}`")).unwrap_or_default();
            anyhow!("{name}, line {line}: {}{key}", error.message())
        };
        let values = text.parse::<Table>().map_err(refuse)?;
        let lines = lines(text).map_err(refuse)?;
        Ok(Self { path, values, lines })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file sets this flag of a command.
    pub(crate) fn sets(&self, command: &str, flag: &str) -> bool {
        self.value(command, flag).is_some()
    }

    /// The file and the line that set a flag of a command.
    pub(crate) fn place(&self, command: &str, flag: &str) -> Option<String> {
        self.value(command, flag).map(|(table, _)| self.line(table, flag))
    }

    fn line(&self, table: &str, key: &str) -> String {
        let line = self.lines.get(&(table.to_owned(), key.to_owned())).unwrap_or(&1);
        format!("{}, line {line}", self.path.display())
    }

    /// The value of a flag of a command, and the table that has it.
    fn value<'a>(&'a self, command: &'a str, flag: &str) -> Option<(&'a str, &'a Value)> {
        // `check` and `health` are about the worker that the same file configures.
        let other = if ["check", "health"].contains(&command) { "work" } else { command };
        let in_table = |name| Some((name, self.values.get(name)?.as_table()?.get(flag)?));
        // A table of the file is that of a command, even if a flag has the same name.
        let for_all = || self.values.get(flag).filter(|value| !value.is_table());
        in_table(command).or_else(|| in_table(other)).or_else(|| Some(("", for_all()?)))
    }

    /// Makes the values the defaults of their flags.
    pub(crate) fn apply(&self, command: Command) -> anyhow::Result<Command> {
        self.check_names(&command)?;
        let mut failure = None;
        // Flags of all commands are arguments of the program itself.
        let command = command.mut_args(|argument| self.default(argument, "", &mut failure));
        let command = command.mut_subcommands(|command| {
            let name = command.get_name().to_owned();
            self.apply_to(command, &name, &mut failure)
        });
        failure.map_or(Ok(command), Err)
    }

    fn apply_to(
        &self,
        command: Command,
        name: &str,
        failure: &mut Option<anyhow::Error>,
    ) -> Command {
        command
            .mut_args(|argument| self.default(argument, name, failure))
            .mut_subcommands(|command| self.apply_to(command, name, failure))
    }

    fn default(&self, argument: Arg, name: &str, failure: &mut Option<anyhow::Error>) -> Arg {
        let Some(flag) = argument.get_long().map(str::to_owned) else { return argument };
        let Some((table, value)) = self.value(name, &flag) else { return argument };
        match texts(value) {
            Ok(_) if value.is_array() && !is_list(&argument) => {
                let place = self.line(table, &flag);
                *failure = Some(anyhow!("{place}: {flag}: it has one value, and no list"));
                argument
            }
            Ok(texts) => argument.default_values(texts),
            Err(error) => {
                *failure = Some(error.context(format!("{}: {flag}", self.line(table, &flag))));
                argument
            }
        }
    }

    /// Refuses names that no command has: a misspelt one would have no effect.
    fn check_names(&self, command: &Command) -> anyhow::Result<()> {
        let commands = command.get_subcommands().map(|command| command.get_name().to_owned());
        let commands: Vec<String> = commands.collect();
        let all_flags = flags(command);
        for (name, value) in &self.values {
            let subcommand = command.find_subcommand(name);
            match (value.as_table(), subcommand) {
                (Some(table), Some(subcommand)) => {
                    let own = flags(subcommand);
                    if let Some(flag) = table.keys().find(|flag| !own.contains(flag)) {
                        return Err(self.unknown((name, flag), &format!("a flag of {name}"), &own));
                    }
                }
                (Some(_), None) => return Err(self.unknown(("", name), "a command", &commands)),
                (None, _) if !all_flags.contains(name) => {
                    return Err(self.unknown(("", name), "a flag of any command", &all_flags));
                }
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// That a key is no name. It is repeated only if it looks like one, since it may be a password.
    fn unknown(&self, (table, key): (&str, &str), what: &str, known: &[String]) -> anyhow::Error {
        let place = self.line(table, key);
        if !is_word(key) {
            return anyhow!("{place}: a key is not the name of {what}");
        }
        let alike = |name: &&String| strsim::jaro_winkler(name, &key.replace('_', "-"));
        let nearest = known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
        match nearest.filter(|name| alike(name) > SIMILAR) {
            Some(name) => anyhow!("{place}: `{key}` is not {what}; did you mean `{name}`?"),
            None => anyhow!("{place}: `{key}` is not {what}"),
        }
    }
}

/// Whether a key looks like a name, and not like a password.
fn is_word(key: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    key.len() <= 40 && key.bytes().all(is_letter)
}

/// The line of a byte.
fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The line of each key, by its table and name.
fn lines(text: &str) -> Result<HashMap<(String, String), usize>, toml::de::Error> {
    let line = |at: usize| line_of(text, at);
    let mut lines = HashMap::new();
    for (name, value) in DeTable::parse(text)?.get_ref() {
        lines.insert((String::new(), name.get_ref().to_string()), line(name.span().start));
        let DeValue::Table(table) = value.get_ref() else { continue };
        for key in table.keys() {
            let place = (name.get_ref().to_string(), key.get_ref().to_string());
            lines.insert(place, line(key.span().start));
        }
    }
    Ok(lines)
}

fn named_by_flag(arguments: &[OsString]) -> Option<OsString> {
    let mut arguments = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().cloned();
        }
        if let Some(path) = argument.as_bytes().strip_prefix(b"--config=") {
            return Some(OsStr::from_bytes(path).to_owned());
        }
    }
    None
}

/// Whether a flag may have several values.
pub(crate) fn is_list(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}

/// Whether a file may set this argument.
pub(crate) fn is_key(argument: &Arg) -> bool {
    let is_other = |flag| ["config", "help", "version"].contains(&flag);
    !argument.is_hide_set() && argument.get_long().is_some_and(|flag| !is_other(flag))
}

/// The flags of a command and of those below it, which a file may set.
fn flags(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(Arg::get_long).filter(|flag| *flag != "config");
    own.map(str::to_owned).chain(command.get_subcommands().flat_map(flags)).collect()
}

/// A value as it would be written on the command line.
fn texts(value: &Value) -> anyhow::Result<Vec<String>> {
    Ok(match value {
        Value::String(text) => vec![text.clone()],
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => vec![value.to_string()],
        Value::Array(values) if !values.iter().any(Value::is_array) => {
            let texts = values.iter().map(texts).collect::<anyhow::Result<Vec<_>>>()?;
            texts.concat()
        }
        Value::Array(_) | Value::Datetime(_) | Value::Table(_) => {
            bail!("write it as a text, a number, true or false, or a list of them")
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::{Cli, command_line};

    /// What is wrong with a file.
    fn refusal(text: &str) -> String {
        let command = command_line::complete(Cli::command());
        let file = ConfigFile::parse(SYSTEM_FILE.into(), text);
        let applied = file.and_then(|file| file.apply(command));
        applied.err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn a_key_that_stands_there_twice_is_named_with_its_second_line() {
        let error = refusal("[work]\nconcurrency = 7\nconcurrency = 8\n");
        assert!(error.ends_with("line 3: duplicate key `concurrency`"), "{error}");
        let error = refusal("prefix = \"a\"\n[work]\n\"hunter 2\" = 1\n\"hunter 2\" = 1\n");
        assert!(error.contains("line 4: duplicate key") && !error.contains("hunter"), "{error}");
    }

    #[test]
    fn the_name_of_a_file_may_be_any_bytes() {
        let words = [&b"fetchline"[..], b"--config=/missing/\xff.toml"];
        let words = words.map(|word| OsStr::from_bytes(word).to_owned());
        assert!(ConfigFile::find(&words).is_err());
    }

    #[test]
    fn a_list_is_for_flags_with_several_values_and_has_no_lists_in_it() {
        let error = refusal("database-url = [\"mysql://u:hunter2@h/d\"]");
        assert!(error.contains("line 1: database-url: it has one value"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(refusal("[work]\nallow-network = [[\"10.0.0.0/8\"]]").contains("a list of them"));
        for right in ["allow-network = [\"10.0.0.0/8\"]", "retry-delays = [\"10s\", \"60s\"]"] {
            assert_eq!(refusal(&format!("[work]\n{right}")), "");
        }
    }
}
