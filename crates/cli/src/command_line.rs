//! What the command line has beyond what its types say: headings, examples, short help, and rules
//! for all switches and variables.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use anyhow::bail;
use clap::builder::{BoolishValueParser, ValueParser};
use clap::error::ErrorKind::{
    ArgumentConflict, DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument,
    MissingSubcommand,
};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config_file::ConfigFile;
use crate::secret::is_secret;

/// The flags of `work` by the heading that they have in its help. Others have none.
const HEADINGS: [(&str, &[&str]); 6] = [
    (
        "Fetching",
        &[
            "concurrency",
            "per_host",
            "timeout",
            "connect_timeout",
            "read_timeout",
            "max_body",
            "memory_budget",
            "user_agent",
            "accept_language",
            "header",
            "cookies",
            "robots",
            "robots_token",
            "sign_requests",
            "signature_agent",
            "revalidate",
            "revalidate_full_every",
        ],
    ),
    (
        "Networks and names",
        &["allow_network", "proxy", "ca", "dns_server", "dns_timeout", "dns_concurrency"],
    ),
    ("Retries", &["retry_delays", "max_attempts"]),
    (
        "Results",
        &["store_body", "compress_bodies", "rules", "batch_rows", "batch_age", "batch_bytes"],
    ),
    ("Broker and database", &["prefetch", "pool", "pool_timeout", "hold", "grace"]),
    ("Observability", &["listen", "otlp_endpoint", "pod"]),
];

/// The flags of `check` that are not those of `work`.
const OF_CHECK: [&str; 3] = ["url", "management_url", "json"];

/// Variables that other commands use in another sense than `produce`. There, the name of the
/// command is part of their name.
const PREFIXED: [&str; 6] = [
    "FETCHLINE_CATEGORY",
    "FETCHLINE_FORMAT",
    "FETCHLINE_LIMIT",
    "FETCHLINE_OLDER_THAN",
    "FETCHLINE_RATE",
    "FETCHLINE_SINCE",
];

/// Examples by command.
const EXAMPLES: [(&str, &str); 11] = [
    ("migrate", "  fetchline migrate --database-url mysql://root@127.0.0.1:3306/fetchline"),
    (
        "produce",
        "  fetchline produce urls.txt\n  \
         fetchline produce --run nightly --category books lists/*.csv.gz\n  \
         fetchline produce https://shop.example/sitemap.xml --modified-since 2d\n  \
         zcat urls.gz | fetchline produce --checkpoint nightly.checkpoint",
    ),
    (
        "work",
        "  fetchline work\n  \
         fetchline work --until-empty --json\n  \
         fetchline work --concurrency 400 --per-host 4 --robots obey \\\n      \
         --user-agent 'PriceBot/1.0 (+https://bot.example)'",
    ),
    (
        "status",
        "  fetchline status\n  \
         fetchline status --run nightly --wait --for 30m --report nightly.html",
    ),
    ("runs", "  fetchline runs list\n  fetchline runs prune --older-than 30d"),
    ("dead", "  fetchline dead list\n  fetchline dead replay --run nightly --reason timeout"),
    (
        "hosts",
        "  fetchline hosts set shop.example --rate 5/s\n  \
         fetchline hosts set '*.myshop.example' --rate 20/s\n  fetchline hosts pause shop.example",
    ),
    ("items", "  fetchline items list --category books --format csv\n  fetchline items show 42"),
    ("body", "  fetchline body 0198e4a1c23b7d0fa1b2c3d4e5f60718"),
    (
        "extract",
        "  fetchline extract https://shop.example/p/1 --explain\n  \
         fetchline extract page.html --rules rules.toml --json",
    ),
    ("check", "  fetchline check\n  fetchline check --url https://shop.example/ --json"),
];

/// Variables of connections that other programs use, too. They count where the variable of the flag
/// is not set.
const SHARED: [(&str, &str); 2] = [("amqp_url", "AMQP_URL"), ("database_url", "DATABASE_URL")];

