//! A chart of prices over time in one line of text.

use fetchline_store::PricePoint;
use rust_decimal::prelude::ToPrimitive;
use time::OffsetDateTime;

use crate::money;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTH: u32 = 60;

/// Draws the prices in the newest currency, from the first one to `until`. Returns `None` if there
/// are fewer than two.
pub(crate) fn draw(history: &[PricePoint], until: OffsetDateTime) -> Option<String> {
    let currency = history.last()?.currency.as_deref();
    let prices: Vec<&PricePoint> =
        history.iter().filter(|entry| entry.currency.as_deref() == currency).collect();
    let (lowest, highest) = (
        prices.iter().min_by_key(|entry| entry.price)?.price,
        prices.iter().max_by_key(|entry| entry.price)?.price,
    );
    if prices.len() < 2 {
        return None;
    }
    let start = prices[0].seen_at;
    let step = (until - start) / WIDTH;
    let range = (highest - lowest).to_f64().filter(|range| *range > 0.0).unwrap_or(1.0);
    let bars: String = (1..=WIDTH)
        .map(|column| {
            // The price at the end of this column.
            let at = if column == WIDTH { until } else { start + step * column };
            let entry = prices.iter().rev().find(|entry| entry.seen_at <= at).unwrap_or(&prices[0]);
            let height = (entry.price - lowest).to_f64().unwrap_or(0.0) / range;
            BARS[(height * (BARS.len() - 1) as f64).round() as usize]
        })
        .collect();
    let (lowest, highest) =
        (money::format_price(lowest, currency), money::format_with_currency(highest, currency));
    Some(format!("{bars}  {lowest} to {highest}, {} to {}", start.date(), until.date()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(day: u32, price: &str, currency: &str) -> PricePoint {
        PricePoint {
            price: price.parse().unwrap(),
            currency: Some(currency.to_owned()),
            seen_at: OffsetDateTime::UNIX_EPOCH + time::Duration::DAY * day,
            source: "page".to_owned(),
        }
    }

    #[test]
    fn a_price_lasts_until_the_next_one() {
        let history = [entry(0, "10", "EUR"), entry(30, "20", "EUR"), entry(45, "15", "EUR")];
        let chart = draw(&history, OffsetDateTime::UNIX_EPOCH + time::Duration::DAY * 60).unwrap();
        let bars: Vec<char> = chart.chars().take(60).collect();
        assert!(bars[..29].iter().all(|bar| *bar == '▁'), "{chart}");
        assert!(bars[29..44].iter().all(|bar| *bar == '█'), "{chart}");
        assert!(bars[44..].iter().all(|bar| *bar == '▅'), "{chart}");
        assert!(chart.ends_with("  10.00 to 20.00 EUR, 1970-01-01 to 1970-03-02"), "{chart}");
    }

    #[test]
    fn prices_in_another_currency_are_left_out() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::DAY * 9;
        assert_eq!(draw(&[], now), None);
        assert_eq!(draw(&[entry(0, "10", "EUR"), entry(3, "12", "USD")], now), None);
        assert!(
            draw(&[entry(0, "10", "EUR"), entry(3, "12", "USD"), entry(4, "13", "USD")], now)
                .unwrap()
                .contains("12.00")
        );
        // Several prices at one moment are valid.
        assert!(
            draw(&[entry(0, "10", "EUR"), entry(0, "10", "EUR")], OffsetDateTime::UNIX_EPOCH)
                .is_some()
        );
    }
}
