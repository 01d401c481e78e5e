//! Messages that break AMQP's own rules: short strings that are not UTF-8.

use fetchline_tests::process::Running;
use fetchline_tests::raw_amqp::{RawMessage, RawPublisher};
use fetchline_tests::wait;
use fetchline_tests::world::World;

const MALFORMED: u32 = 3;

/// Publishes three malformed messages with five valid ones before, between and after them.
async fn publish_malformed(world: &World) -> anyhow::Result<Vec<String>> {
    let mut raw = RawPublisher::connect(&world.amqp_url).await?;
    let neighbours = world.numbered("/slow/50/", 5);
    let url = world.shop.url("/p/900");
    let malformed = RawMessage { body: url.as_bytes(), ..RawMessage::default() };
    let malformed_messages = [
        RawMessage { message_id: Some(b"id-\xff"), ..malformed },
        RawMessage {
            header: Some((b"x-\xc3\x28", b"text")),
            message_id: Some(b"header"),
            ..malformed
        },
        // A truncated sequence.
        RawMessage { kind: Some(b"type-\xe2\x82"), message_id: Some(b"type"), ..malformed },
    ];
    assert_eq!(malformed_messages.len(), MALFORMED as usize);
    let (exchange, key) = (world.prefix.as_str(), "urls");
    for (number, neighbour) in neighbours.iter().enumerate() {
        let id = format!("neighbour-{number}");
        let message = RawMessage {
            body: neighbour.as_bytes(),
            message_id: Some(id.as_bytes()),
            ..RawMessage::default()
        };
        raw.publish(exchange, key, message).await?;
        if let Some(malformed) = malformed_messages.get(number) {
            raw.publish(exchange, key, *malformed).await?;
        }
    }
    Ok(neighbours)
}

async fn connections(workers: &mut [Running]) -> anyhow::Result<f64> {
    let mut connections = 0.0;
    for worker in workers {
        connections += worker.metric("fetchline_broker_connections_total").await?;
    }
    Ok(connections)
}

#[tokio::test]
async fn malformed_messages_become_dead_letters_and_do_not_affect_their_neighbours()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let neighbours = publish_malformed(&world).await?;
    let mut workers = vec![world.worker(&[])?, world.worker(&[])?];

    let ok = async || world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await;
    wait::until("the neighbours' rows", ok, |ok| *ok == neighbours.len() as i64).await?;
    let dead = async || world.ready("dead").await;
    wait::until("dead letters for the malformed messages", dead, |dead| *dead >= MALFORMED).await?;
    // Later messages are fetched as well.
    world.produce("later", &world.pages(20)).await?;
    wait::until("the rows of later messages", ok, |ok| *ok == neighbours.len() as i64 + 20).await?;

    assert_eq!(
        (world.shop.visits().repeats(), world.shop.visits().total()),
        (0, 25),
        "each is fetched exactly once"
    );
    assert_eq!(world.rows().await?, 25);
    let dead = world.run(&["dead", "list", "--json"], "").await?;
    assert_eq!(dead.code, Some(0), "{dead:?}");
    let list = dead.json()?;
    let letters = list["letters"].as_array().cloned().unwrap_or_default();
    let reasons: Vec<&str> =
        letters.iter().filter_map(|letter| letter["reason"].as_str()).collect();
    assert_eq!(reasons, ["not_a_task"; MALFORMED as usize], "{list}");
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, MALFORMED));
    let connections = connections(&mut workers).await?;
    let (least, most) = (workers.len() as f64, 2.0 * workers.len() as f64);
    assert!((least..=most).contains(&connections), "{connections} connections");
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

/// Proves that the bytes arrive as intended, so that the test above fails for no other reason.
#[tokio::test]
async fn a_message_with_the_same_properties_in_utf_8_is_a_task() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut raw = RawPublisher::connect(&world.amqp_url).await?;
    let url = world.shop.url("/p/1");
    let message = RawMessage {
        body: url.as_bytes(),
        message_id: Some("id-ÿ".as_bytes()),
        kind: Some("type-€".as_bytes()),
        header: Some((b"x-run", "köln".as_bytes())),
    };
    raw.publish(&world.prefix, "urls", message).await?;
    world.work_until_empty(&[]).await?;
    let (run, id): (String, String) =
        sqlx::query_as("SELECT run, message_id FROM fetches WHERE outcome = 'ok'")
            .fetch_one(&world.database)
            .await?;
    assert_eq!((run.as_str(), id.as_str()), ("köln", "id-ÿ"));
    Ok(())
}
