//! Damaged properties: what the frame reader replaced is no longer what the publisher wrote.
//!
//! [`crate::connection`] repairs frames in place before the client library reads them. It leaves
//! the marks that this file defines and detects.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::not_a_task::NotATask;

/// Replaces a byte that is not UTF-8: the control character SUB, which ASCII has for this purpose.
pub(crate) const SUBSTITUTE: u8 = 0x1a;
/// The name of the header that replaces headers that were too large.
pub(crate) const HEADERS_TOO_LARGE: &str = "x-headers-too-large\u{1a}";

/// Checks that the properties are those that the publisher wrote.
pub(crate) fn check(properties: &BasicProperties) -> Result<(), NotATask> {
    let texts = [
        ("content_type", properties.content_type()),
        ("content_encoding", properties.content_encoding()),
        ("correlation_id", properties.correlation_id()),
        ("reply_to", properties.reply_to()),
        ("expiration", properties.expiration()),
        ("message_id", properties.message_id()),
        ("type", properties.kind()),
        ("user_id", properties.user_id()),
        ("app_id", properties.app_id()),
        ("cluster_id", properties.cluster_id()),
    ];
    for (name, text) in texts {
        if text.as_ref().is_some_and(|text| is_damaged(text.as_str())) {
            return Err(NotATask::NotUtf8(format!("the property {name}")));
        }
    }
    let Some(name) = properties.headers().as_ref().and_then(damaged_name) else { return Ok(()) };
    if name == HEADERS_TOO_LARGE {
        return Err(NotATask::HeadersTooLarge);
    }
    let shown = name.replace(char::is_control, "\u{fffd}");
    Err(NotATask::NotUtf8(format!("the name of the header `{shown}`")))
}

fn is_damaged(text: &str) -> bool {
    text.as_bytes().contains(&SUBSTITUTE)
}

/// The first damaged text in a table, at any depth.
fn damaged_name(table: &FieldTable) -> Option<&str> {
    table.inner().iter().find_map(|(name, value)| {
        let name = name.as_str();
        if is_damaged(name) { Some(name) } else { damaged_value(value) }
    })
}

fn damaged_value(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::ShortString(text) => Some(text.as_str()).filter(|text| is_damaged(text)),
        AMQPValue::FieldTable(table) => damaged_name(table),
        AMQPValue::FieldArray(array) => array.as_slice().iter().find_map(damaged_value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_damaged_text_is_named() {
        let bad = || "a\u{1a}b".into();
        let none = BasicProperties::default;
        for (properties, name) in [
            (none().with_content_type(bad()), "content_type"),
            (none().with_content_encoding(bad()), "content_encoding"),
            (none().with_correlation_id(bad()), "correlation_id"),
            (none().with_reply_to(bad()), "reply_to"),
            (none().with_expiration(bad()), "expiration"),
            (none().with_message_id(bad()), "message_id"),
            (none().with_type(bad()), "type"),
            (none().with_user_id(bad()), "user_id"),
            (none().with_app_id(bad()), "app_id"),
            (none().with_cluster_id(bad()), "cluster_id"),
        ] {
            let expected = NotATask::NotUtf8(format!("the property {name}"));
            assert_eq!(check(&properties), Err(expected));
        }
    }

    #[test]
    fn a_damaged_header_name_is_found_at_any_depth() {
        let none = BasicProperties::default;
        let table = |name: &str, value| FieldTable::from(BTreeMap::from([(name.into(), value)]));
        let deep = AMQPValue::FieldTable(table("a\u{1a}b", AMQPValue::Void));
        for headers in [
            table("a\u{1a}b", AMQPValue::Void),
            table("outer", deep.clone()),
            table("outer", AMQPValue::FieldArray(vec![AMQPValue::Void, deep].into())),
            table("outer", AMQPValue::ShortString("a\u{1a}b".into())),
        ] {
            let expected = NotATask::NotUtf8("the name of the header `a\u{fffd}b`".to_owned());
            assert_eq!(check(&none().with_headers(headers)), Err(expected));
        }
        let dropped = none().with_headers(table(HEADERS_TOO_LARGE, AMQPValue::Void));
        assert_eq!(check(&dropped), Err(NotATask::HeadersTooLarge));
        // A long string may hold any bytes.
        let text = table("x-note", AMQPValue::LongString(vec![0xff, 0x1a].into()));
        assert_eq!(check(&none().with_headers(text)), Ok(()));
    }
}
