//! Messages: bodies and properties.

use bytes::Bytes;
use fetchline_queue::lapin::BasicProperties;
use fetchline_queue::lapin::types::{AMQPValue, FieldTable, LongString};
use fetchline_queue::{Draft, FetchRequest, Message, Task, is_padding, list_lines};
use proptest::prelude::*;

use crate::input;

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "-0",
    "1e999",
    "12345678901234567890",
    "\"url\":",
    "\"method\":\"POST\"",
    "\"headers\":",
    "\"body\":",
    "\"category\":",
    "\"run\":",
    "\"revalidate\":true",
    "\"not_before\":",
    "\"priority\":9",
    "\"X-Empty\":\"\"",
    "\"Host\":\"a\"",
    "\"Cookie\":[\"a\",\"b\"]",
    "\\ud800",
    "\\u0000",
    "\\n",
    "\u{feff}",
    "\r\n",
    "https://shop.example/",
    "http://[::1]:1/",
    "<",
    ">",
    "'",
    "\u{200b}",
    " ",
    "#",
    "é",
];

/// Header fields with values from the input.
fn properties(input: &[u8]) -> BasicProperties {
    const NAMES: [&str; 8] = [
        "x-run",
        "x-part",
        "x-attempt",
        "x-parked",
        "x-parked-for",
        "x-delivery-count",
        "x-failed-at",
        "traceparent",
    ];
    let mut headers = FieldTable::default();
    for (name, part) in NAMES.into_iter().zip(input.chunks(7)) {
        let text = || AMQPValue::LongString(LongString::from(part.to_vec()));
        let value = match part.first().copied().unwrap_or_default() % 5 {
            0 => AMQPValue::LongLongInt(
                part.iter().fold(0, |sum, byte| sum * 256 + i64::from(*byte)),
            ),
            1 => AMQPValue::Boolean(part.len() > 3),
            2 => AMQPValue::Void,
            _ => text(),
        };
        headers.insert(name.into(), value);
    }
    BasicProperties::default().with_headers(headers)
}

fn check_request(request: &FetchRequest) -> Result<(), TestCaseError> {
    // A request of another service is sent as it is, or refused.
    if let Ok(draft) = Draft::request(request, "fuzz", Some("7")) {
        prop_assert_eq!(draft.routing_key(), "urls");
    }
    prop_assert!(request.address.as_str().starts_with("http"));
    Ok(())
}

#[test]
fn any_message_is_a_task_or_is_refused_with_a_reason() -> anyhow::Result<()> {
    input::check("tests/fuzz/corpus/messages", PIECES, |input| {
        let data = Bytes::copy_from_slice(input);
        for properties in [BasicProperties::default(), properties(input)] {
            match Message::read(&properties, &data) {
                Ok(Message::Task(task)) => {
                    prop_assert!(task.attempt >= 1);
                    check_request(&task.request)?;
                    let again = Task::read(&properties, &data).unwrap();
                    prop_assert_eq!(&again.request, &task.request);
                    prop_assert_eq!(again.quarantine_key(), task.quarantine_key());
                }
                Ok(Message::PartReport(_)) => {}
                Err(error) => {
                    let shown = error.to_string();
                    prop_assert!(!shown.is_empty() && shown.len() < 2_000, "{} bytes", shown.len());
                }
            }
        }
        Ok(())
    })
}

#[test]
fn a_pasted_list_loses_nothing_but_blank_lines_comments_and_brackets() -> anyhow::Result<()> {
    input::check("tests/fuzz/corpus/messages", PIECES, |input| {
        let data = Bytes::copy_from_slice(input);
        let Ok(lines) = list_lines(&data) else { return Ok(()) };
        let mut rest = std::str::from_utf8(input).unwrap();
        let mut left_out = String::new();
        for line in &lines {
            let line = std::str::from_utf8(&line.text).unwrap();
            let (before, behind) = loop {
                let (before, behind) = rest.split_once(line).unwrap();
                // The same text may stand in a comment before.
                let begins = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
                if !is_comment(&before[begins..]) {
                    break (before, behind);
                }
                let end = behind.find(['\n', '\r']).unwrap();
                rest = &behind[end..];
            };
            left_out.push_str(before);
            rest = behind;
        }
        left_out.push_str(rest);
        for line in left_out.split(['\n', '\r']) {
            let is_empty = bare(line).chars().all(|c| matches!(c, ',' | '[' | ']'));
            prop_assert!(is_empty || is_comment(line), "{:?} is lost", line);
        }
        Ok(())
    })
}

fn bare(line: &str) -> &str {
    line.trim_matches(is_padding)
}

fn is_comment(line: &str) -> bool {
    bare(line).starts_with('#')
}
