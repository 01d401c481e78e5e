//! The lines of a list as text.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::UTF_8;

use crate::text::{Charset, LineEnd, display_name, may_be_utf_8};

/// A line of a list.
#[derive(Clone, Debug)]
pub(super) struct ListLine {
    /// From 1.
    pub(super) number: u64,
    pub(super) text: String,
    pub(super) end: LineEnd,
    /// The bytes of a line that is not valid UTF-8; `None` if they are those of `text`.
    pub(super) bytes: Option<Vec<u8>>,
    /// What the encoding may be, if that is not certain.
    pub(super) guess: Option<&'static encoding_rs::Encoding>,
}

impl ListLine {
    /// The line as it was given.
    pub(super) fn into_raw(self) -> Vec<u8> {
        self.bytes.unwrap_or_else(|| self.text.into_bytes())
    }

    /// Refuses a URL that depends on a guess: a part of it may be another character.
    pub(super) fn check_url(
        guess: Option<&'static encoding_rs::Encoding>,
        url: &str,
    ) -> Result<(), String> {
        match guess {
            Some(encoding) if !url.is_ascii() => Err(format!(
                "its URL has characters that depend on the encoding, which may be {}; name it, as \
                 in --encoding {}",
                display_name(encoding),
                encoding.name().to_ascii_lowercase()
            )),
            _ => Ok(()),
        }
    }
}

/// Turns bytes into text. A line that is not UTF-8 although nothing says so is decoded by a guess,
/// which is good enough for names and texts, but never for a URL.
pub(super) struct LineDecoder {
    charset: Charset,
    detector: EncodingDetector,
    guess: Option<&'static encoding_rs::Encoding>,
}

impl LineDecoder {
    pub(super) fn new(charset: Charset) -> Self {
        Self { charset, detector: EncodingDetector::new(Iso2022JpDetection::Deny), guess: None }
    }

    /// Considers a line for the guess, before the first line is decoded.
    pub(super) fn learn(&mut self, bytes: &[u8]) {
        if self.guess.is_none() && std::str::from_utf8(bytes).is_err() {
            self.detector.feed(bytes, false);
            self.detector.feed(b"\n", false);
        }
    }

    /// The text of a line, without the byte-order marks that it may begin with.
    pub(super) fn decode(&mut self, number: u64, mut bytes: Vec<u8>, end: LineEnd) -> ListLine {
        let mark = "\u{feff}".as_bytes();
        let marks = bytes.chunks(mark.len()).take_while(|chunk| *chunk == mark).count();
        bytes.drain(..marks * mark.len());
        // The mark that DOS programs write at the end of a file.
        if bytes == [0x1a] {
            bytes.clear();
        }
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => {
                let is_misread = may_be_utf_8(&text, self.charset.encoding);
                let guess = is_misread.then_some(UTF_8);
                return ListLine { number, text, end, bytes: None, guess };
            }
            Err(error) => error.into_bytes(),
        };
        if self.charset.is_certain {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            return ListLine { number, text, end, bytes: Some(bytes), guess: None };
        }
        self.learn(&bytes);
        let detector = &self.detector;
        let guess = *self.guess.get_or_insert_with(|| detector.guess(None, Utf8Detection::Deny));
        let text = guess.decode_without_bom_handling(&bytes).0.into_owned();
        ListLine { number, text, end, bytes: Some(bytes), guess: Some(guess) }
    }

    /// Whether a line was not UTF-8.
    pub(super) fn has_guess(&self) -> bool {
        self.guess.is_some()
    }

    /// The encoding for people, as far as it is known.
    pub(super) fn describe(&self) -> String {
        display_name(self.guess.unwrap_or(self.charset.encoding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(lines: &[&[u8]]) -> (String, Vec<String>) {
        let mut decoder = LineDecoder::new(Charset { encoding: UTF_8, is_certain: false });
        lines.iter().for_each(|line| decoder.learn(line));
        let decode =
            |(number, line): (u64, &&[u8])| decoder.decode(number, line.to_vec(), LineEnd::Lf).text;
        let texts = (1..).zip(lines).map(decode).collect();
        (decoder.describe(), texts)
    }

    #[test]
    fn a_line_that_is_not_utf_8_is_decoded_by_a_guess() {
        let (name, texts) = guess(&[b"Gr\xfcner Tee;x", "Grün".as_bytes(), b"Caf\xe9 cr\xe8me"]);
        assert_eq!(
            (name.as_str(), texts.join("|").as_str()),
            ("Windows-1252", "Grüner Tee;x|Grün|Café crème")
        );
        let (russian, _, _) = encoding_rs::WINDOWS_1251.encode("Чай зеленый крупнолистовой");
        let (name, texts) = guess(&[&*russian]);
        assert_eq!(
            (name.as_str(), texts[0].as_str()),
            ("Windows-1251", "Чай зеленый крупнолистовой")
        );
    }

    #[test]
    fn the_effort_grows_with_the_marks_of_a_line_and_not_with_their_square() {
        let line = "\u{feff}".repeat(700_000) + "x";
        assert_eq!(guess(&[line.as_bytes()]).1, ["x"]);
    }

    #[test]
    fn only_a_url_of_ascii_is_taken_from_a_guess() {
        assert!(ListLine::check_url(None, "https://a.example/ü").is_ok());
        let guess = Some(encoding_rs::WINDOWS_1252);
        assert!(ListLine::check_url(guess, "https://a.example/u").is_ok());
        let reason = ListLine::check_url(guess, "https://a.example/ü").unwrap_err();
        assert!(reason.contains("--encoding windows-1252"), "{reason}");
    }
    #[test]
    fn a_line_that_seems_to_be_utf_8_is_doubted_whatever_encoding_is_named() {
        let guess = |encoding, text: &str| {
            let mut decoder = LineDecoder::new(Charset { encoding, is_certain: true });
            decoder.decode(1, text.as_bytes().to_vec(), LineEnd::Lf).guess
        };
        assert_eq!(guess(encoding_rs::WINDOWS_1252, "https://a.example/Ã¼"), Some(UTF_8));
        assert_eq!(guess(encoding_rs::WINDOWS_1251, "https://a.example/С‡Р°Р№"), Some(UTF_8));
        for encoding in [encoding_rs::WINDOWS_1252, encoding_rs::SHIFT_JIS, UTF_8] {
            assert_eq!(guess(encoding, "https://a.example/grün"), None);
        }
    }
}
