//! What moves between queues and channels: deliveries, confirms, and messages that come back.

use amq_protocol::protocol::basic;
use amq_protocol::types::ShortString;

use super::frames::{write_basic, write_content};
use super::queue::{ConsumerId, Kind};
use super::state::{Channel, State, Unacked};
use crate::message::Message;

impl State {
    pub(super) fn is_stream(&self, queue: &str) -> bool {
        self.queues.get(queue).is_some_and(|queue| matches!(queue.kind, Kind::Stream(_)))
    }

    pub(super) fn route(&self, exchange: &str, key: &str) -> Option<String> {
        match exchange {
            "" => self.queues.contains_key(key).then(|| key.to_owned()),
            _ => self.bindings.get(&(exchange.to_owned(), key.to_owned())).cloned(),
        }
    }

    pub(super) fn send_confirm(
        &mut self,
        at: (u64, u16),
        tag: u64,
        queue: &str,
        message: &Message,
    ) {
        let Some(connection) = self.connections.get_mut(&at.0) else { return };
        if connection.end.is_some() || !connection.channels.contains_key(&at.1) {
            return;
        }
        self.witness.confirmed(queue, message);
        let ack = basic::Ack { delivery_tag: tag, multiple: false };
        write_basic(&mut connection.out, at.1, basic::AMQPMethod::Ack(ack));
        connection.wake.notify_one();
    }

    /// Returns everything that a channel holds, and removes its consumers.
    pub(super) fn return_channel(&mut self, id: u64, number: u16, channel: Channel) {
        for (tag, consumer) in channel.consumers {
            self.remove_consumer(&(id, number, tag), &consumer.queue);
        }
        for unacked in channel.unacked.into_values() {
            self.give_back(unacked, true);
        }
    }

    pub(super) fn remove_consumer(&mut self, consumer: &ConsumerId, queue: &str) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.remove_consumer(consumer);
        }
    }

    /// Puts a message back.
    pub(super) fn give_back(&mut self, unacked: Unacked, counts: bool) {
        let Unacked { queue: name, mut message, .. } = unacked;
        if self.is_stream(&name) {
            return;
        }
        message.returns += 1;
        message.delivery_count += u32::from(counts);
        if let Some(queue) = self.queues.get_mut(&name) {
            queue.put_back(message);
        }
        self.pump(&name);
    }

    /// Delivers what the consumers of a queue have room for.
    pub(super) fn pump(&mut self, name: &str) {
        while let Some((consumer, place, message)) = self.next_delivery(name) {
            let (id, number, tag) = &consumer;
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let Some(channel) = connection.channels.get_mut(number) else { continue };
            if let Some(consumer) = channel.consumers.get_mut(tag) {
                consumer.unacked += 1;
            }
            channel.last_tag += 1;
            let delivery_tag = channel.last_tag;
            let offset = self
                .queues
                .get(name)
                .and_then(|queue| matches!(queue.kind, Kind::Stream(_)).then_some(place));
            let deliver = basic::Deliver {
                consumer_tag: tag.as_str().into(),
                delivery_tag,
                redelivered: message.returns > 0,
                exchange: ShortString::from(message.exchange.as_str()),
                routing_key: ShortString::from(message.routing_key.as_str()),
            };
            write_basic(&mut connection.out, *number, basic::AMQPMethod::Deliver(deliver));
            let properties = message.delivered_properties(offset);
            write_content(&mut connection.out, *number, properties, &message.body);
            connection.wake.notify_one();
            self.witness.delivered(name, &message, &connection.owner, (*id, delivery_tag));
            let unacked = Unacked { queue: name.to_owned(), message, consumer: Some(tag.clone()) };
            channel.unacked.insert(delivery_tag, unacked);
        }
    }

    /// The next delivery of a queue: its consumer, and the message, which a stream keeps.
    fn next_delivery(&mut self, name: &str) -> Option<(ConsumerId, u64, Message)> {
        let queue = self.queues.get_mut(name)?;
        let connections = &self.connections;
        let has_room = |(id, number, tag): &ConsumerId| {
            let connection = connections.get(id).filter(|connection| connection.end.is_none());
            let channel = connection.and_then(|connection| connection.channels.get(number));
            channel
                .and_then(|channel| channel.consumers.get(tag))
                .is_some_and(|consumer| consumer.unacked < consumer.prefetch)
        };
        match &mut queue.kind {
            Kind::Quorum(quorum) => {
                let (&place, _) = queue.ready.first_key_value()?;
                let at = quorum.consumers.iter().position(has_room)?;
                let consumer = quorum.consumers.remove(at)?;
                quorum.consumers.push_back(consumer.clone());
                Some((consumer, place, queue.ready.remove(&place)?))
            }
            Kind::Stream(cursors) => {
                let end = queue.next_place as usize;
                let found =
                    cursors.iter_mut().find(|(consumer, at)| **at < end && has_room(consumer));
                let (consumer, at) = found?;
                let place = *at as u64;
                *at += 1;
                Some((consumer.clone(), place, queue.ready.get(&place)?.clone()))
            }
        }
    }
}
