//! From the bytes of a body to its content: JSON, text or binary.
//!
//! `charset` decodes text; `storable_json` checks whether every supported database takes a text as
//! JSON.

mod charset;
mod storable_json;

/// A body, classified by its content type and its bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Declared as JSON, and valid for every supported database.
    Json(String),
    /// Text, decoded by its charset.
    Text(String),
    /// Anything else.
    Binary(Vec<u8>),
}

/// Reads a body.
///
/// A body that is declared as JSON but is invalid is text. A body without a content type is text if
/// it is UTF-8 without control characters.
pub fn read(content_type: Option<&str>, body: Vec<u8>) -> Content {
    let essence = content_type.map(essence).unwrap_or_default();
    if is_json(&essence) {
        let text = charset::decode(content_type, false, body);
        return match storable_json::is_storable(&text) {
            true => Content::Json(text),
            false => Content::Text(text),
        };
    }
    if is_text(&essence) || (essence.is_empty() && looks_like_text(&body)) {
        return Content::Text(charset::decode(content_type, is_html(&essence), body));
    }
    Content::Binary(body)
}

/// Returns type and subtype in lower case, without parameters.
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
    const TEXT_APPLICATIONS: [&str; 6] = [
        "application/xml",
        "application/javascript",
        "application/ecmascript",
        "application/x-ndjson",
        "application/yaml",
        "application/x-www-form-urlencoded",
    ];
    essence.starts_with("text/")
        || essence.ends_with("+xml")
        || TEXT_APPLICATIONS.contains(&essence)
}

fn looks_like_text(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| {
        !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}'))
    })
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
    fn only_valid_json_is_kept_as_json() {
        for content_type in ["application/json", "Application/LD+JSON; charset=utf-8", "text/json"]
        {
            assert_eq!(
                read(Some(content_type), b"{\"a\":1}".to_vec()),
                Content::Json("{\"a\":1}".into())
            );
        }
        assert_eq!(text("application/json", b"<html>"), "<html>");
        assert_eq!(text("application/json", b""), "");
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_json() {
        assert_eq!(
            read(Some("application/json"), b"\xef\xbb\xbf[1]".to_vec()),
            Content::Json("[1]".into())
        );
    }

    #[test]
    fn text_is_decoded_by_its_declared_charset() {
        for (content_type, body, expected) in [
            ("text/html; charset=utf-8", "Tee für 3 €".as_bytes(), "Tee für 3 €"),
            ("text/html; charset=\"ISO-8859-1\"", b"f\xfcr", "für"),
            ("text/html; charset=windows-1252", b"3 \x80", "3 €"),
            ("text/plain;charset=shift_jis", b"\x92\x83", "茶"),
            ("text/html; charset=gbk", b"\xb2\xe8", "茶"),
            ("text/html; charset=koi8-r", b"\xde\xc1\xca", "чай"),
            // A byte-order mark overrides the header.
            ("text/html; charset=utf-8", b"\xff\xfe\x73\x00", "s"),
            // The page declares a charset, the header does not.
            ("text/html", b"<meta charset=koi8-r>\xde", "<meta charset=koi8-r>ч"),
            (
                "text/html",
                b"<META http-equiv='Content-Type' content='text/html; charset=iso-8859-2'>\xb1",
                "<META http-equiv='Content-Type' content='text/html; charset=iso-8859-2'>ą",
            ),
            // No declaration: UTF-8 if it is valid, else windows-1252.
            ("text/plain", "für".as_bytes(), "für"),
            ("text/plain", b"f\xfcr", "für"),
            ("text/html; charset=no-such-charset", b"f\xfcr", "für"),
        ] {
            assert_eq!(text(content_type, body), expected, "{content_type}");
        }
    }

    #[test]
    fn only_html_is_searched_for_a_meta_tag() {
        assert_eq!(text("text/plain", b"<meta charset=koi8-r>\xde"), "<meta charset=koi8-r>\u{de}");
    }

    #[test]
    fn other_bodies_stay_bytes() {
        assert_eq!(read(Some("image/png"), vec![0x89, b'P']), Content::Binary(vec![0x89, b'P']));
        assert_eq!(read(None, vec![0, 1, 2]), Content::Binary(vec![0, 1, 2]));
        assert_eq!(read(None, b"plain\n".to_vec()), Content::Text("plain\n".into()));
    }
}
