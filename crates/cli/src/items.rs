//! `fetchline items`.

use std::time::Duration;

use anyhow::anyhow;
use clap::{Subcommand, ValueEnum};
use fetchline_queue::Address;
use fetchline_store::{ChangeFilter, Changes, Item, ItemKey, PricePoint, Store};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::exit::{self, Done, Failure, Result};
use crate::schema::shape::{self, Field, count, decimal, field, nullable, object, text, time};
use crate::table::{format_time, or_dash, table};
use crate::{args, args::GlobalArgs, changes, money, sparkline, spreadsheet};

/// Show the products that were found, and set prices
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
    /// List products, the most recently added first
    List {
        /// Only products of this category
        #[arg(long, value_name = "NAME", env = "FETCHLINE_CATEGORY", value_parser = args::category)]
        category: Option<String>,

        /// The most products to show
        #[arg(long, value_name = "N", env = "FETCHLINE_LIMIT", default_value_t = 50)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,

        /// The output format; --json is the same as --format json
        ///
        /// In CSV, text that a spreadsheet would take for a formula is prefixed with an apostrophe.
        #[arg(long, value_name = "FORMAT", env = "FETCHLINE_FORMAT", default_value = "table")]
        format: Format,
    },
    /// List what changed: prices, availability, and products that appeared or vanished
    ///
    /// Price changes come first, the largest ones before the others.
    Changes {
        /// How far to look back
        #[arg(long, value_name = "DURATION", env = "FETCHLINE_SINCE", default_value = "24h")]
        #[arg(value_parser = args::duration)]
        since: Duration,

        /// Only products that this run saw last
        #[arg(long, value_name = "NAME", env = "FETCHLINE_RUN", value_parser = args::name)]
        run: Option<String>,

        /// Only products of this category
        #[arg(long, value_name = "NAME", env = "FETCHLINE_CATEGORY", value_parser = args::category)]
        category: Option<String>,

        /// The most changes of each kind to show
        #[arg(long, value_name = "N", env = "FETCHLINE_LIMIT", default_value_t = 1000)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,

        /// The output format; --json is the same as --format json
        ///
        /// In CSV, text that a spreadsheet would take for a formula is prefixed with an apostrophe.
        #[arg(long, value_name = "FORMAT", env = "FETCHLINE_FORMAT", default_value = "table")]
        format: Format,
    },
    /// Show one product with its price history
    Show {
        /// The number of the product, or the URL of its page
        #[arg(value_name = "ID|URL", value_parser = parse_key)]
        item: ItemKey,
    },
    /// Set the price of a product by hand
    ///
    /// The history shows it with the source `manual`. A newer fetch of the page replaces it.
    SetPrice {
        /// The number of the product, or the URL of its page
        #[arg(value_name = "ID|URL", value_parser = parse_key)]
        item: ItemKey,

        /// The price, such as 19.99
        #[arg(value_parser = money::parse_price)]
        price: Decimal,

        /// The ISO 4217 code, such as EUR [default: the currency of the product]
        #[arg(long, value_name = "CODE", env = "FETCHLINE_CURRENCY")]
        #[arg(value_parser = money::parse_currency)]
        currency: Option<String>,
    },
}

/// How products are printed.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

fn parse_key(text: &str) -> std::result::Result<ItemKey, String> {
    if let Ok(id) = text.parse() {
        return Ok(ItemKey::Id(id));
    }
    let address =
        Address::parse(text).map_err(|error| format!("neither a number nor a URL: {error}"))?;
    Ok(ItemKey::SourceUrl(address.masked()))
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    if let Action::List { format: Format::Csv, .. } | Action::Changes { format: Format::Csv, .. } =
        args.action
        && args.json
    {
        return Err(Failure::usage(anyhow!("choose --json or --format csv")));
    }
    let store = global.migrated_store().await?;
    match args.action {
        Action::List { category, limit, format } => {
            let format = if args.json { Format::Json } else { format };
            list(&store.items(category.as_deref(), limit).await?, format)
        }
        Action::Changes { since, run, category, limit, format } => {
            let format = if args.json { Format::Json } else { format };
            let filter = ChangeFilter { run: run.as_deref(), category: category.as_deref() };
            list_changes(&store.latest_changes(filter, since, limit as usize).await?, format)
        }
        Action::Show { item } => show(&store, &item, args.json).await,
        Action::SetPrice { item, price, currency } => {
            // It returns `false` if there is no such product; `show` reports that.
            store.set_price(&item, price, currency.as_deref()).await?;
            show(&store, &item, args.json).await
        }
    }
}

fn list(items: &[Item], format: Format) -> Result {
    match format {
        Format::Json => exit::print(Value::from(items.iter().map(to_json).collect::<Vec<_>>())),
        Format::Csv => exit::print(csv(items)?.trim_end()),
        Format::Table if items.is_empty() => exit::print("no items"),
        Format::Table => exit::print(format_list(items).trim_end()),
    }
    Ok(Done::Whole)
}

fn list_changes(changes: &Changes, format: Format) -> Result {
    match format {
        Format::Json => {
            exit::print(Value::from(
                changes.changes.iter().map(changes::to_json).collect::<Vec<_>>(),
            ));
        }
        Format::Csv => exit::print(changes::csv(changes)?.trim_end()),
        Format::Table => {
            let summary = changes::summary(changes);
            let table = changes::format_table(changes);
            exit::print(format!("changes: {summary}\n{table}").trim_end());
        }
    }
    let listed = changes.changes.len() as u64;
    if changes.is_truncated || listed < changes.counts.values().sum() {
        exit::note("not all changes are listed: shorten --since, or raise --limit");
    }
    Ok(Done::Whole)
}

