//! Numbers as a report shows them.

use std::time::Duration;

use indicatif::HumanBytes;

use crate::table::format_duration;

/// Groups thousands by narrow no-break spaces.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A number that is a lower bound if `lacks` is above 0.
pub(super) fn at_least(rows: u64, lacks: u64) -> String {
    if lacks > 0 { format!("≥ {}", count(rows)) } else { count(rows) }
}

/// A fetch time; a dash if nothing was fetched.
pub(super) fn ms(ms: Option<u64>) -> String {
    match ms {
        None => "–".to_owned(),
        Some(ms) if ms < 1_000 => format!("{ms} ms"),
        Some(ms) if ms < 10_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        Some(ms) if ms < 120_000 => format!("{} s", ms / 1_000),
        Some(ms) => format_duration(Duration::from_millis(ms)),
    }
}

/// A time that is known to about a tenth: only two of its digits are shown.
pub(super) fn about_ms(approximate: Option<u64>) -> String {
    ms(approximate.map(|ms| {
        let unit = 10_u64.pow(ms.max(1).ilog10().saturating_sub(1));
        (ms + unit / 2) / unit * unit
    }))
}

/// A size. Two digits before the point need none after it.
pub(super) fn size(bytes: u64) -> String {
    let text = HumanBytes(bytes).to_string();
    match text.split_once('.') {
        Some((whole, rest)) if whole.len() > 1 => {
            let unit = rest.split_once(' ').map_or("", |(_, unit)| unit);
            format!("{whole} {unit}")
        }
        _ => text,
    }
}

/// A rate per second. A slow one is shown per minute or per hour.
pub(super) fn rate(per_second: f64) -> String {
    rate_beside(per_second, per_second)
}

/// A rate in the unit of `other`, which is shown beside it.
pub(super) fn rate_beside(per_second: f64, other: f64) -> String {
    let (seconds, unit) = match other {
        other if other >= 1.0 => (1.0, "s"),
        other if other >= 1.0 / 60.0 => (60.0, "min"),
        _ => (3_600.0, "h"),
    };
    match per_second * seconds {
        rate if rate >= 10.0 => format!("{}/{unit}", count(rate.round() as u64)),
        rate if rate > 0.0 => format!("{rate:.1}/{unit}"),
        _ => "0".to_owned(),
    }
}

/// A share in percent, for a width; 0 if the whole is 0.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 10_000.0 / whole as f64).round() / 100.0 }
}

/// A share as text. A few are not shown as none, and nearly all not as all.
pub(super) fn share(part: u64, whole: u64) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    match percent {
        percent if part > 0 && percent < 0.1 => "< 0.1 %".to_owned(),
        percent if part < whole && percent > 99.9 => "> 99.9 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 999, 1_000, 1_234_567].map(count);
        assert_eq!(texts, ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
    }

    #[test]
    fn a_few_are_not_none_and_nearly_all_are_not_all() {
        let shares = [(0, 0), (0, 10), (1, 10_000_000), (9_999_999, 10_000_000), (1, 3), (10, 10)];
        let texts = shares.map(|(part, whole)| share(part, whole));
        assert_eq!(texts, ["0.0 %", "0.0 %", "< 0.1 %", "> 99.9 %", "33.3 %", "100.0 %"]);
    }

    #[test]
    fn a_slow_rate_is_not_zero() {
        let texts = [0.0, 0.001, 0.1, 2.5, 12_345.6].map(rate);
        assert_eq!(texts, ["0", "3.6/h", "6.0/min", "2.5/s", "12\u{202f}346/s"]);
        assert_eq!(rate_beside(0.5, 1.0), "0.5/s");
    }

    #[test]
    fn an_approximate_time_has_two_digits() {
        let texts = [0, 7, 99, 151, 639, 1_535, 31_743, 180_000].map(|ms| about_ms(Some(ms)));
        assert_eq!(texts, ["0 ms", "7 ms", "99 ms", "150 ms", "640 ms", "1.5 s", "32 s", "3m"]);
        assert_eq!(
            (ms(None), ms(Some(999)), ms(Some(1_000))),
            ("–".into(), "999 ms".into(), "1.0 s".into())
        );
    }
}
