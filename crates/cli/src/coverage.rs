//! What the pages of a run contain: in one line, and by host.

use std::cmp::Reverse;

use fetchline_store::{HostReport, ProductCounts, Report};
use serde_json::{Value, json};

use crate::schema::shape::{Field, count, field, text};
use crate::table::table;

/// The maximum number of hosts in a table or a document.
const MAX_HOSTS: usize = 100;

/// The pages of a run in one line; `None` if no page was examined. Pages that have not changed were
/// not examined again.
pub(crate) fn summary(products: ProductCounts, unchanged: u64) -> Option<String> {
    let ProductCounts { found, suspect, no_price, none } = products;
    let if_any = |pages, text| if pages > 0 { text } else { String::new() };
    let suspect = if_any(suspect, format!(", {suspect} suspect"));
    let unchanged_pages = if_any(unchanged, format!(", {unchanged} pages unchanged"));
    (products.pages() + unchanged > 0).then(|| {
        format!(
            "{found} found{suspect}, {no_price} without a price, {none} without a product\
             {unchanged_pages}"
        )
    })
}

/// The number of pages by what they contain as JSON.
pub(crate) fn to_json(products: ProductCounts) -> Value {
    let ProductCounts { found, suspect, no_price, none } = products;
    json!({ "found": found, "suspect": suspect, "no_price": no_price, "none": none })
}

/// The fields of the number of pages by what they contain.
pub(crate) fn fields() -> Vec<Field> {
    vec![
        field("found", count("Pages with a product and its price.")),
        field("suspect", count("Pages with a price that something else contradicts.")),
        field("no_price", count("Pages with a product without a price.")),
        field("none", count("Pages without a product.")),
    ]
}

/// The fields of a host.
pub(crate) fn host_fields() -> Vec<Field> {
    let mut fields = fields();
    fields.extend([
        field("host", text("The host.")),
        field("rows", count("Its rows.")),
        field("failed", count("Those that are no successes.")),
    ]);
    fields
}

/// The share of pages with a sure price: `98 %`. Nearly all is not shown as all, and a few are not
/// shown as none.
pub(crate) fn share(products: ProductCounts) -> String {
    let (found, pages) = (products.found, products.pages());
    let percent = if pages == 0 { 0.0 } else { found as f64 * 100.0 / pages as f64 };
    match percent.round() as u64 {
        100 if found < pages => "> 99 %".to_owned(),
        0 if found > 0 => "< 1 %".to_owned(),
        percent => format!("{percent} %"),
    }
}

/// The hosts with pages, those with the most pages without a sure price first.
pub(crate) fn hosts(report: &Report) -> Vec<(&str, &HostReport)> {
    let mut hosts: Vec<_> = report.hosts().filter(|(_, host)| host.products.pages() > 0).collect();
    hosts.sort_by_key(|(name, host)| {
        (Reverse(host.products.without_price()), Reverse(host.products.pages()), *name)
    });
    hosts
}

/// The hosts as a table.
pub(crate) fn format_hosts(report: &Report) -> String {
    let row = |(name, host): &(&str, &HostReport)| {
        let ProductCounts { found, suspect, no_price, none } = host.products;
        let counts = [found, suspect, no_price, none].map(|count| count.to_string());
        let [found, suspect, no_price, none] = counts;
        [(*name).to_owned(), share(host.products), found, suspect, no_price, none]
    };
    let headings = ["host", "coverage", "found", "suspect", "no price", "no product"];
    table(headings, hosts(report).iter().take(MAX_HOSTS).map(row).collect())
}

/// The hosts as JSON.
pub(crate) fn hosts_json(report: &Report) -> Value {
    let host = |(name, host): &(&str, &HostReport)| {
        let mut document = to_json(host.products);
        document["host"] = (*name).into();
        document["rows"] = host.rows.into();
        document["failed"] = host.failed.into();
        document
    };
    hosts(report).iter().take(MAX_HOSTS).map(host).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_is_the_share_of_pages_with_a_sure_price() {
        let products = |found, none| ProductCounts { found, none, ..ProductCounts::default() };
        let shares = [(0, 0), (0, 5), (1, 1_000), (999, 1), (1, 1), (3, 0)]
            .map(|(found, none)| share(products(found, none)));
        assert_eq!(shares, ["0 %", "0 %", "< 1 %", "> 99 %", "50 %", "100 %"]);
        let suspect = ProductCounts { suspect: 1, ..products(1, 0) };
        assert_eq!(share(suspect), "50 %");
        assert_eq!(summary(products(0, 0), 0), None);
        let text = summary(suspect, 0).unwrap();
        assert_eq!(text, "1 found, 1 suspect, 0 without a price, 0 without a product");
        let text = summary(products(0, 0), 7).unwrap();
        assert!(text.ends_with("0 without a product, 7 pages unchanged"), "{text}");
    }
}
