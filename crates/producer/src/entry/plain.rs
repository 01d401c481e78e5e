//! Lists with one URL per line.
//!
//! Commas, semicolons and bars may stand in a URL (RFC 3986, 3.3; the WHATWG URL standard), and
//! white space may be encoded. They may just as well separate the URL from another cell. A line is
//! taken whole if nothing speaks for cells, and rejected if something does: a wrong URL would be
//! fetched without a word.

use super::record::{self, Record};

/// What a URL may contain, and what also separates cells.
const SEPARATORS: [char; 3] = [',', ';', '|'];

/// How to read the lines of a list.
#[derive(Debug, Default)]
pub(super) struct PlainText {
    /// Separators that stand in most lines, equally often: they may separate cells.
    doubtful: Vec<char>,
    /// Whether the user says that each line is a URL.
    is_certain: bool,
}

impl PlainText {
    /// Every line is a URL, whatever it contains.
    pub(super) fn certain() -> Self {
        Self { doubtful: Vec::new(), is_certain: true }
    }

    /// Learns from the first lines.
    pub(super) fn learn<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> Self {
        let lines = lines.map(str::trim).filter(|line| record::begins_with_scheme(line));
        let total = lines.clone().count();
        let is_doubtful = |separator: &char| {
            let counts: Vec<usize> =
                lines.clone().map(|line| line.matches(*separator).count()).collect();
            let alike = |count: usize| counts.iter().filter(|&&other| other == count).count();
            counts.iter().any(|&count| count > 0 && 2 * alike(count) > total)
        };
        let doubtful = SEPARATORS.into_iter().filter(is_doubtful).collect();
        Self { doubtful, is_certain: false }
    }

    pub(super) fn parse(&self, line: &str) -> Result<Record, String> {
        let url = record::parse_url(line)?;
        if !self.is_certain
            && let Some(doubt) = self.doubt(line)
        {
            return Err(format!(
                "it is not clear where the URL ends: {doubt}; if each line is one URL, say \
                 --format text; else quote the cells, or add headings"
            ));
        }
        Ok(url)
    }

    fn doubt(&self, line: &str) -> Option<String> {
        if line.contains(char::is_whitespace) {
            return Some("the line contains white space".to_owned());
        }
        if line.contains('"') {
            return Some("the line contains a quote".to_owned());
        }
        if line.ends_with(SEPARATORS) {
            return Some("the line ends with a separator".to_owned());
        }
        let is_doubtful = |separator: &&char| {
            line.rsplit_once(**separator).is_some_and(|(_, rest)| !is_rest_of_url(rest))
        };
        let separator = self.doubtful.iter().find(is_doubtful)?;
        Some(format!("`{separator}` may separate cells"))
    }
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
