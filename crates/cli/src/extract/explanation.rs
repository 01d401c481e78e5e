//! The output of `extract --explain`.

use std::fmt::Write;

use fetchline_extract::{Explanation, ShownPrice, ShownText};
use serde_json::{Value, json};

use crate::money;
use crate::schema::shape::{
    boolean, count, decimal, described, field, list, nullable, object, text,
};
use crate::table::table;

/// Formats an explanation, to stand below the product.
pub(super) fn format(explanation: &Explanation) -> String {
    let mut text = String::from("\n");
    let sources = explanation.sources.iter().map(|source| {
        let price = money::format_with_currency(source.price, source.currency);
        [source.method.to_string(), price]
    });
    match table(["source", "price"], sources.collect()) {
        sources if sources.is_empty() => text.push_str("\nno source has a price\n"),
        sources => _ = write!(text, "\n{sources}"),
    }
    if let Some(shown) = &explanation.shown {
        text.push_str(&format_shown(shown));
    }
    text.trim_end().to_owned()
}

/// The shape of an explanation as JSON.
pub(super) fn schema() -> Value {
    let source = object([
        field("method", super::method()),
        field("price", decimal("The price that it has.")),
        field("currency", nullable(text("The currency that it has."))),
    ]);
    let points = json!({ "type": "integer" });
    let sign = json!({
        "type": "array", "prefixItems": [text("The sign."), points], "items": false, "minItems": 2,
    });
    let candidate = object([
        field("text", text("The text of the page.")),
        field("amount", text("The amount, with its currency where the page says it.")),
        field("place", text("The elements that have it.")),
        field("is_named_as_price", boolean("Whether an element near it is named as a price.")),
        field("distance", count("How far it is from the title.")),
        field("contexts", described("What speaks against it.", list(text("A reason.")))),
        field("confirmed_by", nullable(text("Where the page has the same for machines."))),
        field("is_chosen", boolean("Whether it is the price.")),
    ]);
    let shown = object([
        field("title", nullable(text("The title that prices are near to."))),
        field("signs", described("What says that it is the page of a product.", list(sign))),
        field("enough", described("The points of the page of a product.", points)),
        field("candidates", list(candidate)),
    ]);
    object([field("sources", list(source)), field("shown", nullable(shown))])
}

fn format_shown(shown: &ShownText) -> String {
    let Some(title) = &shown.title else {
        return "\nthe page shows no title that a price could belong to\n".to_owned();
    };
    let mut text = format!("\nshown title: {title}\n");
    let points: i32 = shown.signs.iter().map(|(_, points)| points).sum();
    _ = writeln!(text, "\nsigns of a product page: {points} points ({} needed)", shown.enough);
    for (sign, points) in &shown.signs {
        _ = writeln!(text, "  {points:+}  {sign}");
    }
    let rows = shown.candidates.iter().map(row).collect();
    match table(["", "amount", "place", "distance", "confirmed by", "against it"], rows) {
        rows if rows.is_empty() => text.push_str("\nthe page shows no amounts\n"),
        rows => _ = write!(text, "\n{rows}"),
    }
    text
}

fn row(shown: &ShownPrice) -> [String; 6] {
    let dash = || "-".to_owned();
    let against = shown.contexts.join(", ");
    [
        if shown.is_chosen { "*" } else { "" }.to_owned(),
        shown.amount.clone(),
        shown.place.clone(),
        shown.distance.to_string(),
        shown.confirmed_by.clone().unwrap_or_else(dash),
        if against.is_empty() { dash() } else { against },
    ]
}
