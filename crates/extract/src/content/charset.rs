//! From bytes to text, by the charset that a body declares.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use super::declaration;

/// Where a body declares its charset, and what it is without a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// In `meta` tags, or else in an XML declaration.
    Html,
    /// In an XML declaration; it is UTF-8 otherwise.
    Xml,
    /// An XML document that may have `meta` tags as well.
    Xhtml,
    /// Nowhere: JSON is UTF-8 (RFC 8259, 8.1).
    Json,
    /// Nowhere.
    Plain,
}

/// Decodes a body. Bytes that are invalid in the charset become U+FFFD.
///
/// In order of precedence, the charset is declared by a byte-order mark, by the label of the
/// content type, and by the document itself. Without a declaration, a body that is valid UTF-8 is
/// UTF-8, and any other is windows-1252, as browsers have it.
pub(super) fn decode(label: Option<&str>, format: Format, body: Vec<u8>) -> String {
    match String::from_utf8(body) {
        Ok(text) => match declared(label, format, text.as_bytes()) {
            // In ASCII there may be escape sequences.
            _ if format == Format::Json && !text.is_ascii() => without_mark(text),
            None => without_mark(text),
            Some(encoding) if encoding == UTF_8 => without_mark(text),
            Some(encoding) => encoding.decode(text.as_bytes()).0.into_owned(),
        },
        Err(error) => {
            let body = error.as_bytes();
            declared(label, format, body).unwrap_or(WINDOWS_1252).decode(body).0.into_owned()
        }
    }
}

fn declared(label: Option<&str>, format: Format, body: &[u8]) -> Option<&'static Encoding> {
    let marked = Encoding::for_bom(body).map(|(encoding, _)| encoding);
    marked
        .or_else(|| declaration::encoding(label?.as_bytes()))
        .or_else(|| by_document(format, body))
}

/// The charset that the document declares.
fn by_document(format: Format, body: &[u8]) -> Option<&'static Encoding> {
    match format {
        Format::Html => declaration::by_meta(body).or_else(|| declaration::by_xml(body)),
        Format::Xhtml => declaration::by_xml(body).or_else(|| declaration::by_meta(body)),
        Format::Xml => declaration::by_xml(body),
        Format::Json | Format::Plain => None,
    }
}

/// Removes the byte-order mark.
fn without_mark(mut text: String) -> String {
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    text
}
