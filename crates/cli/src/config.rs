//! `fetchline config`.

use std::ffi::OsString;

use anyhow::anyhow;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value, json};

use crate::command_line;
use crate::config_file::{ConfigFile, is_list};
use crate::exit::{self, Done, Failure, Result};
use crate::schema::shape::{
    boolean, described, field, list, map, nullable, object, optional, text, word,
};
use crate::secret;

/// Print the settings in effect for a command, and the source of each
///
/// The output is a configuration file, or JSON. Passwords are not printed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print JSON. Put it before COMMAND: after it, it is taken as a flag of that command
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,

    /// The command and its flags [default: work]
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: Args, program: &Command, file: Option<&ConfigFile>) -> Result {
    let mut words = args.command;
    if words.first().is_none_or(|word| word.to_string_lossy().starts_with('-')) {
        words.insert(0, "work".into());
    }
    let line: Vec<_> = [OsString::from("fetchline")].into_iter().chain(words).collect();
    let mut command = program.clone();
    let mut matches = command.try_get_matches_from_mut(&line);
    // The settings do not depend on what the command would act on.
    if matches.as_ref().is_err_and(command_line::lacks_something) {
        command = program.clone().ignore_errors(true);
        matches = command.try_get_matches_from_mut(&line);
    }
    let matches = match matches {
        Ok(matches) => matches,
        // The help of the command was asked for.
        Err(help) if !help.use_stderr() => {
            exit::print(help.to_string().trim_end());
            return Ok(Done::Whole);
        }
        Err(error) => {
            let text = explain(&error);
            let origin = command_line::origin(&error, program, &line, file);
            return Err(Failure::Usage(match origin {
                Some(origin) => anyhow!("{text}\nThe value comes from {origin}."),
                None => text,
            }));
        }
    };
    let (mut names, mut innermost) = (Vec::new(), (&command, &matches));
    while let Some((name, inner)) = innermost.1.subcommand()
        && let Some(subcommand) = innermost.0.find_subcommand(name)
    {
        names.push(name);
        innermost = (subcommand, inner);
    }
    let Some(name) = names.first() else { return Ok(Done::Whole) };
    let origin = Origin { matches: innermost.1, command: name, file };
    // The flags of every command are known to each of them.
    let is_shared = |flag: &Arg| command.get_arguments().any(|it| it.get_id() == flag.get_id());
    let settings = |shared: bool| -> Vec<Setting<'_>> {
        let flags = innermost.0.get_arguments().filter(|flag| is_shared(flag) == shared);
        flags.filter_map(|flag| origin.setting(flag)).collect()
    };
    let (shared, own) = (settings(true), settings(false));
    if args.json {
        let settings = shared.iter().chain(&own).map(|it| (it.flag.to_owned(), it.to_json()));
        exit::print(json!({
            "file": file.map(ConfigFile::path),
            "command": names.join(" "),
            "settings": settings.collect::<Map<_, _>>(),
        }));
        return Ok(Done::Whole);
    }
    match file {
        Some(file) => exit::print(format_args!("# the file {}", file.path().display())),
        None => exit::print("# no configuration file"),
    }
    shared.iter().for_each(|setting| exit::print(setting.line()));
    exit::print(format_args!("\n[{name}]"));
    own.iter().for_each(|setting| exit::print(setting.line()));
    Ok(Done::Whole)
}

/// Why a command line is not understood, without the word that `fetchline:` takes the place of.
fn explain(error: &clap::Error) -> anyhow::Error {
    anyhow!("{}", error.to_string().trim_start_matches("error: ").trim_end().to_owned())
}

/// What decides about the settings of a command.
struct Origin<'a> {
    matches: &'a ArgMatches,
    command: &'a str,
    file: Option<&'a ConfigFile>,
}

/// The value of a flag.
struct Setting<'a> {
    flag: &'a str,
    /// Empty for a flag that is not set.
    values: Vec<String>,
    /// Whether the flag may have several values.
    is_list: bool,
    /// Whether the value may be a password.
    is_secret: bool,
    source: Source,
}

/// Where a value comes from.
enum Source {
    CommandLine,
    Variable(String),
    File,
    Default,
}

