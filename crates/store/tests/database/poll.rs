//! What workers share through the database: host limits, cancelled runs, and marks of tasks.

use std::time::Duration;

use fetchline_store::{Class, HostLimit, Reserved};
use tokio::time::Instant;

use crate::database::{Database, Result, key};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_poll_reads_everything_in_force_and_then_the_changes() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    store.set_rate("slow.example", Some(2.0)).await?;
    store.set_rate("*.shop.example", Some(5.0)).await?;
    store.pause_host("*").await?;
    store.set_rate("free.example", None).await?;
    store.cancel_run("nightly").await?;
    let first = store.poll(None).await?;
    let mut hosts: Vec<&str> = first.limits.iter().map(|limit| limit.host.as_str()).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["*", "*.shop.example", "slow.example"]);
    assert_eq!(first.cancelled, [("nightly".to_owned(), String::new())]);
    // Old changes are not read again.
    database.execute("UPDATE hosts SET changed_at = changed_at - INTERVAL 2 MINUTE").await?;
    database.execute("UPDATE runs SET cancelled_at = cancelled_at - INTERVAL 2 MINUTE").await?;
    let second = store.poll(Some(&first.cursor)).await?;
    assert!(second.limits.is_empty() && second.cancelled.is_empty(), "{second:?}");
    // Lifting a limit is a change.
    store.set_rate("slow.example", None).await?;
    store.cancel_run("weekly").await?;
    let third = store.poll(Some(&second.cursor)).await?;
    assert_eq!(
        third.limits.iter().map(|limit| (&*limit.host, limit.interval())).collect::<Vec<_>>(),
        [("slow.example", None)]
    );
    assert_eq!(third.cancelled, [("weekly".to_owned(), String::new())]);
    Ok(())
}

#[tokio::test]
async fn a_first_poll_reads_the_limits_that_are_in_force() -> Result {
    let database = Database::new().await?;
    let store = database.store(1)?;
    store.set_rate("rate.example", Some(2.0)).await?;
    store.pause_host("paused.example").await?;
    store.slow("slowed.example", 3.0, "it throttles").await?;
    store.set_crawl_delay("delay.example", Some(SECOND)).await?;
    store.cool_down("cools.example", 60 * SECOND, "it asked").await?;
    store.cool_down("cooled.example", Duration::ZERO, "it asked").await?;
    store.set_rate("free.example", None).await?;
    let (mut read, mut all) = (store.poll(None).await?.limits, store.hosts().await?);
    assert_eq!((read.len(), all.len()), (5, 7));
    all.retain(|limit| limit.is_in_force(Duration::ZERO));
    read.sort_by(|a, b| a.host.cmp(&b.host));
    let names = |limits: Vec<HostLimit>| -> Vec<String> {
        limits.into_iter().map(|limit| limit.host).collect()
    };
    assert_eq!(names(read), names(all));
    Ok(())
}

#[tokio::test]
async fn a_revoked_cancellation_is_noticed_within_a_minute() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    store.cancel_run("nightly").await?;
    store.cancel_run("weekly").await?;
    let mut poll = store.poll(None).await?;
    assert_eq!((poll.cancelled.len(), poll.cancelled_is_complete), (2, true));
    database.execute("UPDATE runs SET cancelled_at = NULL WHERE run = 'nightly'").await?;
    database.execute("UPDATE runs SET cancelled_at = cancelled_at - INTERVAL 2 MINUTE").await?;
    let mut complete = Vec::new();
    for number in 1..=60 {
        poll = store.poll(Some(&poll.cursor)).await?;
        let expected = if poll.cancelled_is_complete {
            vec![("weekly".to_owned(), String::new())]
        } else {
            vec![]
        };
        assert_eq!(poll.cancelled, expected, "{number}");
        complete.extend(poll.cancelled_is_complete.then_some(number));
    }
    assert_eq!(complete, [30, 60]);
    Ok(())
}

