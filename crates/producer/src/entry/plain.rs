//! Lists with one URL per line.

use fetchline_queue::{Doubt, UrlLines, begins_with_scheme, unwrapped};

use super::format::{is_file_name, trimmed};
use super::record::{self, Record};
use super::url_text;

/// How to read the lines of a list.
#[derive(Debug)]
pub(super) struct PlainText {
    /// `None` if the user says that each line is a URL.
    lines: Option<UrlLines>,
}

impl PlainText {
    /// Every line is a URL, whatever it contains.
    pub(super) fn certain() -> Self {
        Self { lines: None }
    }

    /// Whether the user says that each line is a URL.
    pub(super) fn is_certain(&self) -> bool {
        self.lines.is_none()
    }

    /// Learns from the first lines.
    pub(super) fn learn<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> Self {
        Self { lines: Some(UrlLines::learn(lines)) }
    }

    pub(super) fn parse(&self, line: &str) -> Result<Record, String> {
        let url = record::parse_certain_url(line)?;
        if let Some(lines) = &self.lines {
            check_end(lines, line)?;
            url_text::check(line)?;
            url_text::check_closed(line)?;
        }
        Ok(url)
    }
}

/// Refuses a line if it is not clear where its URL ends.
pub(super) fn check_end(lines: &UrlLines, line: &str) -> Result<(), String> {
    match lines.doubt(line) {
        None => Ok(()),
        Some(doubt) => Err(format!(
            "it is not clear where the URL ends: {doubt}; if each line is one URL, say \
             --format text; else quote the cells, or add headings"
        )),
    }
}

/// Refuses a cell that may hold more than its URL. Separators of which `is_part` is true are known
/// to be a part of the URL.
pub(super) fn check_cell(cell: &str, is_part: impl Fn(char) -> bool) -> Result<(), String> {
    let text = trimmed(cell);
    let doubt = match begins_with_scheme(text) {
        true if has_words(text) => Some(Doubt::WhiteSpace),
        true => UrlLines::cells().doubt_end(unwrapped(text), is_part),
        false => None,
    };
    match doubt {
        None => url_text::check_closed(text),
        Some(doubt) => Err(format!(
            "it is not clear where the URL ends: {doubt}; put what does not belong to it into a \
             cell of its own, or save the list as CSV and say --format csv if all of it does"
        )),
    }
}

/// Whether words follow a URL behind white space, unless that shows that the path or the query goes
/// on, as in `my file.jpg` or `?q=green tea&page=2`.
fn has_words(text: &str) -> bool {
    let Some((url, rest)) = text.split_once(char::is_whitespace) else { return false };
    let goes_on = match url.contains('?') {
        true => rest.contains(['&', '=']),
        false => rest.contains('/') || is_file_name(rest),
    };
    !goes_on
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a list that are taken.
    fn taken(list: &str) -> Vec<&str> {
        let plain = PlainText::learn(list.lines());
        let is_taken = |line: &&str| match plain.parse(line) {
            Ok(record) => record.request.address.as_str().ends_with(&line[line.len() - 3..]),
            Err(_) => false,
        };
        list.lines().filter(is_taken).collect()
    }

    #[test]
    fn a_url_with_separators_is_taken_whole_if_nothing_speaks_for_cells() {
        for list in [
            "https://a.example/chart?chs=500,500&c=1,2\nhttps://a.example/chart?chs=500,900&c=3",
            "https://a.example/p/17;colour=red?view=full\nhttps://a.example/p/17;colour=blue?v=f",
            "https://a.example/map/@34.66,-86.57,17z\nhttps://a.example/p/1",
            "https://a.example/tea,1234.html\nhttps://a.example/jam,1235.html",
            "https://a.example/tea,gr%C3%BCn\nhttps://a.example/tea,wei%C3%9F",
            "https://a.example/?family=Noto|Inter&x=1",
            "https://a.example/1\nhttps://a.example/2\nhttps://a.example/3,4",
        ] {
            assert_eq!(taken(list), list.lines().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_line_that_may_hold_a_second_cell_is_rejected() {
        for list in [
            "https://a.example/1,Tea",
            "https://a.example/1;Tea\nhttps://a.example/2;Jam",
            "https://a.example/1|12.90",
            "https://a.example/1,",
            "https://a.example/1 Tea",
            "https://a.example/1\tTea",
            "https://a.example/1,https://a.example/2",
            "https://a.example/1 https://a.example/2",
            "https://a.example/a,b\nhttps://a.example/c,d",
            "https://a.example/1,\"Tea\"",
            "https://a.example/1,#1001",
            "https://a.example/1,50%",
            "https://a.example/1,50% off",
            "https://a.example/1,R&D",
            "https://a.example/1;New?",
            "https://a.example/1,/tea.html\nhttps://a.example/2,/jam.html",
            "https://a.example/1,aGVsbG8=\nhttps://a.example/2,d29ybGQ=",
            "https://a.example/1,Tea\nhttps://a.example/2,Jam,sweet",
        ] {
            assert_eq!(taken(list), [""; 0], "{list}");
        }
        let reason = PlainText::learn(std::iter::empty()).parse("http://a.example/ x").unwrap_err();
        assert!(reason.contains("--format text"), "{reason}");
    }

    #[test]
    fn each_line_is_a_url_if_the_user_says_so() {
        for (line, url) in [
            ("https://a.example/1,Tea", "https://a.example/1,Tea"),
            ("https://a.example/a b", "https://a.example/a%20b"),
        ] {
            let record = PlainText::certain().parse(line).unwrap();
            assert_eq!(record.request.address.as_str(), url);
        }
    }
}
