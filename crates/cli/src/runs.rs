//! `fetchline runs`.

use std::time::Duration;

use anyhow::anyhow;
use clap::Subcommand;
use fetchline_queue::NO_RUN;
use fetchline_store::{Part, ProductCounts, Pruned, Retention, Run, Selection, Store};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::args::{self, GlobalArgs};
use crate::coverage;
use crate::exit::{self, Done, Failure, Result};
use crate::schema::shape::{
    self, Field, boolean, count, field, nullable, object, outcomes, text, time, word,
};
use crate::table::{format_duration, or_dash, table};

/// List, cancel and prune runs
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,

    /// Print JSON
    #[arg(long, global = true, env = "FETCHLINE_JSON")]
    json: bool,
}

#[derive(Subcommand)]
enum Action {
    /// List the latest parts of runs, newest first
    ///
    /// A part is one `produce`.
    List {
        /// Only parts of this run
        #[arg(long, value_name = "NAME", env = "FETCHLINE_RUN", value_parser = args::name)]
        run: Option<String>,

        /// The most parts to show
        #[arg(long, value_name = "N", env = "FETCHLINE_LIMIT", default_value_t = 20)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Record the waiting tasks of a run as cancelled, without fetching them
    ///
    /// Workers begin within two seconds. Tasks that a later `produce` adds to the run are fetched.
    Cancel {
        /// The name of the run
        #[arg(value_parser = args::name)]
        name: String,
    },
    /// Delete old rows or bodies, and the parts and runs that have no rows left
    ///
    /// Products and their prices stay. Weeks that hold only old rows are dropped in one step. Other
    /// rows are deleted in small chunks, so that workers can write at the same time. The partitions
    /// of the next weeks are created as well.
    Prune {
        /// The age of the rows to delete, such as 30d
        #[arg(long, value_name = "DURATION", env = "FETCHLINE_OLDER_THAN")]
        #[arg(value_parser = args::duration, required_unless_present = "bodies_older_than")]
        older_than: Option<Duration>,

        /// The age of the bodies to delete, such as 14d; their rows stay
        #[arg(long, value_name = "DURATION", env = "FETCHLINE_BODIES_OLDER_THAN")]
        #[arg(value_parser = args::duration)]
        bodies_older_than: Option<Duration>,

        /// Only count the rows and the bodies to delete
        #[arg(long, env = "FETCHLINE_DRY_RUN")]
        dry_run: bool,
    },
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    let store = global.migrated_store().await?;
    match args.action {
        Action::List { run, limit } => list(&store, run.as_deref(), limit, args.json).await,
        Action::Cancel { name } => cancel(&store, &name, args.json).await,
        Action::Prune { older_than, bodies_older_than, dry_run } => {
            let retention = Retention { rows: older_than, bodies: bodies_older_than };
            prune(&store, retention, dry_run, args.json).await
        }
    }
}

async fn list(store: &Store, name: Option<&str>, limit: u32, as_json: bool) -> Result {
    let runs = store.latest_parts(name, limit).await?;
    if as_json {
        let runs: Vec<Value> = runs.iter().map(|(name, run)| json(name, run)).collect();
        exit::print(serde_json::to_string(&runs)?);
        return Ok(Done::Whole);
    }
    let rows = runs.iter().map(|(name, run)| {
        let began = run.parts.first().map(|part| part.created_at);
        let age = began.and_then(|began| Duration::try_from(run.asked_at - began).ok());
        [
            name.clone(),
            or_dash(only_part(run)),
            state(run).to_owned(),
            or_dash(run.planned()),
            run.succeeded().to_string(),
            run.failed().to_string(),
            or_dash(run.remaining()),
            or_dash(age.map(format_duration)),
        ]
    });
    let headings = ["run", "part", "state", "planned", "ok", "failed", "remaining", "age"];
    exit::print(table(headings, rows.collect()).trim_end());
    Ok(Done::Whole)
}

/// Every state of a run.
const STATES: [&str; 5] = ["unknown", "cancelled", "complete", "open", "running"];

/// The state of the selected parts of a run in one word.
pub(crate) fn state(run: &Run) -> &'static str {
    match run {
        run if !run.is_known() => "unknown",
        run if run.is_cancelled() => "cancelled",
        run if run.is_complete() => "complete",
        run if run.parts.iter().any(Part::is_open) => "open",
        _ => "running",
    }
}

/// The part that this is about; `None` if it is about all of them, or if there is none.
pub(crate) fn only_part(run: &Run) -> Option<&str> {
    match &run.selection {
        Selection::All => None,
        Selection::Part(part) => Some(part),
        Selection::Newest => run.parts.first().map(|part| &*part.part),
    }
}

/// Names the selected parts behind the name of the run; empty for a run without parts.
pub(crate) fn selected_parts(run: &Run) -> String {
    match (only_part(run), run.parts.len()) {
        (Some(part), _) => format!(", part {part}"),
        (None, 0) => String::new(),
        (None, 1) => ", 1 part".to_owned(),
        (None, parts) => format!(", {parts} parts"),
    }
}

