//! The charset that a document itself declares.

use std::borrow::Cow;

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};
use memchr::memmem;

use crate::markup::{Tag, Tokenizer};

/// The first bytes that browsers search before they parse the page.
const PRESCANNED_BYTES: usize = 1024;
/// The beginning in which nearly all pages declare their charset. More is read only if it is not
/// there.
const USUAL_BYTES: usize = 16 * 1024;

/// Returns the encoding with this label. Labels of encodings that browsers refuse to decode declare
/// nothing: the body's ASCII text is worth more than a single U+FFFD.
pub(super) fn encoding(label: &[u8]) -> Option<&'static Encoding> {
    Encoding::for_label(label).filter(|encoding| *encoding != REPLACEMENT)
}

/// Returns the charset that a `meta` tag declares, wherever it stands: browsers search the first
/// bytes for it (WHATWG HTML, "prescan a byte stream"), and start over if they meet it later
/// ("changing the encoding while parsing").
///
/// The search of the first bytes knows no raw text, so that a tag in a `noscript` counts there, and
/// only there. Comments, scripts and other attributes declare nothing.
pub(super) fn by_meta(body: &[u8]) -> Option<&'static Encoding> {
    let prescanned = as_ascii_superset(&body[..body.len().min(PRESCANNED_BYTES)]);
    let (found, _) = first_meta(Tokenizer::prescan(&prescanned));
    if found.is_some() {
        return found;
    }
    let start = &body[..body.len().min(USUAL_BYTES)];
    let (found, read) = first_meta(Tokenizer::new(&as_ascii_superset(start)));
    // Every tag that is read begins where one may begin, and one that is cut off is not read. So if
    // as many were read as may begin in the whole body, none is left.
    if found.is_some() || start.len() == body.len() || count_meta(body) == read {
        return found;
    }
    first_meta(Tokenizer::new(&as_ascii_superset(body))).0
}

/// Returns how often a `meta` tag may begin.
fn count_meta(body: &[u8]) -> usize {
    let is_meta =
        |at: &usize| body.get(at + 2..at + 5).is_some_and(|name| name.eq_ignore_ascii_case(b"eta"));
    let starts = ["<m", "<M"].map(|start| memmem::find_iter(body, start).filter(is_meta).count());
    starts.iter().sum()
}

/// A text with the same ASCII characters.
fn as_ascii_superset(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| encoding_rs::mem::decode_latin1(bytes), Cow::from)
}

/// Returns the first charset that is declared, and how many `meta` tags were read.
fn first_meta(mut tokenizer: Tokenizer<'_>) -> (Option<&'static Encoding>, usize) {
    let mut read = 0;
    while let Some(tag) = tokenizer.next() {
        if tag.is("plaintext") {
            break;
        }
        if tag.is("meta") {
            read += 1;
            if let Some(encoding) = declared_by(&tag) {
                return (Some(encoding), read);
            }
        }
    }
    (None, read)
}

/// Returns what a `meta` tag declares: by its `charset`, or else by its `content` if it stands for
/// the field `Content-Type`.
fn declared_by(meta: &Tag<'_, '_>) -> Option<&'static Encoding> {
    let value = |name: &str| meta.attribute(name).map(htmlize::unescape_attribute);
    let found = match value("charset") {
        Some(label) => encoding(label.as_bytes()),
        None => {
            let is_pragma = value("http-equiv")?.eq_ignore_ascii_case("content-type");
            is_pragma.then(|| encoding(label_in(&value("content")?)?.as_bytes())).flatten()
        }
    };
    found.map(in_meta)
}

/// A declaration that was read as ASCII is not in UTF-16, whatever it says.
fn readable_as_ascii(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == UTF_16LE || encoding == UTF_16BE { UTF_8 } else { encoding }
}

/// What a label in a `meta` tag means (WHATWG HTML, "prescan a byte stream", 13.2.3.2).
fn in_meta(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == X_USER_DEFINED { WINDOWS_1252 } else { readable_as_ascii(encoding) }
}

