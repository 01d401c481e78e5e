//! The command `fetchline`: URLs from RabbitMQ, fetched over HTTP, outcomes in MySQL, nothing lost.

mod args;
mod exit;
mod log;
mod migrate;
mod produce;
mod status;
mod stop;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::args::Everywhere;

/// The allocator matters where bodies come and go by the thousand.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A message-queue worker: URLs from RabbitMQ, fetched over HTTP, outcomes in MySQL, nothing lost.
///
/// Every flag can also be given as FETCHLINE_<FLAG> in the environment (upper case, _ for -); the flag wins.
/// Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but some input was refused.
#[derive(Parser)]
#[command(name = "fetchline", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Migrate(migrate::Args),
    Produce(produce::Args),
    Work(work::Args),
    Status(status::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { everywhere, command } = Cli::parse();
    log::start(everywhere.log);
    let result = match command {
        Command::Migrate(args) => migrate::run(everywhere, args).await,
        Command::Produce(args) => produce::run(everywhere, args).await,
        Command::Work(args) => work::run(everywhere, args).await,
        Command::Status(args) => status::run(everywhere, args).await,
    };
    exit::code(result)
}
