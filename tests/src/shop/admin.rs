//! The administration of a shop in another process, under `/-/`.

use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Json,
    extract::{FromRef, Path, Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{Visits, posted::PostedPages, visit::Visit};

/// The state of the shop.
#[derive(Clone)]
pub(super) struct ShopState {
    pub(super) visits: Visits,
    pub(super) revision: Arc<AtomicU64>,
    /// The status and the text of `/robots.txt`.
    pub(super) robots: Arc<Mutex<(u16, String)>>,
    pub(super) posted: PostedPages,
}

impl FromRef<ShopState> for PostedPages {
    fn from_ref(shop: &ShopState) -> Self {
        shop.posted.clone()
    }
}

/// `/robots.txt`: 404 until a test sets it.
pub(super) async fn robots(State(shop): State<ShopState>) -> Response {
    let (status, text) = shop.robots.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND), text).into_response()
}

#[derive(Deserialize)]
pub(super) struct Selection {
    path: Option<String>,
    top: Option<usize>,
}

/// The summary of all visits, or the count of one path.
pub(super) async fn visits(
    State(shop): State<ShopState>,
    Query(selection): Query<Selection>,
) -> Response {
    match selection.path {
        Some(path) => Json(json!({"path": path, "visits": shop.visits.of(&path)})).into_response(),
        None => Json(shop.visits.summary(selection.top.unwrap_or(10))).into_response(),
    }
}

pub(super) async fn reset(State(shop): State<ShopState>) -> StatusCode {
    shop.visits.reset();
    StatusCode::NO_CONTENT
}

pub(super) async fn revise(State(shop): State<ShopState>, Path(revision): Path<u64>) -> StatusCode {
    shop.revision.store(revision, Ordering::Relaxed);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Range {
    from: u64,
    count: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Page,
    Json,
    Big,
}

impl Default for Range {
    fn default() -> Self {
        Self { from: 0, count: 5_000, kind: Kind::Page }
    }
}

/// The URLs of products, one per line.
pub(super) async fn urls(visit: Visit, Query(range): Query<Range>) -> String {
    let origin = visit.origin();
    let (before, after) = match range.kind {
        Kind::Page => ("p", ""),
        Kind::Json => ("p", ".json"),
        Kind::Big => ("big", ""),
    };
    let mut lines = String::new();
    for id in range.from..range.from.saturating_add(range.count) {
        // Writing to a String never fails.
        let _ = writeln!(lines, "{origin}/{before}/{id}{after}");
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::shop::{Options, Shop};

    #[tokio::test]
    async fn visits_are_reported_over_http_and_reports_are_not_counted() {
        let shop = Shop::start(Options::default()).await.unwrap();
        for path in ["/p/1", "/p/1", "/p/2", "/p/2?from=mail"] {
            reqwest::get(shop.url(path)).await.unwrap();
        }
        let get = async |path: &str| -> Value {
            let answer = reqwest::get(shop.url(path)).await.unwrap();
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
        };
        let all = get("/-/visits?top=1").await;
        assert_eq!(all["total"], 4);
        assert_eq!(all["paths"], 3);
        assert_eq!(all["repeats"], 1);
        assert_eq!(all["top"], serde_json::json!([["/p/1", 2]]));
        assert_eq!(all["hosts"][0]["host"], "127.0.0.1");
        assert_eq!(all["hosts"][0]["total"], 4);
        assert_eq!(get("/-/visits?path=/p/1").await["visits"], 2);

        let reset = reqwest::Client::new().post(shop.url("/-/reset"));
        assert_eq!(reset.send().await.unwrap().status(), 204);
        assert_eq!(shop.visits().total(), 0);
    }

    #[tokio::test]
    async fn visits_are_counted_per_host_and_second() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let client = reqwest::Client::builder()
            .resolve("shop-1.test", shop.addr())
            .resolve("shop-2.test", shop.addr())
            .build()
            .unwrap();
        for host in ["shop-1.test", "SHOP-1.test", "shop-2.test"] {
            client.get(shop.url_at(host, "/p/1")).send().await.unwrap();
        }
        let visits = shop.visits();
        assert_eq!(visits.seconds("shop-1.test").iter().sum::<u32>(), 2);
        assert_eq!(visits.seconds("shop-2.test").iter().sum::<u32>(), 1);
    }

    #[tokio::test]
    async fn urls_name_the_requested_host() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let get = async |path: &str| {
            let answer = reqwest::get(shop.url(path)).await.unwrap();
            answer.text().await.unwrap()
        };
        let urls = get("/-/urls").await;
        assert_eq!(urls.lines().count(), 5_000);
        assert_eq!(urls.lines().nth(17), Some(shop.url("/p/17").as_str()));
        let urls = get("/-/urls?from=7&count=1&kind=json").await;
        assert_eq!(urls, format!("{}\n", shop.url("/p/7.json")));
    }
}
