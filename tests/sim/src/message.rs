//! A message of the broker.

use std::sync::Arc;

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::types::{AMQPValue, ShortString};
use tokio::time::Instant;

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number in this world.
    pub number: u64,
    /// What the client published.
    pub properties: AMQPProperties,
    /// What the client published.
    pub body: Arc<[u8]>,
    /// What the client published.
    pub routing_key: String,
    /// Where the client published it.
    pub exchange: String,
    /// How often it came back.
    pub returns: u32,
    /// How many of those count as `x-delivery-count`.
    pub delivery_count: u32,
    /// When it leaves its queue.
    pub expires_at: Option<Instant>,
}

impl Message {
    /// The property `message_id`.
    pub fn id(&self) -> Option<&str> {
        self.properties.message_id().as_ref().map(ShortString::as_str)
    }

    /// Its attempt, and how often it was deferred: what replaces a message has more of one of them.
    pub fn progress(&self) -> (i64, i64) {
        let number = |name: &str| match self.properties.headers().as_ref()?.inner().get(name)? {
            AMQPValue::LongLongInt(number) => Some(*number),
            AMQPValue::LongInt(number) => Some((*number).into()),
            _ => None,
        };
        (number("x-attempt").unwrap_or(1), number("x-parked").unwrap_or(0))
    }

    /// The properties of a delivery.
    pub fn delivered_properties(&self, offset: Option<u64>) -> AMQPProperties {
        if self.delivery_count == 0 && offset.is_none() {
            return self.properties.clone();
        }
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        let mut put = |name: &str, value: u64| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            headers.insert(name.into(), AMQPValue::LongLongInt(value));
        };
        if self.delivery_count > 0 {
            put("x-delivery-count", self.delivery_count.into());
        }
        offset.into_iter().for_each(|offset| put("x-stream-offset", offset));
        self.properties.clone().with_headers(headers)
    }
}