/// Variables that Kubernetes sets for a service whose name begins with `fetchline`.
const OF_KUBERNETES: [&str; 3] = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"];

/// Lets flags that are not set otherwise have the variables of connections in this process.
pub(crate) fn with_shared_variables(command: Command) -> Command {
    SHARED.iter().fold(command, |command, &(id, variable)| {
        command.mut_arg(id, |argument| with_shared_variable(argument, variable))
    })
}

/// Completes the command line.
pub(crate) fn complete(command: Command) -> Command {
    command.mut_args(with_hidden_secret).mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        let command = walk(command, &name);
        match EXAMPLES.iter().find(|(of, _)| *of == name) {
            Some((_, examples)) => command.after_help(format!("Examples:\n{examples}")),
            None => command,
        }
    })
}

/// Completes the flags of a command and of those below it; `name` is that of the uppermost one.
fn walk(command: Command, name: &str) -> Command {
    command
        .mut_args(|argument| {
            let argument = with_hidden_secret(with_short_help(argument));
            let argument = with_any_boolean(with_own_variable(argument, name));
            match name {
                "work" => with_heading(argument),
                // Its flags are those of `work`, where they are explained.
                "check" if !OF_CHECK.contains(&argument.get_id().as_str()) => argument.hide(true),
                _ => argument,
            }
        })
        .mut_subcommands(|command| walk(command, name))
}

fn with_shared_variable(argument: Arg, shared: &'static str) -> Arg {
    let is_set = |variable: &OsStr| std::env::var_os(variable).is_some();
    let is_shared_set = std::env::var_os(shared).is_some_and(|value| !value.is_empty());
    match argument.get_env().is_some_and(is_set) {
        false if is_shared_set => argument.env(shared),
        _ => argument,
    }
}

/// `--help` shows values of variables, and of the configuration file as defaults.
fn with_hidden_secret(argument: Arg) -> Arg {
    let is_secret = is_secret(&argument);
    argument.hide_env_values(is_secret).hide_default_value(is_secret)
}

/// The variables of all flags, and whether each of them may hold any bytes: the name of a file.
fn variables(command: &Command) -> BTreeMap<&OsStr, bool> {
    let own = command.get_arguments().filter_map(|argument| {
        let is_path = argument.get_value_parser().type_id() == ValueParser::path_buf().type_id();
        Some((argument.get_env()?, is_path))
    });
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

/// Checks the variables of this process. Returns the names that no flag has, which have no effect.
///
/// # Errors
///
/// A variable that is not text. The parser of the command line would not name it.
pub(crate) fn check_variables(command: &Command) -> anyhow::Result<Vec<String>> {
    let known = variables(command);
    let mut unknown = Vec::new();
    for (name, value) in std::env::vars_os() {
        match known.get(name.as_os_str()) {
            Some(false) if value.to_str().is_none() => {
                bail!("the variable {} is not UTF-8", name.display());
            }
            Some(_) => {}
            None => unknown.extend(name.into_string()),
        }
    }
    unknown.retain(|name| {
        name.starts_with("FETCHLINE_")
            && name != "FETCHLINE_COMMIT"
            && !OF_KUBERNETES.iter().any(|part| name.contains(part))
    });
    Ok(unknown)
}

/// Whether a command line is not understood because something is missing.
pub(crate) fn lacks_something(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        MissingSubcommand | MissingRequiredArgument | DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// Why a command line is not understood.
pub(crate) struct Misunderstood {
    /// What the parser says, or the help of a bare command.
    pub(crate) error: clap::Error,
    /// What the bare command lacks.
    pub(crate) missing: Option<String>,
}

impl From<clap::Error> for Misunderstood {
    fn from(error: clap::Error) -> Self {
        Self { error, missing: None }
    }
}

/// Parses a command line. Where a bare command lacks something, the error is its help.
///
/// To the parser, a variable is as good as a flag that was typed. But a variable may be set for
/// another command, so it neither requires a flag nor excludes one, and a command with nothing else
/// is bare.
pub(crate) fn parse(program: &Command, words: &[OsString]) -> Result<ArgMatches, Misunderstood> {
    let error = match program.clone().try_get_matches_from(words) {
        Err(error) if lacks_something(&error) || error.kind() == ArgumentConflict => error,
        result => return Ok(result?),
    };
    let program_of_typed = with_variables_as_defaults(program.clone());
    let typed = match program_of_typed.clone().try_get_matches_from(words) {
        Ok(matches) => return Ok(matches),
        Err(error) => error,
    };
    let bare = with_help_if_bare(program_of_typed).try_get_matches_from(words).err();
    let is_bare = bare.is_some_and(|it| it.kind() == DisplayHelpOnMissingArgumentOrSubcommand);
    // The help of `program` names the variables.
    let help = is_bare.then(|| words.iter().cloned().chain(["-h".into()]));
    if let Some(Err(help)) = help.map(|words| program.clone().try_get_matches_from(words)) {
        let missing = match typed.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(names)) => names.join(", "),
            _ => "a command".to_owned(),
        };
        return Err(Misunderstood { error: help, missing: Some(missing) });
    }
    // Its usage consists of what was typed.
    Err(if typed.kind() == error.kind() { typed } else { error }.into())
}

