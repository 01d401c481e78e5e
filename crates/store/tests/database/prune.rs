//! Deletion of old rows, parts and bodies.

use std::time::Duration;

use fetchline_store::{
    Batch, Body, Fetch, Outcome, PartReport, Pruned, Retention, Selection, Store,
};
use sqlx::Connection;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::database::{Database, Result, batch, row};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Deletes rows of more than 30 days.
const ROWS: Retention =
    Retention { rows: Some(Duration::from_secs(30 * 24 * 60 * 60)), bodies: None };

/// A part that began a number of days ago. Its id has the bits of the time, and of this number.
struct Part {
    id: u128,
    began: OffsetDateTime,
}

impl Part {
    fn new(days: u32) -> Self {
        let began = OffsetDateTime::now_utc() - DAY * days;
        let ms = u128::from((began.unix_timestamp().unsigned_abs()) * 1_000);
        Self { id: ms << 80 | 7 << 76 | 0b10 << 62 | u128::from(days) << 52, began }
    }

    fn name(&self) -> String {
        format!("{:032x}", self.id)
    }

    fn row(&self, ordinal: u8) -> Fetch {
        Fetch {
            id: (self.id | u128::from(ordinal) << 20 | 0xabcde).to_be_bytes(),
            part: Some(self.name()),
            fetched_at: self.began + Duration::from_secs(ordinal.into()),
            ..row(ordinal)
        }
    }

    fn report(&self, planned: Option<u64>) -> PartReport {
        PartReport { run: "nightly".to_owned(), part: self.name(), planned, at: self.began }
    }
}

/// The row of another program's message: with the time of its id, or without one.
fn other_row(number: u8, days: u32, has_time: bool) -> Fetch {
    let fetched_at = OffsetDateTime::now_utc() - DAY * days;
    let ms = u128::from(fetched_at.unix_timestamp().unsigned_abs() * 1_000);
    let time = if has_time { ms << 80 } else { 0 };
    let id = (time | u128::from(number) << 72 | 0x1234).to_be_bytes();
    Fetch { id, run: "orders".to_owned(), fetched_at, ..row(number) }
}

async fn write(store: &Store, rows: impl IntoIterator<Item = Fetch>) -> Result {
    let written = store.write(batch(rows)).await;
    assert!(written.unwritten.is_none() && written.refused.is_empty());
    Ok(())
}

async fn report(store: &Store, report: PartReport) -> Result {
    let mut batch = Batch::default();
    batch.push_part(report, 0_u8);
    assert!(store.write(batch).await.unwritten.is_none());
    Ok(())
}

async fn prune(store: &Store, retention: Retention) -> Result<Pruned> {
    Ok(store.prune(retention, false, |_| {}).await?)
}

/// Makes partitions for the last 80 days, as if weeks had been made ahead since then.
async fn make_old_weeks(database: &mut Database) -> Result {
    let week = |days: u32| {
        let day = (OffsetDateTime::now_utc() - DAY * days).date();
        let monday = day - time::Duration::days(day.weekday().number_days_from_monday().into());
        let end = monday + time::Duration::weeks(1);
        let ms = PrimitiveDateTime::new(end, time::Time::MIDNIGHT).assume_utc().unix_timestamp();
        let name = monday.to_string().replace('-', "");
        format!("PARTITION w{name} VALUES LESS THAN (X'{:012x}{:020}')", ms * 1_000, 0)
    };
    let weeks: Vec<String> = (1..=12).rev().map(|weeks| week(weeks * 7 - 7)).collect();
    let reorganize = format!(
        "ALTER TABLE fetches PARTITION BY RANGE COLUMNS (id) (PARTITION undated \
         VALUES LESS THAN (X'000000FF000000000000000000000000'), {}, \
         PARTITION later VALUES LESS THAN (MAXVALUE))",
        weeks.join(", ")
    );
    database.execute(&reorganize).await
}

async fn counted(store: &Store, run: &str) -> Result<u64> {
    Ok(store.run(run, &Selection::All).await?.rows())
}

