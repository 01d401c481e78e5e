//! Phrases that are searched for in short texts, all of them at once.

use aho_corasick::AhoCorasick;

/// Phrases in lower case.
pub(super) struct Phrases {
    automaton: AhoCorasick,
    /// Whether each phrase starts and ends with a letter that a word could continue.
    ends: Vec<(bool, bool)>,
}

/// Where a text has a phrase.
pub(super) struct Match {
    /// The index of the phrase.
    pub(super) phrase: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Phrases {
    /// `phrases` are not empty, and in lower case.
    #[expect(
        clippy::expect_used,
        reason = "the phrases are constants, and every test of this folder builds them"
    )]
    pub(super) fn new<'a>(phrases: impl IntoIterator<Item = &'a str>) -> Self {
        let phrases: Vec<&str> = phrases.into_iter().collect();
        let is_letter = |c: Option<char>| c.is_some_and(can_continue);
        let ends = phrases
            .iter()
            .map(|phrase| (is_letter(phrase.chars().next()), is_letter(phrase.chars().next_back())))
            .collect();
        Self { automaton: AhoCorasick::new(phrases).expect("the automaton is small"), ends }
    }

    /// Returns the phrases in a lower-case text that are not a part of longer words. Scripts
    /// without spaces have no such boundaries.
    pub(super) fn find<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Match> + 't {
        let found = self.automaton.find_overlapping_iter(text).filter(|found| {
            let (starts, ends) = self.ends[found.pattern().as_usize()];
            let before = text[..found.start()].chars().next_back();
            let after = text[found.end()..].chars().next();
            let is_part = starts && before.is_some_and(can_continue)
                || ends && after.is_some_and(can_continue);
            !is_part
        });
        found.map(|found| Match {
            phrase: found.pattern().as_usize(),
            start: found.start(),
            end: found.end(),
        })
    }

    /// Whether a lower-case text has one of the phrases.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.find(text).next().is_some()
    }
}

/// Whether a character is a letter of a script that separates words: those up to Thai.
fn can_continue(c: char) -> bool {
    c.is_alphabetic() && c < '\u{e00}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_whole_words() {
        let phrases = Phrases::new(["was", "off", "原价", "/kg"]);
        for (text, expected) in [
            ("was 5", true),
            ("it was", true),
            ("washing", false),
            ("5 off", true),
            ("coffee", false),
            ("商品原价是", true),
            ("5 €/kg", true),
            ("5 €/kgs", false),
            ("", false),
        ] {
            assert_eq!(phrases.are_in(text), expected, "{text}");
        }
    }
}
