//! What a client can ask of the broker, method by method.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};

use super::frames::{FRAME_MAX, write_basic, write_channel, write_content, write_method};
use super::queue::Queue;
use super::state::{Broker, Channel, End, Incoming, State};

pub(super) const NOT_FOUND: u16 = 404;
const NO_ROUTE: u16 = 312;

/// A refusal, which closes the channel: its code and text, and the method.
pub(super) type Refused = (u16, String, (u16, u16));

impl Broker {
    /// Handles a frame of a connection.
    pub(super) fn handle(&self, id: u64, frame: AMQPFrame) {
        match frame {
            AMQPFrame::ProtocolHeader(_) => self.state().start(id),
            AMQPFrame::Method(0, AMQPClass::Connection(method)) => {
                self.state().connection_method(id, method);
            }
            AMQPFrame::Method(number, AMQPClass::Channel(method)) => {
                self.state().channel_method(id, number, method);
            }
            AMQPFrame::Method(number, method) => {
                if self.is_open(id, number)
                    && let Err(refused) = self.method(id, number, method)
                {
                    self.state().refuse(id, number, refused);
                }
            }
            AMQPFrame::Header(number, header) => {
                self.content(id, number, |incoming| {
                    incoming.size = usize::try_from(header.body_size).ok();
                    incoming.properties = header.properties;
                });
            }
            AMQPFrame::Body(number, part) => {
                self.content(id, number, |incoming| incoming.body.extend(part));
            }
            AMQPFrame::Heartbeat | AMQPFrame::InvalidHeartbeat(_) => {}
        }
    }

    fn is_open(&self, id: u64, number: u16) -> bool {
        self.state().channel(id, number).is_some_and(|channel| !channel.is_closing)
    }

    fn method(&self, id: u64, number: u16, method: AMQPClass) -> Result<(), Refused> {
        let mut state = self.state();
        match method {
            AMQPClass::Basic(basic::AMQPMethod::Publish(publish)) => {
                if let Some(connection) = state.connections.get_mut(&id) {
                    connection.publishes = true;
                }
                if let Some(channel) = state.channel(id, number) {
                    let (properties, body) = (basic::AMQPProperties::default(), Vec::new());
                    channel.incoming = Some(Incoming { publish, properties, body, size: None });
                }
                Ok(())
            }
            AMQPClass::Basic(method) => state.basic_method(id, number, method),
            AMQPClass::Queue(method) => state.queue_method(id, number, method),
            AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)) => {
                state.declare_exchange(id, number, &declare)
            }
            AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)) => {
                state.exchanges.remove(delete.exchange.as_str());
                let ok = exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {});
                state.reply(id, |out| write_method(out, number, AMQPClass::Exchange(ok)));
                Ok(())
            }
            AMQPClass::Confirm(confirm::AMQPMethod::Select(_)) => {
                if let Some(channel) = state.channel(id, number) {
                    channel.published.get_or_insert(0);
                }
                let ok = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
                state.reply(id, |out| write_method(out, number, AMQPClass::Confirm(ok)));
                Ok(())
            }
            other => unreachable!("the simulated broker does not know {other:?}"),
        }
    }

    /// Adds content to the message that is being published, and publishes it once it is complete.
    fn content(&self, id: u64, number: u16, add: impl FnOnce(&mut Incoming)) {
        let (incoming, confirmed) = {
            let mut state = self.state();
            let Some(channel) = state.channel(id, number) else { return };
            let Some(incoming) = &mut channel.incoming else { return };
            add(incoming);
            if incoming.size.is_none_or(|size| incoming.body.len() < size) {
                return;
            }
            let Some(incoming) = channel.incoming.take() else { return };
            if let Some(published) = &mut channel.published {
                *published += 1;
            }
            (incoming, channel.published)
        };
        let Incoming { publish, properties, body, .. } = incoming;
        let (exchange, key) = (publish.exchange.as_str(), publish.routing_key.as_str());
        let routed = self.enqueue(exchange, key, properties.clone(), body.as_slice().into());
        let mut state = self.state();
        match routed {
            Some((queue, message)) => {
                state.witness.published(&queue, &message);
                drop(state);
                if let Some(sequence) = confirmed {
                    self.confirm((id, number), sequence, &queue, message);
                }
            }
            None => state.reply(id, |out| {
                if publish.mandatory {
                    let returned = basic::Return {
                        reply_code: NO_ROUTE,
                        reply_text: "NO_ROUTE".into(),
                        exchange: publish.exchange.clone(),
                        routing_key: publish.routing_key.clone(),
                    };
                    write_basic(out, number, basic::AMQPMethod::Return(returned));
                    write_content(out, number, properties, &body);
                }
                if let Some(delivery_tag) = confirmed {
                    let ack = basic::Ack { delivery_tag, multiple: false };
                    write_basic(out, number, basic::AMQPMethod::Ack(ack));
                }
            }),
        }
    }
}

impl State {
    pub(super) fn channel(&mut self, id: u64, number: u16) -> Option<&mut Channel> {
        self.connections.get_mut(&id)?.channels.get_mut(&number)
    }

