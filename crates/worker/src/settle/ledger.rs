//! Which deliveries of a channel may be acked, and with how few acks.
//!
//! Deliveries of one consumer are numbered 1, 2, 3 …. Everything below the lowest tag that is still out can be acked by
//! one multiple ack, which costs the broker as much as a single one. Tags that wait above a gap for too long, or too
//! many of them, are acked one by one. A multiple ack names the highest tag below the mark that the broker still holds
//! unacked: one that it does not hold closes the channel.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What to tell the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    /// This tag and every lower one that it still holds.
    UpTo(u64),
    /// This tag alone.
    One(u64),
}

/// The tags of one channel. Its size is bounded by how many deliveries are out, not by how many there were.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// The lowest tag that is still out.
    mark: u64,
    /// The tags above the mark that are not out any more, as runs: the first tag, and the first after it.
    settled: BTreeMap<u64, u64>,
    /// The tags that may be acked and have not been yet, and since when; those below the mark are due.
    waiting: BTreeMap<u64, Instant>,
    /// How long one may wait above the mark.
    max_wait: Duration,
    /// None of those that wait has waited for too long before this; exact after each look at all of them.
    patience_ends: Option<Instant>,
}

impl Ledger {
    pub(crate) fn new(max_wait: Duration) -> Self {
        let (settled, waiting) = (BTreeMap::new(), BTreeMap::new());
        Self { mark: 1, settled, waiting, max_wait, patience_ends: None }
    }

    /// The delivery may be acked.
    pub(crate) fn settle(&mut self, tag: u64, now: Instant) {
        self.waiting.insert(tag, now);
        self.patience_ends.get_or_insert(now + self.max_wait);
        self.leave(tag);
    }

    /// The delivery has been given back on its own.
    pub(crate) fn give_back(&mut self, tag: u64) {
        self.leave(tag);
    }

    /// The tag is not out any more: it joins the runs beside it, and the mark moves over the run that it has reached.
    fn leave(&mut self, tag: u64) {
        debug_assert!(tag >= self.mark, "tag {tag} was settled twice");
        let end = self.settled.remove(&(tag + 1)).unwrap_or(tag + 1);
        match self.settled.range_mut(..=tag).next_back() {
            Some((_, before)) if *before == tag => *before = end,
            _ => _ = self.settled.insert(tag, end),
        }
        if let Some(end) = self.settled.remove(&self.mark) {
            self.mark = end;
        }
    }

    /// The acks that are due where so many tags may wait above the mark. They have to be sent in this order, each once.
    pub(crate) fn due(&mut self, now: Instant, max_waiting: usize) -> Vec<Ack> {
        let above = self.waiting.split_off(&self.mark);
        let below = std::mem::replace(&mut self.waiting, above);
        let mut acks: Vec<Ack> = below.last_key_value().map(|(tag, _)| Ack::UpTo(*tag)).into_iter().collect();
        if self.waiting.is_empty() {
            self.patience_ends = None;
        } else if self.waiting.len() > max_waiting {
            self.ack_singly(now, &mut acks);
        } else if self.patience_ends.is_some_and(|end| end <= now) {
            // What has waited for half as long goes along: otherwise every moment would send one.
            self.ack_singly(now.checked_sub(self.max_wait / 2).unwrap_or(now), &mut acks);
        }
        acks
    }

    /// Everything that may be acked, at once: nothing more will come.
    pub(crate) fn close(&mut self, now: Instant) -> Vec<Ack> {
        self.due(now, 0)
    }

    /// When to ask again what is due, should nothing be settled until then; `None` where nothing waits.
    pub(crate) fn patience_ends(&self) -> Option<Instant> {
        self.patience_ends
    }

