//! Patterns of robots.txt, and the paths that they match (RFC 9309, sections 2.2.2 and 2.2.3).
//!
//! Both sides are brought to one canonical form and compared octet by octet. In that form every
//! octet stands for itself, however it was written, with these exceptions, which are escaped:
//!
//! - `%`, which begins an escape.
//! - `*`, so that an unescaped `*` of a pattern is always a wildcard.
//! - `/` and `?` that were escaped before the query: there they delimit nothing, so that `/a%2Fb`
//!   is not `/a/b`. In a query neither delimits anything, and both forms are the same.

use std::ops::Range;

use memchr::memmem;

/// The part of a URL that patterns match: its path and query.
pub(super) struct Path {
    text: Vec<u8>,
    /// The form with the delimiters of the query escaped, for patterns that escape a delimiter
    /// without saying whether they mean the query.
    escaped: Vec<u8>,
}

/// Patterns, of which a file may have tens of thousands, in one piece of memory.
#[derive(Default)]
pub(super) struct Patterns {
    text: Vec<u8>,
}

/// One pattern of [`Patterns`].
pub(super) struct Pattern {
    text: Range<usize>,
    /// Whether it ends with `$`: the path has to end there.
    is_anchored: bool,
    /// Whether it escapes a `/` or `?`, and has no query.
    may_mean_query: bool,
    /// The more octets, the more specific it is.
    pub(super) octets: usize,
}

impl Path {
    /// From a path that begins with `/`, with its query and without a fragment.
    pub(super) fn new(path: &str) -> Self {
        let (mut text, mut escaped) = (Vec::new(), Vec::new());
        let mut in_query = false;
        for (octet, was_escaped) in octets(path.as_bytes()) {
            if octet == b'?' && !was_escaped && !in_query {
                in_query = true;
                text.push(octet);
                escaped.push(octet);
                continue;
            }
            push(&mut text, octet, was_escaped && !in_query);
            push(&mut escaped, octet, was_escaped || in_query);
        }
        Self { text, escaped }
    }
}

impl Patterns {
    /// Adds a pattern. `None` where it is empty: it then matches nothing.
    pub(super) fn add(&mut self, written: &[u8]) -> Option<Pattern> {
        let (is_anchored, written) = match written.strip_suffix(b"$") {
            Some(rest) => (true, rest),
            None => (false, written),
        };
        if written.is_empty() {
            return None;
        }
        let start = self.text.len();
        let (mut in_query, mut escapes) = (false, false);
        for (octet, was_escaped) in octets(written) {
            if octet == b'*' && !was_escaped {
                self.text.push(octet);
                continue;
            }
            in_query |= octet == b'?' && !was_escaped;
            escapes |= was_escaped && is_delimiter(octet) && !in_query;
            push(&mut self.text, octet, was_escaped && !in_query);
        }
        let text = start..self.text.len();
        let in_canonical = &self.text[text.clone()];
        // Each octet outside ASCII counts as its escape, whose three octets stand for it in a URL.
        let octets = in_canonical.len() + 2 * in_canonical.iter().filter(|b| !b.is_ascii()).count();
        Some(Pattern {
            text,
            is_anchored,
            may_mean_query: escapes && !in_query,
            octets: octets + usize::from(is_anchored),
        })
    }

    pub(super) fn matches(&self, pattern: &Pattern, path: &Path) -> bool {
        let text = &self.text[pattern.text.clone()];
        matches(text, pattern.is_anchored, &path.text)
            || (pattern.may_mean_query && matches(text, pattern.is_anchored, &path.escaped))
    }

    /// The memory of the patterns, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.text.capacity()
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
    }
}

/// Finds each piece between wildcards as early as possible, which takes time in proportion to the
/// path, whatever the pattern.
fn matches(pattern: &[u8], is_anchored: bool, path: &[u8]) -> bool {
    let mut pieces = pattern.split(|octet| *octet == b'*').peekable();
    let Some(mut rest) = pieces.next().and_then(|first| path.strip_prefix(first)) else {
        return false;
    };
    if pieces.peek().is_none() {
        return !is_anchored || rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if is_anchored && pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = memmem::find(rest, piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

/// Decodes escapes. Each octet comes with whether it was escaped. A `%` that begins no escape
/// stands for itself.
fn octets(mut text: &[u8]) -> impl Iterator<Item = (u8, bool)> {
    std::iter::from_fn(move || {
        let (octet, was_escaped, rest) = match text {
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) * 16 + hex(*low), true, rest)
            }
            [octet, rest @ ..] => (*octet, false, rest),
            [] => return None,
        };
        text = rest;
        Some((octet, was_escaped))
    })
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        digit => digit.to_ascii_lowercase() - b'a' + 10,
    }
}

fn is_delimiter(octet: u8) -> bool {
    matches!(octet, b'/' | b'?')
}

