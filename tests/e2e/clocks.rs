//! Workers whose clocks are wrong: what is newer is decided by the database's clock.

use anyhow::Context;
use fetchline_tests::clock;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// How far the row's time is from the database's, in seconds.
async fn age(world: &World) -> anyhow::Result<i64> {
    world.count("SELECT ABS(TIMESTAMPDIFF(SECOND, fetched_at, UTC_TIMESTAMP(6))) FROM fetches").await
}

/// When the last line of a log in JSON was written, by the clock of whoever wrote it.
fn last_of_log(log: &str) -> anyhow::Result<OffsetDateTime> {
    let line: serde_json::Value = serde_json::from_str(log.lines().last().context("an empty log")?)?;
    Ok(OffsetDateTime::parse(line["timestamp"].as_str().context("a line without its time")?, &Rfc3339)?)
}

/// A page that fails at a worker whose clock is wrong, and is there when it is replayed to one
/// whose clock is right.
async fn an_older_failure_by_a_clock(shifted_by: &str) -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("clocks", &[world.shop.url("/flaky/1/1")]).await?;
    let environment = clock::shifted(shifted_by)?;
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let ended = world.worker_in(&environment, &["--until-empty", "--max-attempts", "1"])?.end().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let off = OffsetDateTime::now_utc() - last_of_log(&ended.stderr)?;
    assert!(off.abs() > Duration::minutes(30), "the clock was not shifted: {}", ended.stderr);
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'http_error'").await?, 1);
    let of_failure = age(&world).await?;

    let dead = async || world.ready("dead").await;
    wait::until("its dead letter", dead, |dead| *dead == 1).await?;
    let replayed = world.run(&["dead", "replay"], "").await?;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    world.work_until_empty(&[]).await?;
    assert_eq!(world.shop.visits().total(), 2, "the replay was fetched");
    let outcome: String = sqlx::query_scalar("SELECT outcome FROM fetches").fetch_one(&world.database).await?;
    assert_eq!(outcome, "ok", "an older row has won");
    assert!(age(&world).await? < 60 && of_failure < 60, "a row's time is not the database's");
    Ok(())
}

#[tokio::test]
async fn a_newer_row_wins_over_one_of_a_worker_whose_clock_is_ahead() -> anyhow::Result<()> {
    an_older_failure_by_a_clock("+1h").await
}

#[tokio::test]
async fn a_row_of_a_worker_whose_clock_is_behind_has_the_databases_time() -> anyhow::Result<()> {
    an_older_failure_by_a_clock("-1h").await
}
