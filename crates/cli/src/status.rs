//! `fetchline status`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use fetchline_queue::{Broker, Role, Tier};
use fetchline_store::{Outcome, Run, Store};
use fetchline_worker::delay_tiers;
use serde_json::{Value, json};

use crate::args::{self, Everywhere};
use crate::exit::{self, Done, Failure, Result};
use crate::fleet::{self, Management, Queue};
use crate::runs;
use crate::table::span;
use crate::watch::{self, Pace, Seen};

/// Between the two looks that tell how fast a run gets on.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// Shows the fleet's queues and, with --run, how far a run has come
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A run: what is planned, its rows by outcome, what remains, its rate, and the time left
    #[arg(long, value_name = "NAME", env = "FETCHLINE_RUN")]
    run: Option<String>,

    /// Wait until the run is complete, also for one that is not known yet; the queues are not shown. Ends with 0 when all
    /// went well, and with 3 when URLs failed
    #[arg(long, env = "FETCHLINE_WAIT", requires = "run")]
    wait: bool,

    /// With --wait: how long at most, like 30m. Then it ends with 1
    #[arg(long = "for", value_name = "DURATION", env = "FETCHLINE_FOR", requires = "wait")]
    #[arg(value_parser = args::duration)]
    at_most: Option<Duration>,

    /// Write a page about the run, to look at or send on; reads every row of the run
    #[arg(long, value_name = "FILE.html", env = "FETCHLINE_REPORT", requires = "run")]
    report: Option<PathBuf>,

    /// RabbitMQ's management API, which tells how many messages consumers hold. Where it names no user, the broker's
    #[arg(long, value_name = "URL", env = "FETCHLINE_MANAGEMENT_URL", hide_env_values = true)]
    management_url: Option<String>,

    /// The retry queues to show, by their delays. Longer ones, up to 3600s, are shown when deferred
    /// tasks wait in them
    #[arg(long, value_name = "DURATIONS", env = "FETCHLINE_RETRY_DELAYS", default_value = args::RETRY_DELAYS)]
    #[arg(value_parser = args::duration, value_delimiter = ',')]
    retry_delays: Vec<Duration>,

    /// Print JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

pub(crate) async fn run(everywhere: Everywhere, args: Args) -> Result {
    if let Some(file) = &args.report {
        // Now, and not after hours of waiting. What is there stays until there is something to take its place.
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(file);
        opened.with_context(|| format!("cannot write --report {}", file.display())).map_err(Failure::usage)?;
    }
    match &args.run {
        Some(name) if args.wait => wait(&everywhere, name, &args).await,
        Some(name) => {
            let queues = queues(&everywhere, &args).await?;
            let store = everywhere.migrated_store().await?;
            let (run, pace) = look(&store, name).await?;
            show(Some(&queues), Some((name, &run, &pace)), args.json);
            report(&store, name, args.report.as_deref()).await?;
            Ok(Done::Whole)
        }
        None => {
            show(Some(&queues(&everywhere, &args).await?), None, args.json);
            Ok(Done::Whole)
        }
    }
}

async fn wait(everywhere: &Everywhere, name: &str, args: &Args) -> Result {
    let store = everywhere.store(1, Duration::from_secs(5))?;
    let broker = everywhere.broker(Role::Status, &args::host_name())?;
    let Seen { run, pace, is_complete } = watch::until_complete(&store, &broker, name, args.at_most).await?;
    let within = args.at_most.map(span).unwrap_or_default();
    let Some(run) = run else {
        return Err(anyhow!("the database did not answer within {within}").into());
    };
    show(None, Some((name, &run, &pace)), args.json);
    report(&store, name, args.report.as_deref()).await?;
    if !is_complete {
        return Err(anyhow!("the run {name} is not complete after {within}").into());
    }
    let failed = run.rows() - run.rows_with(Outcome::Ok);
    Ok(if failed > 0 { Done::InputRefused } else { Done::Whole })
}

/// Writes the page of a run.
async fn report(store: &Store, name: &str, file: Option<&Path>) -> std::result::Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let told = store.report(name).await?;
    // Asked for again: the rows and what is planned are to fit.
    let page = crate::report::html(name, &store.run(name).await?, &told)?;
    std::fs::write(file, page).with_context(|| format!("cannot write --report {}", file.display()))?;
    Ok(())
}

async fn queues(everywhere: &Everywhere, args: &Args) -> std::result::Result<Vec<Queue>, Failure> {
    let broker: Broker = everywhere.broker(Role::Status, &args::host_name())?;
    let tiers: Vec<Tier> = args.retry_delays.iter().filter_map(|delay| Tier::of(*delay)).collect();
    let always = broker.clone().with_tiers(tiers.clone());
    let broker = broker.with_tiers(delay_tiers(&tiers));
    let management = args.management_url.as_deref().map(|url| Management::new(url, &broker)).transpose();
    let mut queues = fleet::queues(&broker, management.map_err(Failure::usage)?.as_ref()).await?;
    // Those that only deferred tasks wait in are worth a line when any do.
    let always: Vec<String> = always.topology().keys().iter().map(|key| broker.topology().queue(key)).collect();
    queues.retain(|queue| always.contains(&queue.name) || queue.holds_any());
    Ok(queues)
}

/// A run, and how fast it gets on where it does.
async fn look(store: &Store, name: &str) -> std::result::Result<(Run, Pace), Failure> {
    let mut pace = Pace::default();
    let mut run = store.run(name).await?;
    if !run.is_complete() && run.is_known() {
        pace.look(run.rows());
        tokio::time::sleep(BETWEEN_LOOKS).await;
        run = store.run(name).await?;
        pace.look(run.rows());
    }
    Ok((run, pace))
}

fn show(queues: Option<&[Queue]>, run: Option<(&str, &Run, &Pace)>, as_json: bool) {
    if as_json {
        let mut status = json!({});
        if let Some(queues) = queues {
            status["queues"] = json!(queues);
        }
        if let Some((name, run, pace)) = run {
            status["run"] = runs::json(name, run);
            status["run"]["rate"] = json!(pace.rate());
            let left = run.remaining().and_then(|remaining| pace.time_left(remaining));
            status["run"]["seconds_left"] = left.map_or(Value::Null, |left| left.as_secs().into());
        }
        return exit::print(status);
    }
    if let Some(queues) = queues {
        exit::print(fleet::text(queues).trim_end());
    }
    if let Some((name, run, pace)) = run {
        let space = if queues.is_some() { "\n" } else { "" };
        exit::print(format_args!("{space}run {name} ({}): {}", runs::state(run), watch::line(run, pace)));
        let mut outcomes: Vec<_> = run.outcomes.iter().collect();
        outcomes.sort_by_key(|(_, rows)| std::cmp::Reverse(**rows));
        for (outcome, rows) in outcomes {
            exit::print(format_args!("  {outcome:12} {rows:>10}"));
        }
    }
}
