//! Items: the products of pages, what is newest of each, and the prices that they had.
//!
//! The last row of an item's history is its price, where it has one. Whatever changes an item restores that in the same
//! transaction, while it holds the item's row: so an unchanged price adds nothing, however often it is written.

use std::time::Duration;

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlRow};
use sqlx::{Arguments, AssertSqlSafe, Connection, FromRow, Row};
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::fetch::{Body, Fetch, Outcome};
use crate::product::Product;
use crate::upsert::{self, Upsert};
use crate::{Error, Store};

/// The columns of `items` in the order in which they are bound.
const COLUMNS: [&str; 13] = [
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
    "updated_at",
];

/// The latest items; binds how many.
pub const ITEMS: &str = "SELECT * FROM items ORDER BY updated_at DESC, id DESC LIMIT ?";
/// The latest items of a category; binds the category, and how many.
pub const ITEMS_OF_CATEGORY: &str = "SELECT * FROM items WHERE category = ? ORDER BY updated_at DESC, id DESC LIMIT ?";

/// The item of a page; binds the SHA-256 of its source URL.
pub const ITEM_OF_PAGE: &str = "SELECT * FROM items WHERE source_sha256 = ?";
/// Every price that an item had, the oldest first; binds its id.
pub const PRICES_OF_ITEM: &str =
    "SELECT price, currency, seen_at, source FROM price_history WHERE item_id = ? ORDER BY seen_at";

/// The newest that is known of a product.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its number in this database.
    pub id: u64,
    /// Its page: the normalised URL of the task, credentials struck out.
    pub source_url: String,
    /// What the page told, or what was set by hand.
    pub product: Product,
    /// When that was.
    pub updated_at: OffsetDateTime,
}

/// A price that was new.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceSeen {
    /// The price.
    pub price: Decimal,
    /// An ISO 4217 code.
    pub currency: Option<String>,
    /// When it was seen first.
    pub seen_at: OffsetDateTime,
    /// `page`, or `manual` where it was set by hand.
    pub source: String,
}

/// What an item is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemKey {
    /// Its number.
    Id(u64),
    /// Its page.
    SourceUrl(String),
}

/// The statement that writes items.
pub(crate) fn upsert() -> Upsert {
    Upsert::new("items", &COLUMNS)
}

/// Writes the items of these fetches in the transaction of `connection`.
pub(crate) async fn write(
    connection: &mut MySqlConnection,
    statement: &Upsert,
    rows: &[&Fetch],
    packet: usize,
) -> Result<(), Error> {
    let failed = Error::database("cannot write items");
    let mut sightings = Sighting::telling(rows);
    while !sightings.is_empty() {
        // One of each page at a time: what was its price in between is not left out of the history.
        let (round, later) = once_each(sightings);
        let mut rest = &round[..];
        while !rest.is_empty() {
            let fitting = statement.fitting(rest, packet, |item| item.fetch.item_weight());
            let (chunk, after) = rest.split_at(fitting);
            let mut values = MySqlArguments::default();
            chunk.iter().try_for_each(|item| item.bind(&mut values)).map_err(sqlx::Error::Encode).map_err(&failed)?;
            let statement = AssertSqlSafe(statement.text(chunk.len()));
            sqlx::query_with(statement, values).execute(&mut *connection).await.map_err(&failed)?;
            rest = after;
        }
        let mut sources = MySqlArguments::default();
        sources.add("page").map_err(sqlx::Error::Encode).map_err(&failed)?;
        // Padded with the last one: few statement texts.
        let padded = round.len().next_power_of_two();
        for item in round.iter().chain(std::iter::repeat_n(&round[round.len() - 1], padded - round.len())) {
            sources.add(item.source.as_slice()).map_err(sqlx::Error::Encode).map_err(&failed)?;
        }
        let record = record_prices(&format!("items.source_sha256 IN ({})", upsert::list("?", padded)));
        sqlx::query_with(AssertSqlSafe(record), sources).execute(&mut *connection).await.map_err(&failed)?;
        sightings = later;
    }
    Ok(())
}

