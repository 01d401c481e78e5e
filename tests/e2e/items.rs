//! Items, their prices and their price history.

use fetchline_store::{
    Fetch, ITEM_OF_PAGE, ITEMS, ITEMS_OF_CATEGORY, ItemKey, PRICES_OF_ITEM, Product, ProductStatus,
    Store,
};
use fetchline_tests::items;
use fetchline_tests::rows::{self, store, write};
use fetchline_tests::world::World;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, Row};

/// A fetch of the page `/p/1` in the given second, with this price in EUR; no price if it is not a
/// number.
fn fetch(task: u8, second: i64, price: &str) -> Fetch {
    let price: Option<Decimal> = price.parse().ok();
    Fetch {
        product: Some(if price.is_some() { ProductStatus::Found } else { ProductStatus::NoPrice }),
        item: Some(Box::new(Product {
            name: Some("Tea".to_owned()),
            price,
            currency: price.map(|_| "EUR".to_owned()),
            variants: u32::from(price.is_some()),
            ..Product::default()
        })),
        ..rows::fetch(task, second)
    }
}

/// The price of the page `/p/1` and its history.
async fn prices(store: &Store) -> anyhow::Result<(Option<String>, Vec<String>)> {
    let key = ItemKey::SourceUrl("http://shop.example/p/1".to_owned());
    let (item, history) = store.item(&key).await?.ok_or_else(|| anyhow::anyhow!("no item"))?;
    let history = history.into_iter().map(|entry| format!("{} {}", entry.price, entry.source));
    Ok((item.product.price.map(|price| price.to_string()), history.collect()))
}

#[tokio::test]
async fn pages_become_items_and_only_changed_prices_become_history() -> anyhow::Result<()> {
    let world = World::new().await?;
    let urls = world.pages(1_000);
    for (run, revision, history) in
        [("monday", 0, 1_000), ("tuesday", 0, 1_000), ("wednesday", 1, 1_100)]
    {
        world.shop.set_revision(revision);
        world.produce(run, &urls).await?;
        world.work_until_empty(&[]).await?;
        assert_eq!(
            items::mismatches(&world.database, &world.shop, 1_000, revision).await?,
            Vec::<String>::new(),
            "{run}"
        );
        assert_eq!(world.count("SELECT COUNT(*) FROM items").await?, 1_000);
        assert_eq!(world.count("SELECT COUNT(*) FROM price_history").await?, history, "{run}");
    }
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE product = 'found'").await?, 3_000);
    Ok(())
}

