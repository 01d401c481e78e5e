//! `fetchline migrate`.

use std::time::Duration;

use anyhow::anyhow;
use fetchline_store::FormerRows;
use serde_json::{Value, json};

use crate::args::GlobalArgs;
use crate::exit::{self, Done, Failure, Result};
use crate::schema::shape::{count, field, object};
use crate::table::format_duration;

/// A migration that takes longer than this begins only with `--yes`.
const LONG: Duration = Duration::from_secs(5 * 60);

/// Create the database and bring its schema to this version
///
/// It is safe to run again, even after it was killed, and to run in several pods at the same time.
/// Only this command needs the right to change tables.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Begin even if copying the rows of an earlier release takes longer than five minutes
    #[arg(long, env = "FETCHLINE_YES")]
    yes: bool,

    /// Print the versions as JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    let store = global.store(1, Duration::from_secs(5))?;
    let former = store.former_rows().await?;
    if let Some(former) = former {
        announce(former);
        // A copy that has begun was agreed to earlier.
        if former.duration > LONG && !former.has_begun && !args.yes {
            return Err(Failure::usage(anyhow!(
                "copying the rows takes longer than five minutes, so nothing has been changed; \
                 workers of this version can run meanwhile, those of earlier versions wait: run \
                 the command again with --yes"
            )));
        }
    }
    let bar = indicatif::ProgressBar::new(former.map_or(0, |former| former.rows));
    let migrated = store.migrate(|rows| bar.set_position(rows)).await;
    let copied = bar.position();
    bar.finish_and_clear();
    let (previous, current) = migrated?;
    if args.json {
        exit::print(json!({ "version": current, "previous": previous, "copied": copied }));
        return Ok(Done::Whole);
    }
    if copied > 0 {
        exit::print(format_args!("{copied} rows copied"));
    }
    if previous == current {
        exit::print(format_args!("schema version {current}, nothing to do"));
    } else {
        exit::print(format_args!("schema version {current} (was {previous})"));
    }
    Ok(Done::Whole)
}

/// The shape of what `--json` prints.
pub(crate) fn schema() -> Value {
    object([
        field("version", count("The version of the schema.")),
        field("previous", count("The version before; 0 for a new database.")),
        field("copied", count("Rows of an earlier release that were copied.")),
    ])
}

fn announce(former: FormerRows) {
    let FormerRows { rows, duration, has_begun } = former;
    let verb = if has_begun { "continuing to copy" } else { "copying" };
    let duration = format_duration(duration.max(Duration::from_secs(1)));
    exit::note(format_args!(
        "{verb} about {rows} rows to keys that are ordered by time: about {duration}"
    ));
}
