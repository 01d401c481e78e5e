//! Workers with wrong clocks: the database's clock decides which row is newer.

use anyhow::Context;
use fetchline_tests::clock;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// The difference between the row's time and the database's, in seconds.
async fn age(world: &World) -> anyhow::Result<i64> {
    world
        .count("SELECT ABS(TIMESTAMPDIFF(SECOND, fetched_at, UTC_TIMESTAMP(6))) FROM fetches")
        .await
}

/// The time of the last line of a JSON log, by the clock of its writer.
fn last_log_time(log: &str) -> anyhow::Result<OffsetDateTime> {
    let line: serde_json::Value =
        serde_json::from_str(log.lines().last().context("the log is empty")?)?;
    Ok(OffsetDateTime::parse(
        line["timestamp"].as_str().context("the log line has no timestamp")?,
        &Rfc3339,
    )?)
}

/// A page fails at a worker with a wrong clock and is available when it is replayed to one with a
/// correct clock.
async fn replay_after_a_failure_under_a_shifted_clock(shifted_by: &str) -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("clocks", &[world.shop.url("/flaky/1/1")]).await?;
    let environment = clock::shifted(shifted_by)?;
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output =
        world.worker_in(&environment, &["--until-empty", "--max-attempts", "1"])?.end().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let shift = OffsetDateTime::now_utc() - last_log_time(&output.stderr)?;
    assert!(shift.abs() > Duration::minutes(30), "the clock was not shifted: {}", output.stderr);
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'http_error'").await?, 1);
    let age_of_failure = age(&world).await?;

    let dead = async || world.ready("dead").await;
    wait::until("its dead letter", dead, |dead| *dead == 1).await?;
    let replayed = world.run(&["dead", "replay"], "").await?;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    world.work_until_empty(&[]).await?;
    assert_eq!(world.shop.visits().total(), 2, "the replay is fetched");
    let outcome: String =
        sqlx::query_scalar("SELECT outcome FROM fetches").fetch_one(&world.database).await?;
    assert_eq!(outcome, "ok", "an older row replaced a newer one");
    assert!(
        age(&world).await? < 60 && age_of_failure < 60,
        "a row does not have the database's time"
    );
    Ok(())
}

#[tokio::test]
async fn a_newer_row_wins_over_one_of_a_worker_whose_clock_is_ahead() -> anyhow::Result<()> {
    replay_after_a_failure_under_a_shifted_clock("+1h").await
}

#[tokio::test]
async fn a_row_of_a_worker_whose_clock_is_behind_has_the_databases_time() -> anyhow::Result<()> {
    replay_after_a_failure_under_a_shifted_clock("-1h").await
}
