//! The broker as data: connections, channels, queues, and what moves between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amq_protocol::protocol::basic;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::queue::{Kind, Queue, Version};
use crate::chance::Chance;
use crate::message::Message;
use crate::witness::Witness;

/// How long the broker takes.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// The longest time before it handles what it has received, in milliseconds.
    pub handling_ms: u64,
    /// The longest time before it confirms a message, in milliseconds.
    pub confirm_ms: u64,
}

/// A broker; cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Mutex<State>>);

pub(super) struct State {
    pub(super) version: Version,
    pub(super) exchanges: BTreeSet<String>,
    /// The queue of each exchange and routing key.
    pub(super) bindings: BTreeMap<(String, String), String>,
    pub(super) queues: BTreeMap<String, Queue>,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) witness: Witness,
    pub(super) chance: Chance,
    pub(super) delays: Delays,
    /// Publishing connections are not read.
    pub(super) has_alarm: bool,
    is_down: bool,
    next_connection: u64,
    next_message: u64,
}

/// A connection of a client.
pub(super) struct Connection {
    /// The worker that has made it.
    pub(super) owner: String,
    /// Whether it has published.
    pub(super) publishes: bool,
    pub(super) channels: BTreeMap<u16, Channel>,
    /// What is to be sent.
    pub(super) out: Vec<u8>,
    pub(super) wake: Arc<Notify>,
    /// How it ends, once it has to.
    pub(super) end: Option<End>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What is to be sent is sent before.
    Closed,
    /// What is under way is lost.
    Reset,
}

/// A channel.
#[derive(Default)]
pub(super) struct Channel {
    pub(super) prefetch: u16,
    pub(super) last_tag: u64,
    pub(super) unacked: BTreeMap<u64, Unacked>,
    pub(super) consumers: BTreeMap<String, Consumer>,
    /// The number of the last published message; `None` without confirms.
    pub(super) published: Option<u64>,
    /// A message whose content is not complete yet.
    pub(super) incoming: Option<Incoming>,
    /// The broker has closed it, and waits for the client to say so, too.
    pub(super) is_closing: bool,
}

/// A delivery that is not settled.
pub(super) struct Unacked {
    pub(super) queue: String,
    pub(super) message: Message,
    /// `None` if it was got without a consumer.
    pub(super) consumer: Option<String>,
}

pub(super) struct Consumer {
    pub(super) queue: String,
    pub(super) prefetch: u16,
    pub(super) unacked: u16,
}

pub(super) struct Incoming {
    pub(super) publish: basic::Publish,
    pub(super) properties: basic::AMQPProperties,
    pub(super) body: Vec<u8>,
    pub(super) size: Option<usize>,
}

