//! `fetchline status`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use fetchline_queue::{Broker, Role, Tier};
use fetchline_store::{Run, Store};
use fetchline_worker::delay_tiers;
use serde_json::{Value, json};

use crate::args::{self, GlobalArgs};
use crate::exit::{self, Done, Failure, Result};
use crate::fleet::{self, Management, Queue};
use crate::fleet_state::FleetState;
use crate::runs;
use crate::table::format_duration;
use crate::watch::{self, Observation, RowRate};

/// The time over which the rate of a run is measured.
const RATE_INTERVAL: Duration = Duration::from_secs(2);

/// Show the queues of the fleet and the progress of a run
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A run to show
    ///
    /// Shows its planned tasks, rows by outcome, remaining tasks, rate, and time left.
    #[arg(long, value_name = "NAME", env = "FETCHLINE_RUN")]
    run: Option<String>,

    /// Wait until the run is complete
    ///
    /// It also waits for a run that no worker has reported yet. The queues are not shown. The exit
    /// code is 0 if every row is ok, and 3 if some are not.
    #[arg(long, env = "FETCHLINE_WAIT", requires = "run")]
    wait: bool,

    /// How long --wait waits at most, such as 30m [default: no limit]
    ///
    /// After this time the exit code is 1.
    #[arg(long = "for", value_name = "DURATION", env = "FETCHLINE_FOR", requires = "wait")]
    #[arg(value_parser = args::duration)]
    wait_limit: Option<Duration>,

    /// Write an HTML page about the run
    ///
    /// It reads every row of the run.
    #[arg(long, value_name = "FILE.html", env = "FETCHLINE_REPORT", requires = "run")]
    report: Option<PathBuf>,

    /// The URL of RabbitMQ's management API, which adds the unacked messages of each queue
    ///
    /// If the URL names no user, the user and password of --amqp-url are used.
    #[arg(long, value_name = "URL", env = "FETCHLINE_MANAGEMENT_URL", hide_env_values = true)]
    management_url: Option<String>,

    /// The retry queues to show, by their delays
    ///
    /// Use the same value as for the workers. Longer delay queues, up to 3600s, are shown while
    /// tasks wait in them.
    #[arg(long, value_name = "DURATIONS", env = "FETCHLINE_RETRY_DELAYS")]
    #[arg(default_value = args::RETRY_DELAYS)]
    #[arg(value_parser = args::duration, value_delimiter = ',')]
    retry_delays: Vec<Duration>,

    /// Print JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    if let Some(file) = &args.report {
        // Checked now and not after hours of waiting. An old page stays until it is replaced.
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(file);
        opened
            .with_context(|| format!("cannot write --report {}", file.display()))
            .map_err(Failure::usage)?;
    }
    match &args.run {
        Some(name) if args.wait => wait(&global, name, &args).await,
        Some(name) => {
            let queues = queues(&global, &args).await?;
            let store = global.migrated_store().await?;
            let (run, rate) = observe(&store, name).await?;
            show(Some(&queues), Some((name, &run, &rate)), args.json);
            write_report(&store, name, args.report.as_deref()).await?;
            Ok(Done::Whole)
        }
        None => {
            show(Some(&queues(&global, &args).await?), None, args.json);
            Ok(Done::Whole)
        }
    }
}

async fn wait(global: &GlobalArgs, name: &str, args: &Args) -> Result {
    let store = global.store(1, Duration::from_secs(5))?;
    let broker = global.broker(Role::Status, &args::host_name())?;
    let Observation { run, rate, is_complete } =
        watch::wait_until_complete(&store, &broker, name, args.wait_limit).await?;
    let limit = args.wait_limit.map(format_duration).unwrap_or_default();
    let Some(run) = run else {
        return Err(anyhow!("the database did not answer within {limit}").into());
    };
    show(None, Some((name, &run, &rate)), args.json);
    write_report(&store, name, args.report.as_deref()).await?;
    if !is_complete {
        return Err(anyhow!("the run {name} is not complete after {limit}").into());
    }
    let failed = run.rows() - run.succeeded();
    Ok(if failed > 0 { Done::InputRejected } else { Done::Whole })
}

/// Writes the HTML page of a run.
async fn write_report(
    store: &Store,
    name: &str,
    file: Option<&Path>,
) -> std::result::Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let report = store.report(name).await?;
    // Read again, so that the planned tasks fit the rows.
    let page = crate::report::render(name, &store.run(name).await?, &report)?;
    std::fs::write(file, page)
        .with_context(|| format!("cannot write --report {}", file.display()))?;
    Ok(())
}

async fn queues(
    global: &GlobalArgs,
    args: &Args,
) -> std::result::Result<(Vec<Queue>, FleetState), Failure> {
    let broker: Broker = global.broker(Role::Status, &args::host_name())?;
    let tiers: Vec<Tier> = args.retry_delays.iter().filter_map(|delay| Tier::of(*delay)).collect();
    let always = broker.clone().with_tiers(tiers.clone());
    let broker = broker.with_tiers(delay_tiers(&tiers));
    let management =
        args.management_url.as_deref().map(|url| Management::new(url, &broker)).transpose();
    let mut queues = fleet::queues(&broker, management.map_err(Failure::usage)?.as_ref()).await?;
    // A queue for deferrals only is shown while tasks wait in it.
    let always: Vec<String> =
        always.topology().keys().iter().map(|key| broker.topology().queue(key)).collect();
    queues.retain(|queue| always.contains(&queue.name) || queue.has_ready());
    Ok((queues, FleetState::read(global, &broker).await))
}

/// A run, and its rate if it is under way.
async fn observe(store: &Store, name: &str) -> std::result::Result<(Run, RowRate), Failure> {
    let mut rate = RowRate::default();
    let mut run = store.run(name).await?;
    if !run.is_complete() && run.is_known() {
        rate.sample(run.rows());
        tokio::time::sleep(RATE_INTERVAL).await;
        run = store.run(name).await?;
        rate.sample(run.rows());
    }
    Ok((run, rate))
}

fn show(
    fleet: Option<&(Vec<Queue>, FleetState)>,
    run: Option<(&str, &Run, &RowRate)>,
    as_json: bool,
) {
    if as_json {
        let mut status = json!({});
        if let Some((queues, state)) = fleet {
            status = json!(state);
            status["queues"] = json!(queues);
        }
        if let Some((name, run, rate)) = run {
            status["run"] = runs::json(name, run);
            status["run"]["rate"] = json!(rate.per_second());
            let left = run.remaining().and_then(|remaining| rate.time_left(remaining));
            status["run"]["seconds_left"] = left.map_or(Value::Null, |left| left.as_secs().into());
        }
        return exit::print(status);
    }
    if let Some((queues, state)) = fleet {
        exit::print(fleet::format_queues(queues).trim_end());
        let state = state.describe();
        if !state.is_empty() {
            exit::print(state);
        }
    }
    if let Some((name, run, rate)) = run {
        let blank_line = if fleet.is_some() { "\n" } else { "" };
        exit::print(format_args!(
            "{blank_line}run {name} ({}): {}",
            runs::state(run),
            watch::describe(run, rate)
        ));
        let mut outcomes: Vec<_> = run.outcomes.iter().collect();
        outcomes.sort_by_key(|(_, rows)| std::cmp::Reverse(**rows));
        for (outcome, rows) in outcomes {
            exit::print(format_args!("  {outcome:12} {rows:>10}"));
        }
    }
}