/// A fetch with an item as plain as they come, of a page that nobody else has.
pub(crate) fn sample(now: OffsetDateTime) -> Fetch {
    let item = Product {
        name: Some("sample".to_owned()),
        price: Some(Decimal::ONE),
        currency: Some("EUR".to_owned()),
        variants: 1,
        ..Product::default()
    };
    Fetch {
        id: rand::random(),
        run: String::new(),
        part: None,
        url: format!("http://sample.invalid/{:032x}", rand::random::<u128>()),
        given_url: None,
        final_url: None,
        method: "GET".to_owned(),
        outcome: Outcome::Ok,
        status: None,
        content_type: None,
        body_bytes: None,
        body_sha256: None,
        body: Body::None,
        product: None,
        item: Some(Box::new(item)),
        error: None,
        attempts: 1,
        elapsed: Duration::ZERO,
        fetched_at: now,
        worker: "".into(),
        message_id: None,
    }
}

/// A product as a fetch saw it.
struct Sighting<'a> {
    source: [u8; 32],
    fetch: &'a Fetch,
    product: &'a Product,
}

impl<'a> Sighting<'a> {
    /// The sightings that tell something new: of each page the newest one, and those before which another price was seen.
    /// They come in one order in every transaction, so that these do not dead-lock each other; of a page the oldest first.
    fn telling(rows: &[&'a Fetch]) -> Vec<Self> {
        let mut all: Vec<Self> = rows.iter().filter_map(|row| Self::of(row)).collect();
        all.sort_unstable_by_key(|item| (item.source, item.fetch.fetched_at));
        let mut telling: Vec<Self> = Vec::with_capacity(all.len());
        let mut all = all.into_iter().peekable();
        while let Some(item) = all.next() {
            let known = telling.last().is_some_and(|last| last.source == item.source && last.price() == item.price());
            let newest = all.peek().is_none_or(|next| next.source != item.source);
            if newest || !known {
                telling.push(item);
            }
        }
        telling
    }

    fn of(fetch: &'a Fetch) -> Option<Self> {
        let product = fetch.item.as_deref()?;
        Some(Self { source: key(&fetch.url), fetch, product })
    }

    fn price(&self) -> (Option<Decimal>, Option<&str>) {
        (self.product.price, self.product.currency.as_deref())
    }

    fn bind(&self, arguments: &mut MySqlArguments) -> Result<(), sqlx::error::BoxDynError> {
        let product = self.product;
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
        arguments.add(self.fetch.fetched_at_utc())
    }
}

/// What an item's row is found by: a URL is too long for an index.
fn key(source_url: &str) -> [u8; 32] {
    Sha256::digest(source_url).into()
}

/// The first of each page, and the rest.
fn once_each(items: Vec<Sighting>) -> (Vec<Sighting>, Vec<Sighting>) {
    let mut last = None;
    items.into_iter().partition(|item| last.replace(item.source) != Some(item.source))
}

/// The statement that adds the prices of items to their histories, where they are not the last ones there. Binds where
/// the prices are from, and what the condition needs.
fn record_prices(condition: &str) -> String {
    format!(
        "INSERT INTO price_history (item_id, seen_at, price, currency, source) \
         SELECT items.id, items.updated_at, items.price, items.currency, ? FROM items \
         WHERE {condition} AND items.price IS NOT NULL AND NOT EXISTS ( \
             SELECT 1 FROM price_history AS known \
             WHERE known.item_id = items.id AND known.price = items.price AND known.currency <=> items.currency \
             AND known.seen_at = (SELECT latest.seen_at FROM price_history AS latest WHERE latest.item_id = items.id \
                              ORDER BY latest.seen_at DESC LIMIT 1)) \
         ON DUPLICATE KEY UPDATE price = VALUES(price), currency = VALUES(currency), source = VALUES(source)"
    )
}

impl Store {
    /// The latest items, or those of a category, the newest first.
    pub async fn items(&self, category: Option<&str>, limit: u32) -> Result<Vec<Item>, Error> {
        let query = match category {
            Some(category) => sqlx::query_as(ITEMS_OF_CATEGORY).bind(category),
            None => sqlx::query_as(ITEMS),
        };
        self.with_connection("listing items", async |connection| {
            query.bind(limit).fetch_all(connection).await.map_err(Error::database("cannot list items"))
        })
        .await
    }

