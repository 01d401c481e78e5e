//! Name servers that lose queries, are late, or say that there is no such name.

use std::time::{Duration, Instant};

use fetchline_tests::name_server::{Behaviour, NameServer};
use fetchline_tests::wait;
use fetchline_tests::world::World;

/// Pages of the shop, each under a host name of its own.
fn pages(world: &World, count: usize) -> Vec<String> {
    let port = world.shop.addr().port();
    (0..count).map(|n| format!("http://shop-{n}.example:{port}/p/{n}")).collect()
}

fn flags<'a>(server: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--dns-server", server, "--retry-delays", "1s,2s"], more].concat()
}

/// The number of pages that were fetched at the first attempt.
async fn first_attempts(world: &World) -> anyhow::Result<i64> {
    world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok' AND attempts = 1").await
}

#[tokio::test]
async fn lost_late_and_truncated_answers_cost_no_attempt() -> anyhow::Result<()> {
    for behaviour in [
        Behaviour::LoseBursts(10),
        Behaviour::LoseIpv6,
        Behaviour::LoseFirst,
        Behaviour::Truncate,
        Behaviour::Delay(Duration::from_millis(1_500)),
    ] {
        let world = World::new().await?;
        let server = NameServer::start(behaviour).await?;
        world.produce("names", &pages(&world, 150)).await?;
        // The time for connecting is none of the time for looking a name up.
        let patience = ["--connect-timeout", "1s", "--timeout", "2s"];
        world.work_until_empty(&flags(&server.address(), &patience)).await?;
        assert_eq!(first_attempts(&world).await?, 150, "{behaviour:?}");
    }
    Ok(())
}

#[tokio::test]
async fn while_no_name_server_answers_tasks_wait_and_no_attempt_is_lost() -> anyhow::Result<()> {
    for behaviour in [Behaviour::Silence, Behaviour::Fail] {
        let world = World::new().await?;
        let server = NameServer::start(behaviour).await?;
        world.produce("outage", &pages(&world, 5)).await?;
        let address = server.address();
        let impatient = ["--max-attempts", "1", "--dns-timeout", "1s", "--until-empty"];
        let worker = world.worker(&flags(&address, &impatient))?;
        // Each page is deferred at least twice.
        let queries = async || Ok(server.queries());
        wait::until("queries", queries, |queries| *queries >= 30).await?;
        assert_eq!(world.rows().await?, 0, "{behaviour:?}");
        server.set(Behaviour::Answer);
        assert_eq!(worker.end().await?.code, Some(0));
        assert_eq!(first_attempts(&world).await?, 5, "{behaviour:?}");
        assert_eq!(world.ready("dead").await?, 0);
    }
    Ok(())
}

#[tokio::test]
async fn the_host_of_a_robots_txt_is_looked_up_like_any_other() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.shop.set_robots(200, "User-agent: *\nDisallow: /private");
    let server = NameServer::start(Behaviour::Fail).await?;
    world.produce("outage", &pages(&world, 3)).await?;
    let address = server.address();
    let obey = ["--robots", "obey", "--max-attempts", "1", "--until-empty"];
    let worker = world.worker(&flags(&address, &obey))?;
    let queries = async || Ok(server.queries());
    wait::until("queries", queries, |queries| *queries >= 9).await?;
    assert_eq!(world.count("SELECT COUNT(*) FROM robots WHERE fetched_at IS NOT NULL").await?, 0);
    server.set(Behaviour::Answer);
    assert_eq!(worker.end().await?.code, Some(0));
    assert_eq!(first_attempts(&world).await?, 3);

    server.set(Behaviour::NoName);
    world.produce("gone", &[format!("http://gone.example:{}/", world.shop.addr().port())]).await?;
    let summary = world.work_until_empty(&flags(&address, &obey[..4])).await?;
    assert_eq!(summary["outcomes"]["dns"], 1);
    Ok(())
}

#[tokio::test]
async fn a_name_that_does_not_exist_costs_attempts() -> anyhow::Result<()> {
    let world = World::new().await?;
    let server = NameServer::start(Behaviour::NoName).await?;
    world.produce("gone", &pages(&world, 1)).await?;
    let summary =
        world.work_until_empty(&flags(&server.address(), &["--max-attempts", "2"])).await?;
    assert_eq!((&summary["retried"], &summary["outcomes"]["dns"]), (&1.into(), &1.into()));
    let row = "SELECT COUNT(*) FROM fetches WHERE outcome = 'dns' AND attempts = 2 \
               AND error LIKE 'shop-0.example does not exist%'";
    assert_eq!((world.count(row).await?, world.ready("dead").await?), (1, 1));
    Ok(())
}

#[tokio::test]
async fn addresses_outlive_their_name_servers() -> anyhow::Result<()> {
    let world = World::new().await?;
    let server = NameServer::start(Behaviour::Answer).await?;
    let address = server.address();
    let mut worker = world.worker(&flags(&address, &["--max-attempts", "1"]))?;
    let rows = async || world.rows().await;
    world.produce("before", &pages(&world, 3)).await?;
    wait::until("the first rows", rows, |rows| *rows == 3).await?;
    server.set(Behaviour::Silence);
    let before = (Instant::now(), server.queries());
    // The addresses are valid for 5 s, and idle connections are kept for 15 s.
    wait::since(before.0, Duration::from_secs(17)).await?;
    world.produce("during", &pages(&world, 3)).await?;
    wait::until("the other rows", rows, |rows| *rows == 6).await?;
    assert!(server.queries() > before.1, "the name server was asked first");
    let url = format!("http://{}/metrics", worker.health().await?);
    let metrics = reqwest::get(url).await?.text().await?;
    let stale = "fetchline_dns_lookups_total{result=\"stale\"} 3";
    assert!(metrics.lines().any(|line| line == stale), "{metrics}");
    assert_eq!(worker.terminate().await?.code, Some(0));
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE outcome <> 'ok'").await?, 0);
    Ok(())
}