impl Broker {
    /// A broker without queues.
    pub fn new(version: Version, delays: Delays, chance: Chance, witness: Witness) -> Self {
        Self(Arc::new(Mutex::new(State {
            version,
            exchanges: BTreeSet::new(),
            bindings: BTreeMap::new(),
            queues: BTreeMap::new(),
            connections: BTreeMap::new(),
            witness,
            chance,
            delays,
            has_alarm: false,
            is_down: false,
            next_connection: 0,
            next_message: 0,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection of a worker; `None` while the broker is down.
    pub(super) fn accept(&self, owner: &str) -> Option<(u64, Arc<Notify>)> {
        let mut state = self.state();
        if state.is_down {
            return None;
        }
        state.next_connection += 1;
        let (id, wake) = (state.next_connection, Arc::new(Notify::new()));
        state.connections.insert(
            id,
            Connection {
                owner: owner.to_owned(),
                publishes: false,
                channels: BTreeMap::new(),
                out: Vec::new(),
                wake: wake.clone(),
                end: None,
            },
        );
        Some((id, wake))
    }

    /// Whether it accepts connections.
    pub fn is_up(&self) -> bool {
        !self.state().is_down
    }

    /// Loses all connections, and accepts none until [`Self::come_back`].
    pub fn go_down(&self) {
        let mut state = self.state();
        state.is_down = true;
        state.witness.trace.event(format_args!("broker down"));
        state.connections.values_mut().for_each(|connection| connection.finish(End::Reset));
    }

    /// Accepts connections again.
    pub fn come_back(&self) {
        let mut state = self.state();
        state.is_down = false;
        state.witness.trace.event(format_args!("broker up"));
    }

    /// Loses one connection of a worker, or with `all` every one.
    pub fn cut(&self, owner: &str, all: bool) {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut own: Vec<_> =
            state.connections.values_mut().filter(|connection| connection.owner == owner).collect();
        if !all && !own.is_empty() {
            let chosen = state.chance.below(own.len());
            own = vec![own.swap_remove(chosen)];
        }
        state.witness.trace.event(format_args!("cut {} connections of {owner}", own.len()));
        own.into_iter().for_each(|connection| connection.finish(End::Reset));
    }

    /// Raises or ends an alarm.
    pub fn set_alarm(&self, has_alarm: bool) {
        let mut state = self.state();
        state.has_alarm = has_alarm;
        state.witness.trace.event(format_args!("alarm {has_alarm}"));
        state.connections.values().for_each(|connection| connection.wake.notify_one());
    }

    /// Publishes a message as a producer would, and returns whether a queue received it.
    pub fn publish(
        &self,
        exchange: &str,
        key: &str,
        properties: basic::AMQPProperties,
        body: &[u8],
    ) -> bool {
        self.enqueue(exchange, key, properties, body.into()).is_some()
    }

    /// The ready messages of a queue.
    pub fn messages(&self, queue: &str) -> Vec<Message> {
        let state = self.state();
        let queue = state.queues.get(queue);
        queue.map_or_else(Vec::new, |queue| queue.ready.values().cloned().collect())
    }

    /// How many deliveries of quorum queues are not settled.
    pub fn unacked(&self) -> usize {
        let state = self.state();
        let channels = state.connections.values().flat_map(|all| all.channels.values());
        let unacked = channels.flat_map(|channel| channel.unacked.values());
        unacked.filter(|unacked| !state.is_stream(&unacked.queue)).count()
    }

    /// The queues in which tasks or reports wait, and how many.
    pub fn waiting(&self) -> Vec<(String, usize)> {
        let state = self.state();
        let waiting = state.queues.iter().filter(|(name, queue)| {
            let is_end = [".dead", ".news"].iter().any(|end| name.ends_with(end));
            matches!(queue.kind, Kind::Quorum(_)) && !is_end && !queue.ready.is_empty()
        });
        waiting.map(|(name, queue)| (name.clone(), queue.ready.len())).collect()
    }

    /// Whether a queue exists.
    pub fn has_queue(&self, queue: &str) -> bool {
        self.state().queues.contains_key(queue)
    }

    /// Routes a message to its queue. Returns the queue and the message; `None` if it is
    /// unroutable.
    pub(super) fn enqueue(
        &self,
        exchange: &str,
        key: &str,
        properties: basic::AMQPProperties,
        body: Arc<[u8]>,
    ) -> Option<(String, Message)> {
        let mut state = self.state();
        state.next_message += 1;
        let message = Message {
            number: state.next_message,
            properties,
            body,
            exchange: exchange.to_owned(),
            routing_key: key.to_owned(),
            returns: 0,
            delivery_count: 0,
            expires_at: None,
        };
        let queue = state.route(exchange, key)?;
        self.push(&mut state, &queue, message.clone());
        Some((queue, message))
    }

    fn push(&self, state: &mut State, name: &str, message: Message) {
        let Some(queue) = state.queues.get_mut(name) else { return };
        let place = queue.push(message);
        let expires_at = queue.ready[&place].expires_at;
        if let Some(at) = expires_at {
            let (broker, name) = (self.clone(), name.to_owned());
            tokio::spawn(async move {
                sleep_until(at).await;
                broker.expire(&name, place);
            });
        }
        state.pump(name);
    }

    /// Dead-letters an expired message.
    fn expire(&self, name: &str, place: u64) {
        let mut state = self.state();
        let Some(queue) = state.queues.get_mut(name) else { return };
        let Some(message) = queue.ready.remove(&place) else { return };
        let Kind::Quorum(quorum) = &queue.kind else { return };
        let Some((exchange, key)) = quorum.dead_letters_to.clone() else { return };
        let Some(target) = state.route(&exchange, &key) else { return };
        let message = Message {
            exchange,
            routing_key: key,
            returns: 0,
            delivery_count: 0,
            expires_at: None,
            ..message
        };
        self.push(&mut state, &target, message);
    }

    /// Confirms a message, now or later.
    pub(super) fn confirm(&self, at: (u64, u16), number: u64, queue: &str, message: Message) {
        let delay = {
            let mut state = self.state();
            let longest = state.delays.confirm_ms;
            state.chance.wait(0, longest)
        };
        let (broker, queue) = (self.clone(), queue.to_owned());
        let confirm =
            move |broker: &Self| broker.state().send_confirm(at, number, &queue, &message);
        if delay < Duration::from_millis(1) {
            return confirm(&broker);
        }
        tokio::spawn(async move {
            sleep(delay).await;
            confirm(&broker);
        });
    }

    /// Returns what a lost connection held. The broker notices a loss late.
    pub(super) fn lost(&self, id: u64, notices_after: Duration) {
        let broker = self.clone();
        tokio::spawn(async move {
            sleep_until(Instant::now() + notices_after).await;
            let mut state = broker.state();
            let Some(connection) = state.connections.remove(&id) else { return };
            let owner = connection.owner;
            let channels = connection.channels.len();
            state.witness.trace.event(format_args!("{owner} lost {channels} channels"));
            for (number, channel) in connection.channels {
                state.return_channel(id, number, channel);
            }
        });
    }
}

impl Connection {
    pub(super) fn finish(&mut self, end: End) {
        self.end = Some(end);
        self.wake.notify_one();
    }
}
