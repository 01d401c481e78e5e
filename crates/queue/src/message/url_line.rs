//! Lines that are a URL alone.
//!
//! Commas, semicolons and bars may stand in a URL (RFC 3986, 3.3; the WHATWG URL standard), and
//! white space may be encoded. They may just as well separate the URL from another cell. A line is
//! taken whole if nothing speaks for cells, and rejected if something does: a wrong URL would be
//! fetched without a word.

/// What a URL may contain, and what also separates cells.
const SEPARATORS: [char; 3] = [',', ';', '|'];

/// Why it is not clear where the URL of a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Behind a separator, another URL begins.
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
}

/// Lines of one list, of which each is taken for a URL. The default knows nothing of other lines.
#[derive(Debug, Default)]
pub struct UrlLines {
    /// Separators that stand in most lines, equally often: they may separate cells.
    doubtful: Vec<char>,
}

impl UrlLines {
    /// Learns from the first lines.
    pub fn learn<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> Self {
        let lines = lines.map(str::trim).filter(|line| begins_with_scheme(line));
        let total = lines.clone().count();
        let is_doubtful = |separator: &char| {
            let mut counts: Vec<usize> =
                lines.clone().map(|line| line.matches(*separator).count()).collect();
            counts.sort_unstable();
            let mut alike = counts.chunk_by(|one, other| one == other);
            alike.any(|alike| alike[0] > 0 && 2 * alike.len() > total)
        };
        Self { doubtful: SEPARATORS.into_iter().filter(is_doubtful).collect() }
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
        if line.ends_with(SEPARATORS) {
            return Some(Doubt::EndsWithSeparator);
        }
        let is_doubtful = |separator: &&char| {
            line.rsplit_once(**separator).is_some_and(|(_, rest)| !is_rest_of_url(rest))
        };
        self.doubtful.iter().find(is_doubtful).copied().map(Doubt::Separator)
    }
}

/// Whether a text begins like a URL that can be fetched.
pub fn begins_with_scheme(text: &str) -> bool {
    let begins_with = |scheme: &str| {
        text.trim_start()
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    begins_with("http://") || begins_with("https://")
}

/// Whether another URL begins behind a separator.
pub fn has_second_url(text: &str) -> bool {
    let follows_separator = |(start, _): (usize, &str)| {
        text[..start].ends_with(|c: char| SEPARATORS.contains(&c) || c.is_whitespace())
    };
    let trimmed = text.trim_start().len();
    let second = text.match_indices("http").filter(|(start, _)| *start > text.len() - trimmed);
    let mut second = second.filter(|(start, _)| begins_with_scheme(&text[*start..]));
    second.any(follows_separator)
}

/// Whether a text behind a separator is rather a part of a URL than a cell.
fn is_rest_of_url(text: &str) -> bool {
    const PAGES: [&str; 5] = [".html", ".htm", ".php", ".aspx", ".jsp"];
    text.contains('=') || has_escape(text) || PAGES.iter().any(|page| text.ends_with(page))
}

/// Whether a text has an encoded byte such as `%2F`. A price may have a bare `%`.
fn has_escape(text: &str) -> bool {
    text.as_bytes()
        .windows(3)
        .any(|part| part[0] == b'%' && part[1..].iter().all(u8::is_ascii_hexdigit))
}
