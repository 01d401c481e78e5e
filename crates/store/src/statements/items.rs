//! The statements that write items and their price history.
//!
//! The last row of an item's price history is the item's price, if it has one. Each change of an
//! item restores this in the same transaction, while it holds the lock of the item's row. An
//! unchanged price therefore adds nothing, however often it is written.

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::{Arguments, AssertSqlSafe};
use time::OffsetDateTime;

use super::placeholders::list;
use super::upsert::Upsert;
use crate::Error;
use crate::clock::to_stored;
use crate::fetch::Fetch;
use crate::outcome::Outcome;
use crate::product::Product;

/// The columns of `items`, in the order in which they are bound.
const COLUMNS: [&str; 18] = [
    "source_sha256",
    "source_url",
    "name",
    "price",
    "currency",
    "category",
    "sku",
    "brand",
    "availability",
    "image_url",
    "canonical_url",
    "variants",
    "seen_at",
    "run",
    "created_at",
    "status",
    "status_since",
    "updated_at",
];

/// The columns that an upsert of a known item assigns by rules of their own, or not at all.
const INSERT_ONLY: [&str; 3] = ["created_at", "status", "status_since"];

/// The rules, which compare with the old values. A page that says nothing about the availability is
/// no change of it. An item of an older release has no status, and gets one without a change.
const FIRST: [&str; 4] = [
    "availability_before = IF(VALUES(updated_at) >= updated_at \
     AND VALUES(availability) IS NOT NULL AND NOT availability <=> VALUES(availability), \
     availability, availability_before)",
    "availability_since = IF(VALUES(updated_at) >= updated_at \
     AND VALUES(availability) IS NOT NULL AND NOT availability <=> VALUES(availability), \
     VALUES(updated_at), availability_since)",
    "status_since = IF(VALUES(updated_at) >= GREATEST(updated_at, \
     COALESCE(status_since, updated_at)) AND status <> VALUES(status), \
     VALUES(updated_at), status_since)",
    "status = IF(VALUES(updated_at) >= GREATEST(updated_at, COALESCE(status_since, updated_at)), \
     VALUES(status), status)",
];

/// The words of `items.status`: the page has the product with a price, without one, or no longer
/// has the product.
pub(crate) const FOUND: &str = "found";
pub(crate) const NO_PRICE: &str = "no_price";
pub(crate) const GONE: &str = "gone";

/// The statement that writes items.
pub(crate) fn upsert() -> Upsert {
    Upsert::new("items", &COLUMNS).with_insert_only(&INSERT_ONLY).with_first(&FIRST)
}

/// Writes the items of these fetches, and their prices, in the transaction of `connection`.
pub(crate) async fn write(
    connection: &mut MySqlConnection,
    upsert: &Upsert,
    rows: &[&Fetch],
    packet: usize,
) -> Result<(), Error> {
    let failed = Error::database("cannot write items");
    let mut observations = Observation::significant(rows);
    while !observations.is_empty() {
        // One observation per page and round, so that intermediate prices enter the history.
        let (round, later) = first_of_each_page(observations);
        let weight = |item: &Observation| item.fetch.item_weight();
        upsert.write(connection, &round, packet, weight, encode).await.map_err(&failed)?;
        // Padded with the last page to a power of two: few statement texts.
        let padded = round.len().next_power_of_two();
        let sources = encode_sources(&round, padded).map_err(sqlx::Error::Encode);
        let record = record_prices(&format!("items.source_sha256 IN ({})", list("?", padded)));
        sqlx::query_with(AssertSqlSafe(record), sources.map_err(&failed)?)
            .execute(&mut *connection)
            .await
            .map_err(&failed)?;
        observations = later;
    }
    Ok(())
}

/// Notes that the products of unchanged pages were seen, in the transaction of `connection`. Pages
/// without a product have no item, or one that has vanished, and change nothing.
pub(crate) async fn write_seen(
    connection: &mut MySqlConnection,
    rows: &[&Fetch],
) -> Result<(), Error> {
    let unchanged = || rows.iter().filter(|row| row.outcome == Outcome::Unchanged);
    // The rows of a batch end within moments of each other.
    let Some(at) = unchanged().map(|row| row.fetched_at).max() else { return Ok(()) };
    let mut sources: Vec<_> = unchanged().map(|row| source_key(&row.url)).collect();
    // In the order in which all transactions lock items.
    sources.sort_unstable();
    let failed = Error::database("cannot note that items were seen");
    // Padded with the last page to a power of two: few statement texts.
    let padded = sources.len().next_power_of_two();
    let statement = format!(
        "UPDATE items SET seen_at = GREATEST(COALESCE(seen_at, updated_at), ?) \
         WHERE source_sha256 IN ({}) AND COALESCE(status, '') <> '{GONE}'",
        list("?", padded)
    );
    let mut values = MySqlArguments::default();
    let bound = values.add(to_stored(at)).and_then(|()| {
        let last = sources.last().into_iter().cycle().take(padded - sources.len());
        sources.iter().chain(last).try_for_each(|source| values.add(source.as_slice()))
    });
    bound.map_err(sqlx::Error::Encode).map_err(&failed)?;
    let update = sqlx::query_with(AssertSqlSafe(statement), values);
    update.execute(connection).await.map(drop).map_err(&failed)
}