    pub(super) fn reply(&mut self, id: u64, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(connection) = self.connections.get_mut(&id) {
            write(&mut connection.out);
        }
    }

    pub(super) fn reply_basic(&mut self, id: u64, number: u16, method: basic::AMQPMethod) {
        self.reply(id, |out| write_basic(out, number, method));
    }

    fn start(&mut self, id: u64) {
        let yes = |names: &[&str]| {
            let mut table = FieldTable::default();
            for name in names {
                table.insert((*name).into(), AMQPValue::Boolean(true));
            }
            table
        };
        let capabilities = yes(&[
            "publisher_confirms",
            "basic.nack",
            "consumer_cancel_notify",
            "connection.blocked",
        ]);
        let mut server_properties = FieldTable::default();
        server_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        let start = connection::AMQPMethod::Start(connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties,
            mechanisms: "PLAIN".into(),
            locales: "en_US".into(),
        });
        self.reply(id, |out| write_method(out, 0, AMQPClass::Connection(start)));
    }

    fn connection_method(&mut self, id: u64, method: connection::AMQPMethod) {
        use connection::AMQPMethod::{Close, CloseOk, Open, OpenOk, StartOk, Tune, TuneOk};
        let reply = match method {
            StartOk(_) => {
                Tune(connection::Tune { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: 0 })
            }
            Open(_) => OpenOk(connection::OpenOk {}),
            Close(_) => CloseOk(connection::CloseOk {}),
            TuneOk(_) => return,
            other => unreachable!("the simulated broker does not know {other:?}"),
        };
        let is_end = matches!(reply, CloseOk(_));
        self.reply(id, |out| write_method(out, 0, AMQPClass::Connection(reply)));
        if let Some(connection) = self.connections.get_mut(&id).filter(|_| is_end) {
            connection.finish(End::Closed);
        }
    }

    fn channel_method(&mut self, id: u64, number: u16, method: channel::AMQPMethod) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let reply = match method {
            channel::AMQPMethod::Open(_) => {
                connection.channels.insert(number, Channel::default());
                channel::AMQPMethod::OpenOk(channel::OpenOk {})
            }
            channel::AMQPMethod::Close(_) => {
                if let Some(closed) = connection.channels.remove(&number) {
                    self.return_channel(id, number, closed);
                }
                channel::AMQPMethod::CloseOk(channel::CloseOk {})
            }
            channel::AMQPMethod::CloseOk(_) => {
                connection.channels.remove(&number);
                return;
            }
            other => unreachable!("the simulated broker does not know {other:?}"),
        };
        self.reply(id, |out| write_channel(out, number, reply));
    }

    /// Closes a channel because of a refusal.
    fn refuse(&mut self, id: u64, number: u16, (code, text, method): Refused) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let closed = Channel { is_closing: true, ..Channel::default() };
        let close = channel::AMQPMethod::Close(channel::Close {
            reply_code: code,
            reply_text: text.as_str().into(),
            class_id: method.0,
            method_id: method.1,
        });
        write_channel(&mut connection.out, number, close);
        if let Some(refused) = connection.channels.insert(number, closed) {
            self.return_channel(id, number, refused);
        }
    }

    fn declare_exchange(
        &mut self,
        id: u64,
        number: u16,
        declare: &exchange::Declare,
    ) -> Result<(), Refused> {
        let name = declare.exchange.as_str();
        if declare.passive && !self.exchanges.contains(name) {
            return Err((NOT_FOUND, format!("NOT_FOUND - no exchange '{name}'"), (40, 10)));
        }
        self.exchanges.insert(name.to_owned());
        let ok = exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {});
        self.reply(id, |out| write_method(out, number, AMQPClass::Exchange(ok)));
        Ok(())
    }

    fn queue_method(
        &mut self,
        id: u64,
        number: u16,
        method: queue::AMQPMethod,
    ) -> Result<(), Refused> {
        let reply = match method {
            queue::AMQPMethod::Declare(declare) => {
                let name = declare.queue.as_str();
                if declare.passive && !self.queues.contains_key(name) {
                    return Err((NOT_FOUND, format!("NOT_FOUND - no queue '{name}'"), (50, 10)));
                }
                let queue = self
                    .queues
                    .entry(name.to_owned())
                    .or_insert_with(|| Queue::declared(&declare.arguments));
                queue::AMQPMethod::DeclareOk(queue::DeclareOk {
                    queue: declare.queue.clone(),
                    message_count: u32::try_from(queue.ready.len()).unwrap_or(u32::MAX),
                    consumer_count: u32::try_from(queue.consumers()).unwrap_or(u32::MAX),
                })
            }
            queue::AMQPMethod::Bind(bind) => {
                let from = (bind.exchange.to_string(), bind.routing_key.to_string());
                self.bindings.insert(from, bind.queue.to_string());
                queue::AMQPMethod::BindOk(queue::BindOk {})
            }
            queue::AMQPMethod::Delete(delete) => {
                self.queues.remove(delete.queue.as_str());
                queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count: 0 })
            }
            other => unreachable!("the simulated broker does not know {other:?}"),
        };
        self.reply(id, |out| write_method(out, number, AMQPClass::Queue(reply)));
        Ok(())
    }
}
