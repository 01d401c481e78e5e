//! `fetchline extract`.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use fetchline_extract::{Confidence, Explanation, Extraction, Field, Method, Product};
use fetchline_queue::Address;
use fetchline_store::Outcome;
use fetchline_worker::{WorkerConfig, trial_fetch};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use url::Url;

use crate::args;
use crate::exit::{self, Done, Failure, Result};
use crate::money;
use crate::schema::shape::{
    count, decimal, described, field, list, nullable, object, optional, text, word,
};
use crate::table::table;

mod explanation;
mod learn;

/// Show the product that is found in one page, and by which methods
///
/// It stores nothing, and needs neither broker nor database. A URL is fetched as `work` does with
/// its default settings, but without SSRF protection. With --learn, a rule is proposed for the host
/// of some pages.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file, or the URL of a page
    #[arg(value_name = "FILE|URL", required_unless_present = "learn")]
    page: Option<String>,

    /// Propose a rule from files whose price is known: page.html=19.99
    ///
    /// The rule is tried on all of them, and printed as TOML. --url says which host it is for;
    /// otherwise the pages have to say it by their canonical link.
    #[arg(long, value_name = "FILE=PRICE", env = "FETCHLINE_LEARN", num_args = 1..)]
    #[arg(value_parser = sample, conflicts_with_all = ["page", "rules", "explain"])]
    learn: Vec<(PathBuf, Decimal)>,

    /// Show how the price was found: the price of each source, and the amounts that the page shows
    #[arg(long, env = "FETCHLINE_EXPLAIN")]
    explain: bool,

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
    let Some(page) = args.page else {
        return learn::run(&args.learn, &args.url, args.json);
    };
    let rules = args::rules(args.rules.as_deref())?;
    let page = match page.starts_with("http://") || page.starts_with("https://") {
        true => fetch(&page).await?,
        false => read(Path::new(&page), args.url)?,
    };
    let content = fetchline_extract::read(page.content_type.as_deref(), page.body);
    let found = fetchline_extract::product(&content, &page.url, &rules, None);
    let explanation = args.explain.then(|| fetchline_extract::explain(&content, &page.url, &rules));
    exit::print(match args.json {
        true => to_json(&found, explanation.as_ref())?.to_string(),
        false => {
            let explanation = explanation.as_ref().map(explanation::format).unwrap_or_default();
            format!("{}{explanation}", format_extraction(&found))
        }
    });
    Ok(Done::Whole)
}

/// Parses a page and its price: `page.html=19.99`.
fn sample(text: &str) -> std::result::Result<(PathBuf, Decimal), String> {
    let (file, price) = text.rsplit_once('=').ok_or("no price (write it like page.html=19.99)")?;
    Ok((file.into(), money::parse_price(price)?))
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

/// Fetches a page as a worker with default settings does, but without SSRF protection: the user
/// names the page, and it may be on a private network.
async fn fetch(url: &str) -> std::result::Result<Page, Failure> {
    let address = Address::parse(url).context("the URL is not valid").map_err(Failure::usage)?;
    let mut config = WorkerConfig::new("extract");
    config.fetch.allowed_networks =
        vec![IpNet::from(Ipv4Net::default()), IpNet::from(Ipv6Net::default())];
    let fetched = trial_fetch(&config, &address).await?;
    let Some(body) = fetched.body.filter(|_| fetched.outcome == Outcome::Ok) else {
        let error = fetched.error.unwrap_or_else(|| fetched.outcome.to_string());
        return Err(anyhow!("cannot fetch {}: {error}", address.masked()).into());
    };
    Ok(Page { url: fetched.url, content_type: fetched.content_type, body })
}

fn to_json(found: &Extraction, explanation: Option<&Explanation>) -> anyhow::Result<Value> {
    let mut document = found.product().map_or(Ok(json!({})), serde_json::to_value)?;
    document["product"] = found.as_str().into();
    if let Some(explanation) = explanation {
        document["explanation"] = serde_json::to_value(explanation)?;
    }
    Ok(document)
}

/// The shape of what `--json` prints.
pub(crate) fn schema() -> Value {
    let explanation = || optional("explanation", explanation::schema());
    let result =
        |words: &[&str]| field("product", word("What the page contains.", words.iter().copied()));
    let found = |name, description, value| {
        let shape = object([
            field("value", value),
            field("method", method()),
            field("confidence", word("How sure it is.", Confidence::ALL.map(Confidence::as_str))),
        ]);
        field(name, nullable(described(description, shape)))
    };
    let of_text = |name, description| found(name, description, text("The value."));
    let product = object([
        result(&["found", "suspect", "no_price"]),
        of_text("name", "The name."),
        found("price", "The price.", decimal("The value.")),
        of_text("currency", "The ISO 4217 code of the price."),
        of_text("category", "The category."),
        of_text("sku", "The number in the shop, or a GTIN, ISBN or manufacturer's number."),
        of_text("brand", "The brand."),
        of_text("availability", "A name of schema.org, or else the text of the page."),
        of_text("image", "The URL of the image."),
        of_text("canonical_url", "The URL that the page states as its own."),
        field("variants", count("How many prices the price is the lowest of.")),
        explanation(),
    ]);
    json!({ "oneOf": [object([result(&["none"]), explanation()]), product] })
}

/// Where a value is from.
fn method() -> Value {
    word("Where it is from.", Method::ALL.map(Method::as_str))
}

/// The shape of what `--learn --json` prints.
pub(crate) fn learned_schema() -> Value {
    let page = object([
        field("file", text("The file.")),
        field("price", decimal("The price that was given.")),
        field("found", nullable(decimal("The price that the rule finds."))),
    ]);
    object([
        field("host", text("The host that the rule is for.")),
        field("rule", text("The rule, as TOML.")),
        field("pages", list(page)),
    ])
}

fn format_extraction(found: &Extraction) -> String {
    let mut text = format!("product: {}\n", found.as_str());
    if let Some(product) = found.product() {
        text.push('\n');
        text.push_str(&table(["field", "value", "method", "confidence"], fields(product)));
        if product.variants > 1 {
            text.push_str(&format!("\nthe price is one of {} prices\n", product.variants));
        }
    }
    text.trim_end().to_owned()
}

fn fields(product: &Product) -> Vec<[String; 4]> {
    fn field<T: ToString>(name: &str, field: &Option<Field<T>>) -> Option<[String; 4]> {
        let field = field.as_ref()?;
        let value = field.value.to_string();
        Some([name.to_owned(), value, field.method.to_string(), field.confidence.to_string()])
    }
    let currency = product.currency.map(|currency| currency.value);
    let price = product.price.map(|price| Field {
        value: money::format_price(price.value, currency),
        method: price.method,
        confidence: price.confidence,
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
