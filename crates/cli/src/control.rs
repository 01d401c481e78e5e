//! `fetchline control`.

use clap::Subcommand;
use fetchline_queue::Role;
use fetchline_queue::control::{self, Directive};
use serde_json::{Value, json};

use crate::args::{self, GlobalArgs};
use crate::exit::{self, Done, Failure, Result};
use crate::schema::shape::{field, object, text};

/// Send a directive to the workers
///
/// The same words can be typed into the stream PREFIX.control with the console of RabbitMQ. Workers
/// follow within a second, and one of them answers in the queue PREFIX.news.
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
    /// Take no more tasks
    ///
    /// Workers finish the fetches under way and requeue the rest. Without a name it applies to all
    /// workers, including those that start later.
    Pause {
        /// One worker, by its name
        #[arg(value_name = "WORKER")]
        pod: Option<String>,
    },
    /// Take tasks again
    Resume {
        /// One worker, by its name
        #[arg(value_name = "WORKER")]
        pod: Option<String>,
    },
    /// Set the number of concurrent fetches in each worker
    ///
    /// It overrides the --concurrency of every worker; `default` removes the override.
    Concurrency {
        /// Concurrent fetches, from 1 to 65535, or `default`
        #[arg(value_name = "N")]
        number: String,
    },
    /// Change the limits of a host or a pattern, as `hosts` does
    Host {
        /// A name such as shop.example or shop.example:8443, or a pattern: *.shop.example or *
        #[arg(value_name = "NAME")]
        host: String,

        /// A rate such as 5/s, or `pause`, `resume` or `clear`
        #[arg(value_name = "CHANGE")]
        change: String,
    },
    /// Cancel a run, as `runs cancel` does
    Cancel {
        /// The name of the run
        run: String,
    },
    /// Stop one worker: it finishes what it has begun, and ends
    ///
    /// If something such as Kubernetes restarts the process, the worker takes tasks again.
    Drain {
        /// The name of the worker
        #[arg(value_name = "WORKER")]
        pod: String,
    },
    /// Let a worker replay dead letters, as `dead replay` does
    Replay {
        /// host=…, status=…, reason=…, run=… or limit=…; or `all`
        #[arg(value_name = "FILTER", required = true)]
        filters: Vec<String>,
    },
}

impl Command {
    /// The directive as it would be typed.
    fn words(&self) -> String {
        let quoted = |word: &str| match word.contains(char::is_whitespace) {
            true => format!("\"{word}\""),
            false => word.to_owned(),
        };
        let with_pod = |verb: &str, pod: &Option<String>| match pod {
            Some(pod) => format!("{verb} {}", quoted(pod)),
            None => verb.to_owned(),
        };
        match self {
            Self::Pause { pod } => with_pod("pause", pod),
            Self::Resume { pod } => with_pod("resume", pod),
            Self::Concurrency { number } => format!("concurrency {number}"),
            Self::Host { host, change } => format!("host {host} {change}"),
            Self::Cancel { run } => format!("cancel {}", quoted(run)),
            Self::Drain { pod } => format!("drain {}", quoted(pod)),
            Self::Replay { filters } => {
                let filters: Vec<String> = filters.iter().map(|filter| quoted(filter)).collect();
                format!("replay {}", filters.join(" "))
            }
        }
    }
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    let host = args::host_name();
    let broker = global.broker(Role::Control, &host)?;
    let directive = Directive::read(args.command.words().as_bytes()).map_err(Failure::usage)?;
    control::publish(&broker, &directive, &host).await?;
    match args.json {
        true => exit::print(json!({ "sent": directive.to_string() })),
        false => {
            exit::print(format_args!("sent: {directive}"));
            exit::note(format_args!("a worker answers in the queue {}.news", global.prefix));
        }
    }
    Ok(Done::Whole)
}

/// The shape of what `--json` prints.
pub(crate) fn schema() -> Value {
    object([field("sent", text("The directive as it could be typed into the control stream."))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_the_directive_that_an_operator_would_type() {
        for (command, typed) in [
            (Command::Pause { pod: None }, "pause"),
            (Command::Resume { pod: Some("blue-1".into()) }, "resume blue-1"),
            (Command::Concurrency { number: "default".into() }, "concurrency default"),
            (Command::Host { host: "*".into(), change: "5/s".into() }, "host * 5/s"),
            (Command::Cancel { run: "Night 7".into() }, "cancel \"Night 7\""),
            (Command::Drain { pod: "blue-1".into() }, "drain blue-1"),
            (
                Command::Replay { filters: vec!["run=Night 7".into(), "status=503".into()] },
                "replay status=503 run=\"Night 7\"",
            ),
        ] {
            let directive = Directive::read(command.words().as_bytes()).unwrap();
            assert_eq!(directive.to_string(), typed);
        }
    }
}
