//! `fetchline man`: the manual pages.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Arg, ArgAction, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::config_file::{SYSTEM_FILE, is_key};
use crate::exit::{Done, Failure, Result};
use crate::{Cli, command_line};

/// The page of the configuration file.
const FILE_PAGE: &str = "fetchline.toml.5";

/// What that page says about the file, by paragraphs.
const ABOUT_FILE: [&str; 4] = [
    "The file is TOML, and its keys are the names of flags, without the hyphens before them. Keys \
     at the top apply to every command that has the flag; a table applies to one command. `check` \
     and `health` also read the table `work`, after their own.",
    "Each value is written as on the command line, as a text; a number, true or false can also be \
     written as such. Several values are a list.",
    "A flag on the command line takes precedence over the file, and so does its variable: \
     FETCHLINE_ followed by the name of the flag in upper case, with _ in place of -. A key that \
     is no flag is an error. `fetchline config COMMAND` prints the settings that are in force, and \
     where each comes from.",
    "The file may hold passwords, so only those who may know them should be able to read it.",
];

const EXAMPLE: &str = "\
database-url = \"mysql://fetchline:secret@mysql.example:3306/prices\"
prefix = \"prices\"

[work]
concurrency = 200
timeout = \"20s\"
allow-network = [\"10.1.0.0/16\", \"10.2.0.0/16\"]
until-empty = true
";

/// Write the manual pages into a folder
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder, which is created if it is missing
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result {
    std::fs::create_dir_all(&args.folder)
        .and_then(|()| write_all(&args.folder))
        .with_context(|| format!("cannot write to {}", args.folder.display()))
        .map_err(Failure::Failed)?;
    Ok(Done::Whole)
}

fn write_all(folder: &Path) -> io::Result<()> {
    let mut program = command_line::complete(Cli::command()).disable_help_subcommand(true);
    std::fs::write(folder.join(FILE_PAGE), file_page(&program))?;
    program.build();
    write_pages(&program, folder)
}

fn source() -> String {
    format!("fetchline {}", *crate::VERSION)
}

/// The date is left empty, which the library writes as nothing: the program would stand in its
/// place.
fn with_empty_date(page: &str) -> String {
    page.replacen("  \"fetchline ", " \"\" \"fetchline ", 1)
}

fn is_shown(command: &&Command) -> bool {
    !command.is_hide_set()
}

/// Writes the page of a command and those of the commands below it.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    for command in command.get_subcommands().filter(is_shown) {
        write_pages(command, folder)?;
    }
    let page = Man::new(command.clone()).source(source());
    let mut text = Vec::new();
    page.render(&mut text)?;
    // What stands after the help of a command is examples.
    let text = String::from_utf8_lossy(&text).replace(".SH EXTRA\n", ".SH EXAMPLES\n");
    let text = with_empty_date(&text.replace("Examples:\n", ""));
    std::fs::write(folder.join(page.get_filename()), text)
}

/// The page of the configuration file.
fn file_page(program: &Command) -> String {
    let mut page = Roff::new();
    page.control("TH", ["fetchline.toml", "5", "", &source()]);
    page.control("SH", ["NAME"]).text([roman("fetchline.toml - the settings of fetchline")]);
    page.control("SH", ["SYNOPSIS"]).text([bold(SYSTEM_FILE)]);
    page.text([roman("or the file that --config or FETCHLINE_CONFIG names")]);
    page.control("SH", ["DESCRIPTION"]);
    for paragraph in ABOUT_FILE {
        page.control("PP", []).text([roman(paragraph)]);
    }
    page.control("SH", ["KEYS OF ALL COMMANDS"]);
    keys(&mut page, program.get_arguments());
    for command in program.get_subcommands().filter(is_shown) {
        let own = arguments(command);
        if own.iter().any(|argument| is_key(argument)) {
            let heading = format!("TABLE [{}]", command.get_name());
            page.control("SH", [&*heading]);
            keys(&mut page, own);
        }
    }
    page.control("SH", ["EXAMPLE"]).control("nf", []);
    page.text([roman(EXAMPLE)]).control("fi", []);
    page.control("SH", ["SEE ALSO"]).text([bold("fetchline"), roman("(1), ")]);
    page.text([bold("fetchline-config"), roman("(1), "), bold("fetchline-check"), roman("(1)")]);
    with_empty_date(&page.render())
}

/// The arguments of a command and of those below it.
fn arguments(command: &Command) -> Vec<&Arg> {
    command.get_arguments().chain(command.get_subcommands().flat_map(arguments)).collect()
}

/// A paragraph per key: its value, its default, and a sentence.
fn keys<'a>(page: &mut Roff, arguments: impl IntoIterator<Item = &'a Arg>) {
    let mut known = Vec::new();
    for argument in arguments {
        let Some(flag) = argument.get_long().filter(|_| is_key(argument)) else { continue };
        if known.contains(&flag) {
            continue;
        }
        known.push(flag);
        let value = argument.get_value_names().unwrap_or_default().join(" ");
        let mut line = vec![bold(flag), roman(" = ")];
        match argument.get_action() {
            ArgAction::SetTrue => line.push(italic("true")),
            ArgAction::Append => line.extend([roman("["), italic(value), roman(", …]")]),
            _ => line.push(italic(value)),
        }
        let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
        let defaults: Vec<_> = defaults.collect();
        if !defaults.is_empty() && argument.get_action().takes_values() {
            line.push(roman(format!("  [default: {}]", defaults.join(","))));
        }
        page.control("TP", []).text(line);
        page.text([roman(argument.get_help().map(ToString::to_string).unwrap_or_default())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_file_has_every_key_once_and_the_file_takes_its_example() {
        let program = command_line::complete(Cli::command());
        let page = file_page(&program);
        let (shared, tables) = page.split_once(".SH \"TABLE [").unwrap();
        assert_eq!(shared.matches("\n\\fBamqp\\-url\\fR = \\fIURL\\fR").count(), 1, "{page}");
        assert!(!shared.contains("\\fBconfig\\fR ="), "{page}");
        let work = tables.split(".SH \"TABLE [").find(|it| it.starts_with("work]")).unwrap();
        for key in ["until\\-empty\\fR = \\fItrue", "allow\\-network\\fR = [\\fICIDR"] {
            assert_eq!(work.matches(&format!("\n\\fB{key}\\fR")).count(), 1, "{key} in {work}");
        }
        let text = std::env::temp_dir().join(format!("fetchline-{}.toml", std::process::id()));
        std::fs::write(&text, EXAMPLE).unwrap();
        let words = ["fetchline", "--config"].map(Into::into).into_iter();
        let words: Vec<_> = words.chain([text.clone().into()]).collect();
        let file = crate::config_file::ConfigFile::find(&words).unwrap().unwrap();
        std::fs::remove_file(text).unwrap();
        let program = file.apply(program).unwrap();
        let parsed = program.try_get_matches_from(["fetchline", "work"]).unwrap();
        let (_, work) = parsed.subcommand().unwrap();
        assert!(work.get_flag("until_empty"));
    }
}
