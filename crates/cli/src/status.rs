//! `fetchline status`.

use std::time::Duration;

use fetchline_queue::{Role, Tier};
use serde::Serialize;

use crate::args::{self, Everywhere};
use crate::exit::{self, Done, Result};

/// Shows the fleet's queues and, with --run, the rows of a run
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The run whose rows are counted, by outcome
    #[arg(long, value_name = "NAME", env = "FETCHLINE_RUN")]
    run: Option<String>,

    /// The delays of the workers' retry queues
    #[arg(long, value_name = "DURATIONS", env = "FETCHLINE_RETRY_DELAYS", default_value = args::RETRY_DELAYS)]
    #[arg(value_parser = args::duration, value_delimiter = ',')]
    retry_delays: Vec<Duration>,

    /// Print JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

#[derive(Serialize)]
struct Status {
    queues: Vec<Queue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
}

#[derive(Serialize)]
struct Queue {
    name: String,
    /// `null` where the queue does not exist.
    ready: Option<u32>,
    consumers: Option<u32>,
}

#[derive(Serialize)]
struct Run {
    name: String,
    rows: u64,
    outcomes: serde_json::Map<String, serde_json::Value>,
}

pub(crate) async fn run(everywhere: Everywhere, args: Args) -> Result {
    let tiers = args.retry_delays.iter().filter_map(|delay| Tier::of(*delay)).collect();
    let broker = everywhere.broker(Role::Status, &args::host_name())?.with_tiers(tiers);
    let connection = broker.connect().await?;
    let mut queues = Vec::new();
    for key in broker.topology().keys() {
        let depth = broker.topology().depth(&connection, &key).await?;
        queues.push(Queue {
            name: broker.topology().queue(&key),
            ready: depth.map(|depth| depth.ready),
            consumers: depth.map(|depth| depth.consumers),
        });
    }
    let run = match args.run {
        None => None,
        Some(name) => {
            let store = everywhere.store(1, Duration::from_secs(5))?;
            store.check_schema().await?;
            let counted = store.outcomes(&name).await?;
            let rows = counted.iter().map(|(_, rows)| rows).sum();
            let outcomes = counted.into_iter().map(|(outcome, rows)| (outcome, rows.into())).collect();
            Some(Run { name, rows, outcomes })
        }
    };
    let status = Status { queues, run };
    if args.json {
        exit::print(serde_json::to_string(&status)?);
    } else {
        print(&status);
    }
    Ok(Done::Whole)
}

fn print(status: &Status) {
    let number = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let width = status.queues.iter().map(|queue| queue.name.len()).max().unwrap_or(0);
    exit::print(format_args!("{:width$}  {:>10}  {:>10}", "queue", "ready", "consumers"));
    for queue in &status.queues {
        exit::print(format_args!(
            "{:width$}  {:>10}  {:>10}",
            queue.name,
            number(queue.ready),
            number(queue.consumers)
        ));
    }
    if let Some(run) = &status.run {
        exit::print(format_args!("\nrun {}: {} rows", run.name, run.rows));
        for (outcome, rows) in &run.outcomes {
            exit::print(format_args!("  {outcome:12} {:>10}", rows.to_string()));
        }
    }
}
