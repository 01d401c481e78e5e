//! Which task is fetched next, and what it may delay.

use fetchline_tests::shop::{self, Shop};
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::BasicProperties;

/// The messages of a world: as a row, or ready in a queue.
async fn messages_and_rows(world: &World) -> anyhow::Result<i64> {
    let mut messages = world.rows().await?;
    for key in ["urls", "dead", "retry.10s", "retry.60s", "retry.600s"] {
        messages += i64::from(world.ready(key).await?);
    }
    // Workers declare this queue only when they need it.
    messages += world.ready("retry.3600s").await.map_or(0, i64::from);
    Ok(messages)
}

#[tokio::test]
async fn a_slow_host_at_the_head_of_the_queue_delays_no_other() -> anyhow::Result<()> {
    const SLOW: u64 = 300;
    const FAST: u64 = 100;
    let world = World::new().await?;
    let other = Shop::start(shop::Options::default()).await?;
    world.produce("slow", &world.numbered("/slow/2000/", SLOW)).await?;
    world
        .produce("fast", &(0..FAST).map(|id| other.url(&format!("/p/{id}"))).collect::<Vec<_>>())
        .await?;
    let worker = world.worker(&["--per-host", "2", "--prefetch", "40", "--concurrency", "20"])?;
    let fast = async || world.count("SELECT COUNT(*) FROM fetches WHERE run = 'fast'").await;
    wait::until("the rows of the fast host", fast, |fast| *fast == FAST as i64).await?;
    // The slow host gets one page per second, and the other one must not wait for many of them.
    let slow = world.shop.visits().total();
    assert!(slow < 40, "{slow} slow pages were fetched before the last fast one");

    assert_eq!(worker.terminate().await?.code, Some(0));
    let messages = async || messages_and_rows(&world).await;
    wait::until("no message is lost", messages, |messages| *messages == (SLOW + FAST) as i64)
        .await?;
    assert_eq!((other.visits().repeats(), world.shop.visits().repeats()), (0, 0));
    Ok(())
}

/// A worker that fetches one page at a time holds 50 tasks, and then gets a more urgent one.
async fn fetch_urgent_task(world: &World, urgent: &Shop) -> anyhow::Result<()> {
    const HELD: f64 = 50.0;
    let mut worker = world.worker(&[
        "--concurrency",
        "1",
        "--prefetch",
        "60",
        "--timeout",
        "10s",
        "--grace",
        "15s",
    ])?;
    world.produce("patient", &world.numbered("/slow/300/", HELD as u64)).await?;
    let held = async || {
        let held = worker.metric("fetchline_messages_held").await?;
        Ok(held + world.rows().await? as f64)
    };
    wait::until("all tasks are held", held, |held| *held >= HELD).await?;
    let before = world.shop.visits().total();
    world.publish(&urgent.url("/echo/urgent"), BasicProperties::default().with_priority(9)).await?;
    let fetched = async || Ok((urgent.visits().of("/echo/urgent"), world.shop.visits().total()));
    let (_, by_then) = wait::until("the urgent task", fetched, |(urgent, _)| *urgent == 1).await?;
    // The task under way when the urgent one arrived, and possibly the urgent one itself; one more
    // may have begun before the delivery.
    assert!(by_then <= before + 3, "{} other tasks were first", by_then - before);
    worker.kill().await?;
    Ok(())
}

#[tokio::test]
async fn a_task_of_higher_priority_is_next_at_its_host_even_if_delivered_later()
-> anyhow::Result<()> {
    let world = World::new().await?;
    fetch_urgent_task(&world, &world.shop).await
}

#[tokio::test]
async fn a_task_of_higher_priority_gets_the_next_free_place_even_if_other_hosts_wait()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let other = Shop::start(shop::Options::default()).await?;
    // A host that has waited for as long as the other one.
    world.publish(&other.url("/p/1"), BasicProperties::default()).await?;
    fetch_urgent_task(&world, &other).await
}
