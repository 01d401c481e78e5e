//! Host limits with a slow database, for many hosts together, and while nothing changes.

use std::time::{Duration, Instant};

use fetchline_tests::process::Running;
use fetchline_tests::proxy::Proxy;
use fetchline_tests::shop::visits;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use futures_util::future::try_join_all;
use sqlx::Executor;

/// Retry delays that a test can wait for.
const SHORT_RETRIES: [&str; 2] = ["--retry-delays", "1s,2s"];

/// The host of the world's shop, as the workers name it.
fn host(world: &World) -> String {
    world.shop.addr().to_string()
}

/// Starts a worker whose database takes 30 ms for every statement.
async fn start_far_from_database(
    world: &World,
    flags: &[&str],
) -> anyhow::Result<(Proxy, Running)> {
    let (proxy, through_proxy) = Proxy::before(&world.database_url).await?;
    proxy.delay(Duration::from_millis(15));
    let mut worker = world.worker_between(&world.amqp_url, &through_proxy, flags)?;
    worker.logs("consuming").await?;
    Ok((proxy, worker))
}

#[tokio::test]
async fn a_single_task_of_a_fast_limited_host_gets_its_slot_behind_a_slow_database()
-> anyhow::Result<()> {
    let world = World::new().await?;
    world.hosts(&["set", &host(&world), "--rate", "200/s"]).await?;
    let (_proxy, worker) = start_far_from_database(&world, &[]).await?;
    world.produce("single", &world.pages(1)).await?;
    let rows = async || world.rows().await;
    wait::until("its row", rows, |rows| *rows == 1).await?;
    assert_eq!((world.shop.visits().total(), worker.terminate().await?.code), (1, Some(0)));
    Ok(())
}

#[tokio::test]
async fn a_fast_limited_host_gets_its_rate_behind_a_slow_database_and_never_more()
-> anyhow::Result<()> {
    const RATE: u32 = 200;
    const PAGES: u64 = 600;
    let world = World::quiet().await?;
    world.hosts(&["set", &host(&world), "--rate", "200/s"]).await?;
    let (_proxy, worker) = start_far_from_database(&world, &[]).await?;
    world.produce("many", &world.numbered("/empty/", PAGES)).await?;
    let visits = async || Ok(world.shop.visits().total());
    wait::until("the first page", visits, |visits| *visits > 0).await?;
    wait::until("every page", visits, |visits| *visits >= PAGES).await?;
    let seconds = world.shop.visits().seconds("127.0.0.1");
    let at_most = RATE * 105 / 100 + 3;
    assert!(seconds.iter().all(|visits| *visits <= at_most), "{seconds:?}");
    // The best second: on a busy machine the others say more about the machine.
    assert!(seconds.iter().any(|visits| *visits >= RATE * 8 / 10), "{seconds:?}");
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == PAGES as i64).await?;
    assert_eq!((world.shop.visits().repeats(), worker.terminate().await?.code), (0, Some(0)));
    Ok(())
}

#[tokio::test]
async fn tasks_of_a_paused_host_are_deferred_less_and_less_often() -> anyhow::Result<()> {
    const PAGES: u64 = 100;
    let world = World::new().await?;
    world.hosts(&["pause", &host(&world)]).await?;
    let mut worker = world.worker(&SHORT_RETRIES)?;
    world.produce("paused", &world.pages(PAGES)).await?;
    let deferrals = async || worker.metric("fetchline_parked_total").await;
    wait::until("all tasks are deferred", deferrals, |deferrals| *deferrals >= PAGES as f64)
        .await?;
    wait::since(Instant::now(), Duration::from_secs(20)).await?;
    let deferrals = worker.metric("fetchline_parked_total").await?;
    assert!(
        deferrals <= 4.0 * PAGES as f64,
        "{PAGES} messages were deferred {deferrals} times within 20 s"
    );
    assert_eq!((world.shop.visits().total(), worker.terminate().await?.code), (0, Some(0)));
    let waiting = async || {
        let mut waiting = world.ready("urls").await?;
        for key in ["retry.1s", "retry.2s", "retry.10s", "retry.60s", "retry.600s", "retry.3600s"] {
            waiting += world.ready(key).await?;
        }
        Ok(waiting)
    };
    wait::until("all messages are in the queues", waiting, |waiting| *waiting == PAGES as u32)
        .await?;
    Ok(())
}

#[tokio::test]
async fn tasks_of_a_host_that_is_resumed_soon_return_soon() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.hosts(&["pause", &host(&world)]).await?;
    let mut worker = world.worker(&SHORT_RETRIES)?;
    world.produce("paused", &world.pages(50)).await?;
    let deferrals = async || worker.metric("fetchline_parked_total").await;
    wait::until("all tasks are deferred", deferrals, |deferrals| *deferrals >= 50.0).await?;
    assert_eq!(world.shop.visits().total(), 0);
    world.hosts(&["resume", &host(&world)]).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 50).await?;
    assert_eq!(
        world.count("SELECT COUNT(*) FROM fetches WHERE attempts > 1").await?,
        0,
        "a deferral costs no attempt"
    );
    assert_eq!((world.shop.visits().repeats(), worker.terminate().await?.code), (0, Some(0)));
    Ok(())
}

