//! What a consumer can ask of the broker, method by method.

use amq_protocol::protocol::basic;

use super::frames::{write_basic, write_content};
use super::methods::{NOT_FOUND, Refused};
use super::queue::{Kind, Version};
use super::state::{Consumer, State, Unacked};

/// The prefetch of a consumer of a quorum queue that has set none.
const DEFAULT_PREFETCH: u16 = 2000;
const PRECONDITION_FAILED: u16 = 406;

impl State {
    pub(super) fn basic_method(
        &mut self,
        id: u64,
        number: u16,
        method: basic::AMQPMethod,
    ) -> Result<(), Refused> {
        use basic::AMQPMethod::{Ack, Cancel, Consume, Get, Nack, Qos, QosOk};
        match method {
            Qos(qos) => {
                if let Some(channel) = self.channel(id, number) {
                    channel.prefetch = qos.prefetch_count;
                }
                self.reply_basic(id, number, QosOk(basic::QosOk {}));
                Ok(())
            }
            Consume(consume) => self.consume(id, number, &consume),
            Cancel(cancel) => {
                self.cancel(id, number, &cancel);
                Ok(())
            }
            Get(get) => self.get(id, number, get.queue.as_str()),
            Ack(ack) => self.settle(id, number, (ack.delivery_tag, ack.multiple), None),
            Nack(nack) => {
                let tags = (nack.delivery_tag, nack.multiple);
                self.settle(id, number, tags, Some(self.version < Version::V4_3))
            }
            other => unreachable!("the simulated broker does not know {other:?}"),
        }
    }

    fn consume(&mut self, id: u64, number: u16, consume: &basic::Consume) -> Result<(), Refused> {
        let name = consume.queue.as_str();
        let consumer = (id, number, consume.consumer_tag.to_string());
        let Some(queue) = self.queues.get_mut(name) else {
            return Err((NOT_FOUND, format!("NOT_FOUND - no queue '{name}'"), (60, 20)));
        };
        match &mut queue.kind {
            Kind::Quorum(queue) => queue.consumers.push_back(consumer.clone()),
            Kind::Stream(cursors) => _ = cursors.insert(consumer.clone(), 0),
        }
        if let Some(channel) = self.channel(id, number) {
            let prefetch = if channel.prefetch == 0 { DEFAULT_PREFETCH } else { channel.prefetch };
            let queue = name.to_owned();
            channel.consumers.insert(consumer.2, Consumer { queue, prefetch, unacked: 0 });
        }
        let ok = basic::ConsumeOk { consumer_tag: consume.consumer_tag.clone() };
        self.reply_basic(id, number, basic::AMQPMethod::ConsumeOk(ok));
        self.pump(name);
        Ok(())
    }

    fn cancel(&mut self, id: u64, number: u16, cancel: &basic::Cancel) {
        let tag = cancel.consumer_tag.to_string();
        let channel = self.channel(id, number);
        if let Some(consumer) = channel.and_then(|channel| channel.consumers.remove(&tag)) {
            self.remove_consumer(&(id, number, tag), &consumer.queue);
        }
        let ok = basic::CancelOk { consumer_tag: cancel.consumer_tag.clone() };
        self.reply_basic(id, number, basic::AMQPMethod::CancelOk(ok));
    }

    fn get(&mut self, id: u64, number: u16, name: &str) -> Result<(), Refused> {
        let Some(queue) = self.queues.get_mut(name) else {
            return Err((NOT_FOUND, format!("NOT_FOUND - no queue '{name}'"), (60, 70)));
        };
        let Some((_, message)) = queue.ready.pop_first() else {
            let empty = basic::AMQPMethod::GetEmpty(basic::GetEmpty {});
            self.reply_basic(id, number, empty);
            return Ok(());
        };
        let message_count = u32::try_from(queue.ready.len()).unwrap_or(u32::MAX);
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let Some(channel) = connection.channels.get_mut(&number) else { return Ok(()) };
        channel.last_tag += 1;
        let delivery_tag = channel.last_tag;
        let ok = basic::GetOk {
            delivery_tag,
            redelivered: message.returns > 0,
            exchange: message.exchange.as_str().into(),
            routing_key: message.routing_key.as_str().into(),
            message_count,
        };
        write_basic(&mut connection.out, number, basic::AMQPMethod::GetOk(ok));
        let properties = message.delivered_properties(None);
        write_content(&mut connection.out, number, properties, &message.body);
        self.witness.delivered(name, &message, &connection.owner, (id, delivery_tag));
        let unacked = Unacked { queue: name.to_owned(), message, consumer: None };
        channel.unacked.insert(delivery_tag, unacked);
        Ok(())
    }

    /// Acks tags, or with `requeue` gives them back; its value is whether that counts as a
    /// delivery. A tag that is not out is refused.
    fn settle(
        &mut self,
        id: u64,
        number: u16,
        (tag, multiple): (u64, bool),
        requeue: Option<bool>,
    ) -> Result<(), Refused> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let Some(channel) = connection.channels.get_mut(&number) else { return Ok(()) };
        if !channel.unacked.contains_key(&tag) {
            let text = format!("PRECONDITION_FAILED - unknown delivery tag {tag}");
            let owner = &connection.owner;
            self.witness.trace.violation(format_args!("{owner}: {text}"));
            return Err((PRECONDITION_FAILED, text, (60, 80)));
        }
        let settled = match multiple {
            true => {
                let above = channel.unacked.split_off(&(tag + 1));
                std::mem::replace(&mut channel.unacked, above).into_iter().collect::<Vec<_>>()
            }
            false => {
                channel.unacked.remove(&tag).map(|unacked| (tag, unacked)).into_iter().collect()
            }
        };
        for (_, unacked) in &settled {
            let consumer = unacked.consumer.as_ref();
            if let Some(consumer) = consumer.and_then(|tag| channel.consumers.get_mut(tag)) {
                consumer.unacked -= 1;
            }
        }
        let owner = connection.owner.clone();
        for (tag, unacked) in settled {
            let queue = unacked.queue.clone();
            match requeue {
                Some(counts) => {
                    self.witness.requeued(&queue, &unacked.message, &owner);
                    self.give_back(unacked, counts);
                }
                None if self.is_stream(&queue) => {}
                None => self.witness.acked(&queue, &unacked.message, &owner, (id, tag)),
            }
            self.pump(&queue);
        }
        Ok(())
    }
}
