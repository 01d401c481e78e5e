//! The representations of a product: a page with JSON-LD, and JSON.

use axum::{
    Json,
    response::{Html, IntoResponse, Response},
};
use serde_json::{Value, json};

use super::catalogue::Product;

/// The JSON of a product, about 380 bytes.
pub(super) fn json(product: &Product, origin: &str) -> Response {
    #[derive(serde::Serialize)]
    struct Answer<'a> {
        id: u64,
        sku: &'a str,
        name: &'a str,
        brand: &'a str,
        category: &'a str,
        price: f64,
        currency: &'a str,
        availability: &'a str,
        url: String,
        image: String,
        description: String,
    }
    let Product { id, .. } = *product;
    Json(Answer {
        id,
        sku: &product.sku,
        name: &product.name,
        brand: product.brand,
        category: product.category,
        // The double nearest to a decimal with this few digits prints as that decimal.
        price: product.price_cents as f64 / 100.0,
        currency: product.currency,
        availability: product.availability,
        url: format!("{origin}/p/{id}"),
        image: format!("{origin}/image/{id}"),
        description: description(product),
    })
    .into_response()
}

/// The page of a product, about 4 kB.
pub(super) fn html(product: &Product, origin: &str) -> Response {
    Html(markup(product, origin, Some("utf-8"), 0)).into_response()
}

/// The page of a product with reviews, about 40 kB.
pub(super) fn big_html(product: &Product, origin: &str) -> Response {
    Html(markup(product, origin, Some("utf-8"), 60)).into_response()
}

/// The text of a page. Only the name of the product may contain non-ASCII characters, so that the
/// page can be encoded in every charset that can encode the name.
pub(super) fn markup(
    product: &Product,
    origin: &str,
    meta_charset: Option<&str>,
    reviews: usize,
) -> String {
    let id = product.id;
    let url = format!("{origin}/p/{id}");
    let name = escape(&product.name);
    let brand = escape(product.brand);
    let description = escape(&description(product));
    let json_ld = json_ld(product, origin, &url);
    let price = product.price();
    let Product { currency, category, sku, availability, .. } = product;
    let meta = meta_charset.map_or(String::new(), |c| format!("<meta charset=\"{c}\">\n"));
    let related: String = (1..=8).map(|n| card(id.wrapping_add(n))).collect();
    let reviews: String = (1..=reviews)
        .map(|n| {
            format!(
                "    <article class=\"review\" id=\"r{n}\">\n      <h3>Review {n}</h3>\n\
                 {REVIEW}    </article>\n"
            )
        })
        .collect();
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
{meta}<title>{name} | Sample Shop</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="{description}">
<meta property="og:type" content="product">
<meta property="og:site_name" content="Sample Shop">
<meta property="og:title" content="{name}">
<meta property="og:url" content="{url}">
<meta property="og:image" content="{origin}/image/{id}">
<meta property="product:price:amount" content="{price}">
<meta property="product:price:currency" content="{currency}">
<link rel="canonical" href="{url}">
<script type="application/ld+json">
{json_ld}
</script>
<style>
body{{font:16px/1.5 sans-serif;margin:0 auto;max-width:60rem}}
.price{{font-size:1.5rem}}
.card{{display:inline-block;width:12rem}}
</style>
</head>
<body>
<header>
  <a class="logo" href="/">Sample Shop</a>
  <form action="/search" role="search">
    <input name="q" aria-label="Search"><button>Search</button>
  </form>
  <nav class="menu">
    <a href="/c/audio">Audio</a>
    <a href="/c/books">Books</a>
    <a href="/c/coffee">Coffee</a>
    <a href="/c/garden">Garden</a>
    <a href="/c/kitchen">Kitchen</a>
  </nav>
</header>
<nav class="breadcrumbs" aria-label="Breadcrumb">
  <a href="/">Home</a> &rsaquo; <a href="/c/{category}">{category}</a> &rsaquo; <span>{name}</span>
</nav>
<main>
  <h1>{name}</h1>
  <img src="/image/{id}" alt="{name}" width="480" height="480">
  <p class="price"><data value="{price}">{price}</data> <abbr>{currency}</abbr></p>
  <p class="stock">{availability}</p>
  <p class="shipping">Shipping from 4.90 EUR, free above 50.00 EUR</p>
  <p class="description">{description}</p>
  <table class="facts">
    <tr><th>Brand</th><td>{brand}</td></tr>
    <tr><th>Category</th><td>{category}</td></tr>
    <tr><th>SKU</th><td>{sku}</td></tr>
  </table>
  <section class="reviews">
{reviews}  </section>
</main>
<aside>
  <h2>Others also looked at</h2>
  <ul>
{related}  </ul>
</aside>
<footer>
  <a href="/imprint">Imprint</a> &middot; <a href="/terms">Terms</a> &middot;
  <a href="/privacy">Privacy</a> &copy; Sample Shop
</footer>
</body>
</html>
"#
    )
}

/// A link to another product, at its first price: so a revision changes only the pages of its own
/// products.
fn card(id: u64) -> String {
    let product = Product::nth(id);
    let Product { currency, category, sku, .. } = &product;
    let price = product.price();
    format!(
        "    <li class=\"card\"><a href=\"/p/{id}\" title=\"{sku}\">{category} {sku}</a> \
         <span class=\"from\">from {price} {currency}</span></li>\n"
    )
}

fn json_ld(product: &Product, origin: &str, url: &str) -> Value {
    json!([
        {
            "@context": "https://schema.org/",
            "@type": "BreadcrumbList",
            "itemListElement": [
                {"@type": "ListItem", "position": 1, "name": "Home", "item": format!("{origin}/")},
                {"@type": "ListItem", "position": 2, "name": product.category},
            ],
        },
        {
            "@context": "https://schema.org/",
            "@type": "Product",
            "name": product.name,
            "sku": product.sku,
            "category": product.category,
            "image": format!("{origin}/image/{}", product.id),
            "description": description(product),
            "brand": {"@type": "Brand", "name": product.brand},
            "offers": {
                "@type": "Offer",
                "url": url,
                "price": product.price(),
                "priceCurrency": product.currency,
                "availability": format!("https://schema.org/{}", product.availability),
            },
        },
    ])
}

/// The description, which is always ASCII.
fn description(product: &Product) -> String {
    format!(
        "From the {} range by {}: made to last, tested at home, and on its way within two days.",
        product.category, product.brand
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// A review of about 560 bytes.
const REVIEW: &str = "      <p>Ordered on a Monday and it was here on the Wednesday. \
The box had a dent, the contents had none. I have used it every day since then, \
and so have the neighbours, who came to look and stayed for coffee.</p>
      <p>What I like: it does what it says, it is easy to clean, and the manual is one page. \
What I like less: the cable could be longer, and the colour is not quite that of the picture. \
I would buy it again, perhaps in another size.</p>
      <p><small>Helpful? <a href=\"#yes\">Yes</a> / <a href=\"#no\">No</a></small></p>
";
