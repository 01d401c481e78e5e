//! Reads the changes of a period.

use std::time::Duration;

use rust_decimal::Decimal;
use sqlx::FromRow;
use sqlx::mysql::MySqlConnection;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::change::{Change, ChangeKind, Changes};
use crate::clock::to_stored;
use crate::runs::Run;
use crate::statements::items::{FOUND, GONE, NO_PRICE};
use crate::{Error, Store};

/// The new prices of a period that replace an earlier one; binds the first and the last time, and
/// the maximum number of new prices. The first price of an item replaces none. The order of the
/// joins is forced: otherwise MariaDB reads all of a small table first.
pub const PRICE_CHANGES: &str = "\
     SELECT STRAIGHT_JOIN items.id, items.run, items.name, items.category, items.source_url, \
     items.availability, new.price, new.currency, new.seen_at, new.source, \
     old.price AS old_price, old.currency AS old_currency \
     FROM (SELECT item_id, seen_at, price, currency, source FROM price_history \
     FORCE INDEX (price_history_by_time) WHERE seen_at >= ? AND seen_at <= ? \
     ORDER BY seen_at DESC LIMIT ?) AS new \
     JOIN items ON items.id = new.item_id \
     JOIN price_history AS old ON old.item_id = new.item_id AND old.seen_at = \
     (SELECT MAX(earlier.seen_at) FROM price_history AS earlier \
     WHERE earlier.item_id = new.item_id AND earlier.seen_at < new.seen_at)";
/// The number of new prices of a period; binds the first and the last time, and a maximum.
const COUNT_OF_PRICES: &str = "\
     SELECT COUNT(*) FROM (SELECT 1 FROM price_history FORCE INDEX (price_history_by_time) \
     WHERE seen_at >= ? AND seen_at <= ? LIMIT ?) AS prices";
/// The items that appeared, vanished, lost their price or came back in a period; binds the first
/// and the last time, and the maximum number.
pub const STATUS_CHANGES: &str = "\
     SELECT id, run, name, category, source_url, availability, price, currency, status, \
     status_since, created_at FROM items FORCE INDEX (items_by_status_time) \
     WHERE status_since >= ? AND status_since <= ? ORDER BY status_since DESC LIMIT ?";
/// The items whose availability changed in a period; binds the first and the last time, and the
/// maximum number.
pub const STOCK_CHANGES: &str = "\
     SELECT id, run, name, category, source_url, availability, price, currency, \
     availability_before, availability_since FROM items FORCE INDEX (items_by_availability_time) \
     WHERE availability_since >= ? AND availability_since <= ? \
     ORDER BY availability_since DESC LIMIT ?";

/// When the next part of a run began; binds the run and a time.
const NEXT_PART: &str = "SELECT MIN(created_at) FROM runs FORCE INDEX (runs_by_name) \
                         WHERE run = ? AND created_at > ? AND part <> ''";

/// The maximum number of entries of each index that are read.
const MAX_ENTRIES: u32 = 50_000;
/// A worker's clock may be ahead of the database's.
const CLOCK_DIFFERENCE: time::Duration = time::Duration::HOUR;
/// The names of schema.org that mean that a product cannot be bought for now.
const OUT_OF_STOCK: [&str; 3] = ["OutOfStock", "SoldOut", "Discontinued"];

/// Which changes are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChangeFilter<'a> {
    /// Only items that this run saw last.
    pub run: Option<&'a str>,
    /// Only items of this category.
    pub category: Option<&'a str>,
}

impl Store {
    /// The changes from one time to another, both included, with at most `limit` of each kind.
    pub async fn changes(
        &self,
        filter: ChangeFilter<'_>,
        (from, until): (OffsetDateTime, OffsetDateTime),
        limit: usize,
    ) -> Result<Changes, Error> {
        let period = (to_stored(from), to_stored(until));
        self.with_connection("reading the changes of items", async |connection| {
            let (mut changes, prices) = price_changes(connection, period).await?;
            let status: Vec<StatusChange> = read(connection, STATUS_CHANGES, period).await?;
            let stock: Vec<StockChange> = read(connection, STOCK_CHANGES, period).await?;
            let is_full = |entries: usize| entries >= MAX_ENTRIES as usize;
            let is_truncated = is_full(prices) || is_full(status.len()) || is_full(stock.len());
            changes.extend(status.into_iter().filter_map(|status| status.change(period.0)));
            changes.extend(stock.into_iter().filter_map(StockChange::change));
            changes.retain(|entry| {
                filter.run.is_none_or(|run| entry.run.as_deref() == Some(run))
                    && filter
                        .category
                        .is_none_or(|category| entry.change.category.as_deref() == Some(category))
            });
            let changes = changes.into_iter().map(|entry| entry.change).collect();
            Ok(Changes::of(changes, limit, is_truncated))
        })
        .await
    }

    /// The changes of the items of a run, from the beginning of the selected parts to that of the
    /// next part; `None` for a run without parts.
    pub async fn changes_of_run(
        &self,
        name: &str,
        run: &Run,
        limit: usize,
    ) -> Result<Option<Changes>, Error> {
        let (Some(newest), Some(oldest)) = (run.parts.first(), run.parts.last()) else {
            return Ok(None);
        };
        let next: Option<PrimitiveDateTime> = self
            .with_connection("reading when the next part began", async |connection| {
                let next = sqlx::query_scalar(NEXT_PART);
                let next = next.bind(name).bind(to_stored(newest.created_at));
                let next = next.fetch_one(connection).await;
                next.map_err(Error::database("cannot read when the next part began"))
            })
            .await?;
        let until = match next {
            Some(next) => next.assume_utc() - time::Duration::MICROSECOND,
            None => run.asked_at + CLOCK_DIFFERENCE,
        };
        let filter = ChangeFilter { run: Some(name), category: None };
        self.changes(filter, (oldest.created_at, until), limit).await.map(Some)
    }

