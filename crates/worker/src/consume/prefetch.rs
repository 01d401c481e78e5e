//! How many messages a worker holds: enough to keep its fetches busy, as far as memory allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use fetchline_queue::MAX_MESSAGE_BYTES;

use crate::memory_budget::{Budget, MessageReservation};

/// Messages may use `1 / SHARE` of the memory that the budget hands out.
const SHARE: usize = 4;
/// The prefetch changes only by at least this factor: a change needs a new consumer, and a smaller
/// prefetch requeues waiting tasks.
const MIN_FACTOR: usize = 2;
/// The size of a sample, in messages.
const SAMPLE: usize = 8;
/// The mean size is that of about this many messages.
const AVERAGED: usize = 64;

/// The prefetch, by the concurrency and the size of messages.
pub(crate) struct Prefetch {
    /// The prefetch that a concurrency demands.
    by_concurrency: Box<dyn Fn(usize) -> u16 + Send + Sync>,
    budget: Budget,
    /// The most bytes that messages may use.
    most: usize,
    /// The bytes of the messages that are held.
    held: Arc<AtomicUsize>,
    /// The mean size of recent messages, in bytes.
    mean: AtomicUsize,
    /// The number of messages whose size is known.
    measured: AtomicUsize,
}

impl Prefetch {
    pub(crate) fn new(
        by_concurrency: impl Fn(usize) -> u16 + Send + Sync + 'static,
        budget: Budget,
    ) -> Self {
        let most = budget.used().1 / SHARE;
        let (held, mean, measured) = (Arc::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        Self { by_concurrency: Box::new(by_concurrency), budget, most, held, mean, measured }
    }

    /// The prefetch that a concurrency demands.
    pub(crate) fn by_concurrency(&self, concurrency: usize) -> u16 {
        (self.by_concurrency)(concurrency)
    }

    /// The same, reduced to what memory allows for messages of the present mean size.
    pub(crate) fn wanted(&self, concurrency: usize) -> u16 {
        let fitting = self.most / self.mean.load(Relaxed).max(1);
        self.by_concurrency(concurrency).min(u16::try_from(fitting).unwrap_or(u16::MAX)).max(1)
    }

    /// How many of `ready` messages to sample before the first are consumed; 0 if sizes are known,
    /// or if all messages fit at any size.
    pub(crate) fn sample_size(&self, ready: usize) -> usize {
        let is_unknown = self.measured.load(Relaxed) == 0 && ready > self.most / MAX_MESSAGE_BYTES;
        if is_unknown { SAMPLE } else { 0 }
    }

    /// Records the size of a message.
    pub(crate) fn record_size(&self, bytes: usize) {
        // Until `AVERAGED` messages are measured, the mean is that of all messages.
        let before = self.measured.fetch_add(1, Relaxed).min(AVERAGED - 1);
        let mean = self.mean.load(Relaxed);
        self.mean.store((mean * before + bytes).div_ceil(before + 1), Relaxed);
    }

    /// Charges a message to the memory budget: the more messages hold, the less is left for
    /// bodies.
    pub(crate) fn charge(&self, bytes: usize) -> MessageReservation {
        self.record_size(bytes);
        self.budget.message(bytes, &self.held)
    }

    /// Whether another prefetch is worth a new consumer: messages use too much memory, or are so
    /// small that far more of them fit.
    pub(crate) fn is_outdated(&self, present: u16, concurrency: usize) -> bool {
        let (present, wanted) = (usize::from(present), usize::from(self.wanted(concurrency)));
        let uses_too_much = self.held.load(Relaxed) > self.most && wanted * MIN_FACTOR <= present;
        uses_too_much || wanted >= present.saturating_mul(MIN_FACTOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn prefetch() -> Prefetch {
        // Eight MiB are for messages.
        Prefetch::new(
            |concurrency| 4 * u16::try_from(concurrency).unwrap(),
            Budget::new(32 * MIB, MIB),
        )
    }

    #[test]
    fn small_messages_are_held_as_the_concurrency_demands() {
        let prefetch = prefetch();
        let held: Vec<_> = (0..400).map(|_| prefetch.charge(300)).collect();
        assert_eq!((prefetch.wanted(100), prefetch.is_outdated(400, 100)), (400, false));
        drop(held);
        assert_eq!(prefetch.held.load(Relaxed), 0);
    }

    #[test]
    fn if_many_messages_wait_their_size_is_sampled_before_they_are_held() {
        let prefetch = prefetch();
        assert_eq!(
            (prefetch.sample_size(8), prefetch.sample_size(9)),
            (0, SAMPLE),
            "eight messages of the largest size fit"
        );
        (0..SAMPLE).for_each(|_| prefetch.record_size(MIB));
        assert_eq!((prefetch.wanted(100), prefetch.sample_size(1_000)), (8, 0));
    }

    #[test]
    fn large_messages_are_held_as_far_as_memory_allows() {
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
        assert_eq!(prefetch.budget.used().0, bytes, "messages are charged to the budget");
    }

    #[test]
    fn more_messages_are_held_once_they_are_small_again() {
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
