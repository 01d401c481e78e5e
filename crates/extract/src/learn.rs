//! Rules that are learned from pages whose price is known.

use rust_decimal::Decimal;
use url::Url;

use crate::{
    content::Content,
    extraction::{looks_like_json, product},
    rules::Rules,
    shown::locators,
};

/// Locators of one rule.
const MAX_LOCATORS: usize = 3;

/// A page and its price.
#[derive(Debug)]
pub struct Sample {
    /// The page.
    pub content: Content,
    /// Its URL.
    pub address: Url,
    /// The price that people would name for it.
    pub price: Decimal,
}

/// A rule that was learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Lesson {
    /// A file of rules with the rule.
    pub toml: String,
    /// The price that the rule finds in each sample, in their order.
    pub found: Vec<Option<Decimal>>,
}

/// Learns a rule for a host: where the samples have their prices. Every candidate of the first
/// samples is tried on all of them, and the one that is right most often wins. Others are added
/// for the samples that it does not find. Returns `None` if no candidate is right.
///
/// A host must not need quotes in TOML, as those of URLs do not.
pub fn learn(host: &str, samples: &[Sample]) -> Option<Lesson> {
    let is_json = samples.iter().all(|sample| is_json(&sample.content));
    let mut candidates: Vec<String> = Vec::new();
    for sample in samples.iter().take(MAX_LOCATORS) {
        let found = match &sample.content {
            Content::Json(text) | Content::Text(text) if is_json => {
                locators::of_json(text, sample.price)
            }
            Content::Text(text) => locators::of_page(text, sample.price),
            Content::Json(_) | Content::Binary(_) => Vec::new(),
        };
        let new: Vec<String> = found.into_iter().filter(|one| !candidates.contains(one)).collect();
        candidates.extend(new);
    }
    let kind = if is_json { "json" } else { "html" };
    let mut chosen: Vec<String> = Vec::new();
    let mut best: Option<(usize, Lesson)> = None;
    while chosen.len() < MAX_LOCATORS {
        let tried = candidates.iter().filter_map(|candidate| {
            let locators: Vec<&String> = chosen.iter().chain([candidate]).collect();
            let lesson = lesson(host, kind, &locators, samples)?;
            Some((right(&lesson, samples), candidate, lesson))
        });
        // The first of the best: it is the simplest.
        let next = tried.reduce(|best, other| if other.0 > best.0 { other } else { best });
        let known = best.as_ref().map_or(0, |(right, _)| *right);
        let Some((right, candidate, lesson)) = next.filter(|(right, ..)| *right > known) else {
            break;
        };
        chosen.push(candidate.clone());
        best = Some((right, lesson));
        if right == samples.len() {
            break;
        }
    }
    best.map(|(_, lesson)| lesson)
}

fn is_json(content: &Content) -> bool {
    match content {
        Content::Json(_) => true,
        Content::Text(text) => looks_like_json(text),
        Content::Binary(_) => false,
    }
}

/// Tries a rule with some locators on all samples.
fn lesson(host: &str, kind: &str, locators: &[&String], samples: &[Sample]) -> Option<Lesson> {
    let list = match locators {
        [one] => (*one).clone(),
        several => {
            let lines: Vec<String> = several.iter().map(|one| format!("    {one},\n")).collect();
            format!("[\n{}]", lines.concat())
        }
    };
    let toml = format!("[\"{host}\"]\n{kind}.price = {list}\n");
    let rules = Rules::parse("learned", &toml).ok()?;
    let price = |sample: &Sample| {
        let found = product(&sample.content, &sample.address, &rules, None);
        found.product().and_then(|product| Some(product.price?.value))
    };
    Some(Lesson { toml, found: samples.iter().map(price).collect() })
}

fn right(lesson: &Lesson, samples: &[Sample]) -> usize {
    let pairs = lesson.found.iter().zip(samples);
    pairs.filter(|(found, sample)| **found == Some(sample.price)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::read;

    fn samples(content_type: &str, pages: &[(&str, &str)]) -> Vec<Sample> {
        let sample = |(body, price): &(&str, &str)| Sample {
            content: read(Some(content_type), body.as_bytes().to_vec()),
            address: "https://shop.example/p/1".parse().unwrap(),
            price: price.parse().unwrap(),
        };
        pages.iter().map(sample).collect()
    }

    fn toml(content_type: &str, pages: &[(&str, &str)]) -> String {
        let lesson = learn("shop.example", &samples(content_type, pages));
        lesson.map(|lesson| lesson.toml).unwrap_or_default()
    }

    #[test]
    fn the_selector_that_is_right_on_all_pages_is_learned() {
        let pages = [
            ("<p class=old>9 €</p><p class=now>5,00 €</p><p class=tip>5 €</p>", "5"),
            ("<p class=old>9 €</p><p class=now>6,00 €</p><p class=tip>5 €</p>", "6"),
            ("<p class=now>7,00 €</p><p class=old>8 €</p>", "7"),
        ];
        assert_eq!(toml("text/html", &pages), "[\"shop.example\"]\nhtml.price = \"p.now\"\n");
    }

    #[test]
    fn attributes_and_elements_around_are_learned() {
        let pages = [
            ("<b data-cost=5.00>5</b><b data-cost=1.00>1</b>", "5"),
            ("<b data-cost=6.00>?</b><b data-cost=1.00>1</b>", "6"),
        ];
        let rule = "html.price = { selector = \"[data-cost]\", attribute = \"data-cost\" }\n";
        assert_eq!(toml("text/html", &pages), format!("[\"shop.example\"]\n{rule}"));
        let pages = [
            ("<div class=rrp><b>9 €</b></div><div class=our><b>5 €</b></div>", "5"),
            ("<div class=rrp><b>8 €</b></div><div class=our><b>6 €</b></div>", "6"),
        ];
        assert_eq!(toml("text/html", &pages), "[\"shop.example\"]\nhtml.price = \"div.our\"\n");
    }

    #[test]
    fn a_second_locator_finds_what_the_first_does_not() {
        let pages = [
            ("<b class=sale>5 €</b><b class=full>9 €</b>", "5"),
            ("<b class=full>7 €</b>", "7"),
            ("<b class=full>8 €</b>", "8"),
            ("<b class=sale>6 €</b><b class=full>9 €</b>", "6"),
        ];
        let learned = learn("shop.example", &samples("text/html", &pages)).unwrap();
        let right: Vec<_> = learned.found.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(right, ["5", "7", "8", "6"], "{}", learned.toml);
    }

    #[test]
    fn a_pointer_into_json_is_learned() {
        let pages = [
            (r#"{"a":{"cents":500,"now":5.0},"was":9}"#, "5"),
            (r#"{"a":{"cents":600,"now":6.0},"was":9}"#, "6"),
        ];
        let rule = "[\"shop.example\"]\njson.price = \"/a/now\"\n";
        assert_eq!(toml("application/json", &pages), rule);
    }

    #[test]
    fn nothing_is_learned_of_a_price_that_no_page_has() {
        assert_eq!(learn("shop.example", &samples("text/html", &[("<b>5 €</b>", "6")])), None);
        assert_eq!(learn("shop.example", &[]), None);
    }
}
