//! Pages in the manner of real shops, judged by one table: right, wrong and missed, per field.
//!
//! A file `corpus_table/NAME.pages` has pages one after the other, each with a head:
//!
//! ```text
//! === name of the page
//! url: https://shop.example/p/1
//! price: 19.99 EUR                 (or "none", where the page has no product to take)
//! name: Oak Desk                   (optional, as are sku, brand, availability and category)
//! ---
//! <html>…
//! ```
//!
//! `{{name}}` stands for a fragment of `fragments.pages`: headers, footers, lists of other products.
//! The pages say what is right, not what is found: some of them are missed.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use fetchline_extract::{Extraction, Field, Rules, product, read};
use url::Url;

/// The least share of prices that are right, and the greatest that are wrong, in percent.
const MIN_RIGHT: f64 = 90.0;
const MAX_WRONG: f64 = 1.5;

struct Page {
    name: String,
    url: Url,
    expected: BTreeMap<String, String>,
    html: String,
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus_table")
}

/// Splits a file into its parts: the line after each `===`, and the text below it.
fn parts(text: &str) -> Vec<(String, String)> {
    let split = text.split("\n=== ").map(|part| part.trim_start_matches("=== "));
    let parts = split.filter_map(|part| part.split_once('\n'));
    parts.map(|(name, text)| (name.trim().to_owned(), text.to_owned())).collect()
}

fn pages() -> Result<Vec<Page>> {
    let fragments = parts(&fs::read_to_string(folder().join("fragments.pages"))?);
    let mut pages = Vec::new();
    let mut files: Vec<_> = fs::read_dir(folder())?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::path);
    for file in files {
        if file.file_name() == "fragments.pages" {
            continue;
        }
        for (name, text) in parts(&fs::read_to_string(file.path())?) {
            pages.push(page(name.clone(), &text, &fragments).context(name)?);
        }
    }
    Ok(pages)
}

fn page(name: String, text: &str, fragments: &[(String, String)]) -> Result<Page> {
    let (head, html) = text.split_once("---\n").context("the head has no end")?;
    let mut expected = BTreeMap::new();
    for line in head.lines() {
        let (key, value) = line.split_once(": ").context("a line of the head has no value")?;
        expected.insert(key.to_owned(), value.trim().to_owned());
    }
    let url = expected.remove("url").context("url is missing")?.parse()?;
    ensure!(expected.contains_key("price"), "price is missing");
    let mut html = html.to_owned();
    for (fragment, text) in fragments {
        html = html.replace(&format!("{{{{{fragment}}}}}"), text);
    }
    ensure!(!html.contains("{{"), "unknown fragment");
    Ok(Page { name, url, expected, html })
}

/// What was found of a page, by the same keys as what is expected.
fn found(page: &Page) -> BTreeMap<&'static str, String> {
    let content = read(Some("text/html; charset=utf-8"), page.html.clone().into_bytes());
    let extraction = product(&content, &page.url, &Rules::default(), None);
    let mut found = BTreeMap::new();
    let Some(product) = extraction.product().filter(|_| extraction != Extraction::None) else {
        return found;
    };
    fn text(field: &Option<Field<String>>) -> Option<String> {
        field.as_ref().map(|field| field.value.clone())
    }
    let price = product.price.map(|price| {
        let currency = product.currency.map_or("?", |currency| currency.value);
        format!("{} {currency}", price.value.normalize())
    });
    let fields = [
        ("price", price),
        ("name", text(&product.name)),
        ("sku", text(&product.sku)),
        ("brand", text(&product.brand)),
        ("availability", text(&product.availability)),
        ("category", text(&product.category)),
    ];
    found.extend(fields.into_iter().filter_map(|(key, value)| Some((key, value?))));
    found
}

#[derive(Default)]
struct Row {
    right: usize,
    wrong: Vec<String>,
    missed: Vec<String>,
}

impl Row {
    fn share(&self, count: usize) -> f64 {
        let all = self.right + self.wrong.len() + self.missed.len();
        100.0 * f64::from(u32::try_from(count).unwrap_or(u32::MAX))
            / f64::from(u32::try_from(all.max(1)).unwrap_or(u32::MAX))
    }
}

/// Judges all pages with a product: a row for each field.
fn table(pages: &[Page]) -> BTreeMap<String, Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for page in pages.iter().filter(|page| page.expected["price"] != "none") {
        let found = found(page);
        for (key, expected) in &page.expected {
            let row = rows.entry(key.clone()).or_default();
            let expected = match key.as_str() {
                "price" => normalized(expected),
                _ => expected.clone(),
            };
            match found.get(key.as_str()) {
                Some(value) if *value == expected => row.right += 1,
                Some(value) => row.wrong.push(format!("{}: {value}, not {expected}", page.name)),
                None => row.missed.push(format!("{}: {expected}", page.name)),
            }
        }
    }
    rows
}

fn normalized(price: &str) -> String {
    let (value, currency) = price.split_once(' ').unwrap_or((price, "?"));
    let value: rust_decimal::Decimal = value.parse().unwrap_or_default();
    format!("{} {currency}", value.normalize())
}

#[test]
fn prices_are_right_or_missing_and_hardly_ever_wrong() -> Result<()> {
    let pages = pages()?;
    let rows = table(&pages);
    println!("{:<14} {:>6} {:>6} {:>7}", "field", "right", "wrong", "missed");
    for (key, row) in &rows {
        println!("{key:<14} {:>6} {:>6} {:>7}", row.right, row.wrong.len(), row.missed.len());
    }
    for (key, row) in &rows {
        row.wrong.iter().for_each(|line| println!("wrong {key} of {line}"));
        row.missed.iter().for_each(|line| println!("missed {key} of {line}"));
    }
    let prices = &rows["price"];
    let (right, wrong) = (prices.share(prices.right), prices.share(prices.wrong.len()));
    println!("prices: {right:.1} % right, {wrong:.1} % wrong");
    assert!(right >= MIN_RIGHT, "{right:.1} % of the prices are right");
    assert!(wrong <= MAX_WRONG, "{wrong:.1} % of the prices are wrong");
    Ok(())
}

#[test]
fn no_page_of_another_kind_is_taken_for_a_product() -> Result<()> {
    let pages = pages()?;
    let others: Vec<_> = pages.iter().filter(|page| page.expected["price"] == "none").collect();
    assert!(others.len() >= 40, "only {} pages", others.len());
    let taken: Vec<_> = others
        .iter()
        .filter(|page| !found(page).is_empty())
        .map(|page| format!("{}: {:?}", page.name, found(page)))
        .collect();
    assert!(taken.is_empty(), "{taken:#?}");
    Ok(())
}

#[test]
fn the_corpus_is_as_varied_as_it_claims() -> Result<()> {
    let pages = pages()?;
    let prices: Vec<&String> =
        pages.iter().map(|page| &page.expected["price"]).filter(|price| *price != "none").collect();
    let currencies: std::collections::BTreeSet<_> =
        prices.iter().filter_map(|price| price.split_once(' ')).map(|(_, code)| code).collect();
    assert!(prices.len() >= 150, "only {} pages with a price", prices.len());
    assert!(currencies.len() >= 25, "only {} currencies", currencies.len());
    Ok(())
}
