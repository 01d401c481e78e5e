//! What is remembered of pages.

use std::time::Duration;

use fetchline_store::{Fetch, KNOWN_PAGES, Outcome, Page, Product, ProductStatus, Retention};
use sqlx::{AssertSqlSafe, Row};

use crate::database::{Database, Result, batch, row};

const KEY: [u8; 16] = [9; 16];

/// A page whose last full response is the row of this task.
fn page(task: u8) -> Page {
    Page {
        key: [task; 16],
        fetch_id: row(task).id,
        body_sha256: [task; 32],
        has_body: true,
        etag: Some(b"W/\"\xe4,1\"".as_slice().into()),
        last_modified: None,
        address: [1; 16],
        reader: [2; 16],
        trusted: true,
        unchanged: 0,
        checks: 1,
    }
}

/// The row of a page's full response.
fn full(task: u8) -> Fetch {
    let item = Product { name: Some("Tea".to_owned()), ..Product::default() };
    Fetch {
        body_bytes: Some(3),
        body_sha256: Some([task; 32]),
        content_type: Some("text/html".to_owned()),
        product: Some(ProductStatus::NoPrice),
        item: Some(Box::new(item)),
        page: Some(Box::new(page(task))),
        ..row(task)
    }
}

#[tokio::test]
async fn a_page_is_known_as_it_was_remembered() -> Result {
    let database = Database::new().await?;
    let store = database.store(2)?;
    let written = store.write(batch([full(9), full(8), row(7)])).await;
    assert_eq!(written.committed.into_receipts().len(), 3);
    let keys = [[7; 16], [8; 16], KEY];
    let known = store.known_pages(&keys).await?;
    assert_eq!(known.len(), 2);
    let of = &known[&KEY];
    assert_eq!((&of.page, of.body_bytes), (&page(9), 3));
    assert_eq!(of.content_type.as_deref(), Some("text/html"));
    assert!(store.known_pages(&[]).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_page_is_not_known_once_its_row_its_body_or_its_item_is_another() -> Result {
    for loss in [
        "DELETE FROM fetches",
        "UPDATE fetches SET body_text = NULL",
        "UPDATE fetches SET outcome = 'http_error'",
        "UPDATE fetches SET body_sha256 = UNHEX(SHA2('other', 256))",
        "DELETE FROM items",
        "UPDATE items SET updated_at = updated_at + INTERVAL 1 MICROSECOND",
        "UPDATE items SET status = 'gone'",
    ] {
        let mut database = Database::new().await?;
        let store = database.store(2)?;
        _ = store.write(batch([full(9)])).await;
        assert_eq!(store.known_pages(&[KEY]).await?.len(), 1, "before {loss}");
        database.execute(loss).await?;
        assert!(store.known_pages(&[KEY]).await?.is_empty(), "after {loss}");
    }
    Ok(())
}

#[tokio::test]
async fn a_page_without_a_stored_body_or_a_product_is_known_by_its_row() -> Result {
    let database = Database::new().await?;
    let store = database.store(2)?;
    let bodiless = Page { has_body: false, ..page(9) };
    let row = Fetch {
        body: fetchline_store::Body::None,
        product: Some(ProductStatus::None),
        item: None,
        page: Some(Box::new(bodiless)),
        ..full(9)
    };
    _ = store.write(batch([row])).await;
    assert_eq!(store.known_pages(&[KEY]).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_older_fetch_remembers_nothing_over_a_newer_one() -> Result {
    let database = Database::new().await?;
    let store = database.store(2)?;
    let newer = Page { unchanged: 5, ..page(9) };
    let late = Fetch { page: Some(Box::new(newer)), ..full(9) };
    let early = Fetch { fetched_at: late.fetched_at - Duration::from_secs(1), ..full(9) };
    _ = store.write(batch([late])).await;
    _ = store.write(batch([early])).await;
    assert_eq!(store.known_pages(&[KEY]).await?[&KEY].page.unchanged, 5);
    Ok(())
}

#[tokio::test]
async fn a_row_that_loses_its_item_is_not_remembered() -> Result {
    let mut database = Database::new().await?;
    database.execute("ALTER TABLE items ADD CHECK (name <> 'Tea')").await?;
    let store = database.store(2)?;
    let written = store.write(batch([full(9)])).await;
    assert_eq!(written.items_left_out.as_ref().map(|(rows, _)| *rows), Some(1), "{written:?}");
    assert_eq!(database.count("SELECT COUNT(*) FROM pages").await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_unchanged_page_moves_the_time_of_its_item_and_nothing_else() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    let (first, later) = (full(9), full(9).fetched_at + Duration::from_secs(60));
    let unchanged = |fetched_at| Fetch {
        url: first.url.clone(),
        body_sha256: Some([9; 32]),
        page: Some(Box::new(Page { unchanged: 1, ..page(9) })),
        ..Fetch::new([8; 16], "later", &first.url, Outcome::Unchanged, fetched_at)
    };
    _ = store.write(batch([first.clone()])).await;
    let seen = "SELECT TIMESTAMPDIFF(SECOND, updated_at, seen_at) FROM items";
    assert_eq!(database.count(seen).await?, 0);
    let written = store.write(batch([unchanged(later), row(3)])).await;
    assert_eq!(written.committed.into_receipts().len(), 2);
    assert_eq!(database.count(seen).await?, 60);
    assert_eq!(store.known_pages(&[KEY]).await?[&KEY].page.unchanged, 1);
    // An older one that is written late moves nothing back.
    _ = store.write(batch([unchanged(later - Duration::from_secs(30))])).await;
    assert_eq!(database.count(seen).await?, 60);
    assert_eq!(database.count("SELECT COUNT(*) FROM items").await?, 1);
    assert_eq!(database.count("SELECT COUNT(*) FROM price_history").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_look_up_reads_each_table_by_its_key() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    for half in 0..2 {
        _ = store.write(batch((0..100).map(|task| full(100 * half + task)))).await;
    }
    database.execute("ANALYZE TABLE pages, fetches, items").await?;
    let explain = format!("EXPLAIN FORMAT = TRADITIONAL {KNOWN_PAGES}(?, ?, ?)");
    let query = sqlx::query(AssertSqlSafe(explain));
    let keys = [[1_u8; 16], [2; 16], [3; 16]];
    let query = keys.iter().fold(query, |query, key| query.bind(key.as_slice()));
    let plans = query.fetch_all(&mut database.connection).await?;
    let plans: Vec<(String, String, Option<String>)> =
        plans.iter().map(|plan| (plan.get("table"), plan.get("type"), plan.get("key"))).collect();
    let expected = [
        ("pages", "range", "PRIMARY"),
        ("fetches", "eq_ref", "PRIMARY"),
        ("items", "eq_ref", "items_by_source"),
    ];
    for (table, by, key) in expected {
        let plan = plans.iter().find(|plan| plan.0 == table).ok_or("the table is not read")?;
        assert_eq!((plan.1.as_str(), plan.2.as_deref()), (by, Some(key)), "{plans:?}");
    }
    Ok(())
}

#[tokio::test]
async fn pages_that_are_not_fetched_any_more_are_pruned() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    _ = store.write(batch((0..50).map(full))).await;
    database
        .execute("UPDATE pages SET fetched_at = '2020-01-01' WHERE page < UNHEX(REPEAT('14', 16))")
        .await?;
    let month = Duration::from_secs(30 * 86_400);
    let month = Retention { rows: Some(month), bodies: None };
    store.prune(month, true, |_| {}).await?;
    assert_eq!(database.count("SELECT COUNT(*) FROM pages").await?, 50);
    store.prune(month, false, |_| {}).await?;
    assert_eq!(database.count("SELECT COUNT(*) FROM pages").await?, 30);
    Ok(())
}