async fn rows(database: &mut Database, run: &str) -> Result<u64> {
    let count = format!("SELECT COUNT(*) FROM fetches WHERE run = '{run}'");
    Ok(database.count(&count).await?.unsigned_abs())
}

/// Two parts of 70 and 3 days, and rows of other programs of these ages.
async fn fill(store: &Store) -> Result {
    for days in [70, 3] {
        let part = Part::new(days);
        report(store, part.report(None)).await?;
        write(store, (1..=20).map(|ordinal| part.row(ordinal))).await?;
        report(store, part.report(Some(20))).await?;
    }
    let other = |has_time: bool, first: u8| {
        (first..first + 5).flat_map(move |number| {
            [other_row(number, 70, has_time), other_row(number + 100, 3, has_time)]
        })
    };
    write(store, other(true, 1)).await?;
    write(store, other(false, 50)).await
}

#[tokio::test]
async fn old_weeks_are_dropped_and_counts_stay_exact() -> Result {
    let mut database = Database::new().await?;
    make_old_weeks(&mut database).await?;
    let store = database.store(2)?;
    fill(&store).await?;
    let dry = store.prune(ROWS, true, |_| {}).await?;
    assert_eq!((dry.rows, dry.weeks), (30, 0));
    let pruned = prune(&store, ROWS).await?;
    assert_eq!(pruned.rows, 30);
    assert!(pruned.weeks >= 6, "{pruned:?}");
    for run in ["nightly", "orders"] {
        let expected = if run == "nightly" { 20 } else { 10 };
        assert_eq!(rows(&mut database, run).await?, expected, "{run}");
        assert_eq!(counted(&store, run).await?, expected, "{run}");
    }
    // The old part is forgotten, although the name of its run is still in use.
    let run = store.run("nightly", &Selection::All).await?;
    assert!(run.parts.len() == 1 && run.is_complete(), "{run:?}");
    let old = Part::new(70).name();
    let counts = format!("SELECT COUNT(*) FROM run_counts WHERE part = '{old}'");
    assert_eq!(database.count(&counts).await?, 0);
    assert_eq!(prune(&store, ROWS).await?, Pruned::default());
    Ok(())
}

