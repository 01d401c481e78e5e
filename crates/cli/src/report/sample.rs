//! A sample row for the tests of reports.

use fetchline_store::ReportRow;
use time::OffsetDateTime;

pub(super) fn row(url: &str) -> ReportRow<'_> {
    ReportRow {
        url,
        outcome: "ok",
        status: Some(200),
        elapsed_ms: 15,
        fetched_at: OffsetDateTime::UNIX_EPOCH,
        bytes: 10,
        attempts: 1,
        error: None,
        product: None,
    }
}
