//! The product pages `/p` and `/big`.

use axum::{
    extract::Path,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};

use super::{Product, page, visit::Visit};

type Render = fn(&Product, &str) -> Response;

pub(super) async fn page(visit: Visit, Path(id): Path<String>) -> Response {
    match id.strip_suffix(".json") {
        Some(id) => answer(&visit, id, page::json),
        None => answer(&visit, &id, page::html),
    }
}

pub(super) async fn big(visit: Visit, Path(id): Path<String>) -> Response {
    answer(&visit, &id, page::big_html)
}

fn answer(visit: &Visit, id: &str, render: Render) -> Response {
    match id.parse() {
        Ok(id) => render(&visit.product_nth(id), &visit.origin()),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The JSON of the product that `rest` ends in, which many other paths answer with in the end.
pub(super) fn json(visit: &Visit, rest: &str) -> Response {
    page::json(&visit.product(rest), &visit.origin())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::shop::{Options, Product, Shop};

    /// The `Product` in the JSON-LD of a page.
    fn json_ld(page: &str) -> Value {
        let (_, rest) = page.split_once("<script type=\"application/ld+json\">").unwrap();
        let (text, _) = rest.split_once("</script>").unwrap();
        serde_json::from_str::<Value>(text).unwrap()[1].take()
    }

    async fn get(shop: &Shop, path: &str) -> String {
        let answer = reqwest::get(shop.url(path)).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    }

    #[tokio::test]
    async fn all_representations_contain_the_same_product() {
        let shop = Shop::start(Options::default()).await.unwrap();
        for id in [0, 1, 17, 4_999] {
            let product = Product::nth(id);

            let json: Value =
                serde_json::from_str(&get(&shop, &format!("/p/{id}.json")).await).unwrap();
            assert_eq!(json["name"], product.name);
            assert_eq!(json["price"].as_f64(), product.price().parse().ok());

            for path in [format!("/p/{id}"), format!("/big/{id}")] {
                let product_on_page = json_ld(&get(&shop, &path).await);
                assert_eq!(product_on_page["name"], product.name);
                assert_eq!(product_on_page["sku"], product.sku);
                assert_eq!(product_on_page["offers"]["price"], product.price());
                assert_eq!(product_on_page["offers"]["priceCurrency"], product.currency);
            }
        }
    }

    #[tokio::test]
    async fn answers_have_their_documented_sizes() {
        let shop = Shop::start(Options::default()).await.unwrap();
        for id in (0..5_000).step_by(97) {
            let json = get(&shop, &format!("/p/{id}.json")).await.len();
            assert!((340..420).contains(&json), "{json}");
            let page = get(&shop, &format!("/p/{id}")).await.len();
            assert!((3_500..5_000).contains(&page), "{page}");
            let big = get(&shop, &format!("/big/{id}")).await.len();
            assert!((38_000..44_000).contains(&big), "{big}");
        }
    }

    #[tokio::test]
    async fn pages_show_a_new_revision_at_once() {
        let shop = Shop::start(Options::default()).await.unwrap();
        shop.set_revision(3);
        let product_on_page = json_ld(&get(&shop, "/p/30").await);
        assert_eq!(product_on_page["offers"]["price"], Product::at_revision(30, 3).price());
        assert_ne!(product_on_page["offers"]["price"], Product::nth(30).price());
    }

    #[tokio::test]
    async fn an_unknown_path_is_404() {
        let shop = Shop::start(Options::default()).await.unwrap();
        for path in ["/", "/p/x", "/p/1.html", "/slow/1", "/charset/klingon/1"] {
            assert_eq!(reqwest::get(shop.url(path)).await.unwrap().status(), 404);
        }
        assert_eq!(shop.visits().total(), 5);
    }
}