#[tokio::test]
async fn without_partitions_or_the_right_to_change_them_rows_are_deleted() -> Result {
    for is_partitioned in [false, true] {
        let mut database = Database::new().await?;
        make_old_weeks(&mut database).await?;
        if !is_partitioned {
            database.execute("ALTER TABLE fetches REMOVE PARTITIONING").await?;
        }
        let user = format!("pruner{}", database.name().replace("store_test", ""));
        let name = database.name().to_owned();
        for statement in [
            format!("CREATE USER {user}"),
            format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO {user}"),
        ] {
            database.execute(&statement).await?;
        }
        let store = database.store_as(&user, 2)?;
        fill(&store).await?;
        let pruned = prune(&store, ROWS).await;
        database.execute(&format!("DROP USER {user}")).await?;
        let pruned = pruned?;
        assert_eq!((pruned.rows, pruned.weeks), (30, 0));
        for (run, expected) in [("nightly", 20), ("orders", 10)] {
            assert_eq!(rows(&mut database, run).await?, expected, "{run}");
            assert_eq!(counted(&database.store(1)?, run).await?, expected, "{run}");
        }
        assert_eq!(store.run("nightly", &Selection::All).await?.parts.len(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_part_that_is_under_way_keeps_its_rows() -> Result {
    for (days, planned, cancelled, kept) in [
        (40, None, false, true),
        (40, Some(21), false, true),
        (40, Some(20), false, false),
        (40, None, true, false),
        (70, None, false, false),
    ] {
        let mut database = Database::new().await?;
        make_old_weeks(&mut database).await?;
        let store = database.store(2)?;
        let part = Part::new(days);
        report(&store, part.report(None)).await?;
        write(&store, (1..=20).map(|ordinal| part.row(ordinal))).await?;
        report(&store, part.report(planned)).await?;
        if cancelled {
            database
                .execute("UPDATE runs SET cancelled_at = UTC_TIMESTAMP(6) - INTERVAL 35 DAY")
                .await?;
        }
        let pruned = prune(&store, ROWS).await?;
        let expected = if kept { 20 } else { 0 };
        let case = format!("{days} {planned:?} {cancelled}: {pruned:?}");
        assert_eq!(rows(&mut database, "nightly").await?, expected, "{case}");
        assert_eq!(counted(&store, "nightly").await?, expected, "{case}");
        assert_eq!(pruned.runs, u64::from(!kept), "{case}");
    }
    Ok(())
}

#[tokio::test]
async fn a_part_that_loses_some_of_its_rows_stays_complete() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    let part = Part::new(29);
    report(&store, part.report(None)).await?;
    write(&store, (1..=20).map(|ordinal| part.row(ordinal))).await?;
    report(&store, part.report(Some(20))).await?;
    database
        .execute("UPDATE fetches SET fetched_at = fetched_at - INTERVAL 9 DAY ORDER BY id LIMIT 8")
        .await?;
    assert_eq!(prune(&store, ROWS).await?.rows, 8);
    let run = store.run("nightly", &Selection::All).await?;
    assert!(run.is_complete() && run.rows() == 12 && run.planned() == Some(12), "{run:?}");
    Ok(())
}

#[tokio::test]
async fn old_bodies_are_deleted_once_and_their_rows_stay() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    let bodies = [
        Body::Text("tea".to_owned()),
        Body::Json("[1]".to_owned()),
        Body::Bytes(vec![0]),
        Body::Text("tea".repeat(1000)).compressed(),
        Body::None,
    ];
    let with_body = |(number, body): (u8, &Body), days| Fetch {
        body: body.clone(),
        body_sha256: Some([7; 32]),
        ..other_row(number, days, number.is_multiple_of(2))
    };
    write(&store, (1..).zip(&bodies).map(|row| with_body(row, 20))).await?;
    write(&store, (11..).zip(&bodies).map(|row| with_body(row, 3))).await?;
    let retention = Retention { rows: None, bodies: Some(DAY * 14) };
    let left = "SELECT COUNT(*) FROM fetches \
                WHERE COALESCE(body, body_text, body_json, body_zstd) IS NOT NULL";
    let dry = store.prune(retention, true, |_| {}).await?;
    assert_eq!((dry.bodies, database.count(left).await?), (4, 8));
    assert_eq!(prune(&store, retention).await?.bodies, 4);
    assert_eq!(database.count(left).await?, 4);
    let whole = "SELECT COUNT(*) FROM fetches WHERE body_sha256 IS NOT NULL";
    assert_eq!(database.count(whole).await?, 10);
    // What is done is not read again. A trigger would notice an update.
    database
        .execute(
            "CREATE TRIGGER cleared BEFORE UPDATE ON fetches FOR EACH ROW \
             SIGNAL SQLSTATE '45000'",
        )
        .await?;
    assert_eq!(prune(&store, retention).await?.bodies, 0);
    // A row that is written again is young, and old again later.
    database.execute("DROP TRIGGER cleared").await?;
    let again = Fetch { body: bodies[0].clone(), ..other_row(1, 16, false) };
    write(&store, [again]).await?;
    assert_eq!(prune(&store, retention).await?.bodies, 1);
    Ok(())
}

#[tokio::test]
async fn a_table_that_is_in_use_is_not_waited_for() -> Result {
    let mut database = Database::new().await?;
    make_old_weeks(&mut database).await?;
    let store = database.store(2)?;
    fill(&store).await?;
    // A report that reads for hours: the change of the table would make all workers wait for it.
    let mut reader = database.connect().await?;
    let mut report = reader.begin().await?;
    sqlx::query("SELECT COUNT(*) FROM fetches").fetch_all(&mut *report).await?;
    let pruned = prune(&store, ROWS).await?;
    assert_eq!((pruned.rows, pruned.weeks), (30, 0));
    report.rollback().await?;
    write(&store, [Fetch { outcome: Outcome::Ok, ..row(99) }]).await
}
