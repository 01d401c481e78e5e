//! Times as a report shows them.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

pub(super) type TimeFormat = &'static [BorrowedFormatItem<'static>];

pub(super) const DATE_TIME: TimeFormat =
    format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute]:[second]");
pub(super) const DATE: TimeFormat = format_description!("[day padding:none] [month repr:short]");
pub(super) const TIME: TimeFormat = format_description!("[hour]:[minute]:[second]");
pub(super) const HOUR_MINUTE: TimeFormat = format_description!("[hour]:[minute]");

pub(super) fn format_time(at: OffsetDateTime, format: TimeFormat) -> String {
    at.format(format).unwrap_or_default()
}
