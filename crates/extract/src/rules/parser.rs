//! Parses a file of rules, and reports every error in it.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
};

use lol_html::Selector;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{Fault, RulesError},
    host_pattern,
    rule::{FieldName, Locator, Rule, Rules},
};
use crate::{price::currency, product::MAX_CATEGORY, text};

type Value<'a> = Spanned<DeValue<'a>>;

impl Rules {
    /// Parses and checks the text of a file of rules. `file_name` is used in errors only.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, RulesError> {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut parser = Parser { text, rule: None, faults: Vec::new() };
        for error in &errors {
            let at = error.span().unwrap_or(0..0);
            parser.rule = rule_above(text, at.start);
            parser.report(at, error.message().to_owned());
        }
        // After a syntax error, checks of what was parsed would report errors that are not there.
        if errors.is_empty() {
            let by_host = parser.rules(document.get_ref());
            if parser.faults.is_empty() {
                return Ok(Self { by_host, fingerprint: fingerprint(text) });
            }
        }
        let mut faults = parser.faults;
        faults.sort_by_key(|fault| fault.line);
        Err(RulesError { file: file_name.to_owned(), faults })
    }
}

/// Hashes the text of a file of rules. Another release of the compiler may hash it differently.
/// That does no harm: bodies are then read again.
fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Returns the rule of the last header above a syntax error, since the parsed document does not say
/// it. Returns `None` if that header itself is invalid.
fn rule_above(text: &str, at: usize) -> Option<String> {
    let is_header = |line: &&str| line.trim_start().starts_with('[');
    let line_end = text.get(at..)?.find('\n').map_or(text.len(), |newline| at + newline);
    let header = text.get(..line_end)?.lines().rev().find(is_header)?;
    let table = DeTable::parse(header).ok()?;
    table.get_ref().keys().next().map(|key| key.get_ref().to_string())
}

struct Parser<'t> {
    text: &'t str,
    /// The host pattern of the current rule.
    rule: Option<String>,
    faults: Vec<Fault>,
}

