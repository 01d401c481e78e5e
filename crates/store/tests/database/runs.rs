//! Parts of runs: their counts are folded and forgotten, and items know what has changed.

use std::time::Duration;

use fetchline_store::{
    Batch, ChangeFilter, ChangeKind, Fetch, Outcome, PartReport, Product, ProductStatus, Retention,
    Selection, Store,
};
use rust_decimal::Decimal;
use time::OffsetDateTime;

use crate::database::{Database, Result, batch, row};

/// The row of a task of a part.
fn of_part(task: u8, part: &str, outcome: Outcome) -> Fetch {
    Fetch { part: Some(part.to_owned()), outcome, ..row(task) }
}

/// Writes rows, all of which the database takes.
async fn write(store: &Store, rows: impl IntoIterator<Item = Fetch>) -> Result {
    let written = store.write(batch(rows)).await;
    if let Some(unwritten) = written.unwritten {
        return Err(unwritten.error.into());
    }
    assert!(written.refused.is_empty(), "{:?}", written.refused);
    Ok(())
}

/// Writes the report of a part that has ended.
async fn close(store: &Store, part: &str, planned: u64, at: OffsetDateTime) -> Result {
    let mut reports = Batch::default();
    let (run, part) = ("nightly".to_owned(), part.to_owned());
    reports.push_part(PartReport { run, part, planned: Some(planned), at }, 0);
    let written = store.write(reports).await;
    written.unwritten.map_or(Ok(()), |unwritten| Err(unwritten.error.into()))
}

/// Folds the counts of complete parts, as a worker does.
async fn fold(store: &Store) -> Result {
    store.poll(None).await?;
    Ok(())
}

#[tokio::test]
async fn folding_loses_no_count_beside_writers() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(8)?;
    close(&store, "p1", 100, OffsetDateTime::now_utc()).await?;
    let writer = async |first: u8| -> Result {
        for task in first..first + 50 {
            let outcome = if task % 5 == 0 { Outcome::Dns } else { Outcome::Ok };
            write(&store, [of_part(task, "p1", outcome)]).await?;
        }
        Ok(())
    };
    let folder = async || -> Result {
        for _ in 0..20 {
            fold(&store).await?;
        }
        Ok(())
    };
    tokio::try_join!(writer(0), writer(50), folder(), folder())?;
    fold(&store).await?;
    let run = store.run("nightly", &Selection::Newest).await?;
    assert_eq!((run.outcomes.get("ok"), run.outcomes.get("dns")), (Some(&80), Some(&20)));
    assert!(run.parts[0].completed_at.is_some(), "{run:?}");
    assert_eq!(database.count("SELECT COUNT(*) FROM run_counts").await?, 2);

    // A replay writes rows again: late rows are counted beside the folded ones.
    let later = OffsetDateTime::now_utc() + Duration::from_secs(400_000_000);
    for task in [0, 5, 10] {
        let again = Fetch { fetched_at: later, ..of_part(task, "p1", Outcome::Ok) };
        write(&store, [again]).await?;
        fold(&store).await?;
    }
    let run = store.run("nightly", &Selection::Newest).await?;
    assert_eq!((run.outcomes.get("ok"), run.outcomes.get("dns")), (Some(&83), Some(&17)));
    assert!(run.is_complete(), "{run:?}");
    Ok(())
}

#[tokio::test]
async fn a_part_that_is_not_complete_is_not_folded() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    close(&store, "p1", 3, OffsetDateTime::now_utc()).await?;
    for task in [1, 2] {
        write(&store, [of_part(task, "p1", Outcome::Ok)]).await?;
    }
    // Rows of another part, and of none, do not count.
    write(&store, [of_part(3, "p2", Outcome::Ok), row(4)]).await?;
    fold(&store).await?;
    let complete = "SELECT COUNT(*) FROM runs WHERE completed_at IS NOT NULL";
    assert_eq!(database.count(complete).await?, 0);
    write(&store, [of_part(5, "p1", Outcome::Ok)]).await?;
    fold(&store).await?;
    assert_eq!(database.count(complete).await?, 1);
    // An empty list is complete at once.
    close(&store, "p3", 0, OffsetDateTime::now_utc()).await?;
    fold(&store).await?;
    assert_eq!(database.count(complete).await?, 2);
    Ok(())
}

