//! Words of a text, and lists of them.

/// The word that a text begins with, behind spaces.
pub(crate) fn first_word(text: &str) -> Option<&str> {
    text.trim_start().split(is_no_letter).next()
}

/// The word that a text ends with, before spaces.
pub(crate) fn last_word(text: &str) -> Option<&str> {
    text.trim_end().rsplit(is_no_letter).next()
}

/// What ends a word.
pub(crate) fn is_no_letter(c: char) -> bool {
    !(c.is_alphabetic() || matches!(c, '²' | '³'))
}

/// Whether a word is one of those of a list, which are in small letters and parted by spaces.
pub(crate) fn is_one_of(list: &str, word: Option<&str>) -> bool {
    word.map(str::to_lowercase).is_some_and(|word| list.split(' ').any(|known| known == word))
}
