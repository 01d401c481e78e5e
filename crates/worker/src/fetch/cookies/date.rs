//! Dates of cookies, of which servers send many forms (RFC 6265, 5.1.1).

use time::{Date, Month, OffsetDateTime, Time};

const MONTHS: [(&[u8], Month); 12] = [
    (b"jan", Month::January),
    (b"feb", Month::February),
    (b"mar", Month::March),
    (b"apr", Month::April),
    (b"may", Month::May),
    (b"jun", Month::June),
    (b"jul", Month::July),
    (b"aug", Month::August),
    (b"sep", Month::September),
    (b"oct", Month::October),
    (b"nov", Month::November),
    (b"dec", Month::December),
];

/// Reads a date: the first parts that look like a time, a day, a month and a year, in any order.
pub(super) fn parse(text: &[u8]) -> Option<OffsetDateTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for part in text.split(|byte| is_delimiter(*byte)).filter(|part| !part.is_empty()) {
        if time.is_none()
            && let Some(found) = time_of(part)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = number(part, 1, 2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_of(part)
        {
            month = Some(found);
        } else if year.is_none() {
            year = number(part, 2, 4);
        }
    }
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year if year < 1601 => return None,
        year => year,
    };
    let (hour, minute, second) = time?;
    let date = Date::from_calendar_date(i32::from(year), month?, u8::try_from(day?).ok()?).ok()?;
    Some(date.with_time(Time::from_hms(hour, minute, second).ok()?).assume_utc())
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x2f | 0x3b..=0x40 | 0x5b..=0x60 | 0x7b..=0x7e)
}

/// The number at the start of a part, if it has this many digits. Other text may follow.
fn number(part: &[u8], least: usize, most: usize) -> Option<u16> {
    let digits = part.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(least..=most).contains(&digits) {
        return None;
    }
    std::str::from_utf8(&part[..digits]).ok()?.parse().ok()
}

fn month_of(part: &[u8]) -> Option<Month> {
    let name = part.get(..3)?;
    MONTHS.iter().find(|(own, _)| name.eq_ignore_ascii_case(own)).map(|(_, month)| *month)
}

fn time_of(part: &[u8]) -> Option<(u8, u8, u8)> {
    let mut fields = part.splitn(3, |byte| *byte == b':');
    let mut whole = || {
        let field = fields.next()?;
        let value = number(field, 1, 2)?;
        Some((u8::try_from(value).ok()?, field.iter().all(u8::is_ascii_digit)))
    };
    let ((hour, hour_ends), (minute, minute_ends)) = (whole()?, whole()?);
    let (second, _) = whole()?;
    (hour_ends && minute_ends).then_some((hour, minute, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_servers_send_is_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "6 november 1994 8:49:37",
            "1994/nov/6 08:49:37Z",
            "08:49:37 06 Nov 1994 +0000",
        ] {
            let read = parse(text.as_bytes()).map(OffsetDateTime::unix_timestamp);
            assert_eq!(read, Some(784_111_777), "{text}");
        }
        assert_eq!(parse(b"Thu, 01-Jan-1970 00:00:00 GMT").map(|at| at.unix_timestamp()), Some(0));
        assert_eq!(parse(b"01 Jan 38 00:00:00").map(|at| at.year()), Some(2038));
    }

    #[test]
    fn other_texts_are_no_dates() {
        for text in [
            "",
            "0",
            "session",
            "06 Nov 1994",
            "31 Feb 2030 00:00:00 GMT",
            "06 Nov 1994 24:00:00 GMT",
            "06 Nov 1994 08:49",
            "06 Nov 1600 08:49:37",
            "Sun, 06 11 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