/// The number of rows that were read from this world's table `hosts`. The server counts them for
/// this table alone, whatever else runs on it.
async fn host_rows_read(world: &World) -> anyhow::Result<i64> {
    let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&world.database).await?;
    if version.contains("MariaDB") {
        // Off by default, and harmless.
        world.database.execute("SET GLOBAL userstat = ON").await?;
        return world
            .count(
                "SELECT CAST(COALESCE(MAX(ROWS_READ), 0) AS SIGNED) \
                 FROM information_schema.TABLE_STATISTICS \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'hosts'",
            )
            .await;
    }
    world
        .count(
            "SELECT CAST(COALESCE(MAX(COUNT_FETCH), 0) AS SIGNED) \
             FROM performance_schema.table_io_waits_summary_by_table \
             WHERE OBJECT_SCHEMA = DATABASE() AND OBJECT_NAME = 'hosts'",
        )
        .await
}

async fn set_limit(world: &World, host: &str) -> anyhow::Result<()> {
    world.hosts(&["set", host, "--rate", "5/s"]).await.map(drop)
}

#[tokio::test]
async fn unchanged_limits_are_not_read_again() -> anyhow::Result<()> {
    const HOSTS: i64 = 50;
    let world = World::new().await?;
    let mut worker = world.worker(&[])?;
    worker.logs("consuming").await?;
    let before = host_rows_read(&world).await?;
    let names: Vec<String> = (0..HOSTS).map(|number| format!("host-{number}.example")).collect();
    for names in names.chunks(10) {
        try_join_all(names.iter().map(|name| set_limit(&world, name))).await?;
    }
    let read = async || Ok(host_rows_read(&world).await? - before);
    wait::until("the worker has read the limits", read, |read| *read >= HOSTS).await?;
    // A change is read again for a while, because it may become visible late.
    wait::since(Instant::now(), Duration::from_secs(20)).await?;

    let then = host_rows_read(&world).await?;
    let began = Instant::now();
    wait::since(began, Duration::from_secs(10)).await?;
    let read = host_rows_read(&world).await? - then;
    // One additional read of the whole table is acceptable.
    assert!(read <= 2 * HOSTS, "{read} rows in {:?}", began.elapsed());
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

/// Starts two workers that use the world's shop as their proxy, so that it serves every host, also
/// under names that no resolver knows.
async fn start_two_behind_proxy(world: &World) -> anyhow::Result<Vec<Running>> {
    let proxy = world.shop.url("");
    let mut workers = Vec::new();
    for _ in 0..2 {
        workers.push(world.worker(&["--proxy", &proxy])?);
    }
    for worker in &mut workers {
        worker.logs("consuming").await?;
    }
    Ok(workers)
}

fn pages_of(hosts: &[&str], each: u64) -> Vec<String> {
    (0..each).flat_map(|id| hosts.iter().map(move |host| format!("http://{host}/p/{id}"))).collect()
}

/// The visits of these hosts together, per second.
fn seconds_of(world: &World, hosts: &[&str]) -> Vec<u32> {
    let mut sums = Vec::new();
    for host in hosts {
        for (second, visits) in world.shop.visits().seconds(host).into_iter().enumerate() {
            sums.resize(sums.len().max(second + 1), 0);
            sums[second] += visits;
        }
    }
    sums
}

/// Waits until these hosts have had this many visits together, and checks that the visits came at
/// the rate or nearly so.
async fn ensure_rate(world: &World, hosts: &[&str], rate: u32, visits: u32) -> anyhow::Result<()> {
    let sum = async || Ok(seconds_of(world, hosts).iter().sum::<u32>());
    wait::until("every page", sum, |sum| *sum >= visits).await?;
    let seconds = seconds_of(world, hosts);
    assert!(seconds.iter().all(|visits| *visits <= rate + 3), "{hosts:?}: {seconds:?}");
    let median = visits::median(&seconds);
    assert!(median >= rate * 8 / 10, "{hosts:?}: {median} in most seconds: {seconds:?}");
    Ok(())
}

#[tokio::test]
async fn a_limit_of_all_hosts_holds_for_all_workers_together() -> anyhow::Result<()> {
    const HOSTS: [&str; 3] = ["one.example", "two.example", "three.test"];
    let world = World::quiet().await?;
    world.hosts(&["set", "*", "--rate", "30/s"]).await?;
    let workers = start_two_behind_proxy(&world).await?;
    world.produce("all", &pages_of(&HOSTS, 80)).await?;
    ensure_rate(&world, &HOSTS, 30, 240).await?;
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn a_limit_of_a_suffix_holds_for_its_hosts_together_and_for_no_other() -> anyhow::Result<()> {
    const SHOPS: [&str; 3] = ["a.myshop.example", "b.myshop.example", "deep.c.myshop.example"];
    const OTHERS: [&str; 2] = ["myshop.example.test", "notmyshop.example"];
    let world = World::quiet().await?;
    world.hosts(&["set", "*.myshop.example", "--rate", "30/s"]).await?;
    let workers = start_two_behind_proxy(&world).await?;
    world.produce("suffix", &[pages_of(&SHOPS, 80), pages_of(&OTHERS, 80)].concat()).await?;
    let others = async || Ok(seconds_of(&world, &OTHERS).iter().sum::<u32>());
    wait::until("every page of the others", others, |others| *others == 160).await?;
    let limited = seconds_of(&world, &SHOPS).iter().sum::<u32>();
    assert!(limited < 120, "the others had to wait: {limited} pages of limited hosts were first");
    // The remaining pages keep to the rate.
    ensure_rate(&world, &SHOPS, 30, 240).await?;
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn a_request_takes_a_slot_of_every_matching_limit() -> anyhow::Result<()> {
    let world = World::quiet().await?;
    world.hosts(&["set", "*.myshop.example", "--rate", "30/s"]).await?;
    world.hosts(&["set", "a.myshop.example", "--rate", "10/s"]).await?;
    let workers = start_two_behind_proxy(&world).await?;
    let both = ["a.myshop.example", "b.myshop.example"];
    world.produce("both", &[pages_of(&both[..1], 60), pages_of(&both[1..], 120)].concat()).await?;
    let sum = async || Ok(seconds_of(&world, &both).iter().sum::<u32>());
    wait::until("every page", sum, |sum| *sum == 180).await?;
    let (of_a, of_both) = (seconds_of(&world, &both[..1]), seconds_of(&world, &both));
    assert!(of_a.iter().all(|visits| *visits <= 10 + 2), "{of_a:?}");
    assert!(of_both.iter().all(|visits| *visits <= 30 + 3), "{of_both:?}");
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn a_trailing_dot_does_not_make_another_host() -> anyhow::Result<()> {
    const NAMES: [&str; 2] = ["shop.example", "shop.example."];
    let world = World::quiet().await?;
    world.hosts(&["set", "shop.example", "--rate", "20/s"]).await?;
    let workers = start_two_behind_proxy(&world).await?;
    world.produce("dots", &pages_of(&NAMES, 60)).await?;
    let sum = async || Ok(seconds_of(&world, &NAMES).iter().sum::<u32>());
    wait::until("every page", sum, |sum| *sum == 120).await?;
    let seconds = seconds_of(&world, &NAMES);
    assert!(seconds.iter().all(|visits| *visits <= 20 + 3), "{seconds:?}");
    // A limit may be set under either name.
    let set = world.hosts(&["set", "shop.example.", "--rate", "7/s"]).await?;
    assert_eq!((&set["host"], &set["rate"]), (&"shop.example".into(), &7.0.into()));
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn a_throttling_host_gets_half_the_rate_of_all_workers_together() -> anyhow::Result<()> {
    let world = World::quiet().await?;
    // Ten places and a quarter of a second per page: 40 requests per second.
    let flags = ["--concurrency", "5", "--prefetch", "10", "--max-attempts", "1"];
    let mut workers = vec![world.worker(&flags)?, world.worker(&flags)?];
    for worker in &mut workers {
        worker.logs("consuming").await?;
    }
    world
        .produce(
            "even",
            &[world.numbered("/slow/250/", 480), world.numbered("/status/429/", 30)].concat(),
        )
        .await?;
    let slowed = async || world.count("SELECT COUNT(*) FROM hosts WHERE slowed IS NOT NULL").await;
    wait::until("the host is slowed", slowed, |hosts| *hosts == 1).await?;
    let seconds = world.shop.visits().seconds("127.0.0.1");
    let rate: f64 =
        sqlx::query_scalar("SELECT slowed FROM hosts").fetch_one(&world.database).await?;
    // Each worker measures its own rate over 2 to 10 s. On a busy machine pages take longer.
    let visited: Vec<u32> = seconds.iter().copied().filter(|visits| *visits > 0).collect();
    let whole = &visited[1..visited.len() - 1];
    let (slowest, fastest) = (whole.iter().min(), whole.iter().max());
    let half_of = |visits: Option<&u32>| f64::from(*visits.expect("12 s of pages")) / 2.0;
    let expected = 0.7 * half_of(slowest)..=1.4 * half_of(fastest);
    assert!(expected.contains(&rate), "slowed to {rate}/s, not {expected:?}, after {seconds:?}");
    for worker in workers {
        worker.kill().await?;
    }
    Ok(())
}