impl Origin<'_> {
    /// The value of a flag; `None` for an argument that is no setting.
    fn setting<'b>(&self, argument: &'b Arg) -> Option<Setting<'b>> {
        let flag = argument.get_long()?;
        if ["config", "help", "version"].contains(&flag) {
            return None;
        }
        let id = argument.get_id().as_str();
        let source = match self.matches.value_source(id) {
            Some(ValueSource::CommandLine) => Source::CommandLine,
            Some(ValueSource::EnvVariable) => {
                let variable = argument.get_env().unwrap_or_default();
                Source::Variable(variable.to_string_lossy().into_owned())
            }
            _ if self.file.is_some_and(|file| file.sets(self.command, flag)) => Source::File,
            _ => Source::Default,
        };
        let values = self.matches.get_raw(id).into_iter().flatten();
        let values: Vec<String> = values.map(|it| it.to_string_lossy().into_owned()).collect();
        let is_secret = secret::is_secret(argument)
            || values.iter().any(|value| secret::mask(value) != value.as_str());
        Some(Setting { flag, values, is_list: is_list(argument), is_secret, source })
    }
}

impl Setting<'_> {
    /// The setting as a line of TOML; a comment if the flag has no value.
    fn line(&self) -> String {
        let Self { flag, values, is_secret, source, .. } = self;
        let source = source.describe();
        let values: Vec<String> = values.iter().map(|value| quote(value)).collect();
        match values.as_slice() {
            [] => format!("# {flag} is not set"),
            _ if *is_secret => format!("# {flag} is not shown, from {source}"),
            [value] => format!("{flag} = {value}  # {source}"),
            values => format!("{flag} = [{}]  # {source}", values.join(", ")),
        }
    }

    fn to_json(&self) -> Value {
        let values: Vec<Value> = self.values.iter().map(|value| bare_or_text(value)).collect();
        let mut document = match values.as_slice() {
            [] => return json!({ "value": null, "source": "default" }),
            _ if self.is_secret => json!({ "value": null, "secret": true }),
            [value] if !self.is_list => json!({ "value": value }),
            values => json!({ "value": values }),
        };
        document["source"] = self.source.word().into();
        if let Source::Variable(variable) = &self.source {
            document["variable"] = variable.as_str().into();
        }
        document
    }
}

impl Source {
    const WORDS: [&str; 4] = ["command_line", "variable", "file", "default"];

    /// The source for programs.
    fn word(&self) -> &'static str {
        let [command_line, variable, file, default] = Self::WORDS;
        match self {
            Self::CommandLine => command_line,
            Self::Variable(_) => variable,
            Self::File => file,
            Self::Default => default,
        }
    }

    /// The source for people.
    fn describe(&self) -> &str {
        match self {
            Self::CommandLine => "the command line",
            Self::Variable(variable) => variable,
            Self::File => "the file",
            Self::Default => "default",
        }
    }
}

/// A text as TOML; numbers and booleans as such.
fn quote(text: &str) -> String {
    match bare_or_text(text) {
        Value::String(text) => toml::Value::from(text).to_string(),
        bare => bare.to_string(),
    }
}

/// A number or boolean as such, else the text. The number of a name such as `007` would be another
/// name.
fn bare_or_text(text: &str) -> Value {
    match (text.parse::<i64>(), text) {
        (Ok(number), _) if number.to_string() == text => number.into(),
        (_, "true") => true.into(),
        (_, "false") => false.into(),
        _ => text.into(),
    }
}

/// The shape of what `--json` prints.
pub(crate) fn schema() -> Value {
    let one = json!({ "type": ["string", "integer", "boolean"] });
    let value = json!({ "anyOf": [one, list(one.clone()), { "type": "null" }] });
    let setting = object([
        field("value", described("The value, a list of them, or `null` if it is not set.", value)),
        field("source", word("Where the value comes from.", Source::WORDS)),
        optional("variable", text("The variable that it comes from.")),
        optional("secret", boolean("Whether the value is left out, since it may be a password.")),
    ]);
    let flag = json!({ "pattern": "^[a-z][a-z-]*$" });
    object([
        field("file", nullable(text("The configuration file."))),
        field("command", text("The command.")),
        field("settings", described("The settings by flag.", map(flag, setting))),
    ])
}