    /// Acks, one by one, what waits above the mark since `since` or longer.
    fn ack_singly(&mut self, since: Instant, acks: &mut Vec<Ack>) {
        self.waiting.retain(|tag, settled| {
            let stays = *settled > since;
            if !stays {
                acks.push(Ack::One(*tag));
            }
            stays
        });
        self.patience_ends = self.waiting.values().min().map(|oldest| *oldest + self.max_wait);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The broker's side: what it still holds unacked, and what would close the channel.
    struct Broker {
        held: BTreeSet<u64>,
    }

    impl Broker {
        fn take(&mut self, ack: Ack, settled: &BTreeSet<u64>) {
            match ack {
                Ack::One(tag) => {
                    assert!(settled.contains(&tag), "{tag} was acked before it was settled");
                    assert!(self.held.remove(&tag), "{tag} was acked twice");
                }
                Ack::UpTo(tag) => {
                    assert!(self.held.contains(&tag), "multiple ack of {tag}, which is not held");
                    let above = self.held.split_off(&(tag + 1));
                    for tag in std::mem::replace(&mut self.held, above) {
                        assert!(settled.contains(&tag), "{tag} was acked before it was settled");
                    }
                }
            }
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_run_of_settled_tags_takes_one_ack() {
        let (mut ledger, now) = (Ledger::new(SECOND), Instant::now());
        for tag in [2, 3, 1, 5] {
            ledger.settle(tag, now);
        }
        assert_eq!(ledger.due(now, 10), [Ack::UpTo(3)]);
        assert_eq!(ledger.due(now, 10), []);
    }

    #[test]
    fn a_slow_fetch_does_not_hold_back_the_others_for_ever() {
        let (mut ledger, now) = (Ledger::new(SECOND), Instant::now());
        ledger.settle(2, now);
        assert_eq!(ledger.patience_ends(), Some(now + SECOND));
        assert_eq!(ledger.due(now, 10), []);
        assert_eq!(ledger.due(now + SECOND, 10), [Ack::One(2)]);
        assert_eq!(ledger.patience_ends(), None);
        ledger.settle(1, now + SECOND);
        assert_eq!(ledger.due(now + SECOND, 10), [Ack::UpTo(1)]);
    }

    #[test]
    fn too_many_above_a_gap_are_acked_one_by_one() {
        let (mut ledger, now) = (Ledger::new(SECOND), Instant::now());
        ledger.settle(2, now);
        ledger.settle(3, now);
        assert_eq!(ledger.due(now, 2), []);
        ledger.settle(4, now);
        assert_eq!(ledger.due(now, 2), [Ack::One(2), Ack::One(3), Ack::One(4)]);
    }

    #[test]
    fn what_was_given_back_is_never_acked() {
        let (mut ledger, now) = (Ledger::new(SECOND), Instant::now());
        ledger.settle(1, now);
        ledger.give_back(3);
        ledger.settle(2, now);
        assert_eq!(ledger.due(now, 10), [Ack::UpTo(2)]);
        ledger.give_back(4);
        assert_eq!(ledger.due(now, 10), []);
    }

    #[test]
    fn what_is_kept_does_not_grow_with_what_has_passed() {
        let (mut ledger, now) = (Ledger::new(SECOND), Instant::now());
        for tag in 2..10_000 {
            ledger.settle(tag, now);
            ledger.due(now, 10);
        }
        assert!(ledger.waiting.len() <= 10 && ledger.settled.len() == 1, "{ledger:?}");
    }

    proptest! {
        #[test]
        fn whatever_the_order_every_tag_is_acked_once_and_after_it_was_settled(
            // For each delivery: when it is settled, and whether it is given back instead.
            deliveries in prop::collection::vec((0u64..2_000, prop::bool::weighted(0.1)), 1..200),
            // How often the acks that are due are sent, in settlements.
            pace in 1usize..20,
            max_waiting in 0usize..40,
            max_wait_ms in 1u64..500,
        ) {
            let start = Instant::now();
            let mut ledger = Ledger::new(Duration::from_millis(max_wait_ms));
            let mut broker = Broker { held: (1..=deliveries.len() as u64).collect() };
            let mut settled = BTreeSet::new();
            let mut order: Vec<(u64, u64, bool)> =
                (1..).zip(&deliveries).map(|(tag, &(at, back))| (at, tag, back)).collect();
            order.sort_unstable();
            for (count, &(at, tag, back)) in order.iter().enumerate() {
                let now = start + Duration::from_millis(at);
                if back {
                    ledger.give_back(tag);
                    broker.held.remove(&tag);
                } else {
                    ledger.settle(tag, now);
                    settled.insert(tag);
                }
                if count % pace == 0 {
                    for ack in ledger.due(now, max_waiting) {
                        broker.take(ack, &settled);
                    }
                }
            }
            for ack in ledger.close(start + Duration::from_millis(2_000)) {
                broker.take(ack, &settled);
            }
            prop_assert!(broker.held.is_empty(), "left: {:?}", broker.held);
            prop_assert_eq!(ledger.patience_ends(), None);
        }
    }
}
