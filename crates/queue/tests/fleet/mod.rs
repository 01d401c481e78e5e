//! A fleet of the test's own on the broker.

use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use fetchline_queue::lapin::message::Delivery;
use fetchline_queue::lapin::options::{
    BasicConsumeOptions, ExchangeDeleteOptions, QueueDeleteOptions,
};
use fetchline_queue::lapin::types::FieldTable;
use fetchline_queue::lapin::{Connection, Consumer};
use fetchline_queue::{Broker, BrokerConfig, Role, Topology};
use tokio_stream::StreamExt;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Fleet {
    pub(crate) broker: Broker,
}

impl Fleet {
    pub(crate) async fn new(name: &str) -> anyhow::Result<Self> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
        let prefix = format!("queue-test-{name}-{now}");
        let broker = Broker::new(
            &BrokerConfig { url: amqp_url()?, ca: None, prefix },
            Role::Consume,
            "test",
        )?;
        broker.topology().declare(&broker.connect().await?).await?;
        Ok(Self { broker })
    }

    pub(crate) async fn consumer(&self, connection: &Connection) -> anyhow::Result<Consumer> {
        let channel = connection.create_channel().await?;
        let queue = self.broker.topology().queue(Topology::URLS);
        let options = BasicConsumeOptions::default();
        Ok(channel
            .basic_consume(queue.into(), "test".into(), options, FieldTable::default())
            .await?)
    }

    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        let channel = self.broker.connect().await?.create_channel().await?;
        for key in self.broker.topology().keys() {
            let queue = self.broker.topology().queue(&key);
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        let exchange = self.broker.topology().exchange();
        Ok(channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?)
    }
}

/// The URL in the environment, or else that of `deploy/local/services up`.
pub(crate) fn amqp_url() -> anyhow::Result<String> {
    if let Ok(url) = std::env::var("AMQP_URL") {
        return Ok(url);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/local/services");
    let output =
        Command::new(script).arg("env").output().context("cannot run deploy/local/services")?;
    let output = String::from_utf8(output.stdout)?;
    let line = output.lines().find_map(|line| line.strip_prefix("export AMQP_URL='"));
    Ok(line
        .context("the services are not up: run `make up` first")?
        .trim_end_matches('\'')
        .to_owned())
}

pub(crate) async fn next(consumer: &mut Consumer) -> anyhow::Result<Delivery> {
    let delivery = tokio::time::timeout(DEADLINE, consumer.next()).await.context("no delivery")?;
    Ok(delivery.context("the consumer has ended")??)
}