#[tokio::test]
async fn every_fetch_records_what_its_extraction_found() -> anyhow::Result<()> {
    let world = World::new().await?;
    let page = |path: &str| world.shop.url(path);
    let get = [
        page("/p/1"),
        page("/p/2.json"),
        page("/redirect/2/3"),
        page("/empty/4"),
        page("/image/5"),
        page("/status/404/6"),
    ];
    world.produce("found", &get).await?;
    world.type_message(&format!(r#"{{"url":"{}","category":"Given"}}"#, page("/p/7"))).await?;
    world.type_message(&format!(r#"{{"url":"{}","method":"POST"}}"#, page("/p/8"))).await?;
    world.work_until_empty(&[]).await?;

    let rows = sqlx::query("SELECT url, product FROM fetches ORDER BY url")
        .fetch_all(&world.database)
        .await?;
    let found: Vec<(String, Option<String>)> = rows
        .iter()
        .map(|row| (row.get::<String, _>(0).replace(&page(""), ""), row.get(1)))
        .collect();
    let expected = [
        ("/empty/4", Some("none")),
        ("/image/5", Some("none")),
        ("/p/1", Some("found")),
        ("/p/2.json", Some("found")),
        ("/p/7", Some("found")),
        ("/p/8", None),
        ("/redirect/2/3", Some("found")),
        ("/status/404/6", None),
    ];
    assert_eq!(found, expected.map(|(url, product)| (url.to_owned(), product.map(str::to_owned))));
    // An item belongs to the requested URL, wherever it redirects.
    assert_eq!(world.count("SELECT COUNT(*) FROM items").await?, 4);
    assert_eq!(
        world
            .count(
                "SELECT COUNT(*) FROM items WHERE source_url LIKE '%/redirect/2/3' AND price > 0"
            )
            .await?,
        1
    );
    assert_eq!(
        world
            .count(
                "SELECT COUNT(*) FROM items WHERE source_url LIKE '%/p/7' AND category = 'Given'"
            )
            .await?,
        1
    );
    Ok(())
}

#[tokio::test]
async fn an_older_fetch_changes_nothing_and_a_repeated_write_counts_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let store = store(&world)?;
    write(&store, [fetch(1, 100, "10.00")]).await?;
    // Two late fetches, a repeated one, and another task with the same price.
    for late in
        [fetch(2, 50, "8.00"), fetch(1, 90, "9.00"), fetch(1, 100, "10.00"), fetch(3, 120, "10")]
    {
        write(&store, [late]).await?;
        assert_eq!(prices(&store).await?, (Some("10".to_owned()), vec!["10 page".to_owned()]));
    }
    assert_eq!(
        world
            .count("SELECT COUNT(*) FROM fetches WHERE fetched_at = '2027-01-15 08:01:30'")
            .await?,
        0
    );
    // Several fetches in one batch, in any order.
    write(&store, [fetch(4, 140, "12.00"), fetch(5, 130, "11.00"), fetch(6, 60, "7.00")]).await?;
    let history = ["10 page", "11 page", "12 page"].map(str::to_owned);
    assert_eq!(prices(&store).await?, (Some("12".to_owned()), history.to_vec()));
    // The page has no price for a while.
    write(&store, [fetch(7, 150, "none")]).await?;
    assert_eq!(prices(&store).await?, (None, history.to_vec()));
    write(&store, [fetch(8, 160, "12.00")]).await?;
    assert_eq!(prices(&store).await?, (Some("12".to_owned()), history.to_vec()));
    Ok(())
}

#[tokio::test]
async fn a_replay_and_a_repeated_message_add_no_price() -> anyhow::Result<()> {
    let world = World::new().await?;
    let prices = async || world.count("SELECT COUNT(*) FROM price_history").await;
    world.produce("twice", &[world.shop.url("/flaky/1/7")]).await?;
    world.work_until_empty(&["--max-attempts", "1"]).await?;
    assert_eq!((prices().await?, world.ready("dead").await?), (0, 1));
    let replayed = world.run(&["dead", "replay"], "").await?;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    let Some((properties, body)) = world.pop("urls").await? else { panic!("nothing was replayed") };
    for fetches in 1..=2 {
        world.publish(&String::from_utf8(body.clone())?, properties.clone()).await?;
        world.work_until_empty(&[]).await?;
        assert_eq!(
            (world.shop.visits().total(), prices().await?, world.rows().await?),
            (fetches + 1, 1, 1)
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_manual_price_lasts_until_a_newer_fetch() -> anyhow::Result<()> {
    let world = World::new().await?;
    let store = store(&world)?;
    let now = (time::OffsetDateTime::now_utc() - rows::BEGAN).whole_seconds();
    write(&store, [fetch(1, now - 100, "10.00")]).await?;
    let set = async |price: &str| {
        let url = "http://SHOP.example:80/p/1#top";
        world.run(&["items", "set-price", url, price, "--json"], "").await
    };
    let output = set("12.5").await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let shown = output.json()?;
    assert_eq!((&shown["price"], &shown["currency"]), (&"12.50".into(), &"EUR".into()));
    assert_eq!(shown["history"][1]["source"], "manual");
    // Neither the same price nor an older fetch is a change.
    set("12.50").await?;
    write(&store, [fetch(2, now - 50, "11.00")]).await?;
    let history = ["10 page", "12.5 manual"].map(str::to_owned);
    assert_eq!(prices(&store).await?, (Some("12.5".to_owned()), history.to_vec()));
    write(&store, [fetch(3, now + 100, "10.00")]).await?;
    let history = [&history[..], &["10 page".to_owned()]].concat();
    assert_eq!(prices(&store).await?, (Some("10".to_owned()), history.clone()));
    // This also holds if the worker's clock is ahead.
    set("9").await?;
    assert_eq!(
        prices(&store).await?,
        (Some("9".to_owned()), [&history[..], &["9 manual".to_owned()]].concat())
    );

    for (arguments, code, message) in [
        (&["items", "set-price", "4711", "1"][..], 1, "no such item"),
        (&["items", "set-price", "1", "1,50"], 2, "write it like 19.99"),
        (&["items", "set-price", "1", "1", "--currency", "EURO"], 2, "write it like EUR"),
        (&["items", "show", "tea"], 2, "neither a number nor a URL"),
    ] {
        let output = world.run(arguments, "").await?;
        assert!(output.code == Some(code) && output.stderr.contains(message), "{output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_item_does_not_lose_the_row_of_its_fetch() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.database.execute("ALTER TABLE items ADD CONSTRAINT not_dear CHECK (price < 100)").await?;
    let store = store(&world)?;
    let expensive = Fetch { url: "http://shop.example/p/2".to_owned(), ..fetch(2, 1, "100.00") };
    write(&store, [fetch(1, 1, "10.00"), expensive]).await?;
    assert_eq!(prices(&store).await?.0.as_deref(), Some("10"));
    let kept = "SELECT COUNT(*) FROM fetches WHERE outcome = 'ok' AND product = 'found' \
                AND error LIKE 'the item was left out: %'";
    assert_eq!((world.rows().await?, world.count(kept).await?), (2, 1));
    // The same holds for many refused items while the table takes others.
    let many = |price: &'static str| {
        (10..30).map(move |task| Fetch {
            url: format!("http://shop.example/p/{task}"),
            ..fetch(task, 1, price)
        })
    };
    write(&store, many("100.00")).await?;
    assert_eq!((world.rows().await?, world.count(kept).await?), (22, 21));
    assert_eq!(world.count("SELECT COUNT(*) FROM items").await?, 1);
    // A table that takes no item at all is treated as an outage until somebody repairs it.
    world.database.execute("ALTER TABLE items DROP CONSTRAINT not_dear").await?;
    world
        .database
        .execute(
            "ALTER TABLE items ADD CONSTRAINT none CHECK (source_url = 'http://shop.example/p/1')",
        )
        .await?;
    let refused = write(&store, many("100.00")).await.unwrap_err();
    assert!(refused.to_string().contains("refuses every row"), "{refused:#}");
    world.database.execute("ALTER TABLE items DROP CONSTRAINT none").await?;
    write(&store, many("100.00")).await?;
    assert_eq!(
        (world.count("SELECT COUNT(*) FROM items").await?, world.count(kept).await?),
        (21, 1)
    );
    Ok(())
}

#[tokio::test]
async fn workers_that_fetch_the_same_pages_at_once_add_each_price_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    // Two runs over the same pages, mixed.
    let urls = world.pages(500);
    world.produce("one", &urls).await?;
    world.produce("two", &urls.iter().rev().cloned().collect::<Vec<_>>()).await?;
    let flags = ["--batch-rows", "50", "--until-empty"];
    let workers: Vec<_> = (0..3).map(|_| world.worker(&flags)).collect::<anyhow::Result<_>>()?;
    for worker in workers {
        let output = worker.end().await?;
        assert_eq!(output.code, Some(0), "{output:?}");
    }
    assert_eq!(world.rows().await?, 1_000);
    assert_eq!(
        items::mismatches(&world.database, &world.shop, 500, 0).await?,
        Vec::<String>::new()
    );
    assert_eq!(world.count("SELECT COUNT(*) FROM price_history").await?, 500);
    Ok(())
}

#[tokio::test]
async fn items_are_listed_newest_first_for_people_and_programs() -> anyhow::Result<()> {
    let world = World::new().await?;
    let names = ["Tea; \"green\"", "Tea, black", "=Coffee\u{1b}[31m"];
    let fetches = names.iter().zip(1_u8..).map(|(name, task)| {
        let mut fetch = fetch(task, task.into(), "1299.9");
        fetch.url = format!("http://shop.example/p/{task}");
        let category = if task < 3 { "Tea" } else { "Coffee" };
        let item = Product {
            name: Some((*name).to_owned()),
            category: Some(category.to_owned()),
            ..*fetch.item.take().unwrap()
        };
        Fetch { item: Some(Box::new(item)), ..fetch }
    });
    // One by one: the items of a batch are found at the same time.
    for fetch in fetches {
        write(&store(&world)?, [fetch]).await?;
    }
    let list = async |arguments: &[&str]| -> anyhow::Result<String> {
        let output = world.run(&[&["items", "list"], arguments].concat(), "").await?;
        anyhow::ensure!(output.code == Some(0), "{output:?}");
        Ok(output.stdout)
    };
    let tea: Value = serde_json::from_str(&list(&["--category", "Tea", "--json"]).await?)?;
    let listed: Vec<_> = tea
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["name"].as_str(), item["price"].as_str()))
        .collect();
    assert_eq!(listed, [(Some(names[1]), Some("1299.90")), (Some(names[0]), Some("1299.90"))]);
    let csv = list(&["--format", "csv", "--limit", "2"]).await?;
    let lines: Vec<_> = csv.lines().collect();
    assert!(lines[0].starts_with("id,name,price,currency,category") && lines.len() == 3, "{csv}");
    assert!(lines[2].contains(r#","Tea, black",1299.90,EUR,Tea,"#), "{csv}");
    assert!(csv.contains("'=Coffee"), "{csv}");
    let table = list(&[]).await?;
    assert!(table.contains("Tea; \"green\"") && !table.contains('\u{1b}'), "{table}");
    Ok(())
}

#[tokio::test]
async fn rules_supplement_the_data_of_a_page_and_invalid_rules_are_rejected_at_start()
-> anyhow::Result<()> {
    const RULES: &str = "[\"127.0.0.1\"]\ncategory = \"By rule\"\nhtml.name = \"title\"\n";
    let world = World::new().await?;
    let rules = world.file("rules.toml", RULES)?;
    world.produce("ruled", &world.pages(1)).await?;
    world.work_until_empty(&["--rules", &rules]).await?;
    assert_eq!(
        world.count("SELECT COUNT(*) FROM items WHERE category = 'By rule' AND price > 0").await?,
        1
    );

    let page = world.shop.url("/p/1");
    let output = world.run(&["extract", &page, "--rules", &rules, "--json"], "").await?;
    let found = output.json()?;
    assert_eq!(
        (&found["product"], &found["category"]["method"]),
        (&"found".into(), &"rule".into())
    );
    assert_eq!(found["price"]["method"], "json_ld");
    let file = world.file(
        "page.html",
        "<title>Tea</title><meta property=og:type content=product><b class=p>from 9,95 €</b>",
    )?;
    let rules = world.file("tea.toml", "[\"*.tea.example\"]\nhtml.price = \".p\"\n")?;
    let output = world
        .run(&["extract", &file, "--url", "http://www.tea.example/", "--rules", &rules], "")
        .await?;
    assert!(
        output.stdout.starts_with("product: found\n") && output.stdout.contains("9.95"),
        "{output:?}"
    );
    assert_eq!(world.count("SELECT COUNT(*) FROM items").await?, 1, "nothing is stored");

    let invalid = world.file("invalid.toml", "[\"a.example\"]\nhtml.price = \"div[\"\n")?;
    for arguments in [&["work", "--rules", &invalid][..], &["extract", &file, "--rules", &invalid]]
    {
        let output = world.run(arguments, "").await?;
        assert_eq!(output.code, Some(2));
        assert!(output.stderr.contains("invalid.toml:2: rule \"a.example\""), "{output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn lists_of_items_use_an_index() -> anyhow::Result<()> {
    let world = World::new().await?;
    for batch in 0..10_u16 {
        let fetches = (0..1_000_u16).map(|number| {
            let number = batch * 1_000 + number;
            let mut fetch = fetch(0, number.into(), "1");
            fetch.id[..2].copy_from_slice(&number.to_be_bytes());
            fetch.url = format!("http://shop.example/p/{number}");
            let category = Some(format!("category {}", number % 10));
            let item = Product { category, ..*fetch.item.take().unwrap() };
            Fetch { item: Some(Box::new(item)), ..fetch }
        });
        write(&store(&world)?, fetches).await?;
    }
    world.database.execute("ANALYZE TABLE items").await?;
    let page = "UNHEX(SHA2('http://shop.example/p/17', 256))";
    for (query, index) in [
        (
            ITEMS_OF_CATEGORY.replacen('?', "'category 3'", 1).replace('?', "20"),
            "items_of_category",
        ),
        (ITEMS.replace('?', "20"), "PRIMARY"),
        (ITEM_OF_PAGE.replace('?', page), "items_by_source"),
        (PRICES_OF_ITEM.replace('?', "17"), "PRIMARY"),
    ] {
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN FORMAT = TRADITIONAL {query}")))
            .fetch_all(&world.database)
            .await?;
        assert_eq!(plan.len(), 1, "{query}");
        let text = |column: &str| -> anyhow::Result<String> {
            let text: Option<Vec<u8>> = plan[0].try_get_unchecked(column)?;
            Ok(String::from_utf8(text.unwrap_or_default())?)
        };
        let (key, extra) = (text("key")?, text("Extra")?);
        assert!(key == index && !extra.contains("filesort"), "{query}: key {key}, extra {extra}");
    }
    Ok(())
}
