//! The same script on the simulated broker and on a real one, with the same observations.

use std::time::Duration;

use fetchline_sim::on_simulated_broker;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPUri;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    ExchangeKind,
};
use tokio::time::timeout;
use tokio_stream::StreamExt;

/// How long nothing has to come for the script to believe it.
const SILENCE: Duration = Duration::from_millis(700);

/// What the script has seen.
struct Script {
    url: String,
    prefix: String,
    seen: Vec<String>,
}

#[test]
fn the_simulated_broker_behaves_as_a_real_one() {
    let simulated = on_simulated_broker(|url| async { Script::new(url).run().await });
    assert!(simulated.len() > 30);
    let Ok(url) = std::env::var("AMQP_URL") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let real = runtime.block_on(Script::new(url).run());
    assert_eq!(simulated, real);
}

impl Script {
    fn new(url: String) -> Self {
        let prefix = format!("fidelity-{}", std::process::id());
        Self { url, prefix, seen: Vec::new() }
    }

    async fn run(mut self) -> Vec<String> {
        let connection = self.connect().await;
        self.declare(&connection).await;
        self.publish(&connection).await;
        self.consume(&connection).await;
        self.wrong_acks(&connection).await;
        self.lost_connection().await;
        self.delay(&connection).await;
        self.stream(&connection).await;
        self.clean_up(&connection).await;
        self.seen
    }

    fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn see(&mut self, what: impl Into<String>) {
        let what = what.into().replace(&self.prefix, "P");
        println!("{what}");
        self.seen.push(what);
    }

    async fn connect(&self) -> Connection {
        let mut uri: AMQPUri = self.url.parse().unwrap();
        // The library's parser takes an IPv6 address for no host.
        if let Some((_, host)) = self.url.split_once('[') {
            uri.authority.host = host.split(']').next().unwrap().to_owned();
        }
        Connection::connect_uri(uri, ConnectionProperties::default()).await.unwrap()
    }

