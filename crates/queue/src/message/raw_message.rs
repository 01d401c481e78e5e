//! A message as it was delivered.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;

use super::header;

/// A message as it was delivered: the original of the copies that may replace it.
#[derive(Clone, Debug)]
pub struct RawMessage {
    /// Its properties; boxed, since they are large and often moved.
    pub properties: Box<BasicProperties>,
    /// Its body. A task that is read from it shares this memory.
    pub body: Bytes,
}

impl RawMessage {
    /// The approximate memory of the message in bytes: its body and its headers.
    pub fn bytes(&self) -> usize {
        self.body.len() + header::bytes(&self.properties)
    }

    /// A header as text; `None` if it is missing or not text.
    pub fn header(&self, name: &str) -> Option<String> {
        header::text(&self.properties, name)
    }
}

impl From<Delivery> for RawMessage {
    fn from(delivery: Delivery) -> Self {
        Self { properties: Box::new(delivery.properties), body: Bytes::from(delivery.data) }
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::{AMQPValue, FieldTable};

    use super::*;

    #[test]
    fn the_memory_of_a_message_includes_its_headers_at_any_depth() {
        let text = || AMQPValue::LongString("x".repeat(10_000).into());
        let mut inner = FieldTable::default();
        inner.insert("a".into(), text());
        let mut headers = FieldTable::default();
        headers.insert("b".into(), AMQPValue::FieldTable(inner));
        headers.insert("c".into(), AMQPValue::FieldArray(vec![text(), AMQPValue::Void].into()));
        let properties = Box::new(BasicProperties::default().with_headers(headers));
        let bytes = RawMessage { properties, body: Bytes::from_static(&[0; 5_000]) }.bytes();
        assert!((25_000..26_000).contains(&bytes), "{bytes}");
    }
}
