//! Rows that the database refuses, with any error number, and their neighbours.

use fetchline_tests::process::Running;
use fetchline_tests::readiness::Readiness;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use sqlx::{AssertSqlSafe, Executor};

/// Makes the database refuse rows of this URL with this error number. It still takes their bare
/// rows.
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

/// Waits for 49 good rows, one `refused` row and its dead letter.
async fn wait_for_one_refusal_in_fifty(world: &World) -> anyhow::Result<()> {
    let found = async || {
        let ok = world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await?;
        let refused = world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'refused'").await?;
        Ok((ok, refused, world.ready("dead").await?))
    };
    wait::until("49 good rows, a refused one and its dead letter", found, |found| {
        *found == (49, 1, 1)
    })
    .await?;
    Ok(())
}

async fn ensure_clean_end(
    world: &World,
    worker: Running,
    readiness: Readiness,
) -> anyhow::Result<()> {
    readiness.never_failed().await?;
    let output = worker.terminate().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!((world.shop.visits().repeats(), world.ready("urls").await?), (0, 0));
    Ok(())
}

/// One page among 50 is refused with this error number, which no list contains.
async fn refuse_one_of_fifty(number: u16) -> anyhow::Result<()> {
    let world = World::new().await?;
    let pages = world.pages(50);
    refuse(&world, &pages[13], number).await?;
    let mut worker = world.worker(&[])?;
    let readiness = Readiness::of(&mut worker).await?;
    world.produce("refused", &pages).await?;
    wait_for_one_refusal_in_fifty(&world).await?;
    let quoted = "SELECT COUNT(*) FROM fetches \
                  WHERE outcome = 'refused' AND error LIKE '%nobody listed this%'";
    assert_eq!(world.count(quoted).await?, 1, "the row quotes the database");
    ensure_clean_end(&world, worker, readiness).await
}

#[tokio::test]
async fn a_page_refused_for_a_long_key_stops_no_other() -> anyhow::Result<()> {
    refuse_one_of_fifty(3151).await
}

#[tokio::test]
async fn a_page_refused_for_a_large_result_stops_no_other() -> anyhow::Result<()> {
    refuse_one_of_fifty(1301).await
}

#[tokio::test]
async fn a_page_refused_with_an_unknown_error_number_stops_no_other() -> anyhow::Result<()> {
    refuse_one_of_fifty(9999).await
}

#[tokio::test]
async fn a_site_whose_every_page_is_refused_stops_no_worker() -> anyhow::Result<()> {
    let world = World::new().await?;
    world
        .database
        .execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON fetches FOR EACH ROW BEGIN \
             IF NEW.outcome <> 'refused' THEN \
             SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 3151, MESSAGE_TEXT = 'a long key'; \
             END IF; END",
        )
        .await?;
    let mut worker = world.worker(&[])?;
    let readiness = Readiness::of(&mut worker).await?;
    world.produce("refused", &world.pages(12)).await?;
    let found = async || {
        let refused = world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'refused'").await?;
        Ok((refused, world.ready("dead").await?))
    };
    wait::until("12 refused rows and their dead letters", found, |found| *found == (12, 12))
        .await?;
    ensure_clean_end(&world, worker, readiness).await
}

/// One page among 50 is JSON that MySQL's type `JSON` refuses: the column is text, which takes it.
async fn fetch_json_that_mysql_would_refuse(path: &str, flags: &[&str]) -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut worker = world.worker(flags)?;
    let readiness = Readiness::of(&mut worker).await?;
    world.produce("json", &[world.pages(49), vec![world.shop.url(path)]].concat()).await?;
    let ok = async || world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await;
    wait::until("every row", ok, |ok| *ok == 50).await?;
    assert_eq!(world.ready("dead").await?, 0);
    ensure_clean_end(&world, worker, readiness).await
}

/// The error number would be 3151.
#[tokio::test]
async fn json_with_a_key_too_long_for_mysqls_type_is_stored() -> anyhow::Result<()> {
    fetch_json_that_mysql_would_refuse("/json-key/70000/1", &[]).await
}

/// The error number would be 1301: the binary form exceeds MySQL's default packet of 64 MiB.
/// MariaDB's packet is smaller than the text, so the body is left out there.
#[tokio::test]
async fn json_whose_binary_form_is_too_large_for_mysql_affects_only_its_own_page()
-> anyhow::Result<()> {
    let large = ["--max-body", "40MiB", "--memory-budget", "1GiB"];
    fetch_json_that_mysql_would_refuse("/json-zeros/32/1", &large).await
}
