//! Rows that a test writes itself, as a worker does.

use std::time::Duration;

use fetchline_store::{Batch, Fetch, Outcome, PartReport, Store, StoreConfig};
use time::OffsetDateTime;

use crate::world::World;

/// Second 0 of a test.
pub const BEGAN: OffsetDateTime =
    OffsetDateTime::UNIX_EPOCH.saturating_add(time::Duration::seconds(1_800_000_000));

/// Opens a store on the world's database.
pub fn store(world: &World) -> anyhow::Result<Store> {
    let url = world.database_url.clone();
    Ok(Store::open(StoreConfig { url, pool: 4, pool_timeout: Duration::from_secs(5) })?)
}

/// A row with the outcome `ok` of a task of the run `nightly`, fetched in the given second.
pub fn fetch(task: u8, second: i64) -> Fetch {
    let fetched_at = BEGAN + time::Duration::seconds(second);
    let row = Fetch::new([task; 16], "nightly", "http://shop.example/p/1", Outcome::Ok, fetched_at);
    Fetch { status: Some(200), worker: "pod".into(), ..row }
}

/// Writes rows in one batch and fails if the database refuses one.
pub async fn write(store: &Store, fetches: impl IntoIterator<Item = Fetch>) -> anyhow::Result<()> {
    let mut batch = Batch::default();
    for fetch in fetches {
        batch.push(Box::new(fetch), ());
    }
    let written = store.write(batch).await;
    anyhow::ensure!(written.refused.is_empty(), "{written:?}");
    written.unwritten.map_or(Ok(()), |unwritten| Err(unwritten.error.into()))
}

/// Writes a part report of the run `nightly` in the given second.
pub async fn report_part(
    store: &Store,
    part: &str,
    planned: Option<u64>,
    second: i64,
) -> anyhow::Result<()> {
    let at = BEGAN + time::Duration::seconds(second);
    let mut batch = Batch::default();
    batch.push_part(
        PartReport { run: "nightly".to_owned(), part: part.to_owned(), planned, at },
        (),
    );
    let written = store.write(batch).await;
    anyhow::ensure!(written.refused.is_empty(), "{written:?}");
    written.unwritten.map_or(Ok(()), |unwritten| Err(unwritten.error.into()))
}