#[tokio::test]
async fn a_change_that_becomes_visible_late_is_read() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    let first = store.poll(None).await?;
    store.set_rate("slow.example", Some(2.0)).await?;
    store.cancel_run("nightly").await?;
    database.execute("UPDATE hosts SET changed_at = changed_at - INTERVAL 12 SECOND").await?;
    database.execute("UPDATE runs SET cancelled_at = cancelled_at - INTERVAL 12 SECOND").await?;
    let second = store.poll(Some(&first.cursor)).await?;
    assert_eq!((second.limits.len(), second.cancelled.len()), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_poll_without_changes_reads_no_rows() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    for host in 0..20 {
        store.set_rate(&format!("{host}.example"), Some(2.0)).await?;
    }
    // Everything changed at once, and nothing has changed since.
    database.execute("UPDATE hosts SET changed_at = UTC_TIMESTAMP(6) - INTERVAL 61 SECOND").await?;
    let poll = store.poll(None).await?;
    assert_eq!(poll.limits.len(), 20);
    for _ in 0..3 {
        assert!(store.poll(Some(&poll.cursor)).await?.limits.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn a_poll_fails_if_the_database_accepts_no_writes() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    let poll = store.poll(None).await?;
    database.execute("RENAME TABLE fetches TO gone").await?;
    store.set_rate("slow.example", Some(2.0)).await?;
    let error = store.poll(Some(&poll.cursor)).await.err().ok_or("the poll succeeded")?;
    assert_eq!(error.class(), Class::Away, "{error}");
    database.execute("RENAME TABLE gone TO fetches").await?;
    // The change during the outage is not missed.
    assert_eq!(store.poll(Some(&poll.cursor)).await?.limits.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_part_report_that_arrives_after_its_run_was_cancelled_is_polled() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    store.cancel_run("nightly").await?;
    database.execute("UPDATE runs SET cancelled_at = cancelled_at - INTERVAL 10 MINUTE").await?;
    let first = store.poll(None).await?;
    let mut batch = fetchline_store::Batch::default();
    let at = store.now() - 3600 * SECOND;
    let part = |name: &str| fetchline_store::PartReport {
        run: "nightly".into(),
        part: name.into(),
        planned: None,
        at,
    };
    batch.push_part(part("late"), ());
    assert!(store.write(batch).await.unwritten.is_none());
    let second = store.poll(Some(&first.cursor)).await?;
    assert_eq!(second.cancelled, [("nightly".to_owned(), "late".to_owned())]);
    Ok(())
}

#[tokio::test]
async fn slots_are_reserved_ahead_and_are_consecutive() -> Result {
    let database = Database::new().await?;
    let store = database.store(2)?;
    store.poll(None).await?;
    for key in ["shop.example", "*.shop.example", "*"] {
        assert_eq!(
            store.reserve(key, 1, SECOND, Duration::ZERO, SECOND).await?,
            Reserved::Unlimited
        );
        store.set_rate(key, Some(10.0)).await?;
        let (asked, lead) = (Instant::now(), Duration::from_millis(400));
        let Reserved::From(first) = store.reserve(key, 5, SECOND / 10, lead, SECOND).await? else {
            panic!("{key}")
        };
        assert!(
            first >= asked + lead && first <= Instant::now() + lead,
            "{key}: {:?}",
            first - asked
        );
        // The next slot comes after these, even if the lead would end earlier.
        let Reserved::From(next) = store.reserve(key, 1, SECOND / 10, lead, SECOND).await? else {
            panic!("{key}")
        };
        let after = (next - first).as_secs_f64();
        assert!((0.49..0.51).contains(&after), "{key}: {after}");
        let Reserved::Later(wait) = store.reserve(key, 1, SECOND / 10, lead, SECOND / 2).await?
        else {
            panic!("{key}")
        };
        assert!(wait > SECOND / 2 && wait < SECOND, "{wait:?}");
        store.pause_host(key).await?;
        assert_eq!(store.reserve(key, 1, SECOND, lead, SECOND).await?, Reserved::Paused);
    }
    Ok(())
}

#[tokio::test]
async fn the_longest_host_name_can_have_a_limit() -> Result {
    let database = Database::new().await?;
    let store = database.store(1)?;
    let name = format!(
        "{}.{}.{}.{}:65535",
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61)
    );
    assert_eq!(name.len(), 259);
    store.set_rate(&name, Some(1.0)).await?;
    assert_eq!(store.poll(None).await?.limits[0].host, name);
    Ok(())
}

#[tokio::test]
async fn a_mark_counts_how_often_a_task_was_begun_without_an_end() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    let (crashing, sound) = (key(1), key(2));
    assert!(store.begun(&[]).await?.is_empty());
    for worker in ["pod-1", "pod-2", "pod-3"] {
        let now = store.now();
        store.begin_quarantined(&crashing, worker, now).await?;
        // Repeated, as if the first answer had been lost.
        store.begin_quarantined(&crashing, worker, now).await?;
        store.begin_quarantined(&sound, worker, now).await?;
        store.end_quarantined(&sound).await?;
    }
    assert_eq!(store.begun(&[crashing, sound, key(3)]).await?, [(crashing, 3)].into());
    assert_eq!(database.count("SELECT COUNT(*) FROM quarantine WHERE worker = 'pod-3'").await?, 1);
    // An old mark is deleted after a week, when somebody makes another one.
    database.execute("UPDATE quarantine SET begun_at = begun_at - INTERVAL 8 DAY").await?;
    store.begin_quarantined(&sound, "pod-1", store.now()).await?;
    assert_eq!(store.begun(&[crashing, sound]).await?, [(sound, 1)].into());
    Ok(())
}
