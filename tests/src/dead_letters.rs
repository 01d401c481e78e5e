//! The dead letters of a world.

use anyhow::Context;
use fetchline_queue::{Task, Topology};
use lapin::BasicProperties;
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;

use crate::world::World;

/// A message in the dead queue.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The URL of its task.
    pub url: String,
    /// The header `x-reason`.
    pub reason: String,
    /// The header `x-error`.
    pub error: String,
}

/// Reads all dead letters and leaves them in their queue.
pub async fn peek(world: &World) -> anyhow::Result<Vec<DeadLetter>> {
    let broker = world.broker()?;
    let connection = broker.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = broker.topology().queue(Topology::DEAD);
    let mut letters = Vec::new();
    while let Some(message) =
        channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await?
    {
        let (properties, body) = (message.delivery.properties, message.delivery.data);
        let task = Task::read(&properties, &body.into()).context("a dead letter is not a task")?;
        letters.push(DeadLetter {
            url: task.request.address.as_str().to_owned(),
            reason: header(&properties, "x-reason").context("a dead letter has no reason")?,
            error: header(&properties, "x-error").unwrap_or_default(),
        });
    }
    // Unacked messages return to the queue.
    connection.close(200, "done".into()).await?;
    Ok(letters)
}

fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}
