//! What a body is: JSON, text, or something else.

use crate::{charset, json};

/// A body, told by its content type and by what it turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Declared as JSON, and valid as every supported database sees it.
    Json(String),
    /// Text, decoded by its charset.
    Text(String),
    /// Neither.
    Binary(Vec<u8>),
}

/// Reads a body. A body that was declared as JSON and is none is text; one without a declared type is text when it is
/// UTF-8 without control characters.
pub fn read(content_type: Option<&str>, body: Vec<u8>) -> Content {
    let essence = content_type.map(essence).unwrap_or_default();
    if is_json(&essence) {
        let text = charset::decode(content_type, false, body);
        return match json::check(&text) {
            Ok(()) => Content::Json(text),
            Err(_) => Content::Text(text),
        };
    }
    if is_text(&essence) || (essence.is_empty() && looks_like_text(&body)) {
        return Content::Text(charset::decode(content_type, is_html(&essence), body));
    }
    Content::Binary(body)
}

/// Type and subtype without parameters, in lower case.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(essence: &str) -> bool {
    matches!(essence, "application/json" | "text/json") || essence.ends_with("+json")
}

fn is_html(essence: &str) -> bool {
    matches!(essence, "text/html" | "application/xhtml+xml")
}

fn is_text(essence: &str) -> bool {
    const ALSO_TEXT: [&str; 6] = [
        "application/xml",
        "application/javascript",
        "application/ecmascript",
        "application/x-ndjson",
        "application/yaml",
        "application/x-www-form-urlencoded",
    ];
    essence.starts_with("text/") || essence.ends_with("+xml") || ALSO_TEXT.contains(&essence)
}

fn looks_like_text(body: &[u8]) -> bool {
    std::str::from_utf8(body)
        .is_ok_and(|text| !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content_type: &str, body: &[u8]) -> String {
        match read(Some(content_type), body.to_vec()) {
            Content::Text(text) => text,
            other => panic!("{content_type}: {other:?}"),
        }
    }

    #[test]
    fn json_is_kept_as_json_only_when_it_is() {
        for content_type in ["application/json", "Application/LD+JSON; charset=utf-8", "text/json"] {
            assert_eq!(read(Some(content_type), b"{\"a\":1}".to_vec()), Content::Json("{\"a\":1}".into()));
        }
        assert_eq!(text("application/json", b"<html>"), "<html>");
        assert_eq!(text("application/json", b""), "");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_json() {
        assert_eq!(read(Some("application/json"), b"\xef\xbb\xbf[1]".to_vec()), Content::Json("[1]".into()));
    }

    #[test]
    fn text_is_decoded_by_what_declares_its_charset() {
        for (content_type, body, expected) in [
            ("text/html; charset=utf-8", "Tee für 3 €".as_bytes(), "Tee für 3 €"),
            ("text/html; charset=\"ISO-8859-1\"", b"f\xfcr", "für"),
            ("text/html; charset=windows-1252", b"3 \x80", "3 €"),
            ("text/plain;charset=shift_jis", b"\x92\x83", "茶"),
            ("text/html; charset=gbk", b"\xb2\xe8", "茶"),
            ("text/html; charset=koi8-r", b"\xde\xc1\xca", "чай"),
            // A byte-order mark beats the header.
            ("text/html; charset=utf-8", b"\xff\xfe\x73\x00", "s"),
            // The page declares what the header does not.
            ("text/html", b"<meta charset=koi8-r>\xde", "<meta charset=koi8-r>ч"),
            (
                "text/html",
                b"<META http-equiv='Content-Type' content='text/html; charset=iso-8859-2'>\xb1",
                "<META http-equiv='Content-Type' content='text/html; charset=iso-8859-2'>ą",
            ),
            // Nothing declares it: UTF-8 where it is, else what browsers assume.
            ("text/plain", "für".as_bytes(), "für"),
            ("text/plain", b"f\xfcr", "für"),
            ("text/html; charset=no-such-charset", b"f\xfcr", "für"),
        ] {
            assert_eq!(text(content_type, body), expected, "{content_type}");
        }
    }

    #[test]
    fn a_meta_tag_is_looked_for_in_pages_only() {
        assert_eq!(text("text/plain", b"<meta charset=koi8-r>\xde"), "<meta charset=koi8-r>\u{de}");
    }

    #[test]
    fn other_bodies_stay_bytes() {
        assert_eq!(read(Some("image/png"), vec![0x89, b'P']), Content::Binary(vec![0x89, b'P']));
        assert_eq!(read(None, vec![0, 1, 2]), Content::Binary(vec![0, 1, 2]));
        assert_eq!(read(None, b"plain\n".to_vec()), Content::Text("plain\n".into()));
    }
}