/// What the pages of a run contain.
pub(crate) fn products(run: &Run) -> ProductCounts {
    ProductCounts::of(run.products.iter().map(|(word, pages)| (&**word, *pages)))
}

/// The selected parts of a run as JSON.
pub(crate) fn json(name: &str, run: &Run) -> Value {
    let time = |at: time::OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
    let parts: Vec<Value> = run
        .parts
        .iter()
        .map(|part| {
            json!({
                "part": part.part,
                "planned": part.planned,
                "rows": part.rows,
                "created_at": time(part.created_at),
                "closed_at": part.closed_at.map(time),
                "cancelled_at": part.cancelled_at.map(time),
                "completed_at": part.completed_at.map(time),
            })
        })
        .collect();
    json!({
        "name": name,
        "part": only_part(run),
        "state": state(run),
        "planned": run.planned(),
        "rows": run.rows(),
        "ok": run.succeeded(),
        "failed": run.failed(),
        "outcomes": run.outcomes,
        "products": coverage::to_json(products(run)),
        "remaining": run.remaining(),
        "complete": run.is_complete(),
        "parts": parts,
    })
}

/// The fields of a run.
pub(crate) fn fields() -> Vec<Field> {
    let part = object([
        field("part", text("The id of the part.")),
        field("planned", nullable(count("Its tasks; `null` while it is being published."))),
        field("rows", count("Its rows.")),
        field("created_at", time("When it began.")),
        field("closed_at", nullable(time("When all of its tasks were published."))),
        field("cancelled_at", nullable(time("When it was cancelled."))),
        field("completed_at", nullable(time("When its last row was written."))),
    ]);
    vec![
        field("name", text("The name of the run.")),
        field("part", nullable(text("The only part that this is about."))),
        field("state", word("The state of the parts.", STATES)),
        field("planned", nullable(count("Their tasks, as far as that is known."))),
        field("rows", count("Their rows.")),
        field("ok", count("Rows that are successes.")),
        field("failed", count("All other rows.")),
        field("outcomes", outcomes("Rows by outcome.")),
        field("products", object(coverage::fields())),
        field("remaining", nullable(count("Tasks without a row."))),
        field(
            "complete",
            boolean(
                "Whether each planned task has its row. A part cancelled while open has no plan.",
            ),
        ),
        field("parts", shape::list(part)),
    ]
}

pub(crate) fn list_schema() -> Value {
    shape::list(object(fields()))
}

pub(crate) fn cancel_schema() -> Value {
    object([
        field("run", text("The name of the run.")),
        field("known", boolean("Whether a worker has reported the run.")),
        field("parts", count("The parts that are cancelled.")),
    ])
}

pub(crate) fn prune_schema() -> Value {
    object([
        field("rows", count("Rows that were deleted; in a dry run, that would be.")),
        field("weeks", count("Weeks that were dropped as a whole.")),
        field("bodies", count("Bodies that were deleted; in a dry run, that would be.")),
        field("parts", count("Parts that had no rows left.")),
        field("runs", count("Runs that had no parts left.")),
        field("dry_run", boolean("Whether nothing was deleted.")),
    ])
}

async fn cancel(store: &Store, name: &str, as_json: bool) -> Result {
    if name == NO_RUN {
        return Err(Failure::usage(anyhow!(
            "`{NO_RUN}` is the run of all messages that name none, including later ones; \
             purge the queue instead"
        )));
    }
    let known = store.run(name, &Selection::Newest).await?.is_known();
    let parts = store.cancel_run(name).await?;
    if as_json {
        exit::print(json!({ "run": name, "known": known, "parts": parts }));
        return Ok(Done::Whole);
    }
    exit::print(format_args!(
        "cancelled: {parts} parts, and the tasks of the run that belong to no part"
    ));
    if !known {
        exit::print("no worker has reported this run yet; check its name");
    }
    Ok(Done::Whole)
}

async fn prune(store: &Store, retention: Retention, dry_run: bool, as_json: bool) -> Result {
    let bar = indicatif::ProgressBar::new_spinner();
    let pruned = store
        .prune(retention, dry_run, |pruned| {
            bar.set_message(format!("{} rows, {} bodies", pruned.rows, pruned.bodies));
            bar.tick();
        })
        .await;
    bar.finish_and_clear();
    let Pruned { rows, weeks, bodies, parts, runs } = pruned?;
    if as_json {
        exit::print(json!({
            "rows": rows, "weeks": weeks, "bodies": bodies, "parts": parts, "runs": runs,
            "dry_run": dry_run,
        }));
        return Ok(Done::Whole);
    }
    let would = if dry_run { "would be " } else { "" };
    if retention.rows.is_some() {
        exit::print(format_args!("{rows} rows {would}deleted"));
    }
    if weeks > 0 {
        exit::print(format_args!("{weeks} of the weeks dropped as a whole"));
    }
    if retention.bodies.is_some() {
        exit::print(format_args!("{bodies} bodies {would}deleted"));
    }
    if parts > 0 {
        exit::print(format_args!("{parts} parts of runs have no rows left and were deleted"));
    }
    if runs > 0 {
        exit::print(format_args!("{runs} runs have no parts left and were deleted"));
    }
    Ok(Done::Whole)
}
