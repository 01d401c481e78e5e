//! Words of a text, and lookup of words in lists.

/// Returns the word at the start of a text, after spaces.
pub(crate) fn first_word(text: &str) -> Option<&str> {
    text.trim_start().split(is_word_boundary).next()
}

/// Returns the word at the end of a text, before spaces.
pub(crate) fn last_word(text: &str) -> Option<&str> {
    text.trim_end().rsplit(is_word_boundary).next()
}

/// Whether a character ends a word. Superscript digits belong to units such as `m²`.
pub(crate) fn is_word_boundary(c: char) -> bool {
    !(c.is_alphabetic() || matches!(c, '²' | '³'))
}

/// Whether a list of lower-case words, separated by single spaces, contains the word.
pub(crate) fn list_contains(list: &str, word: Option<&str>) -> bool {
    word.map(str::to_lowercase).is_some_and(|word| list.split(' ').any(|known| known == word))
}
