//! Batch writes under failures of every kind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fetchline_store::{Batch, Class, Fetch, Outcome, PartReport, Product, Written};
use sqlx::Executor;
use time::OffsetDateTime;

use crate::database::{Database, Meddling, Result, bad, batch, contains, key, row};

/// A batch of 50 rows, one of which is bad.
fn fifty_with_bad(bad_task: u8) -> Batch<u8> {
    batch((1..=50).map(|task| if task == bad_task { bad(task) } else { row(task) }))
}

/// The unwritten tasks, and the class of the error.
fn unwritten(written: &Written<u8>) -> Option<(Vec<u8>, Class)> {
    let unwritten = written.unwritten.as_ref()?;
    let mut tasks: Vec<u8> = unwritten.batch.receipts().copied().collect();
    tasks.sort_unstable();
    Some((tasks, unwritten.error.class()))
}

/// The refused tasks, and whether each has a bare row.
fn refused(written: &Written<u8>) -> Vec<(u8, bool)> {
    written.refused.iter().map(|refusal| (refusal.receipt, refusal.recorded)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_rejected_with_any_number_does_not_affect_its_neighbours() -> Result {
    let mut database = Database::new().await?;
    let store = std::sync::Arc::new(database.store(2)?);
    for (round, number) in [3151, 1301, 9999].into_iter().enumerate() {
        let signal = format!(
            "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'too deep'"
        );
        database.on_bad_rows(&signal).await?;
        database.execute("DELETE FROM fetches").await?;
        // In a separate task, to prove that the future is `Send`.
        let writer = store.clone();
        let written = tokio::spawn(async move { writer.write(fifty_with_bad(17)).await }).await?;
        assert_eq!(written.committed.receipts().count(), 49, "{round}: {number}");
        assert_eq!((refused(&written), unwritten(&written)), (vec![(17, true)], None), "{number}");
        assert!(written.refused[0].reason.contains("too deep"), "{:?}", written.refused);
        let bare = "SELECT COUNT(*) FROM fetches \
                    WHERE outcome = 'refused' AND body_text IS NULL AND status = 200";
        assert_eq!(
            (database.count(bare).await?, database.count("SELECT COUNT(*) FROM fetches").await?),
            (1, 50)
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_row_that_is_alone_in_its_batch_is_refused() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    database.on_bad_rows("SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 9999").await?;
    let written = store.write(batch([bad(1)])).await;
    assert_eq!((refused(&written), unwritten(&written)), (vec![(1, true)], None));
    Ok(())
}

#[tokio::test]
async fn a_database_that_accepts_not_even_bare_rows_is_away() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    database.on_rows("TRUE", "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 9999").await?;
    let written = store.write(batch([row(1), row(2)])).await;
    assert_eq!(unwritten(&written), Some((vec![1, 2], Class::Away)));
    assert!(refused(&written).is_empty() && written.committed.receipts().next().is_none());
    let written = store.write(batch((1..=12).map(row))).await;
    assert_eq!(unwritten(&written), Some(((1..=12).collect(), Class::Away)));
    assert_eq!(database.count("SELECT COUNT(*) FROM fetches").await?, 0);
    Ok(())
}

#[tokio::test]
async fn rows_whose_urls_the_table_refuses_are_no_outage_even_alone() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    let refuse = "ALTER TABLE fetches ADD CONSTRAINT short CHECK (CHAR_LENGTH(url) < 60)";
    database.execute(refuse).await?;
    let long = |task| Fetch { url: format!("http://a.example/{}", "x".repeat(60)), ..row(task) };
    let written = store.write(batch([long(1)])).await;
    assert_eq!((refused(&written), unwritten(&written)), (vec![(1, false)], None));
    let written = store.write(batch((1..=12).map(long))).await;
    let all: Vec<_> = (1..=12).map(|task| (task, false)).collect();
    assert_eq!((refused(&written), unwritten(&written)), (all, None));
    // A table that refuses the rows of this run, whatever their URLs, is an outage.
    database.execute("ALTER TABLE fetches DROP CONSTRAINT short").await?;
    let of_run = format!("ALTER TABLE fetches ADD CONSTRAINT run CHECK (run <> '{}')", row(1).run);
    database.execute(&of_run).await?;
    assert_eq!(unwritten(&store.write(batch([row(1)])).await), Some((vec![1], Class::Away)));
    database.execute("ALTER TABLE fetches DROP CONSTRAINT run").await?;
    let rows = "SELECT (SELECT COUNT(*) FROM fetches) + (SELECT COUNT(*) FROM run_counts)";
    assert_eq!(database.count(rows).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_site_whose_pages_are_all_refused_is_no_outage() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    database
        .on_bad_rows("SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 3151, MESSAGE_TEXT = 'a long key'")
        .await?;
    let written = store.write(batch((1..=12).map(bad))).await;
    assert_eq!(unwritten(&written), None);
    assert_eq!(refused(&written), (1..=12).map(|task| (task, true)).collect::<Vec<_>>());
    let bare =
        "SELECT COUNT(*) FROM fetches WHERE outcome = 'refused' AND error LIKE '%a long key%'";
    assert_eq!(database.count(bare).await?, 12);
    Ok(())
}

#[tokio::test]
async fn a_temporary_failure_does_not_make_a_good_page_a_refused_one() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    database.count_tries().await?;
    // Each row fails when it is first tried alone.
    let trouble = "UPDATE tries SET number = number + 1; IF (SELECT number FROM tries) <= 4 THEN \
                   SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 9999; END IF";
    database.on_bad_rows(trouble).await?;
    let written = store.write(batch([bad(1), bad(2), bad(3)])).await;
    assert_eq!((refused(&written), unwritten(&written)), (vec![], None));
    assert_eq!(database.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await?, 3);
    Ok(())
}

#[tokio::test]
async fn an_error_before_any_row_is_not_the_fault_of_the_rows() -> Result {
    let mut database = Database::new().await?;
    // Once: the next try would succeed.
    fn refuse_once(sent: &[u8], refused: &AtomicBool, number: u16) -> Meddling {
        match contains(sent, "START TRANSACTION") && !refused.swap(true, Ordering::Relaxed) {
            true => Meddling::Refuse(number),
            false => Meddling::None,
        }
    }
    // One number that ProxySQL sends, and one that is not listed.
    static BUSY: AtomicBool = AtomicBool::new(false);
    static UNKNOWN: AtomicBool = AtomicBool::new(false);
    let busy = database.store_behind_meddler(2, |sent| refuse_once(sent, &BUSY, 9001)).await?;
    let unknown =
        database.store_behind_meddler(2, |sent| refuse_once(sent, &UNKNOWN, 1105)).await?;
    for store in [busy, unknown] {
        let written = store.write(batch([row(1)])).await;
        assert_eq!(
            (refused(&written), unwritten(&written)),
            (vec![], Some((vec![1], Class::Away)))
        );
    }
    assert!(BUSY.load(Ordering::Relaxed) && UNKNOWN.load(Ordering::Relaxed));
    assert_eq!(database.count("SELECT COUNT(*) FROM fetches").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_server_whose_commits_hang_is_away_and_not_slow() -> Result {
    let mut database = Database::new().await?;
    // Everything but commits works. A statement outside of a transaction commits as well.
    let hang =
        |sent: &[u8]| match sent.ends_with(b"COMMIT") || contains(sent, "INSERT INTO quarantine") {
            true => Meddling::Hang,
            false => Meddling::None,
        };
    let store = database
        .store_behind_meddler(2, hang)
        .await?
        .with_write_deadline(Duration::from_millis(500));
    let written = store.write(batch((1..=20).map(row))).await;
    assert_eq!(unwritten(&written), Some(((1..=20).collect(), Class::Away)));
    // If commits work and rows are slow, the commit probe leaves nothing behind.
    let store = database.store(2)?.with_write_deadline(Duration::from_millis(200));
    database.on_bad_rows("DO SLEEP(30)").await?;
    assert_eq!(unwritten(&store.write(batch([bad(1)])).await), Some((vec![1], Class::Slow)));
    assert_eq!(database.count("SELECT COUNT(*) FROM quarantine").await?, 0);
    Ok(())
}

#[tokio::test]
async fn connections_that_died_in_the_pool_do_no_harm() -> Result {
    let mut database = Database::new().await?;
    let store = std::sync::Arc::new(database.store(4)?);
    // Four slow rows at once need four connections.
    database.on_bad_rows("DO SLEEP(0.3)").await?;
    let writers = (1..=4).map(|task| {
        let store = store.clone();
        tokio::spawn(async move { store.write(batch([bad(task)])).await.committed.into_receipts() })
    });
    for writer in writers.collect::<Vec<_>>() {
        assert_eq!(writer.await?.len(), 1);
    }
    let kill_pool = async |database: &mut Database| -> Result<usize> {
        const POOL: &str = "SELECT CAST(ID AS SIGNED) FROM information_schema.PROCESSLIST \
                            WHERE DB = DATABASE() AND ID <> CONNECTION_ID()";
        let pool: Vec<i64> = sqlx::query_scalar(POOL).fetch_all(&mut database.connection).await?;
        for id in &pool {
            database.execute(&format!("KILL {id}")).await?;
        }
        Ok(pool.len())
    };
    assert_eq!(kill_pool(&mut database).await?, 4);
    let written = store.write(batch([row(11)])).await;
    assert_eq!((written.committed.into_receipts(), written.unwritten.is_none()), (vec![11], true));
    // The same for the health check. The pool has few connections now, so it is filled again.
    let writers = (1..=4).map(|task| {
        let store = store.clone();
        tokio::spawn(async move { store.write(batch([bad(task + 20)])).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        assert!(writer.await?.unwritten.is_none());
    }
    assert_eq!(kill_pool(&mut database).await?, 4);
    store.poll(None).await?;
    Ok(())
}

#[tokio::test]
async fn a_row_that_makes_the_storage_engine_fail_is_refused_and_no_outage() -> Result {
    let mut database = Database::new().await?;
    // One connection, which the probe must not kill in the server while it uses it itself.
    let store = database.store(1)?;
    database.on_bad_rows("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1030").await?;
    let written = store.write(batch([row(1), bad(2), row(3)])).await;
    assert_eq!((refused(&written), unwritten(&written)), (vec![(2, true)], None));
    Ok(())
}

#[tokio::test]
async fn deadlocks_and_a_lost_connection_do_not_add_up_to_a_refusal() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    database.count_tries().await?;
    let trouble = "UPDATE tries SET number = number + 1; CASE (SELECT number FROM tries) \
                   WHEN 1 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213; \
                   WHEN 2 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213; \
                   WHEN 3 THEN KILL CONNECTION_ID(); ELSE BEGIN END; END CASE";
    database.on_bad_rows(trouble).await?;
    let written = store.write(batch([bad(1)])).await;
    assert_eq!((refused(&written), unwritten(&written)), (vec![], None));
    assert_eq!(database.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await?, 1);
    assert_eq!(database.count("SELECT CAST(number AS SIGNED) FROM tries").await?, 4);
    Ok(())
}

/// Locks this many slots of the counts of the run `nightly`.
async fn lock_counts(other: &mut sqlx::mysql::MySqlConnection, slots: u8) -> Result {
    other.execute("BEGIN").await?;
    for slot in 0..slots {
        let lock =
            sqlx::query("INSERT INTO run_counts VALUES ('nightly', '', 'ok', '', ?, 0)").bind(slot);
        lock.execute(&mut *other).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_locked_slot_of_a_count_is_replaced_by_another_one() -> Result {
    let database = Database::new().await?;
    let store = std::sync::Arc::new(database.store(12)?);
    let mut other = database.connect().await?;
    lock_counts(&mut other, 8).await?;
    let writers = (1..=12).map(|task| {
        let store = store.clone();
        tokio::spawn(async move { store.write(batch([row(task)])).await })
    });
    // All writers end first: an open transaction would prevent dropping the database.
    let mut all = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        all.push(unwritten(&writer.await?));
    }
    assert_eq!(all, vec![None; 12]);
    Ok(())
}

#[tokio::test]
async fn a_batch_that_cannot_be_counted_is_left_unwritten_and_not_split() -> Result {
    let database = Database::new().await?;
    let store = database.store(2)?;
    let mut other = database.connect().await?;
    lock_counts(&mut other, 16).await?;
    let began = Instant::now();
    let written = store.write(batch((1..=20).map(row))).await;
    assert_eq!(unwritten(&written), Some(((1..=20).collect(), Class::Contention)));
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    other.execute("ROLLBACK").await?;
    let Some(rest) = written.unwritten else { return Ok(()) };
    assert_eq!(store.write(rest.batch).await.committed.into_receipts().len(), 20);
    Ok(())
}

#[tokio::test]
async fn a_locked_row_delays_its_neighbours_for_seconds_only() -> Result {
    let database = Database::new().await?;
    let store = database.store(3)?;
    let first = store.write(batch([row(17)])).await;
    assert_eq!(unwritten(&first), None);
    let mut other = database.connect().await?;
    other.execute("BEGIN").await?;
    let lock = sqlx::query("SELECT id FROM fetches WHERE id = ? FOR UPDATE").bind(key(17).to_vec());
    lock.fetch_one(&mut other).await?;
    let began = Instant::now();
    let written = store.write(batch((1..=50).map(row))).await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(written.committed.receipts().count(), 49);
    assert_eq!(unwritten(&written), Some((vec![17], Class::Contention)));
    other.execute("ROLLBACK").await?;
    let Some(rest) = written.unwritten else { return Ok(()) };
    assert_eq!(store.write(rest.batch).await.committed.into_receipts(), [17]);
    Ok(())
}

#[tokio::test]
async fn a_row_that_deadlocks_is_retried() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    // The first three tries lose.
    database.count_tries().await?;
    let lose = "UPDATE tries SET number = number + 1; IF (SELECT number FROM tries) <= 3 THEN \
                SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213; END IF";
    database.on_bad_rows(lose).await?;
    let written = store.write(fifty_with_bad(17)).await;
    assert_eq!((written.committed.receipts().count(), unwritten(&written)), (50, None));
    assert_eq!(database.count("SELECT CAST(number AS SIGNED) FROM tries").await?, 4);
    Ok(())
}

#[tokio::test]
async fn a_read_only_server_is_away_and_nothing_is_refused() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    let read_only =
        "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'running with --read-only'";
    database.on_rows("TRUE", read_only).await?;
    let written = store.write(fifty_with_bad(17)).await;
    assert_eq!(unwritten(&written), Some(((1..=50).collect(), Class::Away)));
    assert!(refused(&written).is_empty());
    Ok(())
}

#[tokio::test]
async fn rows_that_were_committed_before_the_outage_stay_committed() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    // A row is rejected, so the batch is split into pieces of seven rows. After four pieces the
    // server becomes read-only.
    let trouble = "IF (SELECT COUNT(*) FROM fetches) >= 28 THEN \
                   SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290; \
                   ELSEIF NEW.url LIKE '%bad' THEN \
                   SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 9999; END IF";
    database.on_rows("TRUE", trouble).await?;
    let written = store.write(fifty_with_bad(17)).await;
    assert_eq!(unwritten(&written), Some(((15..=21).chain(36..=50).collect(), Class::Away)));
    assert_eq!(written.committed.into_receipts(), (1..=14).chain(22..=35).collect::<Vec<_>>());
    assert_eq!(database.count("SELECT COUNT(*) FROM fetches").await?, 28);
    Ok(())
}

#[tokio::test]
async fn a_row_that_is_too_slow_is_left_unwritten_and_its_neighbours_are_committed() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?.with_write_deadline(Duration::from_millis(700));
    database.on_bad_rows("DO SLEEP(30)").await?;
    let began = Instant::now();
    let written = store
        .write(batch((1..=20).map(|task| if task == 7 { bad(task) } else { row(task) })))
        .await;
    assert_eq!(unwritten(&written), Some((vec![7], Class::Slow)));
    assert_eq!(written.committed.receipts().count(), 19);
    // The abandoned statement was killed in the server, where it would have kept its locks.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let running = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
                   WHERE DB = DATABASE() AND COMMAND <> 'Sleep'";
    assert_eq!(database.count(running).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_server_that_falls_silent_is_away_and_not_slow() -> Result {
    let mut database = Database::new().await?;
    let (store, silence) = database.store_behind_proxy(2).await?;
    let store = store.with_write_deadline(Duration::from_millis(500));
    assert_eq!(unwritten(&store.write(batch([row(1)])).await), None);
    // Once the connection is back in the pool, the next write begins on it.
    let returned = async {
        while store.connections().0 > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), returned).await?;
    silence.send(true)?;
    // One row: nothing smaller can be tried to find out whether the row was slow.
    let written = store.write(batch([row(2)])).await;
    assert_eq!(unwritten(&written), Some((vec![2], Class::Away)));
    assert_eq!(database.count("SELECT COUNT(*) FROM fetches").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_heavy_batch_gets_more_time_than_a_light_one() -> Result {
    let mut database = Database::new().await?;
    // 150 rows get 3 s more.
    let store = database.store(2)?.with_write_deadline(Duration::from_millis(200));
    database.on_bad_rows("DO SLEEP(1)").await?;
    let written = store
        .write(batch((1..=150).map(|task| if task == 7 { bad(task) } else { row(task) })))
        .await;
    assert_eq!((written.committed.receipts().count(), unwritten(&written)), (150, None));
    Ok(())
}

#[tokio::test]
async fn a_row_that_kills_its_connection_is_refused_and_no_outage() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    database.on_bad_rows("KILL CONNECTION_ID()").await?;
    let written = store.write(fifty_with_bad(17)).await;
    assert_eq!((refused(&written), unwritten(&written)), (vec![(17, true)], None));
    assert_eq!(written.committed.receipts().count(), 49);
    Ok(())
}

#[tokio::test]
async fn a_connection_that_is_killed_once_does_no_harm() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    database.count_tries().await?;
    let once = "UPDATE tries SET number = number + 1; IF (SELECT number FROM tries) = 1 THEN \
                KILL CONNECTION_ID(); END IF";
    database.on_bad_rows(once).await?;
    let written = store.write(fifty_with_bad(17)).await;
    assert_eq!((written.committed.receipts().count(), unwritten(&written)), (50, None));
    Ok(())
}

#[tokio::test]
async fn a_write_that_is_cancelled_leaves_no_open_transaction_in_the_pool() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    database.on_bad_rows("DO SLEEP(1)").await?;
    let cancelled =
        tokio::time::timeout(Duration::from_millis(300), store.write(batch([row(1), bad(2)])))
            .await;
    assert!(cancelled.is_err());
    let written = store.write(batch([row(3)])).await;
    assert_eq!(written.committed.into_receipts(), [3]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(database.count("SELECT COUNT(*) FROM fetches").await?, 1);
    Ok(())
}

#[tokio::test]
async fn items_are_left_out_only_while_the_table_accepts_others() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    database.execute("ALTER TABLE items ADD CONSTRAINT not_dear CHECK (price < 100)").await?;
    let page = |task, price: &str| {
        let product = Product { price: price.parse().ok(), ..Product::default() };
        Fetch { item: Some(Box::new(product)), ..row(task) }
    };
    let written = store.write(batch([page(1, "10"), page(2, "500")])).await;
    assert_eq!(written.items_left_out.as_ref().map(|(count, _)| *count), Some(1));
    assert_eq!((written.committed.receipts().count(), unwritten(&written)), (2, None));
    // So are many items, while the table accepts others.
    let written = store.write(batch((50..=69).map(|task| page(task, "500")))).await;
    assert_eq!(written.items_left_out.as_ref().map(|(count, _)| *count), Some(20));
    assert_eq!((written.committed.receipts().count(), unwritten(&written)), (20, None));
    // A table that accepts no item at all is an outage.
    database.execute("ALTER TABLE items DROP CONSTRAINT not_dear").await?;
    database.execute("ALTER TABLE items ADD CONSTRAINT none CHECK (price IN (10, 0.0001))").await?;
    let written = store.write(batch((11..=40).map(|task| page(task, "500")))).await;
    assert_eq!(unwritten(&written), Some(((11..=40).collect(), Class::Away)));
    database.execute("ALTER TABLE items DROP CONSTRAINT none").await?;
    let Some(rest) = written.unwritten else { return Ok(()) };
    assert_eq!(store.write(rest.batch).await.committed.into_receipts().len(), 30);
    assert_eq!(database.count("SELECT COUNT(*) FROM items").await?, 31);
    assert_eq!(database.count("SELECT COUNT(*) FROM fetches WHERE error IS NOT NULL").await?, 21);
    assert_eq!(database.count("SELECT COUNT(*) FROM items WHERE name = 'sample'").await?, 0);
    Ok(())
}

/// The report that a part began.
fn part(name: &str) -> PartReport {
    let at = OffsetDateTime::UNIX_EPOCH;
    PartReport { run: "nightly".to_owned(), part: name.to_owned(), planned: None, at }
}

#[tokio::test]
async fn a_bad_part_affects_neither_rows_nor_other_parts() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    let refuse = "CREATE TRIGGER bad_parts BEFORE INSERT ON runs FOR EACH ROW \
                  BEGIN IF NEW.part = 'bad' THEN \
                  SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 9999; END IF; END";
    database.execute(refuse).await?;
    let mut all = batch([row(1)]);
    for (receipt, name) in [(101, "a"), (102, "bad"), (103, "c")] {
        all.push_part(part(name), receipt);
    }
    let written = store.write(all).await;
    assert_eq!((refused(&written), unwritten(&written)), (vec![(102, false)], None));
    let mut committed = written.committed.into_receipts();
    committed.sort_unstable();
    assert_eq!(committed, [1, 101, 103]);
    // Alone it is refused as well, because the table accepts others.
    let mut alone = Batch::default();
    alone.push_part(part("bad"), 102);
    let written = store.write(alone).await;
    assert_eq!((refused(&written), unwritten(&written)), (vec![(102, false)], None));
    // A table that accepts no part is an outage. Rows are written nevertheless.
    database.execute("DROP TRIGGER bad_parts").await?;
    let refuse_all = "CREATE TRIGGER bad_parts BEFORE INSERT ON runs FOR EACH ROW \
                      SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 9999";
    database.execute(refuse_all).await?;
    let mut both = batch([row(2)]);
    both.push_part(part("d"), 104);
    let written = store.write(both).await;
    assert_eq!(unwritten(&written), Some((vec![104], Class::Away)));
    assert_eq!(written.committed.into_receipts(), [2]);
    Ok(())
}

#[tokio::test]
async fn a_row_that_was_fetched_earlier_changes_nothing() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    let poll = store.poll(None).await?;
    assert!(poll.limits.is_empty() && poll.cancelled.is_empty());
    let stamped = |outcome, seconds: i64| Fetch {
        outcome,
        fetched_at: store.now() + time::Duration::seconds(seconds),
        ..row(1)
    };
    assert_eq!(unwritten(&store.write(batch([stamped(Outcome::Ok, 0)])).await), None);
    assert_eq!(unwritten(&store.write(batch([stamped(Outcome::Timeout, -5)])).await), None);
    assert_eq!(database.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await?, 1);
    let age = "SELECT CAST(ABS(TIMESTAMPDIFF(SECOND, fetched_at, UTC_TIMESTAMP(6))) AS SIGNED) \
               FROM fetches";
    assert!(database.count(age).await? < 5);
    Ok(())
}