    /// The changes of the last time, by the database's clock.
    pub async fn latest_changes(
        &self,
        filter: ChangeFilter<'_>,
        since: Duration,
        limit: usize,
    ) -> Result<Changes, Error> {
        let now: PrimitiveDateTime = self
            .with_connection("reading the time", async |connection| {
                let now = sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)").fetch_one(connection).await;
                now.map_err(Error::database("cannot read the time"))
            })
            .await?;
        let now = now.assume_utc();
        let until = now + CLOCK_DIFFERENCE;
        let since = time::Duration::try_from(since).unwrap_or(time::Duration::MAX);
        let from = now.checked_sub(since).filter(|from| from.year() >= 1000);
        let from = from.unwrap_or(time::macros::datetime!(1000-01-01 00:00 UTC));
        self.changes(filter, (from, until), limit).await
    }
}

/// A change, and the run that saw its item last.
struct Entry {
    run: Option<String>,
    change: Change,
}

/// The columns of `items` that each statement reads.
#[derive(FromRow)]
struct ItemColumns {
    id: u64,
    run: Option<String>,
    name: Option<String>,
    category: Option<String>,
    source_url: String,
    availability: Option<String>,
    price: Option<Decimal>,
    currency: Option<String>,
}

impl ItemColumns {
    fn entry(self, kind: ChangeKind, at: PrimitiveDateTime) -> Entry {
        let change = Change {
            kind,
            item: self.id,
            name: self.name,
            category: self.category,
            source_url: self.source_url,
            old_price: None,
            price: self.price.map(|price| (price.normalize(), self.currency)),
            old_availability: None,
            availability: self.availability,
            at: at.assume_utc(),
            source: "page".to_owned(),
        };
        Entry { run: self.run, change }
    }
}

#[derive(FromRow)]
struct StatusChange {
    #[sqlx(flatten)]
    item: ItemColumns,
    status: Option<String>,
    status_since: PrimitiveDateTime,
    created_at: Option<PrimitiveDateTime>,
}

impl StatusChange {
    /// `from` is the first time of the period.
    fn change(self, from: PrimitiveDateTime) -> Option<Entry> {
        let is_new = self.created_at.is_some_and(|created_at| created_at >= from);
        let is_first = self.created_at == Some(self.status_since);
        let kind = match self.status.as_deref()? {
            GONE => ChangeKind::Vanished,
            NO_PRICE if !is_first => ChangeKind::PriceLost,
            FOUND | NO_PRICE if is_new => ChangeKind::New,
            FOUND => ChangeKind::Back,
            _ => return None,
        };
        Some(self.item.entry(kind, self.status_since))
    }
}

#[derive(FromRow)]
struct StockChange {
    #[sqlx(flatten)]
    item: ItemColumns,
    availability_before: Option<String>,
    availability_since: PrimitiveDateTime,
}

impl StockChange {
    /// `None` unless the product can be bought now and could not before, or the other way round.
    fn change(self) -> Option<Entry> {
        let is_out = |name: Option<&str>| name.is_some_and(|name| OUT_OF_STOCK.contains(&name));
        let before = is_out(self.availability_before.as_deref());
        let kind = match (before, is_out(self.item.availability.as_deref())) {
            (false, true) => ChangeKind::OutOfStock,
            (true, false) => ChangeKind::InStock,
            _ => return None,
        };
        let mut entry = self.item.entry(kind, self.availability_since);
        entry.change.old_availability = self.availability_before;
        Some(entry)
    }
}

#[derive(FromRow)]
struct PriceChange {
    #[sqlx(flatten)]
    item: ItemColumns,
    seen_at: PrimitiveDateTime,
    source: String,
    old_price: Decimal,
    old_currency: Option<String>,
}

impl PriceChange {
    fn entry(self) -> Entry {
        let is_up = self.item.price.is_some_and(|price| price > self.old_price);
        let kind = match self.item.currency == self.old_currency {
            false => ChangeKind::Currency,
            true if is_up => ChangeKind::PriceUp,
            true => ChangeKind::PriceDown,
        };
        let mut entry = self.item.entry(kind, self.seen_at);
        entry.change.old_price = Some((self.old_price.normalize(), self.old_currency));
        entry.change.source = self.source;
        entry
    }
}

/// The changes of prices, and the number of new prices that were read.
async fn price_changes(
    connection: &mut MySqlConnection,
    period: (PrimitiveDateTime, PrimitiveDateTime),
) -> Result<(Vec<Entry>, usize), Error> {
    let prices: i64 = sqlx::query_scalar(COUNT_OF_PRICES)
        .bind(period.0)
        .bind(period.1)
        .bind(MAX_ENTRIES)
        .fetch_one(&mut *connection)
        .await
        .map_err(Error::database("cannot count new prices"))?;
    let changes: Vec<PriceChange> = read(connection, PRICE_CHANGES, period).await?;
    let changes = changes.into_iter().map(PriceChange::entry).collect();
    Ok((changes, usize::try_from(prices).unwrap_or(0)))
}

async fn read<T: for<'r> FromRow<'r, sqlx::mysql::MySqlRow> + Send + Unpin>(
    connection: &mut MySqlConnection,
    statement: &'static str,
    period: (PrimitiveDateTime, PrimitiveDateTime),
) -> Result<Vec<T>, Error> {
    let query = sqlx::query_as(statement).bind(period.0).bind(period.1).bind(MAX_ENTRIES);
    let changes = query.fetch_all(connection).await;
    changes.map_err(Error::database("cannot read the changes of items"))
}
