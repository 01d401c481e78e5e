//! Rows that the database refuses, whatever it calls that, and their neighbours.

use fetchline_tests::process::Running;
use fetchline_tests::readiness::Readiness;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use sqlx::{AssertSqlSafe, Executor};

/// From now on the database answers a row of this URL with an error number of the test's choice. A
/// row that says so itself is taken.
async fn refuse(world: &World, url: &str, number: u16) -> anyhow::Result<()> {
    let trigger = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON fetches FOR EACH ROW BEGIN \
         IF NEW.url = '{url}' AND NEW.outcome <> 'refused' THEN \
         SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'nobody listed this'; \
         END IF; END"
    );
    world.database.execute(AssertSqlSafe(trigger)).await?;
    Ok(())
}

/// Waits until 49 good rows, one `refused` row and its dead letter are there.
async fn one_of_fifty_is_refused(world: &World) -> anyhow::Result<()> {
    let found = async || {
        let ok = world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await?;
        let refused = world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'refused'").await?;
        Ok((ok, refused, world.ready("dead").await?))
    };
    wait::until("49 rows, one that was refused, and its dead letter", found, |found| *found == (49, 1, 1)).await?;
    Ok(())
}

async fn ends_well(world: &World, worker: Running, readiness: Readiness) -> anyhow::Result<()> {
    readiness.never_failed().await?;
    let ended = worker.terminate().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((world.shop.visits().repeats(), world.ready("urls").await?), (0, 0));
    Ok(())
}

/// One page among 50 is refused with this number, which is in nobody's list.
async fn a_refusal_with_number(number: u16) -> anyhow::Result<()> {
    let world = World::new().await?;
    let pages = world.pages(50);
    refuse(&world, &pages[13], number).await?;
    let mut worker = world.worker(&[])?;
    let readiness = Readiness::of(&mut worker).await?;
    world.produce("refused", &pages).await?;
    one_of_fifty_is_refused(&world).await?;
    let told = "SELECT COUNT(*) FROM fetches WHERE outcome = 'refused' AND error LIKE '%nobody listed this%'";
    assert_eq!(world.count(told).await?, 1, "the row says what the database said");
    ends_well(&world, worker, readiness).await
}

#[tokio::test]
async fn a_page_that_is_refused_as_a_key_that_is_too_long_stops_no_other() -> anyhow::Result<()> {
    a_refusal_with_number(3151).await
}

#[tokio::test]
async fn a_page_that_is_refused_as_a_result_that_is_too_large_stops_no_other() -> anyhow::Result<()> {
    a_refusal_with_number(1301).await
}

#[tokio::test]
async fn a_page_that_is_refused_with_a_number_that_there_is_not_stops_no_other() -> anyhow::Result<()> {
    a_refusal_with_number(9999).await
}

#[tokio::test]
async fn a_site_whose_every_page_is_refused_stops_no_worker() -> anyhow::Result<()> {
    let world = World::new().await?;
    world
        .database
        .execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON fetches FOR EACH ROW BEGIN IF NEW.outcome <> 'refused' THEN \
             SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 3151, MESSAGE_TEXT = 'a long key'; END IF; END",
        )
        .await?;
    let mut worker = world.worker(&[])?;
    let readiness = Readiness::of(&mut worker).await?;
    world.produce("refused", &world.pages(12)).await?;
    let found = async || {
        let refused = world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'refused'").await?;
        Ok((refused, world.ready("dead").await?))
    };
    wait::until("12 rows that were refused, and their dead letters", found, |found| *found == (12, 12)).await?;
    ends_well(&world, worker, readiness).await
}

/// One page among 50 is JSON that MySQL refuses, and MariaDB takes.
async fn a_refusal_of_mysql(path: &str, flags: &[&str]) -> anyhow::Result<()> {
    let world = World::new().await?;
    let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&world.database).await?;
    let mut worker = world.worker(flags)?;
    let readiness = Readiness::of(&mut worker).await?;
    world.produce("json", &[world.pages(49), vec![world.shop.url(path)]].concat()).await?;
    if version.contains("MariaDB") {
        let ok = async || world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await;
        wait::until("every row", ok, |ok| *ok == 50).await?;
        assert_eq!(world.ready("dead").await?, 0);
    } else {
        one_of_fifty_is_refused(&world).await?;
    }
    ends_well(&world, worker, readiness).await
}

/// MySQL says 3151.
#[tokio::test]
async fn a_json_key_that_is_too_long_for_mysql_costs_its_own_page_and_no_other() -> anyhow::Result<()> {
    a_refusal_of_mysql("/json-key/70000/1", &[]).await
}

/// MySQL says 1301: its own form of this is larger than its default packet of 64 MiB. MariaDB's
/// packet is smaller than the text, so the body is left out there.
#[tokio::test]
async fn json_that_grows_too_large_in_mysql_costs_its_own_page_and_no_other() -> anyhow::Result<()> {
    let large = ["--max-body", "40MiB", "--memory-budget", "1GiB"];
    a_refusal_of_mysql("/json-zeros/32/1", &large).await
}
