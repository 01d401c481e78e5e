//! Looking at the dead letters.

use anyhow::Context;
use fetchline_queue::{Task, Topology};
use lapin::BasicProperties;
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;

use crate::world::World;

/// A message that was given up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Of its task.
    pub url: String,
    /// Header `x-reason`.
    pub reason: String,
    /// Header `x-error`.
    pub error: String,
}

/// Looks at every dead letter, and leaves them where they are.
pub async fn letters(world: &World) -> anyhow::Result<Vec<DeadLetter>> {
    let broker = world.broker()?;
    let connection = broker.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = broker.topology().queue(Topology::DEAD);
    let mut letters = Vec::new();
    while let Some(message) = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await? {
        let (properties, body) = (message.delivery.properties, message.delivery.data);
        let task = Task::read(&properties, &body.into()).context("a dead letter that is no task")?;
        letters.push(DeadLetter {
            url: task.order.address.as_str().to_owned(),
            reason: header(&properties, "x-reason").context("a dead letter without a reason")?,
            error: header(&properties, "x-error").unwrap_or_default(),
        });
    }
    // What was not acked comes back.
    connection.close(200, "seen".into()).await?;
    Ok(letters)
}

fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}