/// The same command, to which the variables of flags are defaults, unless it requires the flag.
fn with_variables_as_defaults(command: Command) -> Command {
    let as_default = |argument: Arg| {
        let is_optional = !argument.is_required_set();
        let variable = argument.get_env().filter(|_| is_optional);
        match variable.and_then(std::env::var_os) {
            Some(value) => argument.env(None).default_value(value),
            None => argument,
        }
    };
    command.mut_args(as_default).mut_subcommands(with_variables_as_defaults)
}

fn with_help_if_bare(command: Command) -> Command {
    command.arg_required_else_help(true).mut_subcommands(with_help_if_bare)
}

/// Where a wrong value comes from that nobody has typed: the name of a variable, or the line of the
/// configuration file.
pub(crate) fn origin(
    error: &clap::Error,
    program: &Command,
    arguments: &[OsString],
    file: Option<&ConfigFile>,
) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = shown.strip_prefix("--")?.split([' ', '=', '[']).next()?;
    let typed = |word: &str| word.strip_prefix("--")?.strip_prefix(flag).map(str::to_owned);
    let words = || arguments.iter().skip(1).filter_map(|word| word.to_str());
    if words().filter_map(typed).any(|rest| rest.is_empty() || rest.starts_with('=')) {
        return None;
    }
    let mut path = vec![program];
    for word in words() {
        let next = path.last().and_then(|command| command.find_subcommand(word));
        path.extend(next);
    }
    let mut all = path.iter().flat_map(|command| command.get_arguments());
    let argument = all.find(|argument| argument.get_long() == Some(flag))?;
    let variable = argument.get_env().filter(|name| std::env::var_os(name).is_some());
    match variable {
        Some(variable) => Some(variable.to_string_lossy().into_owned()),
        None => file?.place(path.get(1).map_or("", |command| command.get_name()), flag),
    }
}

/// `-h` shows the first sentence of each help text, and `--help` all of it.
fn with_short_help(argument: Arg) -> Arg {
    let (None, Some(help)) = (argument.get_long_help(), argument.get_help()) else {
        return argument;
    };
    let whole = help.to_string();
    match whole.split_once(". ") {
        Some((first, _)) => argument.help(first.to_owned()).long_help(whole),
        None => argument,
    }
}

/// The variable of a switch may be 1, yes, on and so on.
fn with_any_boolean(argument: Arg) -> Arg {
    match argument.get_action() {
        ArgAction::SetTrue => argument.value_parser(BoolishValueParser::new()),
        _ => argument,
    }
}

fn with_own_variable(argument: Arg, command: &str) -> Arg {
    let variable = argument.get_env().and_then(|variable| variable.to_str());
    let Some(variable) = variable.filter(|name| PREFIXED.contains(name) && command != "produce")
    else {
        return argument;
    };
    let rest = variable.trim_start_matches("FETCHLINE_");
    let own = format!("FETCHLINE_{}_{rest}", command.to_uppercase());
    argument.env(own)
}

