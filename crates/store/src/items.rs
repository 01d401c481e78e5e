//! Items: the newest product of each page, and its price history.

use rust_decimal::Decimal;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Connection, FromRow, Row};
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::product::Product;
use crate::statements::items::{record_prices, source_key};
use crate::{Error, Store};

/// The newest items; binds their maximum number. They are in the order of their discovery: an index
/// on the time of the last change would have to be written at every fetch.
pub const ITEMS: &str = "SELECT * FROM items ORDER BY id DESC LIMIT ?";
/// The newest items of a category; binds the category, and the maximum number.
pub const ITEMS_OF_CATEGORY: &str =
    "SELECT * FROM items WHERE category = ? ORDER BY id DESC LIMIT ?";
/// The item of a page; binds the SHA-256 of its source URL.
pub const ITEM_OF_PAGE: &str = "SELECT * FROM items WHERE source_sha256 = ?";
/// The price history of an item, the oldest price first; binds the item's id.
pub const PRICES_OF_ITEM: &str =
    "SELECT price, currency, seen_at, source FROM price_history WHERE item_id = ? ORDER BY seen_at";

/// The newest product of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The item's number in this database.
    pub id: u64,
    /// The page: the normalised URL of the task, without credentials.
    pub source_url: String,
    /// The product, from the page or set by hand.
    pub product: Product,
    /// When the product was fetched or set.
    pub updated_at: OffsetDateTime,
}

/// An entry of a price history.
#[derive(Clone, Debug, PartialEq)]
pub struct PricePoint {
    /// The price.
    pub price: Decimal,
    /// An ISO 4217 code.
    pub currency: Option<String>,
    /// When the price was first seen.
    pub seen_at: OffsetDateTime,
    /// `page`, or `manual` for a price that was set by hand.
    pub source: String,
}

/// What identifies an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemKey {
    /// Its number.
    Id(u64),
    /// Its page.
    SourceUrl(String),
}

impl Store {
    /// The items that were found last, or those of a category, the newest first.
    pub async fn items(&self, category: Option<&str>, limit: u32) -> Result<Vec<Item>, Error> {
        let query = match category {
            Some(category) => sqlx::query_as(ITEMS_OF_CATEGORY).bind(category),
            None => sqlx::query_as(ITEMS),
        };
        self.with_connection("listing items", async |connection| {
            let items = query.bind(limit).fetch_all(connection).await;
            items.map_err(Error::database("cannot list items"))
        })
        .await
    }

    /// An item and its price history, the oldest price first.
    pub async fn item(&self, key: &ItemKey) -> Result<Option<(Item, Vec<PricePoint>)>, Error> {
        self.with_connection("reading an item", async |connection| {
            let Some(item) = find(connection, key).await? else { return Ok(None) };
            let history = sqlx::query_as(PRICES_OF_ITEM).bind(item.id).fetch_all(connection).await;
            Ok(Some((item, history.map_err(Error::database("cannot read an item"))?)))
        })
        .await
    }

    /// Sets the price of an item by hand. It stays until a newer fetch replaces it. Without a
    /// currency the item keeps its own. Returns `false` if there is no such item.
    pub async fn set_price(
        &self,
        key: &ItemKey,
        price: Decimal,
        currency: Option<&str>,
    ) -> Result<bool, Error> {
        // The new time is the newest even if a worker's clock is ahead of the database's.
        const SET: &str = "UPDATE items SET price = ?, currency = COALESCE(?, currency), \
                           variants = 1, updated_at = GREATEST(UTC_TIMESTAMP(6), \
                           updated_at + INTERVAL 1 MICROSECOND) WHERE id = ?";
        self.with_connection("setting a price", async |connection| {
            let failed = Error::database("cannot set a price");
            let mut transaction = connection.begin().await.map_err(&failed)?;
            let Some(Item { id, .. }) = find(&mut transaction, key).await? else {
                return Ok(false);
            };
            let set = sqlx::query(SET).bind(price).bind(currency).bind(id);
            set.execute(&mut *transaction).await.map_err(&failed)?;
            let record = AssertSqlSafe(record_prices("items.id = ?"));
            let record = sqlx::query(record).bind("manual").bind(id);
            record.execute(&mut *transaction).await.map_err(&failed)?;
            transaction.commit().await.map_err(&failed)?;
            Ok(true)
        })
        .await
    }
}

async fn find(connection: &mut MySqlConnection, key: &ItemKey) -> Result<Option<Item>, Error> {
    let query = match key {
        ItemKey::Id(id) => sqlx::query_as("SELECT * FROM items WHERE id = ?").bind(*id),
        ItemKey::SourceUrl(url) => sqlx::query_as(ITEM_OF_PAGE).bind(source_key(url).to_vec()),
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
        Ok(Self {
            id: row.try_get("id")?,
            source_url: row.try_get("source_url")?,
            product,
            updated_at: row.try_get::<PrimitiveDateTime, _>("updated_at")?.assume_utc(),
        })
    }
}

impl FromRow<'_, MySqlRow> for PricePoint {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self {
            price: row.try_get::<Decimal, _>("price")?.normalize(),
            currency: row.try_get("currency")?,
            seen_at: row.try_get::<PrimitiveDateTime, _>("seen_at")?.assume_utc(),
            source: row.try_get("source")?,
        })
    }
}
