//! The queries that documents recommend and commands run: each reads few rows, or only an index.

use fetchline_store::{Body, Fetch};
use sqlx::{AssertSqlSafe, Row};

use crate::database::{Database, Result, batch, row};

/// Two runs of 20,000 rows each. The later one has two outcomes and three statuses.
async fn fill(database: &mut Database) -> Result {
    const ROWS: &str = "INSERT INTO fetches (id, run, part, url, method, outcome, status, attempts, \
                        elapsed_ms, fetched_at, worker, body_text) \
                        WITH RECURSIVE numbers AS \
                        (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < 200), \
                        pairs AS (SELECT one.n + 200 * (other.n - 1) AS n \
                        FROM numbers AS one JOIN numbers AS other) \
                        SELECT CONCAT(X'019AD0325A3C7F31A530', UNHEX(LPAD(HEX(n), 12, '0'))), \
                        IF(n <= 20000, 'monday', 'tuesday'), \
                        IF(n <= 20000, 'p1', 'p2'), CONCAT('http://a.example/', n), \
                        'GET', IF(n % 10 = 0 AND n > 20000, 'http_error', 'ok'), \
                        IF(n % 10 > 0, 200, IF(n % 20 = 0, 404, 410)), 1, n % 700, \
                        '2026-03-01' + INTERVAL n SECOND, 'pod', REPEAT('x', 300) FROM pairs";
    database.execute(ROWS).await?;
    database.execute("ANALYZE TABLE fetches").await
}

/// What a query costs.
struct Cost {
    index: String,
    /// The notes of the plan.
    notes: String,
    /// The number of rows and index entries that the server has read.
    reads: u64,
}

async fn cost(database: &mut Database, query: &str) -> Result<Cost> {
    let explain = AssertSqlSafe(format!("EXPLAIN FORMAT = TRADITIONAL {query}"));
    let plan = sqlx::query(explain).fetch_one(&mut database.connection).await?;
    let text = |column: &str| -> Result<String> {
        let text: Option<Vec<u8>> = plan.try_get_unchecked(column)?;
        Ok(String::from_utf8(text.unwrap_or_default())?)
    };
    let (index, notes) = (text("key")?, text("Extra")?);
    database.execute("FLUSH STATUS").await?;
    sqlx::query(AssertSqlSafe(query.to_owned())).fetch_all(&mut database.connection).await?;
    let reads: Vec<(String, String)> = sqlx::query_as("SHOW SESSION STATUS LIKE 'Handler_read%'")
        .fetch_all(&mut database.connection)
        .await?;
    let reads = reads.iter().filter_map(|(_, reads)| reads.parse::<u64>().ok()).sum();
    Ok(Cost { index, notes, reads })
}

#[tokio::test]
async fn queries_about_a_run_read_its_index_entries_only() -> Result {
    let mut database = Database::new().await?;
    fill(&mut database).await?;
    for query in [
        // README.md and docs/runs.md.
        "SELECT outcome, status, COUNT(*) FROM fetches WHERE run = 'tuesday' \
         GROUP BY outcome, status",
        "SELECT outcome, status, COUNT(*) FROM fetches WHERE run = 'tuesday' AND part = 'p2' \
         GROUP BY outcome, status",
        "SELECT outcome, COUNT(*) FROM fetches WHERE run = 'tuesday' GROUP BY outcome",
        "SELECT COUNT(*) FROM fetches WHERE run = 'tuesday' AND outcome <> 'ok'",
    ] {
        let Cost { index, notes, reads } = cost(&mut database, query).await?;
        assert!(index == "fetches_by_run" && notes.contains("Using index"), "{query}: {notes}");
        // Each entry once, its group once, and each partition.
        assert!(reads <= 2 * 20_000 + 100, "{query}: {reads}");
    }
    Ok(())
}

#[tokio::test]
async fn queries_for_a_few_rows_read_a_few_rows() -> Result {
    let mut database = Database::new().await?;
    fill(&mut database).await?;
    for (query, rows) in [
        // docs/database.md and docs/operations.md.
        ("SELECT url, outcome FROM fetches ORDER BY fetched_at DESC LIMIT 10", 10),
        (
            "SELECT url, status, error FROM fetches WHERE run = 'tuesday' AND part = 'p2' \
             AND outcome = 'http_error' ORDER BY id LIMIT 100",
            100,
        ),
        ("SELECT COUNT(*) FROM fetches WHERE fetched_at < '2026-03-01 00:10:00'", 600),
        ("SELECT * FROM fetches WHERE id = X'019AD0325A3C7F31A530000000000007'", 1),
        (
            "SELECT url FROM fetches WHERE id BETWEEN X'019AD0325A3C7F31A530000000000007' \
             AND X'019AD0325A3C7F31A530000000000016'",
            16,
        ),
    ] {
        let Cost { notes, reads, .. } = cost(&mut database, query).await?;
        assert!(!notes.contains("filesort"), "{query}: {notes}");
        // The server looks into each partition once.
        assert!(reads <= rows + 40, "{query}: {reads}");
    }
    Ok(())
}

#[tokio::test]
async fn no_index_of_items_has_a_column_that_each_fetch_changes() -> Result {
    let mut database = Database::new().await?;
    let indexed = "SELECT COUNT(*) FROM information_schema.statistics \
                   WHERE table_schema = DATABASE() AND table_name = 'items' \
                   AND column_name IN ('updated_at', 'seen_at', 'price')";
    assert_eq!(database.count(indexed).await?, 0);
    Ok(())
}

#[tokio::test]
async fn json_is_stored_exactly_as_it_came() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    for text in [
        r#"{"z":1,"a":2,"a":3}"#,
        r#"{ "price": 1.10, "id": 12345678901234567890123 }"#,
        "[1e2,\t1E+2, 0.10000000000000000001]\n",
        "\"\\u00e9 \u{e9}\"",
    ] {
        let body = Body::Json(text.to_owned());
        let written = store.write(batch([Fetch { body, ..row(1) }])).await;
        assert!(written.unwritten.is_none() && written.refused.is_empty(), "{text}");
        let stored: String = sqlx::query_scalar("SELECT body_json FROM fetches")
            .fetch_one(&mut database.connection)
            .await?;
        assert_eq!(stored, text);
    }
    let body = Body::Json(r#"{"offer": {"price": 1.10}}"#.to_owned());
    let written = store.write(batch([Fetch { body, ..row(1) }])).await;
    assert!(written.unwritten.is_none());
    // The database's functions for JSON work on it.
    let price = "SELECT COUNT(*) FROM fetches WHERE JSON_EXTRACT(body_json, '$.offer.price') = 1.1";
    assert_eq!(database.count(price).await?, 1);
    Ok(())
}
