//! `fetchline migrate`.

use std::time::Duration;

use crate::args::Everywhere;
use crate::exit::{self, Done, Result};

/// Brings the database to this version's schema, and creates it when it may; safe to run again, and from many pods at
/// once. Only this command needs the right to change tables
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(everywhere: Everywhere, _: Args) -> Result {
    let store = everywhere.store(1, Duration::from_secs(5))?;
    let (found, now) = store.migrate().await?;
    if found == now {
        exit::print(format_args!("schema version {now}, nothing to do"));
    } else {
        exit::print(format_args!("schema version {now} (was {found})"));
    }
    Ok(Done::Whole)
}