async fn show(store: &Store, key: &ItemKey, json: bool) -> Result {
    let Some((item, history)) = store.item(key).await? else {
        return Err(anyhow!("no such item; `fetchline items list` lists the items").into());
    };
    if json {
        let mut document = to_json(&item);
        document["history"] = history
            .iter()
            .map(|entry| {
                json!({
                    "price": money::format_price(entry.price, entry.currency.as_deref()),
                    "currency": entry.currency,
                    "seen_at": rfc3339(entry.seen_at),
                    "source": entry.source,
                })
            })
            .collect();
        exit::print(document);
    } else {
        exit::print(format_item(&item, &history).trim_end());
    }
    Ok(Done::Whole)
}

fn to_json(item: &Item) -> Value {
    let product = &item.product;
    json!({
        "id": item.id,
        "name": product.name,
        "price": price(item),
        "currency": product.currency,
        "category": product.category,
        "sku": product.sku,
        "brand": product.brand,
        "availability": product.availability,
        "image_url": product.image_url,
        "canonical_url": product.canonical_url,
        "variants": product.variants,
        "source_url": item.source_url,
        "updated_at": rfc3339(item.updated_at),
    })
}

/// The fields of a product.
fn fields() -> Vec<Field> {
    let text = |description: &str| nullable(text(description));
    vec![
        field("id", count("The number of the product.")),
        field("name", text("Its name.")),
        field("price", nullable(decimal("Its price."))),
        field("currency", text("The ISO 4217 code of the price.")),
        field("category", text("Its category.")),
        field("sku", text("Its number in the shop, or a GTIN, ISBN or manufacturer's number.")),
        field("brand", text("Its brand.")),
        field("availability", text("A name of schema.org, or else the text of the page.")),
        field("image_url", text("Its image.")),
        field("canonical_url", text("The URL that the page states as its own.")),
        field("variants", count("How many prices the price is the lowest of.")),
        field("source_url", shape::text("The page.")),
        field("updated_at", time("When it was fetched or set.")),
    ]
}

pub(crate) fn list_schema() -> Value {
    shape::list(object(fields()))
}

pub(crate) fn changes_schema() -> Value {
    shape::list(changes::schema())
}

pub(crate) fn show_schema() -> Value {
    let entry = object([
        field("price", decimal("The price.")),
        field("currency", nullable(text("Its ISO 4217 code."))),
        field("seen_at", time("When it was first seen.")),
        field("source", changes::price_source()),
    ]);
    object(fields().into_iter().chain([field("history", shape::list(entry))]))
}

/// The price as a decimal, without its currency.
fn price(item: &Item) -> Option<String> {
    item.product.price.map(|price| money::format_price(price, item.product.currency.as_deref()))
}

fn csv(items: &[Item]) -> anyhow::Result<String> {
    let headings = [
        "id",
        "name",
        "price",
        "currency",
        "category",
        "sku",
        "brand",
        "availability",
        "variants",
        "image_url",
        "canonical_url",
        "source_url",
        "updated_at",
    ];
    let documents: Vec<Value> = items.iter().map(to_json).collect();
    spreadsheet::csv(headings, &documents)
}

fn format_list(items: &[Item]) -> String {
    let row = |item: &Item| {
        [
            item.id.to_string(),
            or_dash(item.product.name.clone()),
            or_dash(price(item)),
            or_dash(item.product.currency.clone()),
            or_dash(item.product.category.clone()),
            format_time(item.updated_at),
            item.source_url.clone(),
        ]
    };
    let headings = ["id", "name", "price", "currency", "category", "updated at (UTC)", "page"];
    table(headings, items.iter().map(row).collect())
}

fn format_item(item: &Item, history: &[PricePoint]) -> String {
    let product = &item.product;
    let mut price =
        product.price.map(|price| money::format_with_currency(price, product.currency.as_deref()));
    if let Some(price) = &mut price
        && product.variants > 1
    {
        price.push_str(&format!(", one of {} prices", product.variants));
    }
    let facts = [
        ("id", Some(item.id.to_string())),
        ("name", product.name.clone()),
        ("price", price),
        ("category", product.category.clone()),
        ("sku", product.sku.clone()),
        ("brand", product.brand.clone()),
        ("availability", product.availability.clone()),
        ("image", product.image_url.clone()),
        ("page", Some(item.source_url.clone())),
        ("updated at", Some(format!("{} UTC", format_time(item.updated_at)))),
    ];
    let facts = facts.into_iter().map(|(name, fact)| [name.to_owned(), or_dash(fact)]).collect();
    let prices = history.iter().rev().map(|entry| {
        let price = money::format_with_currency(entry.price, entry.currency.as_deref());
        [format_time(entry.seen_at), price, entry.source.clone()]
    });
    let mut text = table(["", ""], facts).trim_start().to_owned();
    if let Some(chart) = sparkline::draw(history, item.updated_at) {
        text.push_str(&format!("\n{chart}\n"));
    }
    text.push('\n');
    text.push_str(&table(["seen at (UTC)", "price", "source"], prices.collect()));
    text
}

fn rfc3339(at: OffsetDateTime) -> Option<String> {
    at.format(&Rfc3339).ok()
}