    async fn declare(&mut self, connection: &Connection) {
        let urls = self.name("urls");
        let channel = connection.create_channel().await.unwrap();
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let missing =
            channel.queue_declare(urls.as_str().into(), passive, FieldTable::default()).await;
        self.see(format!("passive declare of a missing queue: {}", code(&missing.unwrap_err())));
        self.see(format!("its channel is open: {}", channel.status().connected()));
        let channel = connection.create_channel().await.unwrap();
        let prefix = self.prefix.clone();
        let missing = channel
            .exchange_declare(
                prefix.as_str().into(),
                ExchangeKind::Direct,
                ExchangeDeclareOptions { passive: true, ..Default::default() },
                FieldTable::default(),
            )
            .await;
        self.see(format!("passive declare of a missing exchange: {}", code(&missing.unwrap_err())));
        let channel = connection.create_channel().await.unwrap();
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        channel
            .exchange_declare(
                prefix.as_str().into(),
                ExchangeKind::Direct,
                durable,
                FieldTable::default(),
            )
            .await
            .unwrap();
        let mut arguments = FieldTable::default();
        put(&mut arguments, "x-queue-type", "quorum");
        // As the work queue has it: without a limit, a message that comes back may go to the end.
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(1_000_000));
        self.queue(&channel, "urls", arguments).await;
        let mut arguments = FieldTable::default();
        put(&mut arguments, "x-queue-type", "quorum");
        put(&mut arguments, "x-dead-letter-exchange", &prefix);
        put(&mut arguments, "x-dead-letter-routing-key", "urls");
        put(&mut arguments, "x-dead-letter-strategy", "at-least-once");
        put(&mut arguments, "x-overflow", "reject-publish");
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(1_000));
        self.queue(&channel, "delay", arguments).await;
        let mut arguments = FieldTable::default();
        put(&mut arguments, "x-queue-type", "stream");
        self.queue(&channel, "stream", arguments).await;
    }

    async fn queue(&mut self, channel: &Channel, key: &str, arguments: FieldTable) {
        let name = self.name(key);
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        let queue = channel.queue_declare(name.as_str().into(), durable, arguments).await.unwrap();
        self.see(format!(
            "{key}: {} ready, {} consumers",
            queue.message_count(),
            queue.consumer_count()
        ));
        let prefix = self.prefix.clone();
        channel
            .queue_bind(
                name.as_str().into(),
                prefix.as_str().into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
    }

    async fn send(&mut self, channel: &Channel, key: &str, body: &str) {
        let prefix = self.prefix.clone();
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let confirm = channel
            .basic_publish(
                prefix.as_str().into(),
                key.into(),
                options,
                body.as_bytes(),
                BasicProperties::default().with_message_id(body.into()),
            )
            .await
            .unwrap()
            .await
            .unwrap();
        let returned = match confirm {
            Confirmation::Ack(returned) => returned.map(|message| message.reply_code),
            other => panic!("{other:?}"),
        };
        self.see(format!("{body} to {key}: returned {returned:?}"));
    }

    async fn publisher(&self, connection: &Connection) -> Channel {
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        channel
    }

    async fn publish(&mut self, connection: &Connection) {
        let channel = self.publisher(connection).await;
        for body in ["a", "b", "c", "d", "e", "f"] {
            self.send(&channel, "urls", body).await;
        }
        self.send(&channel, "nowhere", "x").await;
        self.counts(connection).await;
    }

    async fn counts(&mut self, connection: &Connection) {
        // A count may come late.
        tokio::time::sleep(SILENCE).await;
        let channel = connection.create_channel().await.unwrap();
        let urls = self.name("urls");
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = channel
            .queue_declare(urls.as_str().into(), passive, FieldTable::default())
            .await
            .unwrap();
        // A real broker still counts a cancelled consumer whose messages are out.
        self.see(format!("urls: {} ready", queue.message_count()));
    }

    async fn consumer(&self, channel: &Channel, queue: &str, tag: &str) -> Consumer {
        let (queue, mut arguments) = (self.name(queue), FieldTable::default());
        if queue.ends_with("stream") {
            put(&mut arguments, "x-stream-offset", "first");
        }
        let options = BasicConsumeOptions::default();
        channel.basic_consume(queue.as_str().into(), tag.into(), options, arguments).await.unwrap()
    }

    async fn drain(&mut self, what: &str, consumer: &mut Consumer) {
        while let Ok(next) = timeout(SILENCE, consumer.next()).await {
            match next {
                Some(Ok(delivery)) => self.see(format!("{what}: {}", describe(&delivery))),
                Some(Err(error)) => self.see(format!("{what}: {}", code(&error))),
                None => return self.see(format!("{what}: end")),
            }
        }
        self.see(format!("{what}: nothing more"));
    }

    async fn ack(&self, channel: &Channel, tag: u64, multiple: bool) {
        _ = channel.basic_ack(tag, BasicAckOptions { multiple }).await;
    }

    async fn consume(&mut self, connection: &Connection) {
        let channel = connection.create_channel().await.unwrap();
        channel.basic_qos(3, BasicQosOptions::default()).await.unwrap();
        let mut consumer = self.consumer(&channel, "urls", "one").await;
        self.drain("prefetch 3", &mut consumer).await;
        self.ack(&channel, 2, true).await;
        self.drain("acked up to 2", &mut consumer).await;
        let nack = BasicNackOptions { multiple: false, requeue: true };
        channel.basic_nack(4, nack).await.unwrap();
        self.drain("nacked 4", &mut consumer).await;
        let cancel = BasicCancelOptions::default();
        channel.basic_cancel("one".into(), cancel).await.unwrap();
        self.counts(connection).await;
        self.ack(&channel, 3, false).await;
        self.counts(connection).await;
        self.see(format!(
            "after the cancel, the channel is open: {}",
            channel.status().connected()
        ));
        let mut consumer = self.consumer(&channel, "urls", "two").await;
        self.drain("a new consumer", &mut consumer).await;
        channel.close(200, "done".into()).await.unwrap();
        self.counts(connection).await;
    }

    async fn wrong_acks(&mut self, connection: &Connection) {
        for (what, first, wrong) in [
            ("an unknown tag", None, (9, false)),
            ("a tag twice", Some((1, false)), (1, false)),
            ("a multiple ack of a tag that was acked", Some((2, false)), (2, true)),
        ] {
            // Sometimes the library gives up a connection with its channel.
            let connection = self.connect().await;
            let channel = connection.create_channel().await.unwrap();
            channel.basic_qos(2, BasicQosOptions::default()).await.unwrap();
            let mut consumer = self.consumer(&channel, "urls", "wrong").await;
            self.drain(what, &mut consumer).await;
            if let Some((tag, multiple)) = first {
                self.ack(&channel, tag, multiple).await;
            }
            self.ack(&channel, wrong.0, wrong.1).await;
            tokio::time::sleep(SILENCE).await;
            self.see(format!("{what}: the channel is open: {}", channel.status().connected()));
            if first.is_some() {
                let connection = self.connect().await;
                let publisher = self.publisher(&connection).await;
                self.send(&publisher, "urls", what).await;
            }
        }
        self.counts(connection).await;
    }

    async fn lost_connection(&mut self) {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.unwrap();
        let urls = self.name("urls");
        let get = channel.basic_get(urls.as_str().into(), BasicGetOptions::default());
        let got = get.await.unwrap().unwrap();
        self.see(format!("got: {}", describe(&got.delivery)));
        connection.close(200, "gone".into()).await.unwrap();
        let connection = self.connect().await;
        self.counts(&connection).await;
        let channel = connection.create_channel().await.unwrap();
        let get = channel.basic_get(urls.as_str().into(), BasicGetOptions::default());
        let got = get.await.unwrap().unwrap();
        self.see(format!("got again: {}", describe(&got.delivery)));
        self.ack(&channel, got.delivery.delivery_tag, false).await;
        connection.close(200, "gone".into()).await.unwrap();
    }

    async fn delay(&mut self, connection: &Connection) {
        let channel = connection.create_channel().await.unwrap();
        let urls = self.name("urls");
        while let Some(got) = channel
            .basic_get(urls.as_str().into(), BasicGetOptions { no_ack: false })
            .await
            .unwrap()
        {
            self.ack(&channel, got.delivery.delivery_tag, false).await;
        }
        let publisher = self.publisher(connection).await;
        self.send(&publisher, "delay", "later").await;
        let got =
            channel.basic_get(urls.as_str().into(), BasicGetOptions::default()).await.unwrap();
        self.see(format!("at once: {:?}", got.map(|got| describe(&got.delivery))));
        let mut consumer = self.consumer(&channel, "urls", "delayed").await;
        let came =
            timeout(Duration::from_secs(10), consumer.next()).await.unwrap().unwrap().unwrap();
        self.see(format!("later: {}", describe(&came)));
        self.ack(&channel, came.delivery_tag, false).await;
    }

    async fn stream(&mut self, connection: &Connection) {
        let publisher = self.publisher(connection).await;
        for body in ["pause", "resume", "drain"] {
            self.send(&publisher, "stream", body).await;
        }
        for reader in ["first reader", "late reader"] {
            let channel = connection.create_channel().await.unwrap();
            channel.basic_qos(2, BasicQosOptions::default()).await.unwrap();
            let mut consumer = self.consumer(&channel, "stream", reader).await;
            self.drain(reader, &mut consumer).await;
            self.ack(&channel, 1, false).await;
            self.drain(reader, &mut consumer).await;
        }
    }

    async fn clean_up(&self, connection: &Connection) {
        let channel = connection.create_channel().await.unwrap();
        for queue in ["urls", "delay", "stream"] {
            let queue = self.name(queue);
            let options = QueueDeleteOptions::default();
            _ = channel.queue_delete(queue.as_str().into(), options).await;
        }
        _ = channel.exchange_delete(self.prefix.as_str().into(), Default::default()).await;
        _ = connection.close(200, "done".into()).await;
    }
}

fn put(arguments: &mut FieldTable, name: &str, value: &str) {
    arguments.insert(name.into(), AMQPValue::LongString(value.into()));
}

fn describe(delivery: &Delivery) -> String {
    let number = |name: &str| {
        let headers = delivery.properties.headers().as_ref()?;
        match headers.inner().get(name)? {
            AMQPValue::LongLongInt(number) => Some(*number),
            AMQPValue::LongUInt(number) => Some(i64::from(*number)),
            AMQPValue::LongInt(number) => Some(i64::from(*number)),
            AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
            AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
            AMQPValue::ShortInt(number) => Some(i64::from(*number)),
            AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
            other => panic!("{name} is {other:?}"),
        }
    };
    format!(
        "{} tag {} key {} redelivered {} count {:?} offset {:?}",
        String::from_utf8_lossy(&delivery.data),
        delivery.delivery_tag,
        delivery.routing_key,
        delivery.redelivered,
        number("x-delivery-count"),
        number("x-stream-offset"),
    )
}

fn code(error: &lapin::Error) -> String {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => error.get_id().to_string(),
        other => format!("{other:?}"),
    }
}
