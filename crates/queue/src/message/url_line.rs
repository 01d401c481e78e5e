//! Lines that are a URL alone.
//!
//! Commas, semicolons and bars may stand in a URL (RFC 3986, 3.3; the WHATWG URL standard), and
//! white space may be encoded. They may just as well separate the URL from another cell. A line is
//! taken whole if nothing speaks for cells, and rejected if something does: a wrong URL would be
//! fetched without a word.

use super::typed::is_padding;

/// What a URL may contain, and what also separates cells.
const SEPARATORS: [char; 3] = [',', ';', '|'];
/// Separators of other scripts.
const OTHER_SEPARATORS: [char; 6] = ['，', '、', '；', '｜', '،', '؛'];
/// Signs that begin a remark or end a sentence. Titles in a URL of such a script have them as well,
/// so they are doubted behind ASCII only.
const SIGNS: [char; 13] = ['：', '（', '【', '「', '。', '！', '？', '؟', '…', '→', '•', '¦', '¶'];

/// Why it is not clear where the URL of a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Another URL begins behind a separator, or where a separator is lost.
    #[error("a second URL follows it")]
    SecondUrl,
    /// White space inside the line.
    #[error("the line contains white space")]
    WhiteSpace,
    /// A quote inside the line.
    #[error("the line contains a quote")]
    Quote,
    /// Nothing follows the separator.
    #[error("the line ends with a separator")]
    EndsWithSeparator,
    /// What follows the separator does not look like part of a URL.
    #[error("`{0}` may separate cells")]
    Separator(char),
    /// A sign that stands rather behind a URL than in it.
    #[error("`{0}` may not be a part of it")]
    Sign(char),
    /// Dots at the end.
    #[error("it ends with dots, so that it may be shortened")]
    Shortened,
}

/// Lines of one list, of which each is taken for a URL. The default knows nothing of other lines,
/// so it takes a separator inside a line for a part of the URL.
#[derive(Debug, Default)]
pub struct UrlLines {
    /// Whether the line is one of a list, in which some lines may have further cells.
    is_list: bool,
    /// Separators that may separate cells: they stand in most lines equally often, or a number
    /// follows the last one.
    doubtful: Vec<char>,
}

impl UrlLines {
    /// Cells of a table: their separators mean nothing, unless a name or a value follows.
    pub fn cells() -> Self {
        Self { is_list: true, doubtful: Vec::new() }
    }

    /// Learns from the first lines.
    pub fn learn<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> Self {
        let lines = lines.map(str::trim).filter(|line| begins_with_scheme(line));
        let total = lines.clone().count();
        let is_doubtful = |separator: &char| {
            let mut counts: Vec<usize> =
                lines.clone().map(|line| line.matches(*separator).count()).collect();
            counts.sort_unstable();
            let mut alike = counts.chunk_by(|one, other| one == other);
            let numbers = lines.clone().filter(|line| precedes_number(line, *separator)).count();
            alike.any(|alike| alike[0] > 0 && 2 * alike.len() > total) || 2 * numbers > total
        };
        Self { is_list: true, doubtful: SEPARATORS.into_iter().filter(is_doubtful).collect() }
    }

    /// Why it is not clear where the URL of a line ends; `None` if it is.
    pub fn doubt(&self, line: &str) -> Option<Doubt> {
        if has_second_url(line) {
            return Some(Doubt::SecondUrl);
        }
        if line.contains(char::is_whitespace) {
            return Some(Doubt::WhiteSpace);
        }
        if line.contains('"') {
            return Some(Doubt::Quote);
        }
        self.doubt_end(line, |_| false)
    }

    /// Why something else may follow the URL that a text begins with; `None` if nothing does.
    /// Separators of which `is_part` is true are known to be a part of the URL.
    pub fn doubt_end(&self, text: &str, is_part: impl Fn(char) -> bool) -> Option<Doubt> {
        if text.ends_with(SEPARATORS) && !text.ends_with(&is_part) {
            return Some(Doubt::EndsWithSeparator);
        }
        let is_doubtful = |separator: &char| {
            let Some((before, last)) = text.rsplit_once(*separator) else { return false };
            let may_be_cell = || {
                *separator == '|'
                    || text.split(*separator).skip(1).any(is_name)
                    || is_value(last) && !are_coordinates(before, last)
            };
            !is_part(*separator)
                && !is_rest_of_url(last)
                && (self.doubtful.contains(separator) || self.is_list && may_be_cell())
        };
        let doubt = SEPARATORS.into_iter().find(is_doubtful).map(Doubt::Separator);
        doubt.or_else(|| self.is_list.then(|| doubt_sign(text)).flatten())
    }
}

