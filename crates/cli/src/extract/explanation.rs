//! The output of `extract --explain`.

use std::fmt::Write;

use fetchline_extract::{Explanation, ShownPrice, ShownText};

use crate::money;
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

fn format_shown(shown: &ShownText) -> String {
    let Some(title) = &shown.title else {
        return "\nthe page shows no title that a price could belong to\n".to_owned();
    };
    let mut text = format!("\nshown title: {title}\n");
    let points: i32 = shown.signs.iter().map(|(_, points)| points).sum();
    _ = writeln!(text, "\nsigns of a product page: {points} of {} points", shown.enough);
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