/// Returns the label in the `content` of a `meta` tag (WHATWG HTML, "extracting a character
/// encoding from a meta element"): that is not the syntax of `Content-Type`.
fn label_in(content: &str) -> Option<&str> {
    const NAME: &str = "charset";
    let lower = content.to_ascii_lowercase();
    let mut found = lower.match_indices(NAME).map(|(at, _)| &content[at + NAME.len()..]);
    let value = found.find_map(|rest| rest.trim_ascii_start().strip_prefix('='))?;
    let value = value.trim_ascii_start();
    match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split_once(quote).map(|(label, _)| label),
        _ => value.split(|c: char| c == ';' || c.is_ascii_whitespace()).next(),
    }
}

/// Returns the charset of an XML declaration, also of one in UTF-16 without a byte-order mark.
pub(super) fn by_xml(body: &[u8]) -> Option<&'static Encoding> {
    match body {
        [b'<', 0, b'?', 0, b'x', 0, ..] => return Some(UTF_16LE),
        [0, b'<', 0, b'?', 0, b'x', ..] => return Some(UTF_16BE),
        _ => {}
    }
    let declaration = body.trim_ascii_start().strip_prefix(b"<?xml")?;
    let end = memchr::memchr(b'>', declaration)?;
    let declaration = std::str::from_utf8(&declaration[..end]).ok()?;
    let (_, rest) = declaration.split_once("encoding")?;
    let value = rest.trim_ascii_start().strip_prefix('=')?.trim_ascii_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (label, _) = value[1..].split_once(quote)?;
    encoding(label.as_bytes()).map(readable_as_ascii)
}

#[cfg(test)]
mod tests {
    use encoding_rs::{GBK, KOI8_R, WINDOWS_1251};

    use super::*;

    #[test]
    fn a_meta_tag_declares_by_its_charset_or_as_content_type() {
        for (html, expected) in [
            ("<meta charset=koi8-r>", Some(KOI8_R)),
            ("<META name=x CHARSET = ' KOI8-R '/>", Some(KOI8_R)),
            ("<head><title>a</title>\n<meta charset=\"koi8&#45;r\">", Some(KOI8_R)),
            ("<meta http-equiv=Content-Type content='text/html; charset=koi8-r'>", Some(KOI8_R)),
            ("<meta content='text/html;charset=koi8-r' http-equiv=content-type>", Some(KOI8_R)),
            ("<meta http-equiv=content-type content=charset=koi8-r>", Some(KOI8_R)),
            ("<meta http-equiv=content-type content='charset charset = \"koi8-r\"'>", Some(KOI8_R)),
            ("<meta http-equiv=content-type content='a;CHARSET=koi8-r;b'>", Some(KOI8_R)),
            ("<meta charset=koi8-r http-equiv=content-type content='charset=gbk'>", Some(KOI8_R)),
            ("<body><p>Tea<meta charset=koi8-r>", Some(KOI8_R)),
            // The first one that can be used.
            ("<meta charset=koi8-r><meta charset=gbk>", Some(KOI8_R)),
            ("<meta charset=unheard-of><meta charset=koi8-r>", Some(KOI8_R)),
            ("<meta charset=''><meta charset=iso-2022-kr><meta charset=koi8-r>", Some(KOI8_R)),
            ("<meta charset=utf-16>", Some(UTF_8)),
            ("<meta charset=x-user-defined>", Some(WINDOWS_1252)),
            ("<meta charset=' X-User-Defined'><meta charset=gbk>", Some(WINDOWS_1252)),
            (
                "<meta http-equiv=content-type content='text/html;charset=x-user-defined'>",
                Some(WINDOWS_1252),
            ),
            // These declare nothing.
            ("<meta http-equiv=content-type content='charset=\"koi8-r'>", None),
            ("<meta http-equiv=content-type content='text/html; koi8-r'>", None),
            ("<meta http-equiv=refresh content='0; charset=koi8-r'>", None),
            ("<meta name=description content='charset=koi8-r'>", None),
            ("<meta data-charset=koi8-r accept-charset=koi8-r>", None),
            ("<meta name='charset=koi8-r'>", None),
            ("<metadata charset=koi8-r><form accept-charset=koi8-r><link charset=koi8-r>", None),
            ("<p title='<meta charset=koi8-r>'>", None),
            ("<meta charset=koi8-r", None),
        ] {
            assert_eq!(by_meta(html.as_bytes()), expected, "{html}");
        }
    }

