//! `fetchline extract`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use fetchline_extract::{Extraction, Field, Product};
use serde_json::{Value, json};
use url::Url;

use crate::args;
use crate::exit::{self, Done, Failure, Result};
use crate::money;
use crate::table::table;

/// The time for the whole request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The same limit as the default of `work --max-body`.
const MAX_BODY: usize = 10 << 20;

/// Show the product that is found in one page, and by which methods
///
/// It stores nothing, and needs neither broker nor database. A URL is fetched within 30 s and up to
/// 10 MiB, without SSRF protection.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file, or the URL of a page
    #[arg(value_name = "FILE|URL")]
    page: String,

    /// The URL that the file was fetched from; its host selects the rule
    #[arg(long, value_name = "URL", env = "FETCHLINE_URL", default_value = "http://page.invalid/")]
    url: Url,

    /// A TOML file with extraction rules by host
    #[arg(long, value_name = "FILE", env = "FETCHLINE_RULES")]
    rules: Option<PathBuf>,

    /// Print JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

/// A page and its URL.
struct Page {
    url: Url,
    content_type: Option<String>,
    body: Vec<u8>,
}

pub(crate) async fn run(args: Args) -> Result {
    let rules = args::rules(args.rules.as_deref())?;
    let page = match args.page.starts_with("http://") || args.page.starts_with("https://") {
        true => fetch(&args.page).await?,
        false => read(Path::new(&args.page), args.url)?,
    };
    let content = fetchline_extract::read(page.content_type.as_deref(), page.body);
    let found = fetchline_extract::product(&content, &page.url, &rules, None);
    exit::print(if args.json { to_json(&found)?.to_string() } else { format_extraction(&found) });
    Ok(Done::Whole)
}

fn read(file: &Path, url: Url) -> std::result::Result<Page, Failure> {
    let body = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    // A type that is not text would not be searched.
    let content_type = match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Some("application/json"),
        Some("html" | "htm") => Some("text/html"),
        _ => None,
    };
    Ok(Page {
        url,
        content_type: content_type.map(str::to_owned),
        body: body.map_err(Failure::usage)?,
    })
}

/// Fetches a page without SSRF protection: the user names it, and it may be on a private network.
async fn fetch(url: &str) -> anyhow::Result<Page> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("fetchline/", env!("CARGO_PKG_VERSION")))
        .timeout(TIMEOUT)
        .no_proxy()
        .build()
        .context("cannot set up the HTTP client")?;
    let mut response = client.get(url).send().await.context("cannot fetch the page")?;
    ensure!(response.status().is_success(), "the site answered {}", response.status());
    let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.context("the page is incomplete")? {
        body.extend_from_slice(&chunk);
        ensure!(body.len() <= MAX_BODY, "the page has more than {} MiB", MAX_BODY >> 20);
    }
    Ok(Page { url: response.url().clone(), content_type, body })
}

fn to_json(found: &Extraction) -> anyhow::Result<Value> {
    let mut document = found.product().map_or(Ok(json!({})), serde_json::to_value)?;
    document["product"] = found.as_str().into();
    Ok(document)
}

fn format_extraction(found: &Extraction) -> String {
    let mut text = format!("product: {}\n", found.as_str());
    if let Some(product) = found.product() {
        text.push('\n');
        text.push_str(&table(["field", "value", "method"], fields(product)));
        if product.variants > 1 {
            text.push_str(&format!("\nthe price is the lowest of {} variants\n", product.variants));
        }
    }
    text.trim_end().to_owned()
}

fn fields(product: &Product) -> Vec<[String; 3]> {
    fn field<T: ToString>(name: &str, field: &Option<Field<T>>) -> Option<[String; 3]> {
        field
            .as_ref()
            .map(|field| [name.to_owned(), field.value.to_string(), field.method.to_string()])
    }
    let currency = product.currency.map(|currency| currency.value);
    let price = product.price.map(|price| Field {
        value: money::format_price(price.value, currency),
        method: price.method,
    });
    let fields = [
        field("name", &product.name),
        field("price", &price),
        field("currency", &product.currency),
        field("category", &product.category),
        field("sku", &product.sku),
        field("brand", &product.brand),
        field("availability", &product.availability),
        field("image", &product.image),
        field("canonical URL", &product.canonical_url),
    ];
    fields.into_iter().flatten().collect()
}
