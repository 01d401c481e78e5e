//! The dates of sitemaps (W3C profile of ISO 8601) and of feeds (RFC 3339, RFC 2822).

use time::format_description::well_known::Rfc2822;
use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

/// Parses a date; `None` if it is not one. A date without a time means its last moment, since the
/// page may have changed at any time of that day, month or year. A time without a zone is UTC.
pub(super) fn parse(text: &str) -> Option<OffsetDateTime> {
    let text = text.trim();
    parse_w3c(text).or_else(|| OffsetDateTime::parse(text, &Rfc2822).ok())
}

fn parse_w3c(text: &str) -> Option<OffsetDateTime> {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(text[at + 1..].trim_start())),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4)?;
    // An absent part is no error, and a wrong one is.
    let mut part = || parts.next().map_or(Some(None), |part| number(part, 2).map(Some));
    let (month, day) = (part()?, part()?);
    if parts.next().is_some() {
        return None;
    }
    let first = date_of(year, month.unwrap_or(1), day.unwrap_or(1))?;
    if let Some(time) = time {
        day?;
        return parse_time(first, time);
    }
    let next = match (month, day) {
        (_, Some(_)) => first.next_day()?,
        (Some(12), None) | (None, None) => date_of(year + 1, 1, 1)?,
        (Some(month), None) => date_of(year, month + 1, 1)?,
    };
    Some(next.midnight().assume_utc() - Duration::SECOND)
}

fn date_of(year: u16, month: u16, day: u16) -> Option<Date> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()
}

/// `hh:mm`, optionally with seconds, a fraction and a zone.
fn parse_time(date: Date, text: &str) -> Option<OffsetDateTime> {
    let zone_at = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = (text[..zone_at].trim_end(), &text[zone_at..]);
    let mut parts = clock.split(':');
    let byte = |part: Option<&str>| u8::try_from(number(part?, 2)?).ok();
    let (hour, minute) = (byte(parts.next())?, byte(parts.next())?);
    // A fraction of a second decides nothing here.
    let second = parts.next().map(|part| part.split(['.', ',']).next());
    let second = second.map_or(Some(0), byte)?.min(59);
    let time = Time::from_hms(hour, minute, second).ok().filter(|_| parts.next().is_none())?;
    Some(date.with_time(time).assume_offset(parse_zone(zone)?))
}

fn parse_zone(zone: &str) -> Option<UtcOffset> {
    let digits: String = zone.chars().skip(1).filter(|character| *character != ':').collect();
    let sign = match zone.chars().next() {
        None | Some('Z' | 'z') => return digits.is_empty().then_some(UtcOffset::UTC),
        Some('-') => -1,
        Some(_) => 1,
    };
    let hours = i8::try_from(number(digits.get(..2)?, 2)?).ok()?;
    let minutes = match digits.get(2..)? {
        "" => 0,
        minutes => i8::try_from(number(minutes, 2)?).ok()?,
    };
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<u16> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn every_form_of_a_date_is_read_and_a_shorter_one_means_its_end() {
        for (text, expected) in [
            ("2026-03-01T11:30:00Z", datetime!(2026-03-01 11:30 UTC)),
            ("2026-03-01T11:30:59.123456789+01:30", datetime!(2026-03-01 11:30:59 +01:30)),
            ("2026-03-01T11:30-0500", datetime!(2026-03-01 11:30 -05:00)),
            (" 2026-03-01t11:30:07z\n", datetime!(2026-03-01 11:30:07 UTC)),
            ("2026-03-01 11:30:00", datetime!(2026-03-01 11:30 UTC)),
            ("2026-03-01 11:30:00 +0100", datetime!(2026-03-01 11:30 +01)),
            ("2026-03-01T11:30:00+01", datetime!(2026-03-01 11:30 +01)),
            ("2026-02-28", datetime!(2026-02-28 23:59:59 UTC)),
            ("2028-02", datetime!(2028-02-29 23:59:59 UTC)),
            ("2026-12", datetime!(2026-12-31 23:59:59 UTC)),
            ("2026", datetime!(2026-12-31 23:59:59 UTC)),
            ("Sun, 01 Mar 2026 11:30:00 GMT", datetime!(2026-03-01 11:30 UTC)),
            ("01 Mar 2026 11:30:00 -0500", datetime!(2026-03-01 11:30 -05:00)),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_unknown() {
        for text in [
            "",
            "yesterday",
            "2026-02-30",
            "2026-13",
            "2026-3-1",
            "2026-03T11:30Z",
            "2026-03-01T25:00Z",
            "2026-03-01T11Z",
            "2026-03-01T11:30+9x",
            "2026-03-01T11:30:00:00Z",
            "01/03/2026",
            "1772364600",
            "2026-03-01-04",
            "2026-0\u{e9}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
