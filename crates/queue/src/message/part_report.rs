//! Part reports: with them a run knows when it is complete.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime, UtcOffset};

use super::name::is_name;
use super::not_a_task::NotATask;

/// How far a producer's clock may be ahead.
const MAX_CLOCK_SKEW: Duration = Duration::DAY;

/// A producer's report that a part of a run began, or how many tasks it has.
///
/// It may arrive twice and in any order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReport {
    /// The run.
    pub run: String,
    /// The part: one `produce`, resumed or not.
    pub part: String,
    /// How many tasks were published; `None` if the part has only begun.
    pub planned: Option<u64>,
    /// The time of the report by the producer's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

impl PartReport {
    pub(super) fn read(data: &[u8]) -> Result<Self, NotATask> {
        let invalid = |why: &str| NotATask::PartReport(why.to_owned());
        let mut report: Self =
            serde_json::from_slice(data).map_err(|error| invalid(&error.to_string()))?;
        // The database counts in signed integers.
        if report.planned.is_some_and(|planned| i64::try_from(planned).is_err()) {
            return Err(invalid("`planned` is too large"));
        }
        // The time may not exist in UTC. A report from the far future would stay the latest for
        // ever.
        let latest = OffsetDateTime::now_utc() + MAX_CLOCK_SKEW;
        report.at = report
            .at
            .checked_to_offset(UtcOffset::UTC)
            .filter(|at| at.year() >= 1970 && *at <= latest)
            .ok_or_else(|| invalid("`at` is before 1970 or in the future"))?;
        let is_valid = is_name(&report.run) && is_name(&report.part);
        if is_valid { Ok(report) } else { Err(NotATask::Run) }
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
    use bytes::Bytes;
    use lapin::BasicProperties;

    use super::*;
    use crate::Message;

    fn read(kind: &str, data: &[u8]) -> Result<Message, NotATask> {
        Message::read(
            &BasicProperties::default().with_type(kind.into()),
            &Bytes::copy_from_slice(data),
        )
    }

    fn report(planned: Option<u64>) -> PartReport {
        PartReport {
            run: "nightly".to_owned(),
            part: "p1".to_owned(),
            planned,
            at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_part_report_is_read_back() {
        for report in [report(None), report(Some(5_000))] {
            assert_eq!(read("part", &report.body()), Ok(Message::PartReport(report)));
        }
    }

    #[test]
    fn an_invalid_part_report_is_an_error_with_its_reason() {
        for (data, reason) in [
            ("https://a.example/", "not a valid part report"),
            (r#"{"run":"r","part":"p","at":"yesterday"}"#, "not a valid part report"),
            (r#"{"run":"","part":"p","at":"2026-01-01T00:00:00Z"}"#, "the name of a run"),
            (r#"{"run":"r","part":"p","at":"9999-12-31T23:59:59-23:00"}"#, "`at`"),
            (r#"{"run":"r","part":"p","at":"2999-01-01T00:00:00Z"}"#, "`at`"),
            (r#"{"run":"r","part":"p","at":"0000-01-01T00:00:00Z"}"#, "`at`"),
            (
                r#"{"run":"r","part":"p","planned":18446744073709551615,
                    "at":"2026-01-01T00:00:00Z"}"#,
                "`planned`",
            ),
        ] {
            let error = read("part", data.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{data}: {error}");
        }
        assert!(matches!(read("", b"https://a.example/"), Ok(Message::Task(_))));
    }

    #[test]
    fn a_part_report_with_a_damaged_property_is_an_error() {
        let properties =
            BasicProperties::default().with_type("part".into()).with_message_id("\u{1a}".into());
        let error = Message::read(&properties, &report(None).body().into());
        assert_eq!(error, Err(NotATask::NotUtf8("the property message_id".to_owned())));
    }
}
