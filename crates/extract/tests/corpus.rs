//! Pages in the shapes of real shops, each with its expected product.
//!
//! The file `NAME.toml` beside `corpus/NAME.html` or `NAME.json` says what is expected:
//!
//! ```toml
//! url = "https://shop.example/p/1"
//! extraction = "found"                # or "suspect", "no_price", "none"
//! name = "Sencha by json_ld"          # a value, and the method that finds it
//! variants = 2                        # by default 1, or 0 without a price
//! content_type = "text/html"          # by default that of the file's extension, in UTF-8
//! category_of_task = "Tea"
//! rules = "…"                         # the text of a file of rules
//! ```
//!
//! Fields that the file omits are expected to be missing.

use std::{collections::BTreeMap, ffi::OsStr, fmt::Display, fs, path::Path};

use anyhow::{Context, Result};
use fetchline_extract::{Content, Extraction, Field, Rules, product, read};
use toml::de::{DeTable, DeValue};
use url::Url;

struct Case {
    name: String,
    body: Vec<u8>,
    content_type: String,
    url: Url,
    rules: Rules,
    category_of_task: Option<String>,
    expected: Vec<String>,
}

impl Case {
    fn content(&self) -> Content {
        read(Some(&self.content_type), self.body.clone())
    }

    fn extract(&self, content: &Content) -> Extraction {
        product(content, &self.url, &self.rules, self.category_of_task.as_deref())
    }
}

fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "html" || extension == "json") {
            cases.push(case(&path).with_context(|| path.display().to_string())?);
        }
    }
    cases.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(cases)
}

fn case(path: &Path) -> Result<Case> {
    let text = fs::read_to_string(path.with_extension("toml"))?;
    let mut texts = BTreeMap::new();
    for (key, value) in DeTable::parse(&text)?.get_ref() {
        let value = match value.get_ref() {
            DeValue::Integer(number) => number.as_str(),
            other => other.as_str().context("expected a text or a number")?,
        };
        texts.insert(key.get_ref().to_string(), value.to_owned());
    }
    let name =
        path.file_name().and_then(OsStr::to_str).context("the file name is not UTF-8")?.to_owned();
    let by_extension =
        if name.ends_with(".json") { "application/json" } else { "text/html; charset=utf-8" };
    let content_type = texts.remove("content_type").unwrap_or_else(|| by_extension.to_owned());
    let url = texts.remove("url").context("url is missing")?.parse()?;
    let rules = Rules::parse(&name, &texts.remove("rules").unwrap_or_default())?;
    let category_of_task = texts.remove("category_of_task");
    if texts.get("extraction").is_some_and(|extraction| extraction == "found") {
        texts.entry("variants".to_owned()).or_insert_with(|| "1".to_owned());
    }
    let expected = texts.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
    Ok(Case { name, body: fs::read(path)?, content_type, url, rules, category_of_task, expected })
}

/// Formats every field that was found, as the files of expectations do.
fn format_fields(extraction: &Extraction) -> Vec<String> {
    let product = extraction.product().cloned().unwrap_or_default();
    fn line<T: Display>(key: &str, field: &Option<Field<T>>) -> Option<String> {
        field.as_ref().map(|Field { value, method, .. }| format!("{key} = {value} by {method}"))
    }
    let variants = (product.variants > 0).then(|| format!("variants = {}", product.variants));
    let fields = [
        line("name", &product.name),
        line("price", &product.price),
        line("currency", &product.currency),
        line("category", &product.category),
        line("sku", &product.sku),
        line("brand", &product.brand),
        line("availability", &product.availability),
        line("image", &product.image),
        line("canonical_url", &product.canonical_url),
        variants,
    ];
    std::iter::once(format!("extraction = {}", extraction.as_str()))
        .chain(fields.into_iter().flatten())
        .collect()
}

#[test]
fn every_page_yields_the_expected_product() -> Result<()> {
    let cases = cases()?;
    assert!(cases.len() >= 70, "only {} pages", cases.len());
    let mut differences = String::new();
    for case in &cases {
        let (found, expected) = (format_fields(&case.extract(&case.content())), &case.expected);
        let missing = expected
            .iter()
            .filter(|line| !found.contains(line))
            .map(|line| format!("  expected {line}\n"));
        let unexpected = found
            .iter()
            .filter(|line| !expected.contains(line))
            .map(|line| format!("  found    {line}\n"));
        let lines: String = missing.chain(unexpected).collect();
        if !lines.is_empty() {
            differences += &format!("\n{}\n{lines}", case.name);
        }
    }
    assert!(differences.is_empty(), "{differences}");
    Ok(())
}

#[test]
fn a_page_that_is_cut_off_anywhere_does_not_panic() -> Result<()> {
    for case in cases()? {
        let (Content::Text(text) | Content::Json(text)) = case.content() else {
            panic!("{}", case.name)
        };
        for cut in (0..text.len()).step_by(89) {
            let part = text[..text.floor_char_boundary(cut)].to_owned();
            case.extract(&Content::Json(part.clone()));
            case.extract(&Content::Text(part));
        }
    }
    Ok(())
}
