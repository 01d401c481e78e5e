//! `fetchline control`.

use clap::Subcommand;
use fetchline_queue::Role;
use fetchline_queue::control::{Word, tell};

use crate::args::{self, Everywhere};
use crate::exit::{self, Done, Result};

/// Tells every worker, and every worker that comes later, what to do. In force within a second
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    word: Said,
}

#[derive(Subcommand)]
enum Said {
    /// Take no messages: what is being fetched is finished, and the rest is given back to the queue
    Pause,
    /// Take messages again
    Resume,
    /// Fetch so many at once in each worker, whatever its --concurrency says
    Concurrency {
        /// From 1 to 65,535
        #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        number: u16,
    },
}

pub(crate) async fn run(everywhere: Everywhere, args: Args) -> Result {
    let broker = everywhere.broker(Role::Control, &args::host_name())?;
    let word = match args.word {
        Said::Pause => Word::Pause,
        Said::Resume => Word::Resume,
        Said::Concurrency { number } => Word::Concurrency(number.into()),
    };
    tell(&broker, word).await?;
    exit::print(format_args!("told: {word}"));
    Ok(Done::Whole)
}
