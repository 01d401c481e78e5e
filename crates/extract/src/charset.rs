//! From bytes to text, by the charset that the page declares.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// Where HTML looks for a declaration (WHATWG HTML, "prescan a byte stream").
const PRESCAN_BYTES: usize = 1024;

/// Decodes a body. What declares its charset, the strongest first: a byte-order mark, the content type, for HTML a meta
/// tag at its beginning; else UTF-8 where the body is that, and windows-1252, as browsers have it, where it is not.
/// Bytes that are wrong in the charset become U+FFFD.
pub(crate) fn decode(content_type: Option<&str>, html: bool, body: Vec<u8>) -> String {
    let marked = Encoding::for_bom(&body).map(|(encoding, _)| encoding);
    let declared = || content_type.and_then(|value| label_after(value.as_bytes(), b"charset"));
    let meta = || html.then(|| prescan(&body)).flatten();
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

/// The charset that a meta tag near the beginning declares.
fn prescan(body: &[u8]) -> Option<&'static Encoding> {
    let head = &body[..body.len().min(PRESCAN_BYTES)];
    let mut at = 0;
    while let Some(found) = find(&head[at..], b"<meta") {
        at += found + b"<meta".len();
        let end = head[at..].iter().position(|&byte| byte == b'>').unwrap_or(head.len() - at);
        if let Some(encoding) = label_after(&head[at..at + end], b"charset") {
            // A page that could be read so far is not UTF-16, whatever it says.
            let utf16 = encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE;
            return Some(if utf16 { UTF_8 } else { encoding });
        }
    }
    None
}

/// The encoding in `name = "label"`.
fn label_after(text: &[u8], name: &[u8]) -> Option<&'static Encoding> {
    let rest = &text[find(text, name)? + name.len()..];
    let rest = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\'' | b';' | b'/') || byte.is_ascii_whitespace());
    Encoding::for_label(&rest[..end.unwrap_or(rest.len())])
}

/// Where `needle`, in lower case, begins in `text`, whatever its case.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window.eq_ignore_ascii_case(needle))
}
