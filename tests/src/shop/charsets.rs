//! Pages in charsets other than UTF-8, or in another charset than they declare.

use axum::{
    extract::Path,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use encoding_rs::{Encoding, UTF_16LE};

use super::{Product, page, visit::Visit};

/// The name of every product under `/charset/{charset}/…`: text that needs the charset and is
/// garbled in another one. `None` for charsets that the shop does not write; it writes utf-8,
/// iso-8859-1, windows-1252, shift_jis, gbk, koi8-r and utf-16le.
#[must_use]
pub fn charset_sample(charset: &str) -> Option<&'static str> {
    Some(match charset {
        "utf-8" => "Blåbær Ελληνικά 茶碗 🧩",
        "iso-8859-1" => "Crème brûlée à l'été ½ Maß",
        "windows-1252" => "„Café“ – œuvre für 5 €™",
        // The second byte of the first and of the last character is a backslash.
        "shift_jis" => "表札と急須 カタカナソ",
        "gbk" => "简体中文茶壶",
        "koi8-r" => "Русский самовар",
        "utf-16le" => "Größe 漢字 🧩",
        _ => return None,
    })
}

/// Declares the charset in the Content-Type.
pub(super) async fn by_header(
    visit: Visit,
    Path((charset, rest)): Path<(String, String)>,
) -> Response {
    match page(&visit, &rest, &charset, None) {
        Some(bytes) => html(Some(&charset), bytes),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Declares the charset only by `<meta charset>`, or in UTF-16 only by the byte order mark.
pub(super) async fn by_meta(
    visit: Visit,
    Path((charset, rest)): Path<(String, String)>,
) -> Response {
    match page(&visit, &rest, &charset, Some(&charset)) {
        Some(bytes) => html(None, bytes),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(super) async fn unknown(visit: Visit, Path(rest): Path<String>) -> Response {
    let bytes = page(&visit, &rest, "utf-8", None).unwrap_or_default();
    html(Some("x-unheard-of"), bytes)
}

pub(super) async fn wrong(visit: Visit, Path(rest): Path<String>) -> Response {
    let bytes = page(&visit, &rest, "windows-1252", None).unwrap_or_default();
    html(Some("utf-8"), bytes)
}

fn page(visit: &Visit, rest: &str, charset: &str, meta: Option<&str>) -> Option<Vec<u8>> {
    let product = Product { name: charset_sample(charset)?.to_owned(), ..visit.product(rest) };
    let text = page::markup(&product, &visit.origin(), meta, 0);
    let encoding = Encoding::for_label(charset.as_bytes())?;
    if encoding == UTF_16LE {
        // encoding_rs decodes UTF-16 and does not encode it, as the standard says.
        let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
        return Some(units.flat_map(u16::to_le_bytes).collect());
    }
    // iso-8859-1 is encoded as windows-1252, its superset; the sample stays within iso-8859-1.
    Some(encoding.encode(&text).0.into_owned())
}

fn html(charset: Option<&str>, bytes: Vec<u8>) -> Response {
    let content_type = match charset {
        Some(charset) => format!("text/html; charset={charset}"),
        None => "text/html".to_owned(),
    };
    ([(CONTENT_TYPE, content_type)], bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::{Options, Shop};

    const CHARSETS: [&str; 7] =
        ["utf-8", "iso-8859-1", "windows-1252", "shift_jis", "gbk", "koi8-r", "utf-16le"];

    #[tokio::test]
    async fn a_page_is_in_its_declared_charset() {
        let shop = Shop::start(Options::default()).await.unwrap();
        for charset in CHARSETS {
            let sample = charset_sample(charset).unwrap();
            for path in ["charset", "charset-meta"] {
                let url = shop.url(&format!("/{path}/{charset}/17"));
                let answer = reqwest::get(url).await.unwrap();
                let content_type = answer.headers()[CONTENT_TYPE].to_str().unwrap();
                assert_eq!(content_type.contains("charset="), path == "charset");
                let bytes = answer.bytes().await.unwrap();
                let encoding = Encoding::for_label(charset.as_bytes()).unwrap();
                let (text, _, broken) = encoding.decode(&bytes);
                assert!(!broken);
                assert!(text.contains(&format!("<h1>{sample}</h1>")), "{text}");
                assert_eq!(std::str::from_utf8(&bytes).is_ok(), charset == "utf-8", "{charset}");
            }
        }
    }

    #[tokio::test]
    async fn a_page_may_declare_a_wrong_charset() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let answer = reqwest::get(shop.url("/charset-wrong/1")).await.unwrap();
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(std::str::from_utf8(&answer.bytes().await.unwrap()).is_err());
        let answer = reqwest::get(shop.url("/charset-unknown/1")).await.unwrap();
        assert!(Encoding::for_label(b"x-unheard-of").is_none());
        assert!(std::str::from_utf8(&answer.bytes().await.unwrap()).is_ok());
    }
}
