//! Answers that are valid HTTP and hard to handle.

use std::{convert::Infallible, iter, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::Path,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::{Html, IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Map, json};

use super::visit::Visit;

const MIB: u64 = 1 << 20;

/// 64 KiB of lines, the unit of long bodies.
static PIECE: [u8; 1 << 16] = {
    let mut piece = [b'-'; 1 << 16];
    let mut end = 63;
    while end < piece.len() {
        piece[end] = b'\n';
        end += 64;
    }
    piece
};

pub(super) async fn huge(Path((mib, _)): Path<(u64, String)>) -> Response {
    let Some(length) = mib.checked_mul(MIB) else {
        return (StatusCode::BAD_REQUEST, "too much\n").into_response();
    };
    let pieces = (0..length / PIECE.len() as u64).map(|_| piece());
    let headers = [(CONTENT_TYPE, "text/plain".to_owned()), (CONTENT_LENGTH, length.to_string())];
    (headers, Body::from_stream(stream::iter(pieces))).into_response()
}

pub(super) async fn endless() -> impl IntoResponse {
    let pieces = iter::repeat_with(piece);
    ([(CONTENT_TYPE, "text/plain")], Body::from_stream(stream::iter(pieces)))
}

fn piece() -> Result<Bytes, Infallible> {
    Ok(Bytes::from_static(&PIECE))
}

pub(super) async fn empty() -> Html<&'static str> {
    Html("")
}

pub(super) async fn no_content() -> StatusCode {
    StatusCode::NO_CONTENT
}

pub(super) async fn image() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/png")], PIXEL)
}

pub(super) async fn bad_json(visit: Visit, Path(rest): Path<String>) -> impl IntoResponse {
    let body = format!("{{\"name\": \"{}\", \"price\": ", visit.product(&rest).sku);
    ([(CONTENT_TYPE, "application/json")], body)
}

pub(super) async fn deep_json(Path((depth, _)): Path<(usize, String)>) -> Response {
    if depth > 10_000_000 {
        return (StatusCode::BAD_REQUEST, "too deep\n").into_response();
    }
    let body = "[".repeat(depth) + &"]".repeat(depth);
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

pub(super) async fn json_key(Path((bytes, _)): Path<(usize, String)>) -> Response {
    if bytes > 10_000_000 {
        return (StatusCode::BAD_REQUEST, "too long\n").into_response();
    }
    let body = format!("{{\"{}\": 1}}", "k".repeat(bytes));
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// MySQL's binary form of this JSON takes two and a half times the space.
pub(super) async fn json_zeros(Path((mib, _)): Path<(u64, String)>) -> Response {
    if mib > 100 {
        return (StatusCode::BAD_REQUEST, "too long\n").into_response();
    }
    let body = format!("[{}0]", "0,".repeat((mib * MIB / 2) as usize));
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Answers with few bytes whatever was sent, unlike `echo`.
pub(super) async fn receive(Path((ms, _)): Path<(u64, String)>, body: Bytes) -> impl IntoResponse {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Json(json!({ "bytes": body.len() }))
}

/// Answers with `kib` headers of 1 KiB each.
pub(super) async fn headers(Path((kib, _)): Path<(u16, String)>) -> impl IntoResponse {
    let headers: HeaderMap = (0..kib)
        .filter_map(|n| {
            let name = HeaderName::try_from(format!("x-pad-{n:05}")).ok()?;
            // 1,024 bytes together with ": " and the line end.
            let value = HeaderValue::try_from("-".repeat(1024 - name.as_str().len() - 4)).ok()?;
            Some((name, value))
        })
        .collect();
    (headers, "all in the headers\n")
}

/// Describes the request as it arrived; repeated headers are joined with commas.
pub(super) async fn echo(
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let fields: Map<_, _> = headers
        .keys()
        .map(|name| {
            let values: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            (name.to_string(), values.join(", ").into())
        })
        .collect();
    Json(json!({
        "method": method.as_str(),
        "path": uri.to_string(),
        "headers": fields,
        "body": String::from_utf8_lossy(&body),
    }))
}

/// A PNG of one grey pixel.
const PIXEL: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\
    \x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU\
    \x00\x00\x00\x0aIDATx\xdach\x00\x00\x00\x82\x00\x81\xdaE\x08;\x00\x00\x00\x00IEND\xaeB`\x82";

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::shop::{Options, Shop};

    #[tokio::test]
    async fn a_huge_body_has_its_declared_length() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let answer = reqwest::get(shop.url("/huge/20/1")).await.unwrap();
        assert_eq!(answer.content_length(), Some(20 << 20));
        assert_eq!(answer.bytes().await.unwrap().len(), 20 << 20);
    }

    #[tokio::test]
    async fn an_endless_body_declares_no_length_and_never_ends() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let mut answer = reqwest::get(shop.url("/endless/1")).await.unwrap();
        assert_eq!(answer.content_length(), None);
        let mut received = 0;
        while received < 50 << 20 {
            received += answer.chunk().await.unwrap().unwrap().len();
        }
    }

    #[tokio::test]
    async fn an_echo_describes_the_request() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let request = reqwest::Client::new()
            .put(shop.url("/echo/1?a=b"))
            .header("x-color", "blue")
            .header("x-color", "green")
            .body("hello");
        let answer = request.send().await.unwrap().bytes().await.unwrap();
        let echo: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(echo["method"], "PUT");
        assert_eq!(echo["path"], "/echo/1?a=b");
        assert_eq!(echo["headers"]["x-color"], "blue, green");
        assert_eq!(echo["body"], "hello");
    }

    #[tokio::test]
    async fn an_empty_answer_is_200_without_a_body() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let answer = reqwest::get(shop.url("/empty/1")).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()[CONTENT_LENGTH], "0");
        assert_eq!(answer.bytes().await.unwrap(), "");
        let answer = reqwest::get(shop.url("/no-content/1")).await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    #[tokio::test]
    async fn json_can_be_broken_and_deep() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let get = async |path: &str| {
            let answer = reqwest::get(shop.url(path)).await.unwrap();
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
            answer.text().await.unwrap()
        };
        assert!(serde_json::from_str::<Value>(&get("/bad-json/1").await).is_err());
        assert_eq!(get("/deep-json/3/1").await, "[[[]]]");
        assert_eq!(get("/deep-json/100000/1").await.len(), 200_000);
        assert_eq!(get("/json-key/3/1").await, r#"{"kkk": 1}"#);
        let zeros: Vec<u8> = serde_json::from_str(&get("/json-zeros/1/1").await).unwrap();
        assert!(zeros.len() > 500_000 && zeros.iter().all(|zero| *zero == 0));
    }

    #[tokio::test]
    async fn headers_can_be_huge() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let answer = reqwest::get(shop.url("/headers/64/1")).await.unwrap();
        let pads = answer.headers().iter().filter(|(name, _)| name.as_str().starts_with("x-pad-"));
        assert_eq!(pads.map(|(n, v)| n.as_str().len() + v.len() + 4).sum::<usize>(), 64 << 10);
    }
}