#[tokio::test]
async fn old_parts_are_forgotten_once_their_rows_are_gone() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    let now = OffsetDateTime::now_utc();
    let old = now - Duration::from_secs(40 * 86_400);
    for (part, at, task) in [("old", old, 1), ("kept", old, 2), ("young", now, 3)] {
        close(&store, part, 1, at).await?;
        write(&store, [of_part(task, part, Outcome::Ok)]).await?;
    }
    write(&store, [row(4)]).await?;
    fold(&store).await?;
    // The rows of two parts are deleted by another way than by prune, which counts nothing.
    database.execute("DELETE FROM fetches WHERE part IN ('old', 'young')").await?;
    let month = Duration::from_secs(30 * 86_400);
    let retention = Retention { rows: Some(month), bodies: None };
    assert_eq!(store.prune(retention, false, |_| ()).await?.parts, 1);
    let parts = store.latest_parts(Some("nightly"), 10).await?;
    let names: Vec<&str> = parts.iter().map(|(_, run)| &*run.parts[0].part).collect();
    assert_eq!(names, ["young", "kept"]);
    assert_eq!(store.prune(retention, false, |_| ()).await?.parts, 0);
    Ok(())
}

#[tokio::test]
async fn messages_without_a_part_are_cancelled_for_some_hours() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    store.cancel_run("nightly").await?;
    assert_eq!(store.poll(None).await?.cancelled, [("nightly".to_owned(), String::new())]);
    database.execute("UPDATE runs SET cancelled_at = cancelled_at - INTERVAL 13 HOUR").await?;
    assert_eq!(store.poll(None).await?.cancelled, []);
    Ok(())
}

/// A fetch of one page in the given second, which shows this price and availability.
fn product(task: u8, second: i64, price: Option<i64>, availability: Option<&str>) -> Fetch {
    let item = Product {
        name: Some("Tea".to_owned()),
        price: price.map(Decimal::from),
        currency: price.map(|_| "EUR".to_owned()),
        availability: availability.map(str::to_owned),
        ..Product::default()
    };
    let status = if price.is_some() { ProductStatus::Found } else { ProductStatus::NoPrice };
    Fetch { product: Some(status), item: Some(Box::new(item)), ..page(task, second) }
}

/// A fetch of the same page without a product.
fn page(task: u8, second: i64) -> Fetch {
    let fetched_at = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Fetch {
        product: Some(ProductStatus::None),
        url: "http://shop.example/tea".to_owned(),
        fetched_at: fetched_at + time::Duration::seconds(second),
        ..row(task)
    }
}

/// The kinds of changes between two seconds.
async fn kinds(store: &Store, from: i64, until: i64) -> Result<Vec<ChangeKind>> {
    let at = |second| page(0, second).fetched_at;
    let period = (at(from), at(until));
    let changes = store.changes(ChangeFilter::default(), period, 10).await?;
    assert_eq!(changes.changes.len() as u64, changes.counts.values().sum::<u64>());
    Ok(changes.changes.iter().map(|change| change.kind).collect())
}

#[tokio::test]
async fn an_item_knows_when_it_vanished_and_a_late_fetch_does_not_bring_it_back() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    write(&store, [product(1, 10, Some(5), Some("InStock"))]).await?;
    assert_eq!(kinds(&store, 0, 100).await?, [ChangeKind::New]);
    // A fetch that is older than the item, and failures that say nothing.
    write(&store, [page(2, 5)]).await?;
    let unknown = Fetch { product: None, status: Some(503), ..page(3, 20) };
    write(&store, [Fetch { outcome: Outcome::HttpError, ..unknown }]).await?;
    assert_eq!(kinds(&store, 11, 100).await?, []);
    let missing = Fetch { product: None, status: Some(404), ..page(4, 30) };
    write(&store, [Fetch { outcome: Outcome::HttpError, ..missing }]).await?;
    assert_eq!(kinds(&store, 11, 100).await?, [ChangeKind::Vanished]);
    // A second look is no second change, and a late fetch is none at all.
    write(&store, [page(5, 40), product(6, 25, Some(5), None)]).await?;
    assert_eq!(kinds(&store, 11, 30).await?, [ChangeKind::Vanished]);
    assert_eq!(kinds(&store, 31, 100).await?, []);
    write(&store, [product(7, 50, Some(6), None)]).await?;
    assert_eq!(kinds(&store, 31, 100).await?, [ChangeKind::PriceUp, ChangeKind::Back]);
    write(&store, [product(8, 60, None, None)]).await?;
    assert_eq!(kinds(&store, 51, 100).await?, [ChangeKind::PriceLost]);
    assert_eq!(database.count("SELECT COUNT(*) FROM price_history").await?, 2);
    Ok(())
}

