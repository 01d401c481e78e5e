//! Pages in the shapes that real shops have, each with what is to be found in it.
//!
//! Beside `corpus/NAME.html` or `NAME.json` lies `NAME.toml`:
//!
//! ```toml
//! url = "https://shop.example/p/1"
//! extraction = "found"                # or "no_price", "none"
//! name = "Sencha by json_ld"          # a value, and by which method it is found
//! variants = 2                        # 1 where it is left out, 0 without a price
//! content_type = "text/html"          # where it is not that of the file's ending, in UTF-8
//! category_of_task = "Tea"
//! rules = "…"                         # the text of a file of rules
//! ```
//!
//! A field that is left out is not to be found.

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
        if path.extension().is_some_and(|ending| ending == "html" || ending == "json") {
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
            other => other.as_str().context("neither a text nor a number")?,
        };
        texts.insert(key.get_ref().to_string(), value.to_owned());
    }
    let name = path.file_name().and_then(OsStr::to_str).context("a name")?.to_owned();
    let of_ending = if name.ends_with(".json") { "application/json" } else { "text/html; charset=utf-8" };
    let content_type = texts.remove("content_type").unwrap_or_else(|| of_ending.to_owned());
    let url = texts.remove("url").context("url is missing")?.parse()?;
    let rules = Rules::parse(&name, &texts.remove("rules").unwrap_or_default())?;
    let category_of_task = texts.remove("category_of_task");
    if texts.get("extraction").is_some_and(|extraction| extraction == "found") {
        texts.entry("variants".to_owned()).or_insert_with(|| "1".to_owned());
    }
    let expected = texts.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
    Ok(Case { name, body: fs::read(path)?, content_type, url, rules, category_of_task, expected })
}

/// Every field that was found, as the files beside the pages have them.
fn told(extraction: &Extraction) -> Vec<String> {
    let product = extraction.product().cloned().unwrap_or_default();
    fn line<T: Display>(key: &str, field: &Option<Field<T>>) -> Option<String> {
        field.as_ref().map(|Field { value, method }| format!("{key} = {value} by {method}"))
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
    std::iter::once(format!("extraction = {}", extraction.as_str())).chain(fields.into_iter().flatten()).collect()
}

#[test]
fn every_page_tells_what_is_written_beside_it() -> Result<()> {
    let cases = cases()?;
    assert!(cases.len() >= 70, "only {} pages", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        let (found, expected) = (told(&case.extract(&case.content())), &case.expected);
        let missing = expected.iter().filter(|line| !found.contains(line)).map(|line| format!("  expected {line}\n"));
        let surplus = found.iter().filter(|line| !expected.contains(line)).map(|line| format!("  found    {line}\n"));
        let lines: String = missing.chain(surplus).collect();
        if !lines.is_empty() {
            wrong += &format!("\n{}\n{lines}", case.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    Ok(())
}

#[test]
fn a_page_that_breaks_off_anywhere_is_read_as_far_as_it_goes() -> Result<()> {
    for case in cases()? {
        let (Content::Text(text) | Content::Json(text)) = case.content() else { panic!("{}", case.name) };
        for cut in (0..text.len()).step_by(89) {
            let part = text[..text.floor_char_boundary(cut)].to_owned();
            case.extract(&Content::Json(part.clone()));
            case.extract(&Content::Text(part));
        }
    }
    Ok(())
}
