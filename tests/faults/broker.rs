//! Faults of the broker: it is killed, closes connections, runs out of memory, or loses its queue.

use fetchline_tests::console::Console;
use fetchline_tests::fleet::Fleet;
use fetchline_tests::trial::{Fate, Trial, seed};
use fetchline_tests::wait;

#[tokio::test]
async fn killed_and_restarted_while_workers_fetch_and_a_producer_publishes() -> anyhow::Result<()> {
    let mut trial = Trial::new("broker-killed", seed()).await?;
    let before = trial.urls("/slow/50/before/", 1_500);
    trial.produce(&before, Fate::OK).await?;
    let fleet = Fleet::direct(&trial.world).await?;
    let moments = trial.moments(2, before.len());
    trial.wait_for_visits(moments[0]).await?;

    // The producer publishes unconfirmed messages again, so their URLs may be fetched twice.
    let meanwhile = trial.urls("/slow/50/meanwhile/", 3_000);
    trial.expect(&meanwhile, Fate::OK);
    trial.expose_to_duplicates(meanwhile.len());
    let world = trial.world.clone();
    let producer = tokio::spawn(async move { world.produce("meanwhile", &meanwhile).await });
    trial.kill_broker().await?;
    producer.await??;

    trial.wait_for_visits(moments[1] + 1_500).await?;
    trial.kill_broker().await?;
    trial.finish(fleet).await
}

#[tokio::test]
async fn every_connection_is_closed_by_an_operator() -> anyhow::Result<()> {
    let mut trial = Trial::new("connections-closed", seed()).await?;
    let urls = trial.urls("/slow/100/", 2_000);
    trial.produce(&urls, Fate::OK).await?;
    let fleet = Fleet::direct(&trial.world).await?;
    for moment in trial.moments(3, urls.len()) {
        trial.wait_for_visits(moment).await?;
        trial.close_all_connections().await?;
    }
    trial.finish(fleet).await
}

#[tokio::test]
async fn under_a_memory_alarm_workers_consume_and_producers_wait() -> anyhow::Result<()> {
    let mut trial = Trial::new("memory-alarm", seed()).await?;
    let before = trial.urls("/slow/50/before/", 1_000);
    trial.produce(&before, Fate::OK).await?;
    let fleet = Fleet::direct(&trial.world).await?;
    let moment = trial.moments(1, before.len())[0];
    trial.wait_for_visits(moment).await?;
    // Something to replay.
    Console::of(&trial.world)?.publish(&trial.world.prefix, "dead", "a dead letter").await?;
    trial.memory_alarm(true).await?;

    let meanwhile = trial.urls("/slow/50/meanwhile/", 500);
    trial.expect(&meanwhile, Fate::OK);
    let world = trial.world.clone();
    let producer = tokio::spawn(async move { world.produce("meanwhile", &meanwhile).await });
    let rows = async || trial.rows().await;
    wait::until("the workers consume under the alarm", rows, |rows| *rows == before.len() as u64)
        .await?;
    assert!(!producer.is_finished(), "nothing is published under an alarm");
    // An operator does not wait for the end of the alarm, and is told of it.
    for command in [&["control", "resume"][..], &["control", "pause"], &["dead", "replay"]] {
        let refused = trial.world.run(command, "").await?;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let names_alarm = refused.stderr.contains("alarm") && refused.stderr.contains("memory");
        assert!(names_alarm, "{refused:?}");
    }
    let listed = trial.world.run(&["dead", "list", "--json"], "").await?;
    assert_eq!(listed.json()?["seen"], 1, "the letter stays where it was: {listed:?}");
    trial.memory_alarm(false).await?;
    producer.await??;
    // What `dead replay` had sent before it gave up is published at the end of the alarm. It is no
    // task, so it becomes a dead letter once more.
    let rows = async || trial.rows().await;
    wait::until("every row", rows, |rows| *rows == before.len() as u64 + 500).await?;
    let purged = trial.world.run(&["dead", "purge"], "").await?;
    assert_eq!(purged.code, Some(0), "{purged:?}");

    trial.finish(fleet).await
}

#[tokio::test]
async fn the_queue_is_deleted_under_the_consumers() -> anyhow::Result<()> {
    let mut trial = Trial::new("queue-deleted", seed()).await?;
    let mut fleet = Fleet::direct(&trial.world).await?;
    for round in 0..2 {
        let urls = trial.urls(&format!("/slow/500/{round}/"), 200);
        let lost = trial.delete_queue(&mut fleet, &urls).await?;
        println!(
            "faults: {lost} of {} messages were lost with the queue and published again",
            urls.len()
        );
    }
    trial.finish(fleet).await
}
