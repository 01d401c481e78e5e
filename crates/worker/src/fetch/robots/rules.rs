//! The rules of a robots.txt for one crawler (RFC 9309, section 2.2).

use std::time::Duration;

use super::pattern::{Path, Pattern, Patterns};
use super::product_token;

/// The longest line that is read, in bytes; the rest of a longer one is ignored. Google's parser
/// has the same limit: eight times the longest URL of old browsers.
const MAX_LINE: usize = 8 * 2083 - 1;

/// The rules for one crawler.
#[derive(Default)]
pub(crate) struct Rules {
    patterns: Patterns,
    rules: Vec<Rule>,
    crawl_delay: Option<Duration>,
}

struct Rule {
    pattern: Pattern,
    allows: bool,
}

/// A line that says something.
enum Record<'a> {
    UserAgent(&'a [u8]),
    Rule { allows: bool, pattern: &'a [u8] },
    CrawlDelay(Duration),
}

/// What a group of the file says: lines of user agents, and the rules for them.
#[derive(Default)]
struct Group<'a> {
    /// Whether it names any crawler. What comes before the first name belongs to no group.
    has_agents: bool,
    /// Whether it names ours.
    is_ours: bool,
    /// Whether it is for all crawlers.
    is_for_all: bool,
    rules: Vec<(bool, &'a [u8])>,
    crawl_delay: Option<Duration>,
    /// Whether a rule has come, even an empty one: the next user agent then begins another group.
    has_rules: bool,
}

/// The groups that matter, each kind as one.
#[derive(Default)]
struct Merged<'a> {
    ours: Option<Group<'a>>,
    for_all: Option<Group<'a>>,
}

impl Rules {
    /// Everything is allowed.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// The rules for a product token: those of all groups that name it, else of all groups for `*`.
    pub(crate) fn parse(file: &[u8], token: &str) -> Self {
        let mut merged = Merged::default();
        let mut group = Group::default();
        for record in records(file) {
            match record {
                Record::UserAgent(value) => {
                    if group.has_rules {
                        merged.add(&std::mem::take(&mut group));
                    }
                    group.has_agents = true;
                    group.is_ours |= names(value, token);
                    group.is_for_all |= is_star(value);
                }
                Record::Rule { allows, pattern } => group.add_rule(allows, pattern),
                // Does not end the lines of user agents: it is no rule.
                Record::CrawlDelay(delay) if group.has_agents => group.slow_down(Some(delay)),
                Record::CrawlDelay(_) => {}
            }
        }
        merged.add(&group);
        merged.ours.or(merged.for_all).map(Group::compile).unwrap_or_default()
    }

    /// Whether a path, with its query, may be fetched: the most specific rule decides, and of two
    /// equally specific ones the one that allows it.
    pub(crate) fn allow(&self, path: &str) -> bool {
        if path == "/robots.txt" {
            return true;
        }
        let path = Path::new(path);
        self.rules
            .iter()
            .filter(|rule| self.patterns.matches(&rule.pattern, &path))
            .max_by_key(|rule| (rule.pattern.octets, rule.allows))
            .is_none_or(|rule| rule.allows)
    }

    pub(super) fn crawl_delay(&self) -> Option<Duration> {
        self.crawl_delay
    }

    /// The memory of the rules, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.patterns.bytes() + self.rules.capacity() * size_of::<Rule>()
    }

    fn add(&mut self, allows: bool, pattern: &[u8]) {
        if let Some(pattern) = self.patterns.add(pattern) {
            self.rules.push(Rule { pattern, allows });
        }
    }
}

impl<'a> Merged<'a> {
    fn add(&mut self, group: &Group<'a>) {
        if group.is_ours {
            self.ours.get_or_insert_default().add(group);
        }
        if group.is_for_all {
            self.for_all.get_or_insert_default().add(group);
        }
    }
}

impl<'a> Group<'a> {
    fn add_rule(&mut self, allows: bool, pattern: &'a [u8]) {
        self.has_rules = true;
        if self.is_ours || self.is_for_all {
            self.rules.push((allows, pattern));
        }
    }

    /// Keeps the longest delay.
    fn slow_down(&mut self, delay: Option<Duration>) {
        self.crawl_delay = self.crawl_delay.max(delay);
    }

    fn add(&mut self, other: &Group<'a>) {
        self.rules.extend_from_slice(&other.rules);
        self.slow_down(other.crawl_delay);
    }

    fn compile(self) -> Rules {
        let mut rules = Rules { crawl_delay: self.crawl_delay, ..Rules::none() };
        for (allows, pattern) in self.rules {
            rules.add(allows, pattern);
            // As in Google's parser: a rule that allows an index page allows its folder, too.
            if let (true, Some(folder)) = (allows, folder_of_index(pattern)) {
                rules.add(true, &[folder, b"$"].concat());
            }
        }
        rules.patterns.shrink_to_fit();
        rules.rules.shrink_to_fit();
        rules
    }
}

/// The folder of a pattern for `index.html` or `index.htm`, with its slash.
fn folder_of_index(pattern: &[u8]) -> Option<&[u8]> {
    let slash = memchr::memrchr(b'/', pattern)?;
    pattern[slash..].starts_with(b"/index.htm").then_some(&pattern[..=slash])
}

/// Whether the value of a `User-agent` line names a product token. What follows the name, such as a
/// version, does not count.
fn names(value: &[u8], token: &str) -> bool {
    let ascii = value.split(|byte| !byte.is_ascii()).next().unwrap_or_default();
    let text = std::str::from_utf8(ascii).unwrap_or_default();
    product_token::prefix(text).eq_ignore_ascii_case(token)
}

/// Whether the value of a `User-agent` line addresses all crawlers.
fn is_star(value: &[u8]) -> bool {
    matches!(value, [b'*'] | [b'*', b' ' | b'\t', ..])
}

/// The lines that say something. Lines of other kinds, such as `Sitemap`, are skipped, so that they
/// change nothing about those around them.
fn records(file: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    file.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(record)
}

fn record(line: &[u8]) -> Option<Record<'_>> {
    let line = &line[..line.len().min(MAX_LINE)];
    let (key, value) = key_and_value(line.split(|byte| *byte == b'#').next()?.trim_ascii())?;
    let is = |names: &[&str]| names.iter().any(|name| key.eq_ignore_ascii_case(name.as_bytes()));
    // With the misspellings that Google's parser accepts: their meaning is clear.
    if is(&["user-agent", "useragent", "user agent"]) {
        Some(Record::UserAgent(value))
    } else if is(&["allow"]) {
        Some(Record::Rule { allows: true, pattern: value })
    } else if is(&["disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"]) {
        Some(Record::Rule { allows: false, pattern: value })
    } else if is(&["crawl-delay", "crawldelay", "crawl delay"]) {
        seconds(value).map(Record::CrawlDelay)
    } else {
        None
    }
}

/// The parts of a line around its colon. Where it has none, two words.
fn key_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(colon) = memchr::memchr(b':', line) {
        return Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()));
    }
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (key, value) = (words.next()?, words.next()?);
    words.next().is_none().then_some((key, value))
}

/// A number of seconds, with whatever follows it. A nonsensical number is `None`.
fn seconds(value: &[u8]) -> Option<Duration> {
    let end = value.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'.'));
    let number = std::str::from_utf8(&value[..end.unwrap_or(value.len())]).ok()?;
    Duration::try_from_secs_f64(number.parse().ok()?).ok()
}

#[cfg(test)]
mod tests;
