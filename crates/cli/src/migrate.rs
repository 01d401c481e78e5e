//! `fetchline migrate`.

use std::time::Duration;

use serde_json::json;

use crate::args::GlobalArgs;
use crate::exit::{self, Done, Result};

/// Create the database and bring its schema to this version
///
/// It is safe to run again, and to run in several pods at the same time. Only this command needs
/// the right to change tables.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print the versions as JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    let store = global.store(1, Duration::from_secs(5))?;
    let (previous, current) = store.migrate().await?;
    if args.json {
        exit::print(json!({ "version": current, "previous": previous }));
    } else if previous == current {
        exit::print(format_args!("schema version {current}, nothing to do"));
    } else {
        exit::print(format_args!("schema version {current} (was {previous})"));
    }
    Ok(Done::Whole)
}
