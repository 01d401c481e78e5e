//! A chart of prices over time that fits into one line.

use fetchline_store::PriceSeen;
use rust_decimal::prelude::ToPrimitive;
use time::OffsetDateTime;

use crate::money;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTH: u32 = 60;

/// The prices in the currency that the item has now, from the first one until then; `None` where there are not two.
pub(crate) fn of(history: &[PriceSeen], until: OffsetDateTime) -> Option<String> {
    let currency = history.last()?.currency.as_deref();
    let prices: Vec<&PriceSeen> = history.iter().filter(|seen| seen.currency.as_deref() == currency).collect();
    let (lowest, highest) =
        (prices.iter().min_by_key(|seen| seen.price)?.price, prices.iter().max_by_key(|seen| seen.price)?.price);
    if prices.len() < 2 {
        return None;
    }
    let begin = prices[0].seen_at;
    let step = (until - begin) / WIDTH;
    let range = (highest - lowest).to_f64().filter(|range| *range > 0.0).unwrap_or(1.0);
    let bars: String = (1..=WIDTH)
        .map(|column| {
            // What was the price at the end of this column.
            let at = if column == WIDTH { until } else { begin + step * column };
            let seen = prices.iter().rev().find(|seen| seen.seen_at <= at).unwrap_or(&prices[0]);
            let height = (seen.price - lowest).to_f64().unwrap_or(0.0) / range;
            BARS[(height * (BARS.len() - 1) as f64).round() as usize]
        })
        .collect();
    let (lowest, highest) = (money::shown(lowest, currency), money::with_currency(highest, currency));
    Some(format!("{bars}  {lowest} to {highest}, {} to {}", begin.date(), until.date()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(day: u32, price: &str, currency: &str) -> PriceSeen {
        PriceSeen {
            price: price.parse().unwrap(),
            currency: Some(currency.to_owned()),
            seen_at: OffsetDateTime::UNIX_EPOCH + time::Duration::DAY * day,
            source: "page".to_owned(),
        }
    }

    #[test]
    fn a_price_lasts_until_the_next_one() {
        let history = [seen(0, "10", "EUR"), seen(30, "20", "EUR"), seen(45, "15", "EUR")];
        let chart = of(&history, OffsetDateTime::UNIX_EPOCH + time::Duration::DAY * 60).unwrap();
        let bars: Vec<char> = chart.chars().take(60).collect();
        assert!(bars[..29].iter().all(|bar| *bar == '▁'), "{chart}");
        assert!(bars[29..44].iter().all(|bar| *bar == '█'), "{chart}");
        assert!(bars[44..].iter().all(|bar| *bar == '▅'), "{chart}");
        assert!(chart.ends_with("  10.00 to 20.00 EUR, 1970-01-01 to 1970-03-02"), "{chart}");
    }

    #[test]
    fn prices_in_another_currency_are_left_out() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::DAY * 9;
        assert_eq!(of(&[], now), None);
        assert_eq!(of(&[seen(0, "10", "EUR"), seen(3, "12", "USD")], now), None);
        assert!(
            of(&[seen(0, "10", "EUR"), seen(3, "12", "USD"), seen(4, "13", "USD")], now).unwrap().contains("12.00")
        );
        // Many at one moment are no reason to fail.
        assert!(of(&[seen(0, "10", "EUR"), seen(0, "10", "EUR")], OffsetDateTime::UNIX_EPOCH).is_some());
    }
}
