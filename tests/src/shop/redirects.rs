//! Redirects.

use axum::{
    extract::{Path, Query},
    http::{
        HeaderValue, StatusCode,
        header::{InvalidHeaderValue, LOCATION},
    },
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{page, visit::Visit};

/// The page of a product after `n` redirects with a relative Location each.
pub(super) async fn hops(visit: Visit, Path((n, rest)): Path<(u64, String)>) -> Response {
    match n {
        0 => page::html(&visit.product(&rest), &visit.origin()),
        1 => found(&format!("/p/{}", visit.product(&rest).id)),
        _ => found(&format!("/redirect/{}/{rest}", n - 1)),
    }
}

pub(super) async fn loop_back(Path(rest): Path<String>) -> Response {
    found(&format!("/redirect-loop/{rest}"))
}

pub(super) async fn endless(Path((n, rest)): Path<(u64, String)>) -> Response {
    found(&format!("/redirect-endless/{}/{rest}", n.wrapping_add(1)))
}

pub(super) async fn to_long(Path((bytes, _)): Path<(usize, String)>) -> Response {
    found(&format!("/p/{}", "1".repeat(bytes.min(1 << 20))))
}

#[derive(Deserialize)]
pub(super) struct Target {
    url: String,
    status: Option<u16>,
}

pub(super) async fn to(Query(target): Query<Target>) -> Response {
    let status = target.status.unwrap_or(302);
    match StatusCode::from_u16(status) {
        Ok(status) if status.is_redirection() => redirect(status, &target.url),
        _ => (StatusCode::BAD_REQUEST, "the status of a redirect is 3xx\n").into_response(),
    }
}

fn found(location: &str) -> Response {
    redirect(StatusCode::FOUND, location)
}

fn redirect(status: StatusCode, location: &str) -> Response {
    // Bytes above 0x7f are allowed: many sites send them.
    let location: Result<_, InvalidHeaderValue> = HeaderValue::from_bytes(location.as_bytes());
    match location {
        Ok(location) => (status, [(LOCATION, location)], "elsewhere\n").into_response(),
        Err(_) => (StatusCode::BAD_REQUEST, "this is not a valid Location\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use crate::shop::{Options, Shop};

    #[tokio::test]
    async fn n_hops_lead_to_the_product() {
        let shop = Shop::start(Options::default()).await.unwrap();
        for n in 0..=5 {
            let answer = reqwest::get(shop.url(&format!("/redirect/{n}/17"))).await.unwrap();
            assert_eq!(answer.status(), 200);
            if n > 0 {
                assert_eq!(answer.url().path(), "/p/17");
            }
        }
        assert_eq!(shop.visits().of("/p/17"), 5);
    }

    #[tokio::test]
    async fn an_endless_redirect_never_ends() {
        let shop = Shop::start(Options::default()).await.unwrap();
        for path in ["/redirect-loop/1", "/redirect-endless/0/1"] {
            let error = reqwest::get(shop.url(path)).await.unwrap_err();
            assert!(error.is_redirect());
        }
        // reqwest gives up after 10 hops.
        assert_eq!(shop.visits().of("/redirect-loop/1"), 11);
        assert_eq!(shop.visits().of("/redirect-endless/10/1"), 1);
    }

    #[tokio::test]
    async fn a_redirect_leads_to_any_given_url() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let path = "/redirect-to?url=http%3A%2F%2F169.254.169.254%2Fkeys&status=307";
        let answer = client.get(shop.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 307);
        assert_eq!(answer.headers()["location"], "http://169.254.169.254/keys");
    }
}
