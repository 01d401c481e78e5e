//! Rates and pauses, measured on a quiet machine. By its name this module is the first one, so its
//! tests wait for few others to end.

use anyhow::Context;
use fetchline_tests::process::Running;
use fetchline_tests::shop::{self, Shop, visits};
use fetchline_tests::wait;
use fetchline_tests::world::World;

use crate::control::{pause, readyz, type_into};
use crate::limits::{host, start_far_from_database};

#[tokio::test]
async fn four_workers_keep_the_rate_of_one_host_and_delay_no_other() -> anyhow::Result<()> {
    const RATE: u32 = 50;
    const OTHERS: usize = 10;
    let world = World::quiet().await?;
    world.hosts(&["set", &host(&world), "--rate", "50/s"]).await?;
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        others.push(Shop::start(shop::Options::default()).await?);
    }
    let mut urls = world.pages(1_000);
    urls.extend(others.iter().flat_map(|shop| (0..50).map(|id| shop.url(&format!("/p/{id}")))));
    world.produce("limited", &urls).await?;
    let workers: Vec<_> = (0..4).map(|_| world.worker(&[])).collect::<anyhow::Result<_>>()?;

    let fetched = async || Ok(others.iter().map(|shop| shop.visits().total()).sum());
    wait::until("every page of the other hosts", fetched, |visits: &u64| {
        *visits == OTHERS as u64 * 50
    })
    .await?;
    let limited_by_then = world.shop.visits().total();
    assert!(
        limited_by_then < 250,
        "the others had to wait: {limited_by_then} pages of the limited host were first"
    );
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 1_500).await?;
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }

    let seconds = world.shop.visits().seconds("127.0.0.1");
    assert!(seconds.iter().all(|visits| *visits <= RATE + 2), "{seconds:?}");
    let median = visits::median(&seconds);
    assert!(median >= RATE * 9 / 10, "{median} in most seconds: {seconds:?}");
    assert_eq!((world.shop.visits().repeats(), world.ready("urls").await?), (0, 0));
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
async fn a_fast_limited_host_gets_its_rate_behind_a_slow_database_and_never_more()
-> anyhow::Result<()> {
    const RATE: u32 = 200;
    const PAGES: u64 = 1_200;
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
    let half = f64::from(visits::median(&seconds)) / 2.0;
    let expected = 0.7 * half..=1.4 * half;
    assert!(
        half > 0.0 && expected.contains(&rate),
        "slowed to {rate}/s, not {expected:?}, after {seconds:?}"
    );
    for worker in workers {
        worker.kill().await?;
    }
    Ok(())
}

/// Terminates a worker and returns the number of its deferrals, from its summary.
async fn deferred(worker: Running) -> anyhow::Result<u64> {
    let output = worker.terminate().await?;
    anyhow::ensure!(output.code == Some(0), "{output:?}");
    output.json()?["parked"].as_u64().context("the summary does not count deferrals")
}

#[tokio::test]
async fn tasks_that_wait_for_a_place_are_never_deferred_and_the_fleet_never_idles()
-> anyhow::Result<()> {
    // Seven seconds of work for two workers of 20 places each; held tasks wait for longer than two
    // retry delays. A page takes less than a second, so that some fetches begin in every second.
    const PAGES: u64 = 400;
    let world = World::quiet().await?;
    let flags = [
        "--concurrency",
        "20",
        "--per-host",
        "30",
        "--prefetch",
        "200",
        "--retry-delays",
        "1s,10s",
    ];
    let mut workers = vec![world.worker(&flags)?, world.worker(&flags)?];
    for worker in &mut workers {
        worker.logs("consuming").await?;
    }
    world.produce("slow", &world.numbered("/slow/700/", PAGES)).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == PAGES as i64).await?;

    let seconds = world.shop.visits().seconds("127.0.0.1");
    let mut sum = 0;
    for worker in workers {
        sum += deferred(worker).await?;
    }
    let busy: Vec<u32> = seconds.into_iter().skip_while(|visits| *visits == 0).collect();
    assert_eq!(sum, 0, "deferred; visits per second: {busy:?}");
    assert!(busy.iter().all(|visits| *visits > 0), "the fleet was idle: {busy:?}");
    assert!(busy.len() <= 10, "{busy:?}");
    assert_eq!((world.shop.visits().repeats(), world.ready("urls").await?), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_pause_typed_into_the_console_stops_new_requests_and_loses_nothing() -> anyhow::Result<()>
{
    let world = World::quiet().await?;
    let urls: Vec<String> = (0..400).map(|id| world.shop.url(&format!("/slow/100/{id}"))).collect();
    let mut worker = world.worker(&["--concurrency", "10"])?;
    let second = world.worker(&["--concurrency", "10"])?;
    world.produce("paused", &urls).await?;
    let visits = async || Ok(world.shop.visits().total());
    wait::until("some pages", visits, |visits| *visits > 30).await?;

    let then = pause(&world).await?;
    assert!(then < 400, "the pause came too late for this test: {then}");
    assert_eq!(world.rows().await? as u64, then, "every fetched page is committed");
    assert_eq!(u64::from(world.ready("urls").await?), 400 - then, "the rest is in the queue");
    let body = readyz(&mut worker).await?;
    assert_eq!((&body["ready"], &body["paused"]), (&true.into(), &true.into()), "{body}");

    // A worker that starts later takes nothing either.
    let mut third = world.worker(&[])?;
    third.logs("nothing is consumed until").await?;
    assert_eq!(world.shop.visits().total(), then);

    type_into(&world, "control", " Resume\n").await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 400).await?;
    assert_eq!(world.shop.visits().total(), 400, "nothing is fetched twice");
    for worker in [worker, second, third] {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn a_pause_also_stops_fetches_that_wait_between_hops() -> anyhow::Result<()> {
    let world = World::quiet().await?;
    let host = world.shop.url("").trim_start_matches("http://").to_owned();
    let limited = world.run(&["hosts", "set", &host, "--rate", "5/s"], "").await?;
    assert_eq!(limited.code, Some(0), "{limited:?}");
    // Five requests per task.
    let urls: Vec<String> =
        (0..12).map(|id| world.shop.url(&format!("/redirect/4/{id}"))).collect();
    let worker = world.worker(&["--concurrency", "12", "--timeout", "60s", "--grace", "70s"])?;
    world.produce("hops", &urls).await?;
    let visits = async || Ok(world.shop.visits().total());
    wait::until("some hops", visits, |visits| *visits > 15).await?;
    let then = pause(&world).await?;
    assert!(then < 60, "the pause came too late for this test: {then}");
    type_into(&world, "control", "resume").await?;
    let rows = async || world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await;
    wait::until("every page at the end of its redirects", rows, |rows| *rows == 12).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}