/// Why what follows a URL without a separator of cells may be something else.
fn doubt_sign(text: &str) -> Option<Doubt> {
    if text.ends_with('…') || text.ends_with("...") {
        return Some(Doubt::Shortened);
    }
    if text.ends_with('。') {
        return Some(Doubt::Sign('。'));
    }
    if has_glued_host(text) {
        return Some(Doubt::SecondUrl);
    }
    if text.is_ascii() {
        return None;
    }
    if let Some(separator) = text.chars().find(|c| OTHER_SEPARATORS.contains(c)) {
        return Some(Doubt::Separator(separator));
    }
    let pairs = text.chars().zip(text.chars().skip(1));
    let mut signs = pairs.filter(|(before, sign)| before.is_ascii() && SIGNS.contains(sign));
    signs.next().map(|(_, sign)| Doubt::Sign(sign))
}

/// Whether `www.` and a host stand directly behind a character of a path: a line end is lost.
fn has_glued_host(text: &str) -> bool {
    text.match_indices("www.").any(|(start, name)| {
        let (before, behind) = (&text[..start], &text[start + name.len()..]);
        before.split('/').nth(3).is_some()
            && before.ends_with(|c: char| c.is_ascii_alphanumeric())
            && behind.split(['/', '?', '#']).next().is_some_and(is_host)
    })
}

/// Whether a line is a comment, and not a number such as `#1` before a URL.
pub fn is_comment(line: &str) -> bool {
    let is_number =
        |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains("://");
    line.strip_prefix('#').is_some_and(|rest| !is_number(rest))
}

/// Whether a text begins like a URL that can be fetched.
pub fn begins_with_scheme(text: &str) -> bool {
    let text = text.trim_start_matches(is_padding);
    let begins_with = |scheme: &str| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    begins_with("http://") || begins_with("https://")
}

/// Whether another URL begins behind a URL, and not inside it.
pub fn has_second_url(text: &str) -> bool {
    let text = text.trim_start_matches(is_padding);
    begins_with_scheme(text)
        && text.match_indices(':').any(|(colon, _)| {
            let before = without_scheme(&text[..colon]);
            text[colon..].starts_with("://")
                && before.is_some_and(|before| !before.is_empty() && !may_precede_url(before))
        })
}

/// What stands before the scheme that ends a text; `None` if the text does not end with one.
fn without_scheme(text: &str) -> Option<&str> {
    ["https", "http"].into_iter().find_map(|scheme| {
        let (before, end) = text.split_at_checked(text.len().checked_sub(scheme.len())?)?;
        end.eq_ignore_ascii_case(scheme).then_some(before)
    })
}

/// Whether a text may be the beginning of a URL that has another URL in its path or its query.
/// Behind anything else, a separator or a line end may be lost.
fn may_precede_url(text: &str) -> bool {
    let ends_with_escape = text.len().checked_sub(3).and_then(|start| text.get(start..));
    text.ends_with(['/', '=', ':', '?', '&']) || ends_with_escape.is_some_and(has_escape)
}

/// Whether a number follows the last separator of a line, such as a price.
fn precedes_number(line: &str, separator: char) -> bool {
    line.rsplit_once(separator)
        .is_some_and(|(_, last)| !is_rest_of_url(last) && !last.contains(char::is_alphabetic))
}

/// Whether a text behind a separator is rather a part of a URL than a cell.
fn is_rest_of_url(text: &str) -> bool {
    const PAGES: [&str; 5] = [".html", ".htm", ".php", ".aspx", ".jsp"];
    // Base64 ends with `=`.
    let has_parameter = text.trim_end_matches('=').contains('=');
    let is_part =
        has_parameter || has_escape(text) || PAGES.iter().any(|page| text.ends_with(page));
    is_part && !is_address(text)
}

