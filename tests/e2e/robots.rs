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
async fn an_overloaded_site_is_not_fetched() -> anyhow::Result<()> {
    for status in [429, 500, 599] {
        let world = World::new().await?;
        world.shop.set_robots(status, "");
        world.produce("overloaded", &[world.shop.url("/p/1")]).await?;
        world.work_until_empty(&[&OBEY[..2], &["--max-attempts", "1"]].concat()).await?;
        let row = format!(
            "SELECT COUNT(*) FROM fetches WHERE outcome = 'connect' \
             AND error LIKE '%robots.txt answered {status}%'"
        );
        assert_eq!((world.count(&row).await?, world.shop.visits().of("/p/1")), (1, 0), "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn an_older_copy_applies_while_robots_txt_is_unavailable() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.shop.set_robots(200, "User-agent: *\nDisallow: /big/");
    world.produce("first", &[world.shop.url("/p/1"), world.shop.url("/big/1")]).await?;
    world.work_until_empty(&OBEY).await?;
    // A day later.
    sqlx::query("UPDATE robots SET fetched_at = fetched_at - INTERVAL 1 DAY")
        .execute(&world.database)
        .await?;
    world.shop.set_robots(503, "");
    world.produce("second", &[world.shop.url("/p/2"), world.shop.url("/big/2")]).await?;
    let summary = world.work_until_empty(&OBEY).await?;
    assert_eq!((&summary["ok"], &summary["outcomes"]["robots"]), (&1.into(), &1.into()));
    assert_eq!((world.shop.visits().of("/big/2"), world.shop.visits().of("/robots.txt")), (0, 2));
    // Another worker does not request it again at once.
    world.produce("third", &[world.shop.url("/p/3"), world.shop.url("/big/3")]).await?;
    let summary = world.work_until_empty(&OBEY).await?;
    assert_eq!((&summary["ok"], &summary["outcomes"]["robots"]), (&1.into(), &1.into()));
    assert_eq!(world.shop.visits().of("/robots.txt"), 2);
    Ok(())
}

#[tokio::test]
async fn robots_txt_is_read_up_to_500_kib_to_the_byte() -> anyhow::Result<()> {
    let world = World::new().await?;
    let last = "\nDisallow: /p/1";
    let mut file = "User-agent: *\n".to_owned();
    file.push_str(&"#".repeat(500 * 1024 - file.len() - last.len()));
    file.push_str(last);
    file.push_str("\nDisallow: /p/2\n");
    file.push_str(&"# and much more\n".repeat(10_000));
    world.shop.set_robots(200, &file);
    world.produce("large", &world.pages(3)).await?;
    world.work_until_empty(&OBEY).await?;
    assert_eq!(world.count("SELECT LENGTH(body) FROM robots").await?, 500 * 1024);
    let forbidden = "SELECT COUNT(*) FROM fetches WHERE outcome = 'robots' AND url LIKE '%/p/1'";
    assert_eq!(world.count(forbidden).await?, 1);
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_rule_that_the_limit_cuts_off_does_not_count() -> anyhow::Result<()> {
    let world = World::new().await?;
    let last = "\nDisallow: /";
    let mut file = "User-agent: *\nDisallow: /p/1\n".to_owned();
    file.push_str(&"#".repeat(500 * 1024 - file.len() - last.len()));
    file.push_str(last);
    file.push_str("p/2\n");
    world.shop.set_robots(200, &file);
    world.produce("cut", &world.pages(3)).await?;
    world.work_until_empty(&OBEY).await?;
    let forbidden = "SELECT COUNT(*) FROM fetches WHERE outcome = 'robots' AND url LIKE '%/p/1'";
    assert_eq!(world.count(forbidden).await?, 1);
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await?, 2);
    Ok(())
}

#[tokio::test]
async fn rules_are_found_for_a_crawler_that_looks_like_a_browser() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.shop.set_robots(200, "User-agent: PriceBot/2.0\nDisallow: /p/\n");
    let agent = "Mozilla/5.0 (compatible; PriceBot/2.1; +https://bot.example/about)";
    world.produce("browser", &world.pages(1)).await?;
    let summary = world.work_until_empty(&[&OBEY[..], &["--user-agent", agent]].concat()).await?;
    assert_eq!(summary["outcomes"]["robots"], 1);
    let browser = ["work", "--robots", "obey", "--user-agent", "Mozilla/5.0 (X11; Linux x86_64)"];
    let refused = world.run(&browser, "").await?;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("--user-agent names no crawler"), "{refused:?}");
    let named = ["--user-agent", "Mozilla/5.0", "--robots-token", "pricebot"];
    world.produce("named", &world.pages(1)).await?;
    let summary = world.work_until_empty(&[&OBEY[..], &named].concat()).await?;
    assert_eq!(summary["outcomes"]["robots"], 1);
    Ok(())
}

#[tokio::test]
async fn escapes_in_rules_and_urls_mean_the_same() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.shop.set_robots(
        200,
        "User-agent: *\nCrawl-delay: 0.01\nUser-agent: badbot\n\
         Disallow: /path/file-with-a-%2A.html\nDisallow: /path/foo-%24\n\
         Disallow: /s?baz=http%3A%2F%2Ffoo.bar\nDisallow: /p/caf\u{e9}\n",
    );
    let (forbidden, allowed) = (
        [
            "/path/file-with-a-*.html",
            "/path/file-with-a-%2A.html",
            "/path/foo-$",
            "/path/foo-%24x",
            "/s?baz=http://foo.bar",
            "/s?baz=http%3a%2f%2ffoo.bar",
            "/p/caf%c3%a9",
            "/p/caf\u{e9}/menu",
        ],
        ["/path/file-with-a-b.html", "/path/foo-x", "/s?baz=https://foo.bar", "/p/1"],
    );
    let urls: Vec<String> =
        forbidden.iter().chain(&allowed).map(|path| world.shop.url(path)).collect();
    world.produce("escaped", &urls).await?;
    let summary = world.work_until_empty(&OBEY).await?;
    assert_eq!(summary["outcomes"]["robots"], forbidden.len());
    assert_eq!(world.rows().await?, (forbidden.len() + allowed.len()) as i64);
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
    // Two per second. One second of the clock may contain the ends of two intervals. Workers that
    // start at the same time each fetch robots.txt at once.
    let robots = world.shop.visits().of("/robots.txt");
    let above: u32 = seconds.iter().map(|visits| visits.saturating_sub(3)).sum();
    let lasted = seconds.iter().skip_while(|visits| **visits == 0).count();
    assert!(robots <= 3 && u64::from(above) <= robots && lasted >= 5, "{seconds:?}");
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
