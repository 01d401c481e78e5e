//! Passwords, which are never printed: neither as settings, nor where somebody has typed one by
//! mistake.

use std::borrow::Cow;
use std::fmt;

use clap::Arg;
use clap::builder::ValueParser;

/// What stands in examples of the help.
const PLACEHOLDER: &str = "user:password";
/// The longest word of a message, in characters.
const MAX_WORD: usize = 500;

/// The value of a flag that may hold a password. It cannot be printed, and `--help` and `config` do
/// not show the values of flags of this type.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The value: for its user, never for people.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// Parsing fails for no text: the parser of the command line would repeat it.
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Whether the values of an argument are secrets.
pub(crate) fn is_secret(argument: &Arg) -> bool {
    argument.get_value_parser().type_id()
        == ValueParser::from(clap::value_parser!(Secret)).type_id()
}

/// Text for people: passwords of URLs are masked, wherever they stand, and long words are cut.
pub(crate) fn presentable(text: &str) -> String {
    let lines = text.split('\n').map(|line| cut(&mask(line)).into_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// Masks what stands between `://` and `@` if it may contain a password. A password may contain
/// anything, so the last `@` before the next URL ends it.
pub(crate) fn mask(line: &str) -> Cow<'_, str> {
    let mut pieces = line.split("://");
    let mut masked = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        masked.push_str("://");
        match piece.rsplit_once('@') {
            Some((user, host)) if user.contains(':') && !user.starts_with(PLACEHOLDER) => {
                masked.extend(["***@", host]);
            }
            _ => masked.push_str(piece),
        }
    }
    if masked == line { line.into() } else { masked.into() }
}

/// Cuts the words of a line that nobody reads to their end.
fn cut(line: &str) -> Cow<'_, str> {
    let is_long = |word: &str| word.len() > MAX_WORD && word.chars().count() > MAX_WORD;
    if !line.split(' ').any(is_long) {
        return line.into();
    }
    let words = line.split(' ').map(|word| match is_long(word) {
        true => word.chars().take(MAX_WORD).chain(['…']).collect(),
        false => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_masked_wherever_a_url_stands() {
        for (text, expected) in [
            ("invalid value 'amqp://u:hunter2@h' for X", "invalid value 'amqp://***@h' for X"),
            ("a://u:hunter2@h b://u:p@hunter2@i", "a://***@h b://***@i"),
            ("no flag --amqp://a:hunter 2/?#@h", "no flag --amqp://***@h"),
            ("amqp://:hunter2@h", "amqp://***@h"),
            ("write mysql://user@host:3306/NAME", "write mysql://user@host:3306/NAME"),
            ("as amqp://user:password@a,b/%2f.", "as amqp://user:password@a,b/%2f."),
            ("http://127.0.0.1:9/", "http://127.0.0.1:9/"),
        ] {
            assert_eq!(mask(text), expected);
        }
    }

    #[test]
    fn a_long_word_is_cut_and_a_long_text_is_not() {
        let text = format!("{}\n{}", "word ".repeat(300), "x".repeat(100_000));
        let cut = presentable(&text);
        assert!(cut.starts_with(&"word ".repeat(300)) && cut.ends_with("x…"), "{cut}");
        assert!(cut.len() < 2_100, "{cut}");
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::from("hunter2".to_owned())), "***");
    }
}