/// Whether a text is a path or a URL without its scheme, so that it stands for itself.
fn is_address(text: &str) -> bool {
    text.starts_with('/')
        || text.starts_with("www.")
        || text.split_once('/').is_some_and(|(host, _)| is_host(host))
}

fn is_host(host: &str) -> bool {
    host.rsplit_once('.')
        .is_some_and(|(_, top)| top.len() > 1 && top.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// Whether a cell beside a URL may be a part of it that a delimiter inside the URL has cut off.
pub fn may_continue_url(url: &str, cell: &str) -> bool {
    is_rest_of_url(cell) || are_coordinates(url, cell)
}

/// Whether a text ends with a coordinate, and another one begins behind the separator after it.
fn are_coordinates(before: &str, behind: &str) -> bool {
    let number = before.rsplit(['/', '@', '=']).next().unwrap_or_default();
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit() || b".,-".contains(&byte));
    let is_marked = before.strip_suffix(number).is_some_and(|before| before.ends_with('@'));
    let is_coordinate = !number.is_empty() && (is_marked || number.contains('.'));
    let behind = behind.strip_prefix('-').unwrap_or(behind);
    is_number && is_coordinate && behind.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether a text is a price, a date, a percentage or a number with a sign.
fn is_value(text: &str) -> bool {
    const UNITS: [char; 5] = ['€', '$', '£', '¥', '%'];
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_price = text
        .split_once(['.', ','])
        .is_some_and(|(whole, cents)| cents.len() == 2 && are_digits(whole) && are_digits(cents));
    let date: Vec<&str> = text.split(['-', '.']).collect();
    let is_date = date.len() == 3
        && date.iter().all(|part| are_digits(part))
        && date.iter().any(|part| part.len() == 4);
    let is_order = text.strip_prefix('#').is_some_and(are_digits);
    is_price || is_date || is_order || text.starts_with(UNITS) || text.ends_with(UNITS)
}

/// Whether a text behind a separator is a name or another address, unlike a number or a coordinate.
fn is_name(text: &str) -> bool {
    let are_letters = |pair: &[char]| pair.iter().all(|c| c.is_alphabetic());
    let characters: Vec<char> = text.chars().collect();
    !is_rest_of_url(text) && (is_address(text) || characters.windows(2).any(are_letters))
}

/// Whether a text has an encoded byte such as `%2F`. A price may have a bare `%`.
fn has_escape(text: &str) -> bool {
    text.as_bytes()
        .windows(3)
        .any(|part| part[0] == b'%' && part[1..].iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_url_is_one_that_does_not_stand_inside_the_first_one() {
        for text in [
            "https://a.example/1https://a.example/2",
            "https://a.example/1\u{feff}https://a.example/2",
            "https://a.example/1^https://a.example/2",
            "https://a.example/1>http://a.example/2",
            "https://a.example/1#https://a.example/2",
            "https://a.example/1)https://a.example/2",
            "https://a.example/1,HTTPS://A.EXAMPLE/2",
            "HTTP://a.example/1; Https://a.example/2",
            "https://a.example/1-https://b.example/?u=https://c.example/",
        ] {
            assert!(has_second_url(text), "{text}");
        }
        for text in [
            "https://a.example/?next=https://b.example/&also=http://c.example",
            "https://a.example/web/2020/HTTPS://b.example/",
            "https://a.example/?https://b.example/",
            "https://a.example/?x&https://b.example/",
            "https://a.example/cache:https://b.example/",
            "https://a.example/?u%3dhttps://b.example/",
            "\u{200f} https://a.example/xhttps:/",
            "* https://a.example/1",
            "Tea: https://a.example/1",
        ] {
            assert!(!has_second_url(text), "{text}");
        }
    }

    #[test]
    fn a_number_before_a_url_begins_no_comment() {
        for line in
            ["#", "# 1. pages of https://a.example/", "#https://a.example/1", "#1", "#2026 x"]
        {
            assert!(is_comment(line), "{line}");
        }
        for line in ["#1 https://a.example/1", "#1001: https://a.example/1", "https://a.example/#"]
        {
            assert!(!is_comment(line), "{line}");
        }
    }

    #[test]
    fn a_cell_beside_a_url_may_be_a_part_of_it() {
        for (url, cell, may_continue) in [
            ("https://a.example/p", "id=17", true),
            ("https://a.example/tea", "17.html", true),
            ("https://a.example/map/@52.5", "13.4", true),
            ("https://a.example/map/@52", "13.4,17z", true),
            ("https://a.example/?ll=52.5", "-13.4", true),
            ("https://a.example/p/2", "12.90", false),
            ("https://a.example/p/2", "Tea", false),
            ("https://a.example/@ann", "7", false),
            ("https://a.example/tea", "/jam.html", false),
            ("é", "1", false),
        ] {
            assert_eq!(may_continue_url(url, cell), may_continue, "{url} {cell}");
        }
    }

    #[test]
    fn a_name_behind_a_separator_is_doubted_in_whichever_line_it_stands() {
        let doubts = |list: &str| {
            let rule = UrlLines::learn(list.lines());
            list.lines().filter(|line| rule.doubt(line).is_some()).count()
        };
        for (list, doubted) in [
            ("https://a.example/1,Tea\nhttps://a.example/2,Jam,sweet\nhttps://a.example/3", 2),
            ("https://a.example/1,red,green\nhttps://a.example/2,blue", 2),
            ("https://a.example/1\nhttps://a.example/2\nhttps://a.example/3|Tee, grün", 1),
            ("https://a.example/1\nhttps://a.example/2\nhttps://a.example/3;Jam;2", 1),
            ("https://a.example/1\nhttps://a.example/2\nhttps://a.example/3,7Up", 1),
            ("https://a.example/1,/tea.html\nhttps://a.example/2,/new?id=1", 2),
            ("https://a.example/1\nhttps://a.example/2\nhttps://a.example/3,/p?id=1", 1),
            ("https://a.example/1|www.b.example/p?id=2\nhttps://a.example/2", 1),
            ("https://a.example/1,b.example/p?id=2\nhttps://a.example/2", 1),
            ("https://a.example/1,aGVsbG8=\nhttps://a.example/2,d29ybGQ=", 2),
            ("https://a.example/1,2.90\nhttps://a.example/x,2,3\nhttps://a.example/y,z,4,7", 3),
            ("https://a.example/x,y,z\nhttps://a.example/?t=a,b,c,d\nhttps://a.example/@3,4", 0),
            ("https://a.example/@34.66,-86.57,17z\nhttps://a.example/1", 0),
            ("https://a.example/a,b\nhttps://a.example/1\nhttps://a.example/2", 0),
            ("https://a.example/p;jsessionid=a7f;x=1\nhttps://a.example/2", 0),
            ("https://a.example/tea,green,12.html\nhttps://a.example/2", 0),
            ("https://a.example/1\nhttps://a.example/2\nhttps://a.example/3;12.90", 1),
            ("https://a.example/1\nhttps://a.example/2\nhttps://a.example/3;12,90€", 1),
            ("https://a.example/1\nhttps://a.example/2\nhttps://a.example/3,#4711", 1),
            ("https://a.example/1\nhttps://a.example/2\nhttps://a.example/3;2026-12-01", 1),
            ("https://a.example/1\nhttps://a.example/2\nhttps://a.example/3|x", 1),
            ("https://a.example/@52.52,13.40\nhttps://a.example/1\nhttps://a.example/2", 0),
            ("https://a.example/?ll=52.52,13.40\nhttps://a.example/1\nhttps://a.example/2", 0),
            ("https://a.example/1，红茶\nhttps://a.example/2，", 2),
            ("https://a.example/1；红茶\nhttps://a.example/1、红茶\nhttps://a.example/1｜红茶", 3),
            ("https://a.example/1،شاي\nhttps://a.example/2؛شاي", 2),
            ("https://a.example/1：红茶\nhttps://a.example/1（新）\nhttps://a.example/1。", 3),
            ("https://a.example/wiki/红茶（饮料）\nhttps://a.example/wiki/维基：红茶", 0),
            ("https://a.example/1…\nhttps://a.example/2...\nhttps://a.example/3→Tea", 3),
            ("https://a.example/1www.b.example/2\nhttps://a.example/www.b.example/2", 1),
        ] {
            assert_eq!(doubts(list), doubted, "{list}");
        }
        // A message that is one bare URL is no list.
        for url in
            ["https://a.example/1,Tea", "https://a.example/1;12.90", "https://a.example/1：x"]
        {
            assert_eq!(UrlLines::default().doubt(url), None);
        }
    }
}
