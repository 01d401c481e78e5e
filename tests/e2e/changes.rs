//! Changes of products from one night to the next: in `status`, in the report, in `items changes`.

use std::collections::BTreeMap;

use fetchline_store::{PRICE_CHANGES, STATUS_CHANGES, STOCK_CHANGES};
use fetchline_tests::world::World;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row};

/// What a page shows: a price and an availability, a product without a price, text without a
/// product, or nothing.
#[derive(Clone, Copy)]
enum Page {
    Offer(&'static str, &'static str, &'static str),
    NoPrice,
    Article,
    Missing,
}

use Page::{Article, Missing, NoPrice, Offer};

/// The pages on Monday and on Tuesday.
const NIGHTS: [(&str, Page, Page); 12] = [
    ("up", Offer("80.00", "EUR", "InStock"), Offer("100.00", "EUR", "InStock")),
    ("up-most", Offer("10.00", "EUR", "InStock"), Offer("30.00", "EUR", "InStock")),
    ("down", Offer("40.00", "EUR", "InStock"), Offer("30.00", "EUR", "InStock")),
    ("currency", Offer("40.00", "EUR", "InStock"), Offer("45.00", "USD", "InStock")),
    ("same", Offer("5.00", "EUR", "InStock"), Offer("5.00", "EUR", "InStock")),
    ("gone", Offer("6.00", "EUR", "InStock"), Missing),
    ("article-now", Offer("7.00", "EUR", "InStock"), Article),
    ("price-lost", Offer("8.00", "EUR", "InStock"), NoPrice),
    ("sold-out", Offer("9.00", "EUR", "InStock"), Offer("9.00", "EUR", "OutOfStock")),
    ("restocked", Offer("11.00", "EUR", "OutOfStock"), Offer("11.00", "EUR", "InStock")),
    ("new", Missing, Offer("12.00", "EUR", "InStock")),
    ("never", Article, Missing),
];

fn html(name: &str, page: Page) -> (u16, String) {
    let json_ld = |offers: String| {
        format!(
            "<html><head><title>{name}</title><script type=\"application/ld+json\">\
             {{\"@context\":\"https://schema.org\",\"@type\":\"Product\",\"name\":\"{name}\"\
             {offers}}}</script></head><body><h1>{name}</h1></body></html>"
        )
    };
    let page = match page {
        Offer(price, currency, availability) => json_ld(format!(
            ",\"offers\":{{\"@type\":\"Offer\",\"price\":\"{price}\",\
             \"priceCurrency\":\"{currency}\",\
             \"availability\":\"https://schema.org/{availability}\"}}"
        )),
        NoPrice => json_ld(String::new()),
        Article => "<html><body><p>The shop is closed on Sundays.</p></body></html>".to_owned(),
        Missing => return (404, "<html><body>no such page</body></html>".to_owned()),
    };
    (200, page)
}

fn post(world: &World, pages: impl Iterator<Item = (&'static str, Page)>) {
    for (name, page) in pages {
        let (status, html) = html(name, page);
        world.shop.post(name, status, &html);
    }
}

/// Fetches all pages in one part of the run `nightly`.
async fn night(world: &World) -> anyhow::Result<()> {
    let urls: Vec<String> =
        NIGHTS.iter().map(|(name, ..)| world.shop.url(&format!("/posted/{name}"))).collect();
    world.produce("nightly", &urls).await?;
    world.work_until_empty(&[]).await?;
    Ok(())
}

/// The names of changed products, by change.
fn by_kind(changes: &Value) -> BTreeMap<String, Vec<String>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for change in changes.as_array().into_iter().flatten() {
        let text = |field: &str| change[field].as_str().unwrap_or_default().to_owned();
        names.entry(text("change")).or_default().push(text("name"));
    }
    names
}

#[tokio::test]
async fn a_night_says_what_has_changed_since_the_one_before() -> anyhow::Result<()> {
    let world = World::new().await?;
    post(&world, NIGHTS.iter().map(|(name, monday, _)| (*name, *monday)));
    night(&world).await?;
    let monday = world.run(&["status", "--run", "nightly", "--json"], "").await?.json()?;
    let (products, changes) = (&monday["run"]["products"], &monday["run"]["changes"]);
    assert_eq!((&products["found"], &products["none"]), (&10.into(), &1.into()), "{monday}");
    assert_eq!((&changes["new"], &changes["vanished"]), (&10.into(), &0.into()), "{monday}");

    post(&world, NIGHTS.iter().map(|(name, _, tuesday)| (*name, *tuesday)));
    night(&world).await?;
    let list = world.run(&["items", "changes", "--since", "1h", "--json"], "").await?.json()?;
    let names = by_kind(&list);
    for (kind, expected) in [
        ("price_up", &["up-most", "up"][..]),
        ("price_down", &["down"]),
        ("currency", &["currency"]),
        ("price_lost", &["price-lost"]),
        ("out_of_stock", &["sold-out"]),
        ("in_stock", &["restocked"]),
    ] {
        assert_eq!(names.get(kind).map(Vec::as_slice).unwrap_or_default(), expected, "{list}");
    }
    let mut vanished = names["vanished"].clone();
    vanished.sort_unstable();
    assert_eq!(vanished, ["article-now", "gone"]);
    let up = &list[1];
    assert_eq!(
        (&up["old_price"], &up["price"], &up["percent"], &up["currency"]),
        (&"80.00".into(), &"100.00".into(), &25.0.into(), &"EUR".into())
    );

    let status = world.run(&["status", "--run", "nightly"], "").await?.stdout;
    let changes = "changes: 2 up, 1 down, 1 in another currency, 1 new, 2 vanished, \
                   1 without the price, 1 out of stock, 1 in stock again";
    assert!(status.contains(changes), "{status}");
    let products = "products: 8 found, 1 without a price, 1 without a product";
    assert!(status.contains(products), "{status}");
    // Another run has changed nothing.
    world.produce("other", &world.pages(2)).await?;
    world.work_until_empty(&[]).await?;
    let again = world.run(&["status", "--run", "nightly"], "").await?.stdout;
    assert!(again.contains(changes), "{again}");
    Ok(())
}

#[tokio::test]
async fn the_third_night_repeats_nothing_and_sees_what_is_back() -> anyhow::Result<()> {
    let world = World::new().await?;
    for night_number in 0..3 {
        post(
            &world,
            NIGHTS.iter().map(|(name, monday, tuesday)| {
                (*name, if night_number == 0 { *monday } else { *tuesday })
            }),
        );
        night(&world).await?;
    }
    let status = async || -> anyhow::Result<Value> {
        let status = world.run(&["status", "--run", "nightly", "--json"], "").await?;
        Ok(status.json()?["run"]["changes"].clone())
    };
    let unchanged = status().await?;
    for (kind, count) in unchanged.as_object().into_iter().flatten() {
        assert!(*count == 0 || *count == false, "{kind}: {unchanged}");
    }
    let monday = NIGHTS.iter().filter(|(name, ..)| ["gone", "price-lost"].contains(name));
    post(&world, monday.map(|(name, monday, _)| (*name, *monday)));
    night(&world).await?;
    let changes = status().await?;
    assert_eq!((&changes["back"], &changes["new"]), (&2.into(), &0.into()), "{changes}");
    // What happened on Tuesday is still known of Tuesday's part, as far as nothing changed since.
    let parts = world.run(&["runs", "list", "--run", "nightly", "--json"], "").await?.json()?;
    let tuesday = parts[2]["part"].as_str().unwrap_or_default();
    let tuesday =
        world.run(&["status", "--run", "nightly", "--part", tuesday, "--json"], "").await?;
    let changes = &tuesday.json()?["run"]["changes"];
    assert_eq!((&changes["price_up"], &changes["vanished"]), (&2.into(), &1.into()), "{changes}");
    Ok(())
}

#[tokio::test]
async fn a_failure_that_says_nothing_about_a_product_is_no_change() -> anyhow::Result<()> {
    let world = World::new().await?;
    post(&world, NIGHTS.iter().map(|(name, monday, _)| (*name, *monday)));
    night(&world).await?;
    for (name, status) in [("up", 500), ("down", 403), ("gone", 503), ("same", 401)] {
        world.shop.post(name, status, "<html><body>later</body></html>");
    }
    let urls: Vec<String> = ["up", "down", "gone", "same"]
        .map(|name| world.shop.url(&format!("/posted/{name}")))
        .into();
    world.produce("nightly", &urls).await?;
    world.work_until_empty(&["--max-attempts", "1"]).await?;
    let status = world.run(&["status", "--run", "nightly", "--json"], "").await?.json()?;
    assert_eq!(status["run"]["failed"], 4, "{status}");
    assert_eq!(status["run"]["changes"]["vanished"], 0, "{status}");
    assert_eq!(world.count("SELECT COUNT(*) FROM items WHERE status = 'gone'").await?, 0);
    Ok(())
}

#[tokio::test]
async fn changes_are_listed_as_a_table_and_as_csv_and_shown_in_the_report() -> anyhow::Result<()> {
    let world = World::new().await?;
    post(&world, NIGHTS.iter().map(|(name, monday, _)| (*name, *monday)));
    night(&world).await?;
    post(&world, NIGHTS.iter().map(|(name, _, tuesday)| (*name, *tuesday)));
    night(&world).await?;
    let table = world.run(&["items", "changes"], "").await?.stdout;
    assert!(table.contains("10.00 EUR") && table.contains("+200.0 %"), "{table}");
    let csv = world.run(&["items", "changes", "--format", "csv"], "").await?.stdout;
    let first: Vec<&str> = csv.lines().nth(1).unwrap_or_default().split(',').collect();
    assert_eq!((first[0], first[2], first[8]), ("price_up", "up-most", "200.0"), "{csv}");
    let limited = world.run(&["items", "changes", "--limit", "1", "--json"], "").await?;
    assert_eq!(by_kind(&limited.json()?)["price_up"], ["up-most"]);
    assert!(limited.stderr.contains("not all changes"), "{limited:?}");
    let none = world.run(&["items", "changes", "--run", "unheard", "--json"], "").await?.json()?;
    assert_eq!(none, Value::from(Vec::<Value>::new()));

    let page = world.file("nightly.html", "")?;
    let status = ["status", "--run", "nightly", "--hosts", "--report", &page];
    let output = world.run(&status, "").await?;
    let host = world.shop.addr().to_string();
    let line = output.stdout.lines().find(|line| line.starts_with(&host)).unwrap_or_default();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells, [&*host, "80", "%", "8", "0", "1", "1"], "{output:?}");
    let page = std::fs::read_to_string(page)?;
    for text in ["Prices up", "80.00 EUR", "100.00 EUR", "+25.0 %", "Vanished products", "sold-out"]
    {
        assert!(page.contains(text), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn changes_are_read_by_time_and_nothing_else_is() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("nightly", &world.pages(300)).await?;
    world.work_until_empty(&[]).await?;
    // All of that is long ago.
    for statement in [
        "UPDATE items SET status_since = status_since - INTERVAL 9 DAY, \
         availability_since = updated_at - INTERVAL 9 DAY",
        "UPDATE price_history SET seen_at = seen_at - INTERVAL 9 DAY",
        "ANALYZE TABLE items, price_history",
    ] {
        sqlx::query(statement).execute(&world.database).await?;
    }
    for (statement, indexes) in [
        (PRICE_CHANGES, &["price_history_by_time", "PRIMARY"][..]),
        (STATUS_CHANGES, &["items_by_status_time"]),
        (STOCK_CHANGES, &["items_by_availability_time"]),
    ] {
        let explain = statement
            .replacen('?', "UTC_TIMESTAMP(6) - INTERVAL 1 DAY", 1)
            .replacen('?', "UTC_TIMESTAMP(6)", 1)
            .replacen('?', "50000", 1);
        let explain = format!("EXPLAIN FORMAT = TRADITIONAL {explain}");
        for plan in sqlx::query(AssertSqlSafe(explain)).fetch_all(&world.database).await? {
            let table: Option<String> = plan.get("table");
            let key: Option<String> = plan.get("key");
            if table.is_some_and(|table| !table.starts_with('<')) {
                assert!(key.is_some_and(|key| indexes.contains(&&*key)), "{statement}");
            }
        }
    }
    let changes = world.run(&["items", "changes", "--json"], "").await?.json()?;
    assert_eq!(changes, Value::from(Vec::<Value>::new()));
    let week = world.run(&["items", "changes", "--since", "10d", "--json"], "").await?.json()?;
    assert_eq!(by_kind(&week).get("new").map(Vec::len), Some(300));
    Ok(())
}
