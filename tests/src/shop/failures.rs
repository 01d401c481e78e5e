//! Failures with an HTTP status, temporary or permanent.

use std::time::{Duration, SystemTime};

use axum::{
    extract::Path,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse as _, Response},
};

use super::{products, visit::Visit};

pub(super) async fn flaky(visit: Visit, Path((n, rest)): Path<(u64, String)>) -> Response {
    if visit.nth <= n {
        return (StatusCode::INTERNAL_SERVER_ERROR, "not yet\n").into_response();
    }
    products::json(&visit, &rest)
}

pub(super) async fn busy(
    visit: Visit,
    Path((seconds, n, rest)): Path<(u64, u64, String)>,
) -> Response {
    busy_until(&visit, n, &rest, || seconds.to_string())
}

pub(super) async fn busy_date(
    visit: Visit,
    Path((seconds, n, rest)): Path<(u32, u64, String)>,
) -> Response {
    busy_until(&visit, n, &rest, || {
        // A date has whole seconds; truncation would make the wait too short.
        let until =
            SystemTime::now() + Duration::from_secs(seconds.into()) + Duration::from_millis(999);
        httpdate::fmt_http_date(until)
    })
}

fn busy_until(visit: &Visit, n: u64, rest: &str, retry_after: impl Fn() -> String) -> Response {
    if visit.nth <= n {
        let header = [(RETRY_AFTER, retry_after())];
        return (StatusCode::TOO_MANY_REQUESTS, header, "busy\n").into_response();
    }
    products::json(visit, rest)
}

/// Any status from 200 to 999; a success has a product as its body.
pub(super) async fn status(visit: Visit, Path((code, rest)): Path<(u16, String)>) -> Response {
    match StatusCode::from_u16(code) {
        Ok(code) if code.is_success() => (code, products::json(&visit, &rest)).into_response(),
        Ok(code) if !code.is_informational() => (code, format!("{code}\n")).into_response(),
        _ => (StatusCode::BAD_REQUEST, "a status is from 200 to 999\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::{Options, Shop};

    #[tokio::test]
    async fn a_flaky_page_fails_n_times_and_then_answers() {
        let shop = Shop::start(Options::default()).await.unwrap();
        for expected in [500, 500, 200, 200] {
            let answer = reqwest::get(shop.url("/flaky/2/17")).await.unwrap();
            assert_eq!(answer.status(), expected);
        }
        // Paths are counted separately.
        let answer = reqwest::get(shop.url("/flaky/2/18")).await.unwrap();
        assert_eq!(answer.status(), 500);
        assert_eq!(shop.visits().of("/flaky/2/17"), 4);
    }

    #[tokio::test]
    async fn a_busy_page_sends_retry_after() {
        let shop = Shop::start(Options::default()).await.unwrap();
        for path in ["/busy/30/1/x", "/busy-date/30/1/x"] {
            let asked = SystemTime::now();
            let answer = reqwest::get(shop.url(path)).await.unwrap();
            assert_eq!(answer.status(), 429);
            let retry_after = answer.headers()[RETRY_AFTER].to_str().unwrap();
            if let Ok(date) = httpdate::parse_http_date(retry_after) {
                let wait = date.duration_since(asked).unwrap();
                assert!(wait >= Duration::from_secs(30) && wait < Duration::from_secs(33));
            } else {
                assert_eq!(retry_after, "30");
            }
            let answer = reqwest::get(shop.url(path)).await.unwrap();
            assert_eq!(answer.status(), 200);
        }
    }

    #[tokio::test]
    async fn every_status_can_be_requested() {
        let shop = Shop::start(Options::default()).await.unwrap();
        for code in [200, 201, 204, 304, 401, 404, 410, 418, 500, 503, 599] {
            let answer = reqwest::get(shop.url(&format!("/status/{code}/a/b/c"))).await;
            assert_eq!(answer.unwrap().status(), code);
        }
        let answer = reqwest::get(shop.url("/status/100/1")).await.unwrap();
        assert_eq!(answer.status(), 400);
    }
}
