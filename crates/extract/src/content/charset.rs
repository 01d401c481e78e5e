//! From bytes to text, by the charset that the body declares.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// Bytes in which HTML looks for a declaration (WHATWG HTML, "prescan a byte stream").
const PRESCAN_BYTES: usize = 1024;

/// Decodes a body. Bytes that are invalid in the charset become U+FFFD.
///
/// In order of precedence, the charset is declared by a byte-order mark, by the content type, and,
/// in HTML, by a `meta` tag near the start. Without a declaration the body is read as UTF-8 if it
/// is valid UTF-8, and as windows-1252 otherwise, as browsers do.
pub(crate) fn decode(content_type: Option<&str>, is_html: bool, body: Vec<u8>) -> String {
    let marked = Encoding::for_bom(&body).map(|(encoding, _)| encoding);
    let declared = || content_type.and_then(|value| label_after(value.as_bytes(), b"charset"));
    let meta = || is_html.then(|| prescan(&body)).flatten();
    let encoding = marked.or_else(declared).or_else(meta);
    if encoding.is_none_or(|encoding| encoding == UTF_8) {
        match String::from_utf8(body) {
            Ok(mut text) => {
                if text.starts_with('\u{feff}') {
                    text.drain(..'\u{feff}'.len_utf8());
                }
                return text;
            }
            Err(error) => {
                let body = error.into_bytes();
                return encoding.unwrap_or(WINDOWS_1252).decode(&body).0.into_owned();
            }
        }
    }
    encoding.unwrap_or(UTF_8).decode(&body).0.into_owned()
}

/// Returns the charset that a `meta` tag near the start declares.
fn prescan(body: &[u8]) -> Option<&'static Encoding> {
    let head = &body[..body.len().min(PRESCAN_BYTES)];
    let mut at = 0;
    while let Some(offset) = find(&head[at..], b"<meta") {
        at += offset + b"<meta".len();
        let end = head[at..].iter().position(|&byte| byte == b'>').unwrap_or(head.len() - at);
        if let Some(encoding) = label_after(&head[at..at + end], b"charset") {
            // The tag was readable as ASCII, so the page is not UTF-16.
            let utf16 = encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE;
            return Some(if utf16 { UTF_8 } else { encoding });
        }
    }
    None
}

/// Returns the encoding in `name = "label"`.
fn label_after(text: &[u8], name: &[u8]) -> Option<&'static Encoding> {
    let rest = &text[find(text, name)? + name.len()..];
    let rest = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\'' | b';' | b'/') || byte.is_ascii_whitespace());
    Encoding::for_label(&rest[..end.unwrap_or(rest.len())])
}

/// Returns the offset of the first `needle`, in any case.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window.eq_ignore_ascii_case(needle))
}
