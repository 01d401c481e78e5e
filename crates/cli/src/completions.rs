//! `fetchline completions`.

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;

use crate::exit::{self, Done, Result};
use crate::{Cli, command_line};

/// Print a script that completes commands and flags in a shell
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result {
    let mut command = with_commands_of_config(command_line::complete(Cli::command()));
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "fetchline", &mut script);
    exit::print(String::from_utf8_lossy(&script).trim_end());
    Ok(Done::Whole)
}

/// `config` takes the command line of another command as one argument. Here it has these commands.
fn with_commands_of_config(program: Command) -> Command {
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    let commands: Vec<Command> = commands.cloned().collect();
    program.mut_subcommand("config", |config| {
        let flags = config.get_arguments().filter(|argument| !argument.is_positional());
        let flags: Vec<Arg> = flags.cloned().collect();
        let about = config.get_about().cloned().unwrap_or_default();
        let config = Command::new("config").about(about).args(flags).subcommands(commands);
        without_help(config)
    })
}

/// `config` prints no help of a command in this way.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}
