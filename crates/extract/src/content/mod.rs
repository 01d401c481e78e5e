//! From the bytes of a body to its content: JSON, text or binary.
//!
//! `media_type` reads the content type, `charset` decodes text by what the content type or the
//! document (`declaration`) declares, and `storable_json` checks whether every supported database
//! takes a text as JSON.

mod charset;
mod declaration;
mod media_type;
mod storable_json;

use charset::Format;
use media_type::MediaType;

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
/// A body that is declared as JSON but is invalid is text. A body without a content type is what
/// its first bytes look like, as in browsers.
pub fn read(content_type: Option<&str>, body: Vec<u8>) -> Content {
    let MediaType { essence, charset } = MediaType::parse(content_type.unwrap_or_default());
    let format = match essence.as_str() {
        "" | "unknown/unknown" | "application/unknown" => sniff(&body),
        essence => format_of(essence),
    };
    let Some(format) = format else { return Content::Binary(body) };
    let text = charset::decode(charset.as_deref(), format, body);
    match format {
        Format::Json if storable_json::is_storable(&text) => Content::Json(text),
        _ => Content::Text(text),
    }
}

/// The format of a media type; `None` if it is not text.
fn format_of(essence: &str) -> Option<Format> {
    const TEXT_APPLICATIONS: [&str; 5] = [
        "application/javascript",
        "application/ecmascript",
        "application/x-ndjson",
        "application/yaml",
        "application/x-www-form-urlencoded",
    ];
    match essence {
        "text/html" => Some(Format::Html),
        "application/xhtml+xml" => Some(Format::Xhtml),
        "text/xml" | "application/xml" => Some(Format::Xml),
        "application/json" | "text/json" => Some(Format::Json),
        _ if essence.ends_with("+json") => Some(Format::Json),
        _ if essence.ends_with("+xml") => Some(Format::Xml),
        _ if essence.starts_with("text/") || TEXT_APPLICATIONS.contains(&essence) => {
            Some(Format::Plain)
        }
        _ => None,
    }
}

/// The format that the first bytes of a body suggest (WHATWG MIME Sniffing, "identifying a resource
/// with an unknown MIME type"); `None` if they are not text.
fn sniff(body: &[u8]) -> Option<Format> {
    const SNIFFED: usize = 1445;
    /// Beginnings of HTML, each of which a space or `>` has to follow.
    const HTML: [&[u8]; 16] = [
        b"<!DOCTYPE HTML",
        b"<HTML",
        b"<HEAD",
        b"<SCRIPT",
        b"<IFRAME",
        b"<H1",
        b"<DIV",
        b"<FONT",
        b"<TABLE",
        b"<A",
        b"<STYLE",
        b"<TITLE",
        b"<B",
        b"<BODY",
        b"<BR",
        b"<P",
    ];
    let start = &body[..body.len().min(SNIFFED)];
    let text = start.trim_ascii_start();
    let is_html = |tag: &[u8]| {
        text.split_at_checked(tag.len()).is_some_and(|(own, after)| {
            own.eq_ignore_ascii_case(tag) && matches!(after.first(), Some(b' ' | b'>'))
        })
    };
    if text.starts_with(b"<!--") || HTML.iter().any(|tag| is_html(tag)) {
        return Some(Format::Html);
    }
    if text.starts_with(b"<?xml") {
        return Some(Format::Xml);
    }
    let is_marked = encoding_rs::Encoding::for_bom(start).is_some();
    let is_binary = |byte: &u8| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    (is_marked || !start.iter().any(is_binary)).then_some(Format::Plain)
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
            // Only `charset` is the charset, in the header as on the page.
            ("text/html; profile=\"charset=gbk\"", "für".as_bytes(), "für"),
            ("text/html; accept-charset=koi8-r", "чай".as_bytes(), "чай"),
            (
                "text/html",
                "<!-- <meta charset=koi8-r> --><meta name=a content='charset=gbk'>чай".as_bytes(),
                "<!-- <meta charset=koi8-r> --><meta name=a content='charset=gbk'>чай",
            ),
            (
                "text/html",
                b"<script>'<meta charset=gbk>'</script><meta charset=koi8-r>\xde",
                "<script>'<meta charset=gbk>'</script><meta charset=koi8-r>ч",
            ),
            // An XML declaration.
            (
                "application/xml",
                b"<?xml version='1.0' encoding='koi8-r'?>\xde",
                "<?xml version='1.0' encoding='koi8-r'?>ч",
            ),
            ("text/html", b"<?xml encoding='koi8-r'?>\xde", "<?xml encoding='koi8-r'?>ч"),
            ("application/rss+xml", b"<\0?\0x\0>\0G\x04", "<?x>ч"),
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

    #[test]
    fn json_is_utf_8_whatever_its_label() {
        for (body, expected) in [
            ("[\"чай\"]".as_bytes(), "[\"чай\"]"),
            (b"[\"\xfe\"]", "[\"Ч\"]"),
            (b"[\"tea\"]", "[\"tea\"]"),
        ] {
            let content = read(Some("application/json; charset=koi8-r"), body.to_vec());
            assert_eq!(content, Content::Json(expected.into()));
        }
    }

    #[test]
    fn a_body_without_a_type_is_what_it_looks_like() {
        let html = "<!-- <meta charset=gbk> -->\n<html><meta charset=koi8-r>\u{ff}";
        for (body, expected) in [
            (
                &b"\n<!doctype HTML><meta charset=koi8-r>\xde"[..],
                "\n<!doctype HTML><meta charset=koi8-r>ч",
            ),
            (b"<html><meta charset=koi8-r>\xde", "<html><meta charset=koi8-r>ч"),
            (html.as_bytes(), &html.replace('\u{ff}', "ц©")),
            (
                b"<?xml version='1.0' encoding='koi8-r'?>\xde",
                "<?xml version='1.0' encoding='koi8-r'?>ч",
            ),
            (b"\xff\xfef\0", "f"),
            (b"<htmlx><meta charset=koi8-r>\xde", "<htmlx><meta charset=koi8-r>\u{de}"),
            (b"f\xfcr", "für"),
        ] {
            for content_type in [None, Some(""), Some("*/*"), Some("application/unknown")] {
                assert_eq!(read(content_type, body.to_vec()), Content::Text(expected.into()));
            }
        }
        assert_eq!(read(None, b"PK\x03\x04".to_vec()), Content::Binary(b"PK\x03\x04".to_vec()));
    }
}
