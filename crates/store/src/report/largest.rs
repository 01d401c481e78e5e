//! Counts by name in bounded memory: where there are too many names, the smallest counts are let go.

use std::collections::HashMap;

/// What is counted of a name.
pub(super) trait Count {
    /// Begins at nothing. So many rows at most may have been let go under this name before.
    fn begin(lacks: u64) -> Self;
    /// The rows that it counts.
    fn rows(&self) -> u64;
}

/// The largest counts. Rows come in any order of names, so a name with many of them is met early and stays; as long as there
/// were never twice as many names as are kept, all of them are here.
#[derive(Clone, Debug)]
pub(super) struct Largest<T> {
    at_least: usize,
    counts: HashMap<String, T>,
    lacks: u64,
}

impl<T: Count> Largest<T> {
    /// Keeps the largest `at_least`, and never more than twice as many.
    pub(super) fn new(at_least: usize) -> Self {
        Self { at_least, counts: HashMap::new(), lacks: 0 }
    }

    /// The count of a name. Those that are let go for it are handed to `let_go`.
    pub(super) fn of(&mut self, name: &str, let_go: impl FnMut(T)) -> &mut T {
        if self.counts.len() >= 2 * self.at_least && !self.counts.contains_key(name) {
            self.shrink(let_go);
        }
        let lacks = self.lacks;
        self.counts.entry(name.to_owned()).or_insert_with(|| T::begin(lacks))
    }

    /// What is kept, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.counts.iter().map(|(name, count)| (name.as_str(), count))
    }

    fn shrink(&mut self, mut let_go: impl FnMut(T)) {
        let mut counts: Vec<_> = self.counts.drain().collect();
        counts.select_nth_unstable_by_key(self.at_least, |(_, count)| std::cmp::Reverse(count.rows()));
        let small = counts.split_off(self.at_least);
        self.counts.extend(counts);
        // A name loses at most the largest of these each time.
        self.lacks += small.iter().map(|(_, count)| count.rows()).max().unwrap_or(0);
        small.into_iter().for_each(|(_, count)| let_go(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Rows(u64, u64);

    impl Count for Rows {
        fn begin(lacks: u64) -> Self {
            Self(0, lacks)
        }

        fn rows(&self) -> u64 {
            self.0
        }
    }

    fn counted<'a>(largest: &mut Largest<Rows>, names: impl Iterator<Item = &'a str>) -> u64 {
        let mut gone = 0;
        for name in names {
            largest.of(name, |rows| gone += rows.0).0 += 1;
        }
        gone
    }

    #[test]
    fn a_large_name_is_found_behind_many_small_ones() {
        let small: Vec<_> = (0..10_000).map(|name| name.to_string()).collect();
        let mut largest = Largest::new(10);
        let mut gone = counted(&mut largest, small.iter().map(String::as_str));
        gone += counted(&mut largest, std::iter::repeat_n("large", 500).chain(small.iter().map(String::as_str)));
        let kept: HashMap<_, _> = largest.iter().collect();
        assert!(kept.len() <= 20 && kept["large"].0 == 500, "{kept:?}");
        assert_eq!(gone + kept.values().map(|rows| rows.0).sum::<u64>(), 20_500);
    }

    #[test]
    fn what_a_count_may_lack_is_told() {
        // Names of all sizes in a mixed order, more than are kept.
        let names: Vec<_> = (1..5_000_u64).map(|turn| (turn * 7_919 % 4_999 % (1 + turn % 97)).to_string()).collect();
        let rows_of = |name: &str| names.iter().filter(|other| *other == name).count() as u64;
        let mut largest = Largest::new(10);
        counted(&mut largest, names.iter().map(String::as_str));
        for (name, Rows(rows, lacks)) in largest.iter() {
            assert!((*rows..=rows + lacks).contains(&rows_of(name)), "{name}: {rows}, {lacks}");
        }
        assert!(largest.iter().any(|(name, rows)| rows.0 < rows_of(name)), "{largest:?}");
        // And nothing, where there was room.
        let mut roomy = Largest::new(100);
        counted(&mut roomy, names.iter().map(String::as_str));
        assert!(roomy.iter().all(|(name, rows)| (rows.0, rows.1) == (rows_of(name), 0)), "{roomy:?}");
    }
}
