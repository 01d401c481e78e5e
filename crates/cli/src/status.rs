//! `fetchline status`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use fetchline_queue::{Broker, Role, Tier};
use fetchline_store::{Changes, Report, Run, Selection, Store};
use fetchline_worker::delay_tiers;
use serde_json::{Value, json};

use crate::args::{self, GlobalArgs};
use crate::exit::{self, Done, Failure, Result};
use crate::fleet::{self, Management, Queue};
use crate::fleet_state::{self, FleetState};
use crate::schema::shape::{self, count, field, nullable, number, object, optional};
use crate::secret::Secret;
use crate::table::format_duration;
use crate::watch::{self, Observation, RowRate, Wait};
use crate::{changes, coverage, runs};

/// The time over which the rate of a run is measured.
const RATE_INTERVAL: Duration = Duration::from_secs(2);

/// Show the queues of the fleet and the progress of a run
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A run to show
    ///
    /// Shows its planned tasks, rows by outcome, remaining tasks, rate, and time left; and what its
    /// pages contain, and what has changed.
    #[arg(long, value_name = "NAME", env = "FETCHLINE_RUN", value_parser = args::name)]
    run: Option<String>,

    /// The part of the run: its id, as `produce` prints it, or `all` [default: the newest part]
    #[arg(long, value_name = "ID|all", env = "FETCHLINE_PART", requires = "run")]
    #[arg(value_parser = args::name)]
    part: Option<String>,

    /// Wait until the part is complete
    ///
    /// It also waits for a part that no worker has reported yet, and while the broker cannot say
    /// whether a newer part has begun. The queues are not shown. The exit code is 0 if every row is
    /// a success, and 3 if some are not or the part was cancelled.
    #[arg(long, env = "FETCHLINE_WAIT", requires = "run")]
    wait: bool,

    /// The maximum age of the newest part if it is complete when --wait starts
    ///
    /// If it is older, --wait waits for the next part. Not used with --part.
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_SINCE", requires = "wait")]
    #[arg(value_parser = args::duration, default_value = "12h")]
    since: Duration,

    /// The longest time that --wait waits, such as 30m [default: no limit]
    ///
    /// After this time the exit code is 1.
    #[arg(long = "for", value_name = "DURATION", env = "FETCHLINE_FOR", requires = "wait")]
    #[arg(value_parser = args::duration)]
    wait_limit: Option<Duration>,

    /// Write an HTML page about the run
    ///
    /// It reads every row of the part.
    #[arg(long, value_name = "FILE.html", env = "FETCHLINE_REPORT", requires = "run")]
    report: Option<PathBuf>,

    /// Show what the pages of each host contain, which shows where a rule is needed
    ///
    /// It reads every row of the part.
    #[arg(long, env = "FETCHLINE_HOSTS", requires = "run")]
    hosts: bool,

    /// The URL of RabbitMQ's management API, which adds the unacked messages of each queue
    ///
    /// If the URL names no user, the user and password of --amqp-url are used.
    #[arg(long, value_name = "URL", env = "FETCHLINE_MANAGEMENT_URL")]
    management_url: Option<Secret>,

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
    let selection = selection(args.part.as_deref());
    match &args.run {
        Some(name) if args.wait => wait(&global, name, &selection, &args).await,
        Some(name) => {
            let queues = queues(&global, &args).await?;
            let store = global.migrated_store().await?;
            let (run, rate) = observe(&store, name, &selection).await?;
            let details = details(&store, name, &run, &args).await?;
            show(Some(&queues), Some((name, &run, &rate, &details)), args.json);
            whole_if_known(&queues.0)
        }
        None => {
            let queues = queues(&global, &args).await?;
            show(Some(&queues), None, args.json);
            whole_if_known(&queues.0)
        }
    }
}

/// What is not known is an error, since a script would take it for nothing.
fn whole_if_known(queues: &[Queue]) -> Result {
    match queues.iter().find_map(Queue::unknown) {
        Some(reason) => Err(anyhow!("{reason}").into()),
        None => Ok(Done::Whole),
    }
}

fn selection(part: Option<&str>) -> Selection {
    match part {
        None => Selection::Newest,
        Some("all") => Selection::All,
        Some(part) => Selection::Part(part.to_owned()),
    }
}

async fn wait(global: &GlobalArgs, name: &str, selection: &Selection, args: &Args) -> Result {
    let store = global.store(1, Duration::from_secs(5))?;
    let broker = global.broker(Role::Status, &args::host_name())?;
    let wait = Wait { name, selection, since: args.since, limit: args.wait_limit };
    let Observation { run, rate, obstacle } =
        watch::wait_until_complete(&store, &broker, &wait).await?;
    let limit = args.wait_limit.map(format_duration).unwrap_or_default();
    let Some(run) = run else {
        return Err(anyhow!("the database did not answer within {limit}").into());
    };
    let details = match (details(&store, name, &run, args).await, &obstacle) {
        // The state that was seen last is shown, although the database may be away by now.
        (Err(_), Some(_)) => Details::default(),
        (details, _) => details?,
    };
    show(None, Some((name, &run, &rate, &details)), args.json);
    if let Some(obstacle) = obstacle {
        // What is known of the parts says nothing about a newer one.
        let state = if run.is_complete() { "not known to be complete" } else { "not complete" };
        return Err(anyhow!("the run {name} is {state} after {limit}: {obstacle}").into());
    }
    let is_flawed = run.failed() > 0 || run.parts.iter().any(|part| part.cancelled_at.is_some());
    Ok(if is_flawed { Done::InputRejected } else { Done::Whole })
}