    /// An item, and every price that it had, the oldest first.
    pub async fn item(&self, key: &ItemKey) -> Result<Option<(Item, Vec<PriceSeen>)>, Error> {
        self.with_connection("reading an item", async |connection| {
            let failed = Error::database("cannot read an item");
            let Some(item) = find(connection, key).await? else { return Ok(None) };
            let history = sqlx::query_as(PRICES_OF_ITEM).bind(item.id).fetch_all(connection).await.map_err(&failed)?;
            Ok(Some((item, history)))
        })
        .await
    }

    /// Sets the price of an item by hand, until a newer fetch replaces it. Without a currency the item keeps its own.
    /// `false` where there is no such item.
    pub async fn set_price(&self, key: &ItemKey, price: Decimal, currency: Option<&str>) -> Result<bool, Error> {
        // The time is the newest, also where a worker's clock is ahead of the database's.
        const SET: &str = "UPDATE items SET price = ?, currency = COALESCE(?, currency), variants = 1, \
                           updated_at = GREATEST(UTC_TIMESTAMP(6), updated_at + INTERVAL 1 MICROSECOND) WHERE id = ?";
        self.with_connection("setting a price", async |connection| {
            let failed = Error::database("cannot set a price");
            let mut transaction = connection.begin().await.map_err(&failed)?;
            let Some(Item { id, .. }) = find(&mut transaction, key).await? else { return Ok(false) };
            let set = sqlx::query(SET).bind(price).bind(currency).bind(id);
            set.execute(&mut *transaction).await.map_err(&failed)?;
            let record = sqlx::query(AssertSqlSafe(record_prices("items.id = ?"))).bind("manual").bind(id);
            record.execute(&mut *transaction).await.map_err(&failed)?;
            transaction.commit().await.map_err(&failed)?;
            Ok(true)
        })
        .await
    }
}

async fn find(connection: &mut MySqlConnection, by: &ItemKey) -> Result<Option<Item>, Error> {
    let query = match by {
        ItemKey::Id(id) => sqlx::query_as("SELECT * FROM items WHERE id = ?").bind(*id),
        ItemKey::SourceUrl(url) => sqlx::query_as(ITEM_OF_PAGE).bind(key(url).to_vec()),
    };
    query.fetch_optional(connection).await.map_err(Error::database("cannot read an item"))
}

impl FromRow<'_, MySqlRow> for Item {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        let product = Product {
            name: row.try_get("name")?,
            price: row.try_get::<Option<Decimal>, _>("price")?.map(|price| price.normalize()),
            currency: row.try_get("currency")?,
            category: row.try_get("category")?,
            sku: row.try_get("sku")?,
            brand: row.try_get("brand")?,
            availability: row.try_get("availability")?,
            image_url: row.try_get("image_url")?,
            canonical_url: row.try_get("canonical_url")?,
            variants: row.try_get("variants")?,
        };
        let updated_at: PrimitiveDateTime = row.try_get("updated_at")?;
        Ok(Self {
            id: row.try_get("id")?,
            source_url: row.try_get("source_url")?,
            product,
            updated_at: updated_at.assume_utc(),
        })
    }
}

impl FromRow<'_, MySqlRow> for PriceSeen {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self {
            price: row.try_get::<Decimal, _>("price")?.normalize(),
            currency: row.try_get("currency")?,
            seen_at: row.try_get::<PrimitiveDateTime, _>("seen_at")?.assume_utc(),
            source: row.try_get("source")?,
        })
    }
}
