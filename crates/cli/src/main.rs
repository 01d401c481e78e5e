//! The command `fetchline`: URLs from RabbitMQ, fetched over HTTP, outcomes in MySQL, nothing lost.

mod args;
mod control;
mod dead;
mod exit;
mod extract;
mod fleet;
mod health;
mod hosts;
mod items;
mod limits;
mod log;
mod migrate;
mod money;
mod produce;
mod rejects;
mod report;
mod runs;
mod sparkline;
mod status;
mod stop;
mod table;
mod watch;
mod work;

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};

use crate::args::Everywhere;

/// A URL costs some 150 allocations, and what one thread allocates another one frees: the system's allocator lets threads
/// wait for each other there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The version, and the commit where the build was told of one.
static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("FETCHLINE_COMMIT") {
    Some(commit) if !commit.is_empty() => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
    _ => env!("CARGO_PKG_VERSION").to_owned(),
});

/// A message-queue worker: URLs from RabbitMQ, fetched over HTTP, outcomes in MySQL, nothing lost.
///
/// Every flag can also be given as `FETCHLINE_<FLAG>` in the environment (upper case, _ for -); the flag wins.
/// Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but some input was refused.
#[derive(Parser)]
#[command(name = "fetchline", version = VERSION.as_str(), propagate_version = true)]
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
    Work(Box<work::Args>),
    Status(status::Args),
    Runs(runs::Args),
    Dead(dead::Args),
    Hosts(hosts::Args),
    Items(items::Args),
    Extract(extract::Args),
    Control(control::Args),
    Health(health::Args),
}

fn main() -> ExitCode {
    let Cli { everywhere, command } = Cli::parse();
    log::start(everywhere.log);
    limits::raise_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::code(Err(error.into())),
    };
    let result = runtime.block_on(run(everywhere, command));
    // Not waited for: a read of standard input may be under way, and ends only when somebody types.
    runtime.shutdown_background();
    exit::code(result)
}

async fn run(everywhere: Everywhere, command: Command) -> exit::Result {
    match command {
        Command::Migrate(args) => migrate::run(everywhere, args).await,
        Command::Produce(args) => produce::run(everywhere, args).await,
        Command::Work(args) => work::run(everywhere, *args).await,
        Command::Status(args) => status::run(everywhere, args).await,
        Command::Runs(args) => runs::run(everywhere, args).await,
        Command::Dead(args) => dead::run(everywhere, args).await,
        Command::Hosts(args) => hosts::run(everywhere, args).await,
        Command::Items(args) => items::run(everywhere, args).await,
        Command::Extract(args) => extract::run(args).await,
        Command::Control(args) => control::run(everywhere, args).await,
        Command::Health(args) => health::run(args).await,
    }
}