fn with_heading(argument: Arg) -> Arg {
    let id = argument.get_id().as_str();
    match HEADINGS.iter().find(|(_, flags)| flags.contains(&id)) {
        Some((heading, _)) => argument.help_heading(*heading),
        None => argument,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use std::collections::BTreeSet;

    use crate::Cli;

    use super::*;

    fn command(name: &str) -> Command {
        let mut command = complete(Cli::command());
        command.build();
        command.find_subcommand(name).unwrap().clone()
    }

    #[test]
    fn headings_and_examples_are_of_flags_and_commands_that_exist() {
        let work = command("work");
        for flag in HEADINGS.iter().flat_map(|(_, flags)| *flags) {
            assert!(work.get_arguments().any(|argument| argument.get_id() == flag), "{flag}");
        }
        // `until_empty` and `json` concern the command as a whole.
        let without: Vec<&str> = work
            .get_arguments()
            .filter(|argument| argument.get_help_heading().is_none())
            .map(|argument| argument.get_id().as_str())
            .collect();
        assert_eq!(without, ["until_empty", "json", "help", "version"]);
        for (name, examples) in EXAMPLES {
            assert!(command(name).render_help().to_string().ends_with(&format!("{examples}\n")));
        }
    }

    #[test]
    fn examples_are_command_lines_that_are_understood() {
        for line in EXAMPLES.iter().flat_map(|(_, text)| {
            text.replace("\\\n", "").lines().map(str::to_owned).collect::<Vec<_>>()
        }) {
            let line = line.split("| ").last().unwrap().replace('\'', "");
            // The name of the crawler contains a blank.
            let words = line.replace(" (+https://bot.example)", "");
            let parsed = complete(Cli::command()).try_get_matches_from(words.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn the_short_help_of_work_has_a_sentence_per_flag_and_own_flags_come_first() {
        let help = command("work").render_help().to_string();
        assert!(!help.contains("less if slow fetches"), "{help}");
        let position = |text: &str| help.find(text).unwrap_or_else(|| panic!("{text} in {help}"));
        assert!(position("--concurrency") < position("--amqp-url"));
        assert!(command("work").render_long_help().to_string().contains("less if slow fetches"));
    }

    #[test]
    fn a_switch_is_set_by_any_boolean_and_variables_have_one_meaning() {
        for name in ["produce", "work", "status"] {
            let command = command(name);
            let json = command.get_arguments().find(|argument| argument.get_id() == "json");
            let parser = json.unwrap().get_value_parser();
            assert_eq!(parser.type_id(), clap::builder::ValueParser::bool().type_id());
        }
        let list = command("items").find_subcommand("list").unwrap().clone();
        let format = list.get_arguments().find(|argument| argument.get_id() == "format").unwrap();
        assert_eq!(format.get_env().unwrap(), "FETCHLINE_ITEMS_FORMAT");
    }

    /// The defaults of a variable below a command.
    fn defaults(command: &Command, found: &mut BTreeMap<OsString, BTreeSet<OsString>>) {
        for argument in command.get_arguments() {
            if let (Some(name), Some(value)) =
                (argument.get_env(), argument.get_default_values().first())
            {
                found.entry(name.to_owned()).or_default().insert(value.as_os_str().to_owned());
            }
        }
        command.get_subcommands().for_each(|command| defaults(command, found));
    }

    #[test]
    fn a_variable_that_commands_share_has_one_default() {
        let mut shared = BTreeMap::new();
        for command in complete(Cli::command()).get_subcommands() {
            let mut own = BTreeMap::new();
            defaults(command, &mut own);
            for (name, values) in own {
                let before = shared.entry(name.clone()).or_insert_with(|| values.clone());
                assert_eq!(*before, values, "{}", name.display());
            }
        }
    }
}
