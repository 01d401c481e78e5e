//! The largest counts by name, in bounded memory.

use std::collections::HashMap;

/// A count of the rows with one name.
pub(super) trait Count {
    /// Starts at zero. At most `max_missing` rows with this name were dropped before.
    fn new(max_missing: u64) -> Self;
    /// The number of counted rows.
    fn rows(&self) -> u64;
}

/// The largest counts. Names come in any order, so a frequent name appears early and stays. All
/// names are here unless there were ever twice as many as the guaranteed number.
#[derive(Clone, Debug)]
pub(super) struct TopCounts<T> {
    guaranteed: usize,
    counts: HashMap<String, T>,
    max_missing: u64,
}

impl<T: Count> TopCounts<T> {
    /// Keeps the `guaranteed` largest counts, and at most twice as many.
    pub(super) fn new(guaranteed: usize) -> Self {
        Self { guaranteed, counts: HashMap::new(), max_missing: 0 }
    }

    /// The count of a name. Counts that are dropped to make room go to `on_drop`.
    pub(super) fn entry(&mut self, name: &str, on_drop: impl FnMut(T)) -> &mut T {
        if self.counts.len() >= 2 * self.guaranteed && !self.counts.contains_key(name) {
            self.shrink(on_drop);
        }
        let max_missing = self.max_missing;
        self.counts.entry(name.to_owned()).or_insert_with(|| T::new(max_missing))
    }

    /// The counts, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.counts.iter().map(|(name, count)| (name.as_str(), count))
    }

    fn shrink(&mut self, mut on_drop: impl FnMut(T)) {
        let mut counts: Vec<_> = self.counts.drain().collect();
        counts.select_nth_unstable_by_key(self.guaranteed, |(_, count)| {
            std::cmp::Reverse(count.rows())
        });
        let dropped = counts.split_off(self.guaranteed);
        self.counts.extend(counts);
        // A name loses at most the largest of these counts each time.
        self.max_missing += dropped.iter().map(|(_, count)| count.rows()).max().unwrap_or(0);
        dropped.into_iter().for_each(|(_, count)| on_drop(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Rows {
        rows: u64,
        max_missing: u64,
    }

    impl Count for Rows {
        fn new(max_missing: u64) -> Self {
            Self { rows: 0, max_missing }
        }

        fn rows(&self) -> u64 {
            self.rows
        }
    }

    /// Counts names, and returns the number of dropped rows.
    fn add<'a>(top: &mut TopCounts<Rows>, names: impl Iterator<Item = &'a str>) -> u64 {
        let mut dropped = 0;
        for name in names {
            top.entry(name, |count| dropped += count.rows).rows += 1;
        }
        dropped
    }

    #[test]
    fn a_frequent_name_is_found_behind_many_rare_ones() {
        let rare: Vec<_> = (0..10_000).map(|name| name.to_string()).collect();
        let mut top = TopCounts::new(10);
        let mut dropped = add(&mut top, rare.iter().map(String::as_str));
        let frequent = std::iter::repeat_n("frequent", 500);
        dropped += add(&mut top, frequent.chain(rare.iter().map(String::as_str)));
        let kept: HashMap<_, _> = top.iter().collect();
        assert!(kept.len() <= 20 && kept["frequent"].rows == 500, "{kept:?}");
        assert_eq!(dropped + kept.values().map(|count| count.rows).sum::<u64>(), 20_500);
    }

    #[test]
    fn a_count_knows_how_many_rows_it_may_miss() {
        // Names of all frequencies in a mixed order, more than are kept.
        let names: Vec<_> = (1..5_000_u64)
            .map(|number| (number * 7_919 % 4_999 % (1 + number % 97)).to_string())
            .collect();
        let rows_of = |name: &str| names.iter().filter(|other| *other == name).count() as u64;
        let mut top = TopCounts::new(10);
        add(&mut top, names.iter().map(String::as_str));
        for (name, count @ Rows { rows, max_missing }) in top.iter() {
            assert!((*rows..=rows + max_missing).contains(&rows_of(name)), "{name}: {count:?}");
        }
        assert!(top.iter().any(|(name, count)| count.rows < rows_of(name)), "{top:?}");
        // With enough room no row is missing.
        let mut roomy = TopCounts::new(100);
        add(&mut roomy, names.iter().map(String::as_str));
        let is_exact =
            |(name, count): (&str, &Rows)| count.rows == rows_of(name) && count.max_missing == 0;
        assert!(roomy.iter().all(is_exact), "{roomy:?}");
    }
}