#[tokio::test]
async fn stock_changes_when_a_page_says_so() -> Result {
    let database = Database::new().await?;
    let store = database.store(2)?;
    for (task, second, availability, expected) in [
        (1, 10, Some("InStock"), None),
        (2, 20, Some("LimitedAvailability"), None),
        (3, 30, None, None),
        (4, 40, Some("SoldOut"), Some(ChangeKind::OutOfStock)),
        (5, 50, Some("SoldOut"), None),
        (6, 60, Some("Discontinued"), None),
        (7, 70, Some("PreOrder"), Some(ChangeKind::InStock)),
    ] {
        write(&store, [product(task, second, Some(5), availability)]).await?;
        let kinds = kinds(&store, second, second).await?;
        let stock = kinds.into_iter().find(|kind| *kind != ChangeKind::New);
        assert_eq!(stock, expected, "{availability:?}");
    }
    Ok(())
}

#[tokio::test]
async fn prices_in_other_currencies_and_by_hand_are_changes_too() -> Result {
    let database = Database::new().await?;
    let store = database.store(2)?;
    write(&store, [product(1, 10, Some(5), None)]).await?;
    let mut dollars = product(2, 20, Some(5), None);
    dollars.item.as_mut().ok_or("no item")?.currency = Some("USD".to_owned());
    write(&store, [dollars]).await?;
    write(&store, [product(3, 30, Some(4), None), product(4, 40, Some(8), None)]).await?;
    let expected = [ChangeKind::PriceUp, ChangeKind::Currency, ChangeKind::Currency];
    assert_eq!(kinds(&store, 11, 100).await?, expected);
    let page = fetchline_store::ItemKey::SourceUrl("http://shop.example/tea".to_owned());
    assert!(store.set_price(&page, Decimal::from(2), None).await?);
    assert_eq!(kinds(&store, 40, 10_000_000).await?, [ChangeKind::PriceUp, ChangeKind::PriceDown]);
    Ok(())
}

#[tokio::test]
async fn an_unchanged_page_has_been_seen_and_does_not_vanish() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    let gone = |task, second| Fetch {
        outcome: Outcome::HttpError,
        status: Some(404),
        product: None,
        ..page(task, second)
    };
    let unchanged =
        |task, second| Fetch { outcome: Outcome::Unchanged, product: None, ..page(task, second) };
    write(&store, [product(1, 10, Some(5), None), unchanged(2, 40)]).await?;
    // A fetch that ended before, and is written later.
    write(&store, [gone(3, 30)]).await?;
    assert_eq!(kinds(&store, 11, 100).await?, []);
    write(&store, [gone(4, 50)]).await?;
    assert_eq!(kinds(&store, 11, 100).await?, [ChangeKind::Vanished]);
    // The page may be unchanged since it lost its product, so this shows no product.
    write(&store, [unchanged(5, 60)]).await?;
    assert_eq!(kinds(&store, 11, 100).await?, [ChangeKind::Vanished]);
    let seen = "SELECT TIMESTAMPDIFF(SECOND, updated_at, seen_at) FROM items";
    assert_eq!(database.count(seen).await?, 30);
    let run = store.run("nightly", &Selection::All).await?;
    assert_eq!((run.unchanged(), run.failed()), (2, 2), "{run:?}");
    Ok(())
}

#[tokio::test]
async fn deleted_rows_are_subtracted_where_they_were_counted() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    let now = OffsetDateTime::now_utc();
    let old = now - Duration::from_secs(40 * 86_400);
    for part in ["p1", "p2"] {
        close(&store, part, 2, now).await?;
    }
    let found = |task, part, fetched_at| Fetch {
        product: Some(ProductStatus::Found),
        fetched_at,
        ..of_part(task, part, Outcome::Ok)
    };
    let dns = Fetch { fetched_at: old, ..of_part(5, "", Outcome::Dns) };
    write(&store, [found(1, "p1", old), found(2, "p1", now), found(3, "p2", old)]).await?;
    write(&store, [found(4, "p2", now), Fetch { part: None, ..dns }]).await?;
    let retention = Retention { rows: Some(Duration::from_secs(30 * 86_400)), bodies: None };
    assert_eq!(store.prune(retention, false, |_| ()).await?.rows, 3);
    let counts: Vec<(String, String, String, i64)> = sqlx::query_as(
        "SELECT part, outcome, product, CAST(SUM(tasks) AS SIGNED) FROM run_counts \
         GROUP BY part, outcome, product ORDER BY part",
    )
    .fetch_all(&mut database.connection)
    .await?;
    let expected =
        ["p1", "p2"].map(|part| (part.to_owned(), "ok".to_owned(), "found".to_owned(), 1));
    assert_eq!(counts, expected);
    let run = store.run("nightly", &Selection::Part("p1".to_owned())).await?;
    assert!(run.is_complete() && run.rows() == 1, "{run:?}");
    Ok(())
}
