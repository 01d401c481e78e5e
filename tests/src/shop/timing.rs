//! Answers that are late or never arrive.

use std::{convert::Infallible, future, time::Duration};

use axum::{
    body::Body,
    extract::Path,
    http::header::{CONTENT_LENGTH, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{page, products, visit::Visit};

pub(super) async fn slow(visit: Visit, Path((ms, rest)): Path<(u64, String)>) -> Response {
    sleep(Duration::from_millis(ms)).await;
    products::json(&visit, &rest)
}

pub(super) async fn hang() -> Response {
    future::pending().await
}

pub(super) async fn hang_body(visit: Visit, Path(rest): Path<String>) -> impl IntoResponse {
    let page = page::markup(&visit.product(&rest), &visit.origin(), Some("utf-8"), 0);
    let length = page.len();
    let half = Bytes::from(page).slice(..length / 2);
    let body = stream::once(future::ready(Ok::<_, Infallible>(half))).chain(stream::pending());
    (
        [
            (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
            (CONTENT_LENGTH, length.to_string()),
        ],
        Body::from_stream(body),
    )
}

pub(super) async fn drip(Path((ms, _)): Path<(u64, String)>) -> impl IntoResponse {
    let mut ticks = interval(Duration::from_millis(ms.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let bytes = stream::unfold(ticks, |mut ticks| async {
        ticks.tick().await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b".")), ticks))
    });
    ([(CONTENT_TYPE, "text/plain")], Body::from_stream(bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;
    use crate::shop::{Options, Shop};

    #[tokio::test]
    async fn a_slow_answer_is_on_time_and_ten_at_once_take_no_longer() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let client = reqwest::Client::new();
        let started = Instant::now();
        let answers = (0..10).map(|n| client.get(shop.url(&format!("/slow/300/{n}"))).send());
        for answer in futures_util::future::join_all(answers).await {
            assert_eq!(answer.unwrap().status(), 200);
        }
        assert!(started.elapsed() >= Duration::from_millis(300));
        assert!(started.elapsed() < Duration::from_millis(1_500));
    }

    #[tokio::test]
    async fn hanging_answers_send_nothing_or_half_a_body() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let deadline = Duration::from_millis(300);
        let hanging = reqwest::get(shop.url("/hang/1"));
        assert!(timeout(deadline, hanging).await.is_err());

        let mut answer = reqwest::get(shop.url("/hang-body/1")).await.unwrap();
        let declared = answer.content_length().unwrap();
        let mut received = 0;
        while let Ok(chunk) = timeout(deadline, answer.chunk()).await {
            received += chunk.unwrap().unwrap().len() as u64;
        }
        assert_eq!(received, declared / 2);
        assert_eq!(shop.visits().total(), 2);
    }

    #[tokio::test]
    async fn a_drip_sends_byte_after_byte() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let mut answer = reqwest::get(shop.url("/drip/5/1")).await.unwrap();
        for _ in 0..20 {
            assert_eq!(answer.chunk().await.unwrap().unwrap(), ".");
        }
    }

    #[tokio::test]
    async fn a_shop_that_stops_closes_its_connections_and_frees_its_port() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let addr = shop.addr();
        let hanging = tokio::spawn(reqwest::get(shop.url("/hang/1")));
        while shop.visits().total() == 0 {
            tokio::task::yield_now().await;
        }
        shop.stop().await;
        assert!(hanging.await.unwrap().is_err());

        let again = Options { listen: addr, ..Options::default() };
        let shop = Shop::start(again).await.unwrap();
        assert!(reqwest::get(shop.url("/p/1")).await.is_ok());
    }
}