/// Builds the statement that appends the prices of items to their histories, unless they are the
/// last ones there. Binds the source of the prices, and the values of the condition.
pub(crate) fn record_prices(condition: &str) -> String {
    format!(
        "INSERT INTO price_history (item_id, seen_at, price, currency, source) \
         SELECT items.id, items.updated_at, items.price, items.currency, ? FROM items \
         WHERE {condition} AND items.price IS NOT NULL AND NOT EXISTS ( \
             SELECT 1 FROM price_history AS known \
             WHERE known.item_id = items.id AND known.price = items.price \
             AND known.currency <=> items.currency \
             AND known.seen_at = (SELECT latest.seen_at FROM price_history AS latest \
                                  WHERE latest.item_id = items.id \
                                  ORDER BY latest.seen_at DESC LIMIT 1)) \
         ON DUPLICATE KEY UPDATE price = VALUES(price), currency = VALUES(currency), \
         source = VALUES(source)"
    )
}

/// The key of the item of a page: a URL is too long for an index.
pub(crate) fn source_key(source_url: &str) -> [u8; 32] {
    Sha256::digest(source_url).into()
}

/// A fetch with a minimal item, of a page that nobody else has. The caller rolls it back.
pub(crate) fn sample(now: OffsetDateTime) -> Fetch {
    let url = format!("http://sample.invalid/{:032x}", rand::random::<u128>());
    let item = Product {
        name: Some("sample".to_owned()),
        price: Some(Decimal::ONE),
        currency: Some("EUR".to_owned()),
        variants: 1,
        ..Product::default()
    };
    Fetch { item: Some(Box::new(item)), ..Fetch::new(rand::random(), "", &url, Outcome::Ok, now) }
}

/// A product as a fetch found it.
struct Observation<'a> {
    source: [u8; 32],
    fetch: &'a Fetch,
    product: &'a Product,
}

impl<'a> Observation<'a> {
    /// The observations that add something new: the newest one of each page, and those that differ
    /// in price from the one before. They are ordered by page, so that transactions do not
    /// deadlock; those of a page are ordered by age, the oldest first.
    fn significant(rows: &[&'a Fetch]) -> Vec<Self> {
        let mut all: Vec<Self> = rows.iter().filter_map(|row| Self::of(row)).collect();
        all.sort_unstable_by_key(|item| (item.source, item.fetch.fetched_at));
        let mut significant: Vec<Self> = Vec::with_capacity(all.len());
        let mut all = all.into_iter().peekable();
        while let Some(item) = all.next() {
            let has_known_price = significant
                .last()
                .is_some_and(|last| last.source == item.source && last.price() == item.price());
            let is_newest = all.peek().is_none_or(|next| next.source != item.source);
            if is_newest || !has_known_price {
                significant.push(item);
            }
        }
        significant
    }

    fn of(fetch: &'a Fetch) -> Option<Self> {
        let product = fetch.item.as_deref()?;
        Some(Self { source: source_key(&fetch.url), fetch, product })
    }

    fn price(&self) -> (Option<Decimal>, Option<&str>) {
        (self.product.price, self.product.currency.as_deref())
    }

    fn bind(&self, arguments: &mut MySqlArguments) -> Result<(), BoxDynError> {
        let product = self.product;
        let at = to_stored(self.fetch.fetched_at);
        let status = if product.price.is_some() { FOUND } else { NO_PRICE };
        arguments.add(self.source.as_slice())?;
        arguments.add(self.fetch.url.as_str())?;
        arguments.add(product.name.as_deref())?;
        arguments.add(product.price)?;
        arguments.add(product.currency.as_deref())?;
        arguments.add(product.category.as_deref())?;
        arguments.add(product.sku.as_deref())?;
        arguments.add(product.brand.as_deref())?;
        arguments.add(product.availability.as_deref())?;
        arguments.add(product.image_url.as_deref())?;
        arguments.add(product.canonical_url.as_deref())?;
        arguments.add(product.variants)?;
        arguments.add(at)?;
        arguments.add(self.fetch.run.as_str())?;
        arguments.add(at)?;
        arguments.add(status)?;
        arguments.add(at)?;
        arguments.add(at)
    }
}

/// Splits off the first observation of each page.
fn first_of_each_page(items: Vec<Observation>) -> (Vec<Observation>, Vec<Observation>) {
    let mut previous = None;
    items.into_iter().partition(|item| previous.replace(item.source) != Some(item.source))
}

fn encode(items: &[Observation]) -> Result<MySqlArguments, BoxDynError> {
    let mut values = MySqlArguments::default();
    items.iter().try_for_each(|item| item.bind(&mut values))?;
    Ok(values)
}

/// The values of [`record_prices`]: the last page is repeated until there are `padded` pages.
fn encode_sources(items: &[Observation], padded: usize) -> Result<MySqlArguments, BoxDynError> {
    let mut values = MySqlArguments::default();
    values.add("page")?;
    for index in 0..padded {
        values.add(items[index.min(items.len() - 1)].source.as_slice())?;
    }
    Ok(values)
}
