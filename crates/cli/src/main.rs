#![doc = include_str!("../README.md")]
// These macros panic if nobody reads the output. `exit::print` and `exit::note` do not. They are
// not in the manifest of the workspace, since the demonstration and the tests may panic.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod args;
mod body;
mod bot_keys;
mod changes;
mod check;
mod command_line;
mod completions;
mod config;
mod config_file;
mod control;
mod coverage;
mod dead;
mod exit;
mod extract;
mod fleet;
mod fleet_state;
mod health;
mod hosts;
mod items;
mod limits;
mod log;
mod manual;
mod migrate;
mod money;
mod produce;
mod produce_display;
mod rejects;
mod report;
mod runs;
mod schema;
mod secret;
mod sources;
mod sparkline;
mod spreadsheet;
mod status;
mod stop;
mod table;
mod watch;
mod work;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::args::GlobalArgs;
use crate::command_line::Misunderstood;
use crate::config_file::ConfigFile;
use crate::exit::Failure;
use crate::log::LogFormat;

/// Each URL takes some 150 allocations, and one thread frees what another one allocates. Under this
/// load threads contend for locks in the system's allocator.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The version, and the commit if the build names one.
static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("FETCHLINE_COMMIT") {
    Some(commit) if !commit.is_empty() => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
    _ => env!("CARGO_PKG_VERSION").to_owned(),
});

/// Fetch URLs from RabbitMQ over HTTP and store the results in MySQL
///
/// `produce` publishes lists of URLs as tasks, and any number of `work` processes fetch them. No
/// task is lost: each one ends as a row in the database.
///
/// Every flag can also be set by an environment variable: FETCHLINE_ followed by the name of the
/// flag in upper case, with _ in place of -, and by a configuration file. The flag takes
/// precedence.
///
/// Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but some lines were
/// rejected, some URLs failed, or a learned rule is right on some pages only; 130 ended immediately
/// by a second signal.
#[derive(Parser)]
#[command(name = "fetchline", version = VERSION.as_str(), propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Migrate(migrate::Args),
    Produce(produce::Args),
    Work(Box<work::Args>),
    Status(status::Args),
    Runs(runs::Args),
    Dead(dead::Args),
    Hosts(hosts::Args),
    Items(items::Args),
    Extract(extract::Args),
    Body(body::Args),
    Control(control::Args),
    Check(Box<check::Args>),
    Health(health::Args),
    BotKeys(bot_keys::Args),
    Config(config::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Man(manual::Args),
    #[command(hide = true)]
    Schema(schema::Args),
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let file = ConfigFile::find(&arguments);
    let completed = file.and_then(|file| {
        let command = command_line::with_shared_variables(command_line::complete(Cli::command()));
        let unknown = command_line::check_variables(&command)?;
        let command = match &file {
            Some(file) => file.apply(command)?,
            None => command,
        };
        Ok((file, command, unknown))
    });
    let (file, program, unknown) = match completed {
        Ok(completed) => completed,
        Err(error) => return exit::code(Err(Failure::Usage(error)), LogFormat::Text),
    };
    let parsed = command_line::parse(&program, &arguments)
        .and_then(|found| Cli::from_arg_matches(&found).map_err(Misunderstood::from));
    let Cli { global, command } = match parsed {
        Ok(cli) => cli,
        Err(why) => {
            let origin = command_line::origin(&why.error, &program, &arguments, file.as_ref());
            return exit::explain(&why, origin.as_deref());
        }
    };
    // HTTP clients have no cryptography of their own.
    _ = rustls::crypto::ring::default_provider().install_default();
    let log = global.log;
    log::start(log);
    for variable in unknown {
        tracing::warn!("{variable} has no effect: no flag has this variable");
    }
    // These need neither services nor a runtime.
    let command = match command {
        Command::Config(args) => {
            return exit::code(config::run(args, &program, file.as_ref()), log);
        }
        Command::Completions(args) => return exit::code(completions::run(&args), log),
        Command::Man(args) => return exit::code(manual::run(&args), log),
        Command::Schema(args) => return exit::code(schema::run(&args), log),
        command => command,
    };
    limits::raise_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = anyhow::Error::from(error).context(
                "cannot start: raise the hard limit of open files (ulimit -Hn, LimitNOFILE=)",
            );
            return exit::code(Err(Failure::Usage(error)), log);
        }
    };
    let result = runtime.block_on(run(global, command));
    // A read of standard input may still be under way, and ends only when somebody types. It is not
    // waited for.
    runtime.shutdown_background();
    exit::code(result, log)
}

async fn run(global: GlobalArgs, command: Command) -> exit::Result {
    match command {
        Command::Migrate(args) => migrate::run(global, args).await,
        Command::Produce(args) => produce::run(global, args).await,
        Command::Work(args) => work::run(global, *args).await,
        Command::Status(args) => status::run(global, args).await,
        Command::Runs(args) => runs::run(global, args).await,
        Command::Dead(args) => dead::run(global, args).await,
        Command::Hosts(args) => hosts::run(global, args).await,
        Command::Items(args) => items::run(global, args).await,
        Command::Extract(args) => extract::run(args).await,
        Command::Body(args) => body::run(global, args).await,
        Command::Control(args) => control::run(global, args).await,
        Command::Check(args) => check::run(global, *args).await,
        Command::Health(args) => health::run(args).await,
        Command::BotKeys(args) => bot_keys::run(&args),
        Command::Config(_) | Command::Completions(_) | Command::Man(_) | Command::Schema(_) => {
            Ok(exit::Done::Whole)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Runs `check` for a command and all commands below it.
    fn for_each_command(command: &clap::Command, check: &impl Fn(&clap::Command)) {
        check(command);
        for subcommand in command.get_subcommands() {
            for_each_command(subcommand, check);
        }
    }

    #[test]
    fn every_command_and_flag_has_a_help_text() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for_each_command(&command, &|command| {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {argument}", command.get_name());
            }
        });
    }
}
