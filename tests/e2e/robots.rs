//! Workers that obey robots.txt.

use fetchline_tests::wait;
use fetchline_tests::world::World;

const OBEY: [&str; 4] = ["--robots", "obey", "--retry-delays", "1s,2s"];

#[tokio::test]
async fn a_forbidden_url_is_not_fetched_and_the_row_says_so() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.shop.set_robots(
        200,
        "User-agent: *\nDisallow: /p/\n\nUser-agent: fetchline\nDisallow: /big/\nAllow: /big/7$",
    );
    let paths = ["/p/1", "/big/1", "/big/7", "/redirect/1/5"];
    world.produce("obeyed", &paths.map(|path| world.shop.url(path))).await?;
    // The group of all crawlers does not apply if there is one for fetchline.
    let summary = world.work_until_empty(&OBEY).await?;
    assert_eq!((&summary["ok"], &summary["outcomes"]["robots"]), (&3.into(), &1.into()));
    let forbidden = "SELECT COUNT(*) FROM fetches \
                     WHERE outcome = 'robots' AND url LIKE '%/big/1' AND status IS NULL \
                     AND attempts = 1 AND error LIKE '%/robots.txt forbids it to `fetchline`%'";
    assert_eq!(world.count(forbidden).await?, 1);
    assert_eq!((world.shop.visits().of("/big/1"), world.shop.visits().of("/robots.txt")), (0, 1));
    assert_eq!(world.ready("dead").await?, 0);
    Ok(())
}

#[tokio::test]
async fn every_hop_of_a_redirect_obeys_robots_txt() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.shop.set_robots(200, "User-agent: *\nDisallow: /p/");
    world.produce("hops", &[world.shop.url("/redirect/2/5")]).await?;
    let summary = world.work_until_empty(&OBEY).await?;
    assert_eq!((&summary["outcomes"]["robots"], world.shop.visits().of("/p/5")), (&1.into(), 0));
    Ok(())
}

#[tokio::test]
async fn robots_txt_is_fetched_once_a_day_by_the_fleet_and_never_by_default() -> anyhow::Result<()>
{
    let world = World::new().await?;
    world.shop.set_robots(200, "User-agent: *\nDisallow: /private/");
    world.produce("ignored", &[world.shop.url("/private/1"), world.shop.url("/p/9")]).await?;
    world.work_until_empty(&[]).await?;
    assert_eq!(
        (world.shop.visits().of("/private/1"), world.shop.visits().of("/robots.txt")),
        (1, 0)
    );

    let small = ["--concurrency", "5", "--prefetch", "20"];
    let mut workers: Vec<_> = (0..4)
        .map(|_| world.worker(&[&OBEY[..], &small].concat()))
        .collect::<anyhow::Result<_>>()?;
    for worker in &mut workers {
        worker.logs("consuming").await?;
    }
    world.produce("obeyed", &world.pages(300)).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 302).await?;
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    assert_eq!(world.shop.visits().of("/robots.txt"), 1);
    // A day later.
    sqlx::query("UPDATE robots SET fetched_at = fetched_at - INTERVAL 1 DAY")
        .execute(&world.database)
        .await?;
    world.produce("tomorrow", &world.pages(3)).await?;
    world.work_until_empty(&OBEY).await?;
    assert_eq!(world.shop.visits().of("/robots.txt"), 2);
    Ok(())
}

#[tokio::test]
async fn a_site_without_an_available_robots_txt_is_not_fetched_but_retried() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.shop.set_robots(503, "");
    world.produce("unreachable", &[world.shop.url("/p/1")]).await?;
    let summary = world.work_until_empty(&[&OBEY[..], &["--max-attempts", "2"]].concat()).await?;
    assert_eq!((&summary["retried"], &summary["outcomes"]["connect"]), (&1.into(), &1.into()));
    assert_eq!(
        world
            .count("SELECT COUNT(*) FROM fetches WHERE error LIKE '%robots.txt answered 503%'")
            .await?,
        1
    );
    assert_eq!((world.shop.visits().of("/p/1"), world.ready("dead").await?), (0, 1));
    Ok(())
}

#[tokio::test]
async fn a_crawl_delay_holds_for_all_workers_together() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.shop.set_robots(200, "User-agent: *\nCrawl-delay: 0.5");
    world.produce("spaced", &world.pages(12)).await?;
    let small = ["--concurrency", "5", "--prefetch", "5", "--retry-delays", "10s"];
    let workers: Vec<_> = (0..3)
        .map(|_| world.worker(&[&OBEY[..2], &small].concat()))
        .collect::<anyhow::Result<_>>()?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 12).await?;
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    let seconds = world.shop.visits().seconds("127.0.0.1");
    // Two per second. One second of the clock may contain the ends of two intervals, and robots.txt
    // itself is fetched at once.
    assert!(seconds.iter().all(|visits| *visits <= 4) && seconds.len() >= 5, "{seconds:?}");
    assert_eq!(world.count("SELECT COUNT(*) FROM hosts WHERE crawl_delay = 0.5").await?, 1);
    Ok(())
}

#[tokio::test]
async fn tasks_that_wait_for_robots_txt_do_not_block_its_fetch() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.shop.set_robots(200, "User-agent: *\nDisallow: /private/");
    let host = world.shop.addr().to_string();
    let limited = world.run(&["hosts", "set", &host, "--rate", "50/s"], "").await?;
    assert_eq!(limited.code, Some(0), "{limited:?}");
    world.produce("crowded", &world.pages(60)).await?;
    // More tasks wait than may be fetched at once.
    let worker =
        world.worker(&[&OBEY[..2], &["--concurrency", "2", "--prefetch", "60"]].concat())?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 60).await?;
    assert_eq!(
        (worker.terminate().await?.code, world.shop.visits().of("/robots.txt")),
        (Some(0), 1)
    );
    Ok(())
}
