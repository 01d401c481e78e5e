//! `fetchline control`.

use clap::Subcommand;
use fetchline_queue::Role;
use fetchline_queue::control::{self, Directive};
use serde_json::json;

use crate::args::{self, GlobalArgs};
use crate::exit::{self, Done, Result};

/// Send a directive to all workers
///
/// It also applies to workers that start later, and takes effect within a second.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,

    /// Print JSON
    #[arg(long, global = true, env = "FETCHLINE_JSON")]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Take no more messages
    ///
    /// Workers finish the fetches under way and requeue the rest.
    Pause,
    /// Take messages again
    Resume,
    /// Set the number of concurrent fetches in each worker
    ///
    /// It overrides the --concurrency of every worker.
    Concurrency {
        /// Concurrent fetches, from 1 to 65,535
        #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        number: u16,
    },
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    let broker = global.broker(Role::Control, &args::host_name())?;
    let directive = match args.command {
        Command::Pause => Directive::Pause,
        Command::Resume => Directive::Resume,
        Command::Concurrency { number } => Directive::Concurrency(number.into()),
    };
    control::publish(&broker, directive).await?;
    match args.json {
        true => exit::print(json!({ "sent": directive.to_string() })),
        false => exit::print(format_args!("sent: {directive}")),
    }
    Ok(Done::Whole)
}