    #[test]
    fn comments_and_scripts_declare_nothing() {
        for hidden in [
            "<!-- <meta charset=gbk> -->",
            "<!--><!-- > <meta charset=gbk> --!>",
            "<!--!> <meta charset=gbk> -->",
            "<script>document.write('<meta charset=gbk>')</script>",
            "<script><!-- <script></script> <meta charset=gbk> --></script>",
            "<noscript><!-- <meta charset=gbk> --></noscript>",
            "<!doctype html '<meta charset=gbk'><? <meta charset=gbk ?>",
        ] {
            for before in [0, 2_000, 2 * USUAL_BYTES] {
                let hidden = format!("{}{hidden}", " ".repeat(before));
                assert_eq!(by_meta(hidden.as_bytes()), None, "{hidden}");
                let html = format!("{hidden}<meta charset=koi8-r>");
                assert_eq!(by_meta(html.as_bytes()), Some(KOI8_R), "{html}");
            }
        }
        assert_eq!(by_meta(b"<plaintext><meta charset=gbk>"), None);
    }

    #[test]
    fn other_raw_text_declares_a_charset_in_the_first_bytes_only() {
        for raw in [
            "<noscript><meta charset=gbk></noscript>",
            "<noframes><meta charset=gbk></noframes>",
            "<svg><title><meta charset=gbk></title></svg>",
            "<style>/* <meta charset=gbk> */</style>",
            "<textarea><meta charset=gbk></textarea>",
            "<iframe><meta charset=gbk></iframe>",
        ] {
            let after = |before: usize| {
                let html = format!("{}{raw}<meta charset=koi8-r>", " ".repeat(before));
                by_meta(html.as_bytes())
            };
            let tag = raw.find("<meta").unwrap() + "<meta charset=gbk>".len();
            assert_eq!(after(0), Some(GBK), "{raw}");
            assert_eq!(after(PRESCANNED_BYTES - tag), Some(GBK), "{raw}");
            assert_eq!(after(PRESCANNED_BYTES - tag + 1), Some(KOI8_R), "{raw}");
            assert_eq!(after(2 * USUAL_BYTES), Some(KOI8_R), "{raw}");
        }
    }

    #[test]
    fn a_late_declaration_counts_too() {
        for before in [1_000, 1_100, USUAL_BYTES - 5, USUAL_BYTES, 100_000] {
            for padding in ["<i>\u{e9}</i>".to_owned(), format!("<!--{}-->", "x".repeat(90))] {
                let mut html = padding.repeat(before / padding.len() + 1).into_bytes();
                assert_eq!(by_meta(&html), None, "{before}");
                // Not valid in UTF-8.
                html.extend_from_slice(b"<b>\xe9</b>");
                for late in ["<meta charset=gbk>", "<META CHARSET=gbk>", "<Meta charset=gbk>"] {
                    let html = [&html, late.as_bytes()].concat();
                    assert_eq!(by_meta(&html), Some(GBK), "{before} {late}");
                }
            }
        }
    }

    #[test]
    fn an_xml_declaration_is_read() {
        for (xml, expected) in [
            (&b"<?xml version='1.0' encoding='windows-1251'?><a/>"[..], Some(WINDOWS_1251)),
            (
                b"\n<?xml version=\"1.0\" encoding = \"CP1251\" standalone='yes'?>",
                Some(WINDOWS_1251),
            ),
            (b"<?xml version='1.0' encoding='utf-16'?>", Some(UTF_8)),
            (b"<\0?\0x\0m\0l\0", Some(UTF_16LE)),
            (b"\0<\0?\0x\0m\0l", Some(UTF_16BE)),
            (b"<?xml version='1.0'?><a encoding='gbk'/>", None),
            (b"<?xml encoding='gbk", None),
            (b"<?xml encoding=gbk?>", None),
            (b"<a><?xml encoding='gbk'?>", None),
            (b"", None),
        ] {
            assert_eq!(by_xml(xml), expected, "{}", String::from_utf8_lossy(xml));
        }
    }
}
