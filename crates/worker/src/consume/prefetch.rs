//! How many messages a worker holds: as many as keep its fetches busy, and no more than there is memory for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use fetchline_queue::MAX_MESSAGE_BYTES;

use crate::budget::{Budget, MessageMemory};

/// The share of the memory for bodies that messages may take: one of so many parts.
const SHARE: usize = 4;
/// A change of the prefetch costs a new consumer, and where it becomes less, what waits goes back to the queue. So it is
/// made where it is by this factor.
const WORTH_IT: usize = 2;
/// So many messages tell the size of the others.
const SAMPLE: usize = 8;
/// The mean size is that of about so many messages.
const MEMORY: usize = 64;

/// The prefetch as it is wanted.
pub(crate) struct Prefetch {
    /// How many messages are held at which concurrency.
    by_concurrency: Box<dyn Fn(usize) -> u16 + Send + Sync>,
    budget: Budget,
    /// What messages may take, in bytes.
    most: usize,
    /// Bytes of the messages that are held.
    held: Arc<AtomicUsize>,
    /// The mean size of a message of late, in bytes.
    mean: AtomicUsize,
    /// Messages that have come so far, as far as the size is concerned.
    seen: AtomicUsize,
}

impl Prefetch {
    pub(crate) fn new(by_concurrency: impl Fn(usize) -> u16 + Send + Sync + 'static, budget: Budget) -> Self {
        let most = budget.used().1 / SHARE;
        let (held, mean, seen) = (Arc::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        Self { by_concurrency: Box::new(by_concurrency), budget, most, held, mean, seen }
    }

    /// What the concurrency asks for.
    pub(crate) fn of_concurrency(&self, concurrency: usize) -> u16 {
        (self.by_concurrency)(concurrency)
    }

    /// The same, within the memory that there is for messages of their present size.
    pub(crate) fn wanted(&self, concurrency: usize) -> u16 {
        let fitting = self.most / self.mean.load(Relaxed).max(1);
        self.of_concurrency(concurrency).min(u16::try_from(fitting).unwrap_or(u16::MAX)).max(1)
    }

    /// How many messages to look at before the first are consumed, where so many are ready: so many as tell their size,
    /// unless all of them find room whatever it is.
    pub(crate) fn sample(&self, ready: usize) -> usize {
        let unknown = self.seen.load(Relaxed) == 0 && ready > self.most / MAX_MESSAGE_BYTES;
        if unknown { SAMPLE } else { 0 }
    }

    /// A message is so large.
    pub(crate) fn see(&self, bytes: usize) {
        // The first ones count in full.
        let before = self.seen.fetch_add(1, Relaxed).min(MEMORY - 1);
        let mean = self.mean.load(Relaxed);
        self.mean.store((mean * before + bytes).div_ceil(before + 1), Relaxed);
    }

    /// A message has come: it is charged to the memory for bodies, which have the less the more messages hold.
    pub(crate) fn charge(&self, bytes: usize) -> MessageMemory {
        self.see(bytes);
        self.budget.message(bytes, &self.held)
    }

    /// Whether another prefetch than `present` is worth a new consumer: messages take too much memory, or have become so
    /// small that far more fit.
    pub(crate) fn is_outdated(&self, present: u16, concurrency: usize) -> bool {
        let (present, wanted) = (usize::from(present), usize::from(self.wanted(concurrency)));
        let too_much = self.held.load(Relaxed) > self.most && wanted * WORTH_IT <= present;
        too_much || wanted >= present.saturating_mul(WORTH_IT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn prefetch() -> Prefetch {
        // Eight MiB for messages.
        Prefetch::new(|concurrency| 4 * u16::try_from(concurrency).unwrap(), Budget::new(32 * MIB, MIB))
    }

    #[test]
    fn small_messages_are_held_as_the_concurrency_asks() {
        let prefetch = prefetch();
        let held: Vec<_> = (0..400).map(|_| prefetch.charge(300)).collect();
        assert_eq!((prefetch.wanted(100), prefetch.is_outdated(400, 100)), (400, false));
        drop(held);
        assert_eq!(prefetch.held.load(Relaxed), 0);
    }

    #[test]
    fn where_many_wait_their_size_is_looked_at_before_they_are_held() {
        let prefetch = prefetch();
        assert_eq!((prefetch.sample(8), prefetch.sample(9)), (0, SAMPLE), "there is memory for eight of the largest");
        (0..SAMPLE).for_each(|_| prefetch.see(MIB));
        assert_eq!((prefetch.wanted(100), prefetch.sample(1_000)), (8, 0));
    }

    #[test]
    fn large_messages_are_held_as_far_as_there_is_memory() {
        let prefetch = prefetch();
        let small: Vec<_> = (0..100).map(|_| prefetch.charge(300)).collect();
        let mut held = Vec::new();
        while !prefetch.is_outdated(400, 100) {
            held.push(prefetch.charge(MIB));
        }
        assert!(held.len() <= 9, "{}", held.len());
        (0..500).for_each(|_| drop(prefetch.charge(MIB)));
        assert_eq!(prefetch.wanted(100), 8);
        assert!(!prefetch.is_outdated(8, 100));
        let bytes = held.len() * MIB + small.len() * 300;
        assert_eq!(prefetch.budget.used().0, bytes, "they are charged to the budget");
    }

    #[test]
    fn when_messages_are_small_again_more_are_held() {
        let prefetch = prefetch();
        (0..100).for_each(|_| drop(prefetch.charge(MIB)));
        assert!(!prefetch.is_outdated(8, 100));
        let outdated = (0..2_000).position(|_| {
            drop(prefetch.charge(300));
            prefetch.is_outdated(8, 100)
        });
        assert!(outdated.is_some_and(|messages| (10..200).contains(&messages)), "{outdated:?}");
    }

    #[test]
    fn one_message_is_held_whatever_its_size() {
        let prefetch = prefetch();
        let _held = prefetch.charge(100 * MIB);
        assert_eq!(prefetch.wanted(100), 1);
    }
}