impl Parser<'_> {
    fn report(&mut self, at: Range<usize>, message: impl Into<String>) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        self.faults.push(Fault { line, rule: self.rule.clone(), message: message.into() });
    }

    fn rules(&mut self, document: &DeTable<'_>) -> HashMap<String, Rule> {
        let mut by_host = HashMap::new();
        for (key, value) in document {
            self.rule = Some(key.get_ref().to_string());
            let host = host_pattern::parse(key.get_ref());
            if host.is_none() {
                let message = "not a host; write [\"shop.example\"], \
                               or [\"*.shop.example\"] for the hosts below it";
                self.report(key.span(), message);
            }
            let Some(table) = self.table(value) else { continue };
            let rule = self.rule(key.span(), table);
            if host.is_some_and(|host| by_host.insert(host, rule).is_some()) {
                self.report(key.span(), "the host already has a rule");
            }
        }
        by_host
    }

    fn rule(&mut self, at: Range<usize>, table: &DeTable<'_>) -> Rule {
        let mut rule = Rule::default();
        let mut script = None;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "category" => rule.category = self.category(value),
                "currency" => rule.currency = self.currency(value),
                "html" => rule.html = self.fields(value, "html", Self::locator),
                "json" => rule.json = self.fields(value, "json", Self::pointer),
                "script" => script = self.script(value),
                other => {
                    let message = format!(
                        "unknown key `{other}`; expected category, currency, html, json or script"
                    );
                    self.report(key.span(), message);
                }
            }
        }
        if table.is_empty() {
            self.report(at, "the rule is empty");
        }
        rule.html.extend(script.map(|script| (FieldName::Script, script)));
        rule
    }

    /// Parses where the script with the JSON of a page is.
    fn script(&mut self, value: &Value<'_>) -> Option<Locator> {
        let mut script = None;
        let table = self.table(value)?;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "json" => script = self.locator(value),
                other => {
                    self.report(key.span(), format!("unknown key `script.{other}`; expected json"));
                }
            }
        }
        if table.is_empty() {
            self.report(value.span(), "`script` is empty");
        }
        script
    }

    fn category(&mut self, value: &Value<'_>) -> Option<String> {
        let category = text::clean_line(self.string(value)?, MAX_CATEGORY);
        if category.is_none() {
            self.report(value.span(), "`category` is empty");
        }
        category
    }

    fn currency(&mut self, value: &Value<'_>) -> Option<&'static str> {
        let text = self.string(value)?;
        let currency = currency::parse(text);
        if currency.is_none() {
            self.report(
                value.span(),
                format!("`{text}` is not a currency; write its ISO 4217 code, such as EUR"),
            );
        }
        currency
    }

    /// Parses the fields of a page or of a JSON body, each with one locator or several.
    fn fields<T>(
        &mut self,
        value: &Value<'_>,
        kind: &str,
        locator: impl Fn(&mut Self, &Value<'_>) -> Option<T>,
    ) -> Vec<(FieldName, T)> {
        let mut fields = Vec::new();
        let Some(table) = self.table(value) else { return fields };
        if table.is_empty() {
            self.report(value.span(), format!("`{kind}` is empty"));
        }
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let known = FieldName::BY_KEY.iter().find(|(known, _)| *known == name);
            let Some(&(_, field)) = known else {
                let known = FieldName::BY_KEY.map(|(name, _)| name).join(", ");
                let message = format!("unknown key `{kind}.{name}`; expected one of {known}");
                self.report(key.span(), message);
                continue;
            };
            match value.get_ref() {
                DeValue::Array(values) if values.is_empty() => {
                    self.report(value.span(), format!("`{kind}.{name}` is empty"));
                }
                DeValue::Array(values) => {
                    fields.extend(
                        values.iter().filter_map(|value| Some((field, locator(self, value)?))),
                    );
                }
                _ => fields.extend(locator(self, value).map(|locator| (field, locator))),
            }
        }
        fields
    }

    fn locator(&mut self, value: &Value<'_>) -> Option<Locator> {
        let DeValue::Table(table) = value.get_ref() else {
            let selector = self.selector(value)?;
            return Some(Locator { selector, attribute: None, pointer: None });
        };
        let (mut selector, mut attribute, mut pointer) = (None, None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "selector" => selector = self.selector(value),
                "attribute" => attribute = self.attribute(value),
                "pointer" => pointer = self.pointer(value),
                other => {
                    let message =
                        format!("unknown key `{other}`; expected selector, attribute or pointer");
                    self.report(key.span(), message);
                }
            }
        }
        if !table.keys().any(|key| key.get_ref() == "selector") {
            self.report(value.span(), "`selector` is missing");
        }
        Some(Locator { selector: selector?, attribute, pointer })
    }

    fn attribute(&mut self, value: &Value<'_>) -> Option<String> {
        let name = self.string(value)?.trim();
        if name.is_empty() {
            self.report(value.span(), "`attribute` is empty");
        }
        Some(name.to_ascii_lowercase())
    }

    fn selector(&mut self, value: &Value<'_>) -> Option<Selector> {
        let text = self.string(value)?;
        match text.parse() {
            Ok(selector) => Some(selector),
            Err(error) => {
                self.report(value.span(), format!("`{text}` is not a supported selector: {error}"));
                None
            }
        }
    }

    fn pointer(&mut self, value: &Value<'_>) -> Option<String> {
        let text = self.string(value)?;
        let has_valid_escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if !(text.starts_with('/') && has_valid_escapes) {
            self.report(
                value.span(),
                format!("`{text}` is not a JSON pointer; write one such as /product/price"),
            );
            return None;
        }
        Some(text.to_owned())
    }

    fn table<'v, 'a>(&mut self, value: &'v Value<'a>) -> Option<&'v DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.report(
                value.span(),
                format!("expected a table, found {}", value.get_ref().type_str()),
            );
        }
        table
    }

    fn string<'v>(&mut self, value: &'v Value<'_>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.report(
                value.span(),
                format!("expected a string, found {}", value.get_ref().type_str()),
            );
        }
        text
    }
}

#[cfg(test)]
mod tests;
