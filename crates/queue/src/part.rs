//! Parts of runs: what a `produce` tells of itself, so that a run knows when it is done.

use bytes::Bytes;
use lapin::BasicProperties;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::task::is_name;
use crate::{NotATask, Task, header};

/// How far a producer's clock may be ahead.
const AHEAD: Duration = Duration::DAY;

/// What is told of a part of a run: that it began, or how many tasks it has.
///
/// It is safe to receive twice, and in any order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The run.
    pub run: String,
    /// The part: one `produce`, resumed or not.
    pub part: String,
    /// How many tasks were published; `None` while it goes on.
    pub planned: Option<u64>,
    /// When it was told, by the producer's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// What a message may be.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every message is a task; a box for each would cost more")]
pub enum Message {
    /// A task.
    Task(Task),
    /// What is told of a part of a run.
    Part(Part),
}

impl Message {
    /// Reads what the broker delivered, from whichever queue: a person may have moved it.
    pub fn read(properties: &BasicProperties, data: &Bytes) -> Result<Self, NotATask> {
        match properties.kind() {
            Some(kind) if kind.as_str() == header::TYPE_PART => {
                header::undamaged(properties)?;
                Part::read(data).map(Self::Part)
            }
            _ => Task::read(properties, data).map(Self::Task),
        }
    }
}

impl Part {
    fn read(data: &[u8]) -> Result<Self, NotATask> {
        let mut part: Self = serde_json::from_slice(data).map_err(|error| NotATask::Part(error.to_string()))?;
        // The database counts with a sign.
        if part.planned.is_some_and(|planned| i64::try_from(planned).is_err()) {
            return Err(NotATask::Part("nobody plans so many tasks".to_owned()));
        }
        // In UTC there may be no such time. And what is told from far ahead would count for ever, as the latest.
        let latest = OffsetDateTime::now_utc() + AHEAD;
        let at = part.at.checked_to_offset(UtcOffset::UTC).filter(|at| at.year() >= 1970 && *at <= latest);
        part.at = at.ok_or_else(|| NotATask::Part("nobody lives at that time".to_owned()))?;
        if is_name(&part.run) && is_name(&part.part) { Ok(part) } else { Err(NotATask::Run) }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn message_id(&self) -> String {
        format!("{}-{}", self.part, if self.planned.is_some() { "ended" } else { "began" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, data: &[u8]) -> Result<Message, NotATask> {
        Message::read(&BasicProperties::default().with_type(kind.into()), &Bytes::copy_from_slice(data))
    }

    #[test]
    fn what_is_told_of_a_part_is_read_back() {
        for planned in [None, Some(5_000)] {
            let part =
                Part { run: "nightly".to_owned(), part: "p1".to_owned(), planned, at: OffsetDateTime::UNIX_EPOCH };
            let Ok(Message::Part(again)) = read("part", &part.body()) else { panic!("{part:?}") };
            assert_eq!(again, part);
        }
    }

    #[test]
    fn what_tells_of_no_part_says_why() {
        for (data, reason) in [
            ("https://a.example/", "no part of a run"),
            (r#"{"run":"r","part":"p","at":"yesterday"}"#, "no part of a run"),
            (r#"{"run":"","part":"p","at":"2026-01-01T00:00:00Z"}"#, "the name of a run"),
            (r#"{"run":"r","part":"p","at":"9999-12-31T23:59:59-23:00"}"#, "at that time"),
            (r#"{"run":"r","part":"p","at":"2999-01-01T00:00:00Z"}"#, "at that time"),
            (r#"{"run":"r","part":"p","at":"0000-01-01T00:00:00Z"}"#, "at that time"),
            (r#"{"run":"r","part":"p","planned":18446744073709551615,"at":"2026-01-01T00:00:00Z"}"#, "so many"),
        ] {
            let error = read("part", data.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{data}: {error}");
        }
        assert!(matches!(read("", b"https://a.example/"), Ok(Message::Task(_))));
    }

    #[test]
    fn a_part_report_with_a_damaged_property_is_not_believed() {
        let part =
            Part { run: "nightly".to_owned(), part: "p1".to_owned(), planned: None, at: OffsetDateTime::UNIX_EPOCH };
        let properties = BasicProperties::default().with_type("part".into()).with_message_id("\u{1a}".into());
        let error = Message::read(&properties, &part.body().into()).unwrap_err();
        assert_eq!(error, NotATask::NotUtf8("the property message_id".to_owned()));
    }
}