/// What is known of a run besides its counts.
#[derive(Default)]
struct Details {
    /// `None` for a run without parts.
    changes: Option<Changes>,
    /// Read only for a report and for `--hosts`.
    report: Option<Report>,
}

/// Reads the details of a run, and writes its HTML page.
async fn details(
    store: &Store,
    name: &str,
    run: &Run,
    args: &Args,
) -> std::result::Result<Details, Failure> {
    let limit = if args.report.is_some() { crate::report::MAX_CHANGES } else { 0 };
    let changes = store.changes_of_run(name, run, limit).await?;
    if args.report.is_none() && !args.hosts {
        return Ok(Details { changes, report: None });
    }
    let report = store.report(name, runs::only_part(run)).await?;
    if let Some(file) = &args.report {
        // Read again, so that the planned tasks fit the rows.
        let run = store.run(name, &fixed(run)).await?;
        let page = crate::report::render(name, &run, &report, changes.as_ref())?;
        std::fs::write(file, page)
            .with_context(|| format!("cannot write --report {}", file.display()))?;
    }
    Ok(Details { changes, report: Some(report) })
}

/// A selection that stays what was shown, although a newer part may begin.
fn fixed(run: &Run) -> Selection {
    match runs::only_part(run) {
        Some(part) => Selection::Part(part.to_owned()),
        None => run.selection.clone(),
    }
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
        args.management_url.as_ref().map(|url| Management::new(url.expose(), &broker)).transpose();
    let mut queues = fleet::queues(&broker, management.map_err(Failure::usage)?.as_ref()).await?;
    // A queue for deferrals only is shown while tasks wait in it.
    let always: Vec<String> =
        always.topology().keys().iter().map(|key| broker.topology().queue(key)).collect();
    queues.retain(|queue| {
        always.contains(&queue.name) || queue.has_ready() || queue.unknown().is_some()
    });
    let state = FleetState::read(global, &broker).await?;
    if let Some(reason) = state.workers_unknown() {
        exit::note(format_args!("not known what the workers do: {reason}"));
    }
    Ok((queues, state))
}

/// A run, and its rate if it is under way.
async fn observe(
    store: &Store,
    name: &str,
    selection: &Selection,
) -> std::result::Result<(Run, RowRate), Failure> {
    let mut rate = RowRate::default();
    let mut run = store.run(name, selection).await?;
    if !run.is_complete() && run.is_known() {
        rate.sample(&run);
        tokio::time::sleep(RATE_INTERVAL).await;
        run = store.run(name, selection).await?;
        rate.sample(&run);
    }
    Ok((run, rate))
}

fn show(
    fleet: Option<&(Vec<Queue>, FleetState)>,
    run: Option<(&str, &Run, &RowRate, &Details)>,
    as_json: bool,
) {
    if as_json {
        let mut status = json!({});
        if let Some((queues, state)) = fleet {
            status = json!(state);
            status["queues"] = json!(queues);
        }
        if let Some((name, run, rate, details)) = run {
            status["run"] = runs::json(name, run);
            status["run"]["rate"] = json!(rate.per_second());
            let left = run.remaining().and_then(|remaining| rate.time_left(remaining));
            status["run"]["seconds_left"] = left.map_or(Value::Null, |left| left.as_secs().into());
            status["run"]["changes"] = json!(details.changes.as_ref().map(changes::counts_json));
            if let Some(report) = &details.report {
                status["run"]["hosts"] = coverage::hosts_json(report);
            }
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
    if let Some((name, run, rate, details)) = run {
        let blank_line = if fleet.is_some() { "\n" } else { "" };
        exit::print(format_args!(
            "{blank_line}run {name}{} ({}): {}",
            runs::selected_parts(run),
            runs::state(run),
            watch::describe(run, rate)
        ));
        show_details(run, details);
    }
}

/// The shape of what `--json` prints. With `--wait`, it is about the run alone.
pub(crate) fn schema() -> Value {
    let mut run = runs::fields();
    run.extend([
        field("rate", nullable(number("Rows per second; `null` unless it is under way."))),
        field("seconds_left", nullable(count("The time left at this rate."))),
        field("changes", nullable(changes::counts_schema())),
        optional("hosts", shape::list(object(coverage::host_fields()))),
    ]);
    let fleet = fleet_state::fields().into_iter();
    let queues = optional("queues", shape::list(fleet::schema()));
    let mut schema = object(fleet.chain([queues, optional("run", object(run))]));
    let with_queues = json!(["queues"]);
    schema["dependentRequired"] = json!({
        "queues": ["paused", "workers"],
        "paused": with_queues,
        "workers": with_queues,
        "workers_unknown": with_queues,
    });
    schema
}

fn show_details(run: &Run, details: &Details) {
    let mut outcomes: Vec<_> = run.outcomes.iter().collect();
    outcomes.sort_by_key(|(_, rows)| std::cmp::Reverse(**rows));
    for (outcome, rows) in outcomes {
        exit::print(format_args!("  {outcome:12} {rows:>10}"));
    }
    let products = coverage::summary(runs::products(run), run.unchanged());
    if let Some(products) = &products {
        exit::print(format_args!("products: {products}"));
    }
    let changes = details.changes.as_ref();
    if let Some(changes) = changes.filter(|all| products.is_some() || !all.counts.is_empty()) {
        exit::print(format_args!("changes: {}", changes::summary(changes)));
    }
    if let Some(report) = &details.report {
        let hosts = coverage::format_hosts(report);
        if !hosts.is_empty() {
            exit::print(format_args!("\n{}", hosts.trim_end()));
        }
    }
}