/// Adds an octet in canonical form.
fn push(text: &mut Vec<u8>, octet: u8, escape_delimiter: bool) {
    match octet {
        b'%' => text.extend_from_slice(b"%25"),
        b'*' => text.extend_from_slice(b"%2A"),
        b'/' if escape_delimiter => text.extend_from_slice(b"%2F"),
        b'?' if escape_delimiter => text.extend_from_slice(b"%3F"),
        octet => text.push(octet),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_match(pattern: &str, path: &str) -> bool {
        let mut patterns = Patterns::default();
        let pattern = patterns.add(pattern.as_bytes());
        pattern.is_some_and(|pattern| patterns.matches(&pattern, &Path::new(path)))
    }

    #[test]
    fn the_examples_of_the_standard_match() {
        // RFC 9309, section 2.2.2, each way round.
        for (pattern, path) in [
            ("/foo/bar?baz=quz", "/foo/bar?baz=quz"),
            ("/foo/bar?baz=http://foo.bar", "/foo/bar?baz=http%3A%2F%2Ffoo.bar"),
            ("/foo/bar/\u{30c4}", "/foo/bar/%E3%83%84"),
            ("/foo/bar/%E3%83%84", "/foo/bar/%E3%83%84"),
            ("/foo/bar/%62%61%7A", "/foo/bar/baz"),
        ] {
            assert!(is_match(pattern, path), "{pattern} {path}");
            assert!(is_match(path, pattern), "{path} {pattern}");
        }
        // Section 2.2.3.
        for (pattern, path) in [
            ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html"),
            ("/path/file-with-a-%2A.html", "/path/file-with-a-%2a.html"),
            ("/path/foo-%24", "/path/foo-$"),
            ("/path/foo-%24", "/path/foo-%24x"),
        ] {
            assert!(is_match(pattern, path), "{pattern} {path}");
        }
        assert!(!is_match("/path/file-with-a-%2A.html", "/path/file-with-a-b.html"));
        assert!(!is_match("/path/foo-%24", "/path/foo-x"));
    }

    #[test]
    fn escaped_and_plain_octets_are_the_same() {
        for (pattern, path) in [
            ("/~joe", "/%7Ejoe/"),
            ("/%7ejoe", "/~joe/"),
            ("/caf\u{e9}", "/caf%C3%A9/menu"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a b", "/a%20b"),
            ("/{id}", "/%7Bid%7D"),
            ("/a%3Bb", "/a;b"),
            ("/%5Bx%5D", "/[x]"),
            ("/100%", "/100%25"),
            ("/100%25", "/100%25"),
            ("/*?next=%2Flogin", "/x?next=/login"),
            ("*next=/login", "/x?next=%2Flogin"),
            ("*next=%2Flogin", "/x?next=/login"),
            ("*next=%2Flogin", "/x?next=%2flogin"),
            ("/s?q=a%3Fb", "/s?q=a?b"),
        ] {
            assert!(is_match(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn an_escaped_delimiter_of_a_path_is_not_a_delimiter() {
        for (pattern, path) in [
            ("/a%2Fb", "/a/b"),
            ("/a/b", "/a%2Fb"),
            ("/a%3Fb", "/a?b"),
            ("/a?b", "/a%3Fb"),
            ("*%2Fb", "/a/b"),
        ] {
            assert!(!is_match(pattern, path), "{pattern} {path}");
        }
        assert!(is_match("/a%2Fb", "/a%2fb/c") && is_match("/a%3fb", "/a%3Fb"));
    }

    #[test]
    fn wildcards_stand_anywhere_and_a_dollar_only_at_the_end() {
        for (pattern, path, expected) in [
            ("/fish", "/fishheads/yummy.html?id=x", true),
            ("/fish", "/Fish.asp", false),
            ("/fish*", "/fish", true),
            ("/fish/", "/fish", false),
            ("*.php", "/windows.php?x", true),
            ("/*.php", "/windows.PHP", false),
            ("/*.php$", "/folder/file.php", true),
            ("/*.php$", "/file.php?x", false),
            ("/*.php$", "/file.php.php", true),
            ("/a**b", "/a-b", true),
            ("/*a*b*c", "/xaybzc", true),
            ("/*a*b*c", "/xaycz", false),
            ("/a*$", "/abc", true),
            ("/a$", "/a", true),
            ("/a$", "/ab", false),
            ("/a$b", "/a$b/c", true),
            ("/a$$", "/a$", true),
            ("/a$*c", "/a$bc", true),
            ("/*ab$", "/abab", true),
            ("/ab*ab$", "/ab", false),
            ("*", "/", true),
            ("/*/x", "/x", false),
            ("fish", "/fish", false),
            ("", "/", false),
            ("$", "/", false),
        ] {
            assert_eq!(is_match(pattern, path), expected, "{pattern} {path}");
        }
    }

    /// Matches as the standard describes it: tries every length of every wildcard.
    fn by_definition(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => true,
            [b'$'] => path.is_empty(),
            [b'*', rest @ ..] => (0..=path.len()).any(|skip| by_definition(rest, &path[skip..])),
            [octet, rest @ ..] => path.first() == Some(octet) && by_definition(rest, &path[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_its_definition_says(
            pattern in "/[ab*]{0,8}\\$?", path in "/[ab]{0,10}"
        ) {
            prop_assert_eq!(
                is_match(&pattern, &path),
                by_definition(pattern.as_bytes(), path.as_bytes())
            );
        }

        #[test]
        fn no_pattern_and_no_path_panics(pattern in ".*", path in "/.*") {
            is_match(&pattern, &path);
        }
    }
}
