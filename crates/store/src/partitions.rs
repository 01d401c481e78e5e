//! The partitions of `fetches`: one for each week, by the time in the key.
//!
//! Before the weeks comes `undated`, for keys without a time; after them comes `later`. Weeks are
//! made ahead of time, while `later` is empty. A table without partitions works as well, except
//! that old rows are deleted one by one.

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor};
use time::macros::format_description;
use time::{Date, Duration, PrimitiveDateTime};

use crate::Error;

/// The first key of a week.
pub(crate) const FIRST_DATED: &str = "X'000000FF000000000000000000000000'";
/// How many weeks are ready before they begin.
const WEEKS_AHEAD: i64 = 8;
/// The number of rows in `later` that may be moved while workers wait, which takes a second.
const MAX_CROWD: u32 = 50_000;

/// What happens to the rows in `later`, if nobody has made the partition of their week in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// They are moved, however many there are. Workers wait.
    Moves,
    /// If there are many, they stay where they are, and no weeks are made.
    Stays,
}

/// A week of partitions. It begins on a Monday at 0:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Week(Date);

impl Week {
    fn of(time: PrimitiveDateTime) -> Self {
        let date = time.date();
        let days = i64::from(date.weekday().number_days_from_monday());
        Self(date.saturating_sub(Duration::days(days)))
    }

    fn after(self, weeks: i64) -> Self {
        Self(self.0.saturating_add(Duration::weeks(weeks)))
    }

    /// When the week is over.
    pub(crate) fn end(self) -> PrimitiveDateTime {
        self.after(1).0.midnight()
    }

    /// The name of the partition: `w20261130`.
    pub(crate) fn name(self) -> String {
        self.0.format(NAME).unwrap_or_default()
    }

    fn parse(name: &str) -> Option<Self> {
        Date::parse(name, NAME).ok().map(Self)
    }

    /// The first key after the week, in hexadecimal.
    pub(crate) fn end_key(self) -> String {
        let ms = self.end().assume_utc().unix_timestamp().max(0) * 1_000;
        format!("{ms:012x}{:020}", 0)
    }

    fn definition(self) -> String {
        format!("PARTITION {} VALUES LESS THAN (X'{}')", self.name(), self.end_key())
    }
}

const NAME: &[time::format_description::BorrowedFormatItem<'_>] =
    format_description!("w[year][month][day]");

/// The weeks that have a partition, in their order. None if the table has no partitions.
pub(crate) async fn weeks(connection: &mut MySqlConnection) -> Result<Vec<Week>, Error> {
    let names = names(connection).await?;
    Ok(names.iter().filter_map(|name| Week::parse(name)).collect())
}

/// Makes the partitions of the weeks to come. Returns whether they are there now.
pub(crate) async fn prepare(connection: &mut MySqlConnection, crowd: Crowd) -> Result<bool, Error> {
    const NOW: &str = "SELECT UTC_TIMESTAMP(6)";
    const IN_LATER: &str = "SELECT COUNT(*) FROM \
                            (SELECT 1 FROM fetches PARTITION (later) LIMIT ?) AS rows_in_later";
    /// `ER_SAME_NAME_PARTITION`, `ER_RANGE_NOT_INCREASING_ERROR`.
    const ALREADY_DONE: [u16; 2] = [1517, 1493];
    let failed = Error::database("cannot make the partitions of the next weeks");
    let names = names(connection).await?;
    if names.last().is_none_or(|name| name != "later") {
        return Ok(false);
    }
    let now = sqlx::query_scalar(NOW).fetch_one(&mut *connection).await.map_err(&failed)?;
    let this_week = Week::of(now);
    let last = names.iter().filter_map(|name| Week::parse(name)).max();
    let mut week = last.map_or(this_week, |last| last.after(1));
    let mut definitions = Vec::new();
    while week <= this_week.after(WEEKS_AHEAD) {
        definitions.push(week.definition());
        week = week.after(1);
    }
    if definitions.is_empty() {
        return Ok(true);
    }
    if crowd == Crowd::Stays {
        let count = sqlx::query_scalar(IN_LATER).bind(MAX_CROWD + 1).fetch_one(&mut *connection);
        let count: i64 = count.await.map_err(&failed)?;
        if count > i64::from(MAX_CROWD) {
            return Ok(false);
        }
    }
    let reorganize = format!(
        "ALTER TABLE fetches REORGANIZE PARTITION later INTO ({}, \
         PARTITION later VALUES LESS THAN (MAXVALUE))",
        definitions.join(", ")
    );
    match connection.execute(AssertSqlSafe(reorganize)).await.map_err(&failed) {
        // Another process was faster.
        Err(error) if error.number().is_some_and(|n| ALREADY_DONE.contains(&n)) => Ok(true),
        made => made.map(|_| true),
    }
}

async fn names(connection: &mut MySqlConnection) -> Result<Vec<String>, Error> {
    const NAMES: &str = "SELECT CAST(partition_name AS CHAR) FROM information_schema.partitions \
                         WHERE table_schema = DATABASE() AND table_name = 'fetches' \
                         AND partition_name IS NOT NULL ORDER BY partition_ordinal_position";
    let names = sqlx::query_scalar(NAMES).fetch_all(connection).await;
    names.map_err(Error::database("cannot read the partitions of fetches"))
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn a_week_begins_on_monday_and_its_name_says_when() {
        for time in [
            datetime!(2026-11-30 0:00),
            datetime!(2026-12-02 12:00),
            datetime!(2026-12-06 23:59:59),
        ] {
            assert_eq!(Week::of(time), Week(date!(2026 - 11 - 30)));
        }
        let week = Week::of(datetime!(2026-12-07 0:00));
        assert_eq!((week.name(), Week::parse("w20261207")), ("w20261207".to_owned(), Some(week)));
        for other in ["undated", "later", "w", "w2026120"] {
            assert_eq!(Week::parse(other), None, "{other}");
        }
        // 2026-12-14T00:00:00Z is 1797206400 s.
        assert_eq!(week.end_key(), format!("{:012x}{}", 1_797_206_400_000_u64, "0".repeat(20)));
    }
}
