//! Changes of products, as texts, tables and JSON.

use fetchline_store::{Change, ChangeKind, Changes};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::money;
use crate::schema::shape::{
    boolean, count, decimal, field, nullable, number, object, text, time, word,
};
use crate::spreadsheet;
use crate::table::{format_time, or_dash, table};

/// A kind of changes as people read it, after its number: `12 up`.
pub(crate) fn describe_kind(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::PriceUp => "up",
        ChangeKind::PriceDown => "down",
        ChangeKind::Currency => "in another currency",
        ChangeKind::New => "new",
        ChangeKind::Vanished => "vanished",
        ChangeKind::PriceLost => "without the price",
        ChangeKind::Back => "back",
        ChangeKind::OutOfStock => "out of stock",
        ChangeKind::InStock => "in stock again",
    }
}

/// All kinds that occur in one line; `none` without a change.
pub(crate) fn summary(changes: &Changes) -> String {
    let kinds: Vec<String> = changes
        .counts
        .iter()
        .map(|(kind, count)| format!("{count} {}", describe_kind(*kind)))
        .collect();
    match kinds.is_empty() {
        true => "none".to_owned(),
        false if changes.is_truncated => format!("at least {}", kinds.join(", ")),
        false => kinds.join(", "),
    }
}

/// The number of changes of every kind as JSON.
pub(crate) fn counts_json(changes: &Changes) -> Value {
    let counts = ChangeKind::ALL.map(|kind| (kind.as_str().to_owned(), changes.count(kind).into()));
    let mut counts: serde_json::Map<String, Value> = counts.into_iter().collect();
    counts.insert("truncated".to_owned(), changes.is_truncated.into());
    counts.into()
}

/// A change as JSON.
pub(crate) fn to_json(change: &Change) -> Value {
    let price = |price: &Option<(Decimal, Option<String>)>| {
        price.as_ref().map(|(price, currency)| money::format_price(*price, currency.as_deref()))
    };
    let currency = |price: &Option<(Decimal, Option<String>)>| {
        price.as_ref().and_then(|(_, currency)| currency.clone())
    };
    json!({
        "change": change.kind.as_str(),
        "id": change.item,
        "name": change.name,
        "category": change.category,
        "old_price": price(&change.old_price),
        "old_currency": currency(&change.old_price),
        "price": price(&change.price),
        "currency": currency(&change.price),
        "percent": change.percent().map(|percent| (percent * 100.0).round() / 100.0),
        "old_availability": change.old_availability,
        "availability": change.availability,
        "source": change.source,
        "source_url": change.source_url,
        "at": change.at.format(&Rfc3339).ok(),
    })
}

/// The shape of the number of changes of every kind.
pub(crate) fn counts_schema() -> Value {
    let kinds = ChangeKind::ALL.map(|kind| field(kind.as_str(), count("Changes of this kind.")));
    let truncated = "Whether there are more changes than were counted.";
    object(kinds.into_iter().chain([field("truncated", boolean(truncated))]))
}

/// The shape of a change.
pub(crate) fn schema() -> Value {
    let text = |description: &str| nullable(text(description));
    let price = |description: &str| nullable(decimal(description));
    object([
        field("change", word("What changed.", ChangeKind::ALL.map(ChangeKind::as_str))),
        field("id", count("The number of the product.")),
        field("name", text("The name of the product.")),
        field("category", text("The category of the product.")),
        field("old_price", price("The price before, if it changed.")),
        field("old_currency", text("Its currency.")),
        field("price", price("The price after the change; for other changes, the present one.")),
        field("currency", text("Its currency.")),
        field("percent", nullable(number("By how much the price changed."))),
        field("old_availability", text("The availability before, if it changed.")),
        field("availability", text("The present availability.")),
        field("source", price_source()),
        field("source_url", crate::schema::shape::text("The page of the product.")),
        field("at", time("When the change was seen.")),
    ])
}

/// Where a price is from.
pub(crate) fn price_source() -> Value {
    word("Where it is from: the page, or set by hand.", ["page", "manual"])
}

/// The changes as CSV.
pub(crate) fn csv(changes: &Changes) -> anyhow::Result<String> {
    let documents: Vec<Value> = changes.changes.iter().map(to_json).collect();
    let headings = [
        "change",
        "id",
        "name",
        "category",
        "old_price",
        "old_currency",
        "price",
        "currency",
        "percent",
        "old_availability",
        "availability",
        "source",
        "source_url",
        "at",
    ];
    spreadsheet::csv(headings, &documents)
}

/// The changes as a table.
pub(crate) fn format_table(changes: &Changes) -> String {
    let row = |change: &Change| {
        [
            change.kind.as_str().to_owned(),
            change.item.to_string(),
            or_dash(change.name.clone()),
            or_dash(before(change)),
            or_dash(after(change)),
            change.percent().map(format_percent).unwrap_or_default(),
            format_time(change.at),
            change.source_url.clone(),
        ]
    };
    let headings = ["change", "id", "name", "before", "after", "percent", "at (UTC)", "page"];
    table(headings, changes.changes.iter().map(row).collect())
}

/// What changed, as it was before; `None` for a product that appeared or vanished.
pub(crate) fn before(change: &Change) -> Option<String> {
    let price = change.old_price.as_ref().map(|(price, currency)| {
        let currency = currency.as_deref();
        money::format_with_currency(*price, currency)
    });
    price.or_else(|| change.old_availability.clone())
}

/// What changed, as it is after the change.
pub(crate) fn after(change: &Change) -> Option<String> {
    match change.kind {
        ChangeKind::OutOfStock | ChangeKind::InStock => change.availability.clone(),
        ChangeKind::Vanished | ChangeKind::PriceLost => None,
        _ => change
            .price
            .as_ref()
            .map(|(price, currency)| money::format_with_currency(*price, currency.as_deref())),
    }
}

/// Formats a change of price: `+12.5 %`. A small change is not shown as none.
pub(crate) fn format_percent(percent: f64) -> String {
    match percent {
        percent if percent.abs() >= 1_000.0 => format!("{percent:+.0} %"),
        percent if percent.abs() >= 0.05 => format!("{percent:+.1} %"),
        percent if percent > 0.0 => "< +0.1 %".to_owned(),
        _ => "> -0.1 %".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_change_is_not_shown_as_none() {
        let texts = [12.345, -50.0, 0.01, -0.01, 123_456.0].map(format_percent);
        assert_eq!(texts, ["+12.3 %", "-50.0 %", "< +0.1 %", "> -0.1 %", "+123456 %"]);
    }

    #[test]
    fn a_night_without_changes_says_so() {
        assert_eq!(summary(&Changes::default()), "none");
        let counts = [(ChangeKind::PriceUp, 2), (ChangeKind::Vanished, 1)].into();
        let changes = Changes { counts, ..Changes::default() };
        assert_eq!(summary(&changes), "2 up, 1 vanished");
        let truncated = Changes { is_truncated: true, ..changes };
        assert_eq!(summary(&truncated), "at least 2 up, 1 vanished");
    }
}
