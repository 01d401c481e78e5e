//! Publishing from another service.

mod fleet;

use std::collections::BTreeMap;

use anyhow::ensure;
use fetchline_queue::lapin::options::QueueDeleteOptions;
use fetchline_queue::{Draft, Error, FetchRequest, Publisher, RawMessage, Task, Topology};
use fleet::{Fleet, next};

fn drafts(count: usize) -> anyhow::Result<Vec<Draft>> {
    let draft = |number| {
        let request = FetchRequest::get_url(&format!("https://shop.example/p/{number}"))?;
        Ok(Draft::request(&request, "orders", Some(&format!("order-{number}")))?)
    };
    (0..count).map(draft).collect()
}

#[tokio::test]
async fn every_request_that_was_published_is_a_task_in_the_queue() -> anyhow::Result<()> {
    let fleet = Fleet::new("publisher").await?;
    let mut publisher = Publisher::connect(&fleet.broker).await?;
    publisher.publish(drafts(600)?).await?;
    publisher.close().await;
    let connection = fleet.broker.connect().await?;
    let mut consumer = fleet.consumer(&connection).await?;
    let mut urls = BTreeMap::new();
    for _ in 0..600 {
        let message = RawMessage::from(next(&mut consumer).await?);
        let task = Task::read(&message.properties, &message.body)?;
        urls.insert(task.message_id, task.request.address.as_str().to_owned());
    }
    let expected = (0..600).map(|number| {
        (Some(format!("order-{number}")), format!("https://shop.example/p/{number}"))
    });
    assert_eq!(urls, expected.collect());
    fleet.remove().await
}

#[tokio::test]
async fn a_request_without_a_queue_is_an_error() -> anyhow::Result<()> {
    let fleet = Fleet::new("unroutable").await?;
    let connection = fleet.broker.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = fleet.broker.topology().queue(Topology::URLS);
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    let mut publisher = Publisher::connect(&fleet.broker).await?;
    let published = publisher.publish(drafts(3)?).await;
    ensure!(matches!(published, Err(Error::Unroutable)), "{published:?}");
    fleet.remove().await
}
