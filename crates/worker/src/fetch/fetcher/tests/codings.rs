//! Bodies with content codings.

use std::io::Read;

use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

fn packed(mut from: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).unwrap();
    all
}

/// A text in every coding, with the name of the coding.
fn coded(text: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    let mut brotli = Vec::new();
    let params = brotli::enc::BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut &*text, &mut brotli, &params).unwrap();
    [
        ("gzip", packed(GzEncoder::new(text, Compression::fast()))),
        ("deflate", packed(ZlibEncoder::new(text, Compression::fast()))),
        ("deflate", packed(DeflateEncoder::new(text, Compression::fast()))),
        ("zstd", zstd::encode_all(text, 1).unwrap()),
        ("br", brotli),
    ]
}

/// How a server closes a connection after these bytes of a body.
async fn fetch_bytes(head: &str, body: &[u8]) -> Answer {
    let response = [head.as_bytes(), b"\r\n\r\n", body].concat();
    let origin = Origin::start("127.0.0.1", move |_| Reply::Last(response.clone())).await;
    fetch(&fetcher(), &origin.url("/")).await
}

#[tokio::test]
async fn a_coding_that_the_end_of_the_connection_cuts_off_is_retried() {
    let text: String = (0..5_000).map(|n| format!("{n} ")).collect();
    for (coding, data) in coded(text.as_bytes()) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}");
        let answer = fetch_bytes(&head, &data).await;
        assert_eq!(page(&answer), (Outcome::Ok, text.as_str()), "{coding}");
        for sent in [data.len() - 1, data.len() / 2, 11] {
            let answer = fetch_bytes(&head, &data[..sent]).await;
            let error = answer.error.unwrap_or_default();
            assert_eq!(answer.outcome, Outcome::Protocol, "{coding} {sent}: {error}");
            assert!(error.contains("connection ended too early"), "{coding}: {error}");
            // The site itself says that this is the whole body.
            let whole = format!("{head}\r\nContent-Length: {sent}");
            let answer = fetch_bytes(&whole, &data[..sent]).await;
            assert_eq!(answer.outcome, Outcome::Decode, "{coding} {sent}");
        }
    }
}

#[tokio::test]
async fn what_is_not_in_its_coding_is_not_retried_however_it_ends() {
    for coding in ["gzip", "deflate", "zstd"] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}");
        let answer = fetch_bytes(&head, b"\xffnot in any coding, and long enough to show it").await;
        assert_eq!(answer.outcome, Outcome::Decode, "{coding}: {:?}", answer.error);
    }
}

#[tokio::test]
async fn transfer_codings_are_removed_or_refused() {
    let text: String = (0..500).map(|n| format!("{n} ")).collect();
    let [(_, gzip), (_, zlib), ..] = coded(text.as_bytes());
    let twice = packed(GzEncoder::new(&*zlib, Compression::fast()));
    let chunked =
        |data: &[u8]| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n0\r\n\r\n"].concat();
    let page_in_gzip = packed(GzEncoder::new(&*chunked(b"page"), Compression::fast()));
    for (lines, body, expected) in [
        ("Transfer-Encoding: gzip, chunked", chunked(&gzip), Some(text.as_str())),
        ("Transfer-Encoding: deflate\r\nTransfer-Encoding: Chunked", chunked(&zlib), Some(&text)),
        ("Transfer-Encoding: x-gzip", gzip.clone(), Some(&text)),
        (
            "Content-Encoding: deflate\r\nTransfer-Encoding: gzip, chunked",
            chunked(&twice),
            Some(&text),
        ),
        ("Transfer-Encoding: chunked, chunked", chunked(b"page"), Some("page")),
        ("Transfer-Encoding: identity", b"page".to_vec(), Some("page")),
        ("Transfer-Encoding: \"chunked\"", chunked(b"page"), None),
        ("Transfer-Encoding: chunked;", chunked(b"page"), None),
        ("Transfer-Encoding: chunked,", chunked(b"page"), None),
        ("Transfer-Encoding: chunked, identity", chunked(b"page"), None),
        ("Transfer-Encoding: chunked, gzip", page_in_gzip, None),
        ("Transfer-Encoding: compress, chunked", chunked(b"page"), None),
    ] {
        let answer = fetch_bytes(&format!("HTTP/1.1 200 OK\r\n{lines}"), &body).await;
        let (outcome, body) = page(&answer);
        match expected {
            Some(text) => assert_eq!((outcome, body), (Outcome::Ok, text), "{lines}"),
            None => {
                let error = answer.error.as_deref().unwrap_or_default();
                assert_eq!(outcome, Outcome::Decode, "{lines}: {error}");
                assert!(error.contains("transfer codings"), "{lines}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_length_beside_a_transfer_coding_ends_a_body_on_a_kept_connection() {
    let gzip = packed(GzEncoder::new(&b"page"[..], Compression::fast()));
    let length = format!("Content-Length: {}", gzip.len());
    for (method, lines, body, expected) in [
        (Method::GET, "Transfer-Encoding: identity\r\nContent-Length: 4", &b"page"[..], "page"),
        (Method::GET, "Transfer-Encoding:\r\nContent-Length: 4", b"page and more", "page"),
        (Method::GET, &format!("Transfer-Encoding: gzip\r\n{length}"), &gzip, "page"),
        (Method::GET, "Transfer-Encoding: identity\r\nContent-Length: 0", b"", ""),
        (Method::HEAD, "Transfer-Encoding: identity\r\nContent-Length: 4", b"", ""),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
        let response = [head.as_bytes(), body].concat();
        let origin = Origin::start("127.0.0.1", move |asked| match asked.path() {
            "/" => Reply::Bytes(response.clone()),
            _ => Reply::of(200, &[], "next"),
        })
        .await;
        let fetcher = fetcher();
        let answer = fetch_in(&fetcher, &request(method, &origin.url("/")), "run").await;
        assert_eq!(page(&answer), (Outcome::Ok, expected), "{lines}: {:?}", answer.error);
        // What may be left of the body is not taken for the next answer.
        assert_eq!(page(&fetch(&fetcher, &origin.url("/next")).await), (Outcome::Ok, "next"));
    }
    for lines in ["", "Transfer-Encoding: identity\r\n"] {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 5");
        assert_eq!(fetch_bytes(&head, b"page").await.outcome, Outcome::Protocol, "{lines}");
    }
    // A redirect whose body has no end on its connection costs no time.
    let origin = Origin::start("127.0.0.1", |asked| match asked.path() {
        "/" => Reply::text("HTTP/1.1 302 X\r\nLocation: /next\r\n\r\nmoved"),
        _ => Reply::of(200, &[], "next"),
    })
    .await;
    assert_eq!(page(&fetch(&fetcher(), &origin.url("/")).await), (Outcome::Ok, "next"));
}

#[tokio::test]
async fn trailers_are_ignored_unless_a_line_is_no_field() {
    for (trailers, outcome) in [
        ("", Outcome::Ok),
        ("X: y\r\nSet-Cookie: a=b\r\n", Outcome::Ok),
        ("Content-Length: 9\r\n", Outcome::Ok),
        ("no field\r\n", Outcome::Protocol),
        ("X: y\r\nX Y: z\r\n", Outcome::Protocol),
    ] {
        let body = format!("4\r\npage\r\n0\r\n{trailers}\r\n");
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked";
        let answer = fetch_bytes(head, body.as_bytes()).await;
        assert_eq!(answer.outcome, outcome, "{trailers:?}: {:?}", answer.error);
    }
}
