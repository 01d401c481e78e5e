//! Which deliveries of a channel can be acked, with as few acks as possible.
//!
//! The deliveries of a channel are numbered 1, 2, 3 …. One multiple ack covers everything below the
//! lowest tag that is still out, and costs the broker as much as a single ack. If tags wait above a
//! gap for too long, or too many of them do, they are acked one by one. A multiple ack names the
//! highest tag below it that the broker still holds unacked: a tag that the broker does not hold
//! would close the channel.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::claim::Receipt;

/// An ack to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(crate) enum Ack {
    /// This tag and every lower one that the broker still holds.
    UpTo(u64),
    /// This tag alone.
    One(u64),
}

/// The tags of one channel. Its size depends on how many deliveries are out, not on how many there
/// have been.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
pub(crate) struct Ledger {
    /// The number of the session that the tags belong to.
    session: u64,
    /// The lowest tag that is still out.
    lowest_out: u64,
    /// Ranges of higher tags that are no longer out: the first tag, and the first after the range.
    settled: BTreeMap<u64, u64>,
    /// Settled tags that are not acked yet, with the time of settling. Those below `lowest_out` are
    /// due.
    pending: BTreeMap<u64, Instant>,
    /// How long a tag may wait above a gap.
    max_wait: Duration,
    /// A lower bound of the moment when some pending tag has waited for too long; exact after each
    /// scan.
    wakes_at: Option<Instant>,
}

impl Ledger {
    pub(crate) fn new(session: u64, max_wait: Duration) -> Self {
        let (settled, pending) = (BTreeMap::new(), BTreeMap::new());
        Self { session, lowest_out: 1, settled, pending, max_wait, wakes_at: None }
    }

    /// Records that a delivery can be acked. Returns `false` if it is one of another channel, where
    /// its tag means another message.
    #[must_use = "the receipt of another channel is void"]
    pub(crate) fn settle(&mut self, receipt: Receipt, now: Instant) -> bool {
        let Receipt { session, tag, .. } = receipt;
        if session != self.session {
            return false;
        }
        self.pending.insert(tag, now);
        self.wakes_at.get_or_insert(now + self.max_wait);
        self.remove(tag);
        true
    }

    /// Records that a delivery is requeued, and returns its tag. The caller sends a nack of its
    /// own. Returns `None` if it is a delivery of another channel.
    #[must_use = "the broker has to be told"]
    pub(crate) fn requeue(&mut self, receipt: Receipt) -> Option<u64> {
        let Receipt { session, tag, .. } = receipt;
        (session == self.session).then(|| self.remove(tag))?;
        Some(tag)
    }

    /// Records that a tag is no longer out: it joins the adjacent ranges, and `lowest_out` moves
    /// past a range that it has reached.
    fn remove(&mut self, tag: u64) {
        debug_assert!(tag >= self.lowest_out, "tag {tag} was settled twice");
        let end = self.settled.remove(&(tag + 1)).unwrap_or(tag + 1);
        match self.settled.range_mut(..=tag).next_back() {
            Some((_, before)) if *before == tag => *before = end,
            _ => _ = self.settled.insert(tag, end),
        }
        if let Some(end) = self.settled.remove(&self.lowest_out) {
            self.lowest_out = end;
        }
    }

    /// Returns the acks that are due if `max_pending` tags may wait above a gap. The caller sends
    /// them in this order, each once.
    pub(crate) fn due(&mut self, now: Instant, max_pending: usize) -> Vec<Ack> {
        let above = self.pending.split_off(&self.lowest_out);
        let below = std::mem::replace(&mut self.pending, above);
        let mut acks: Vec<Ack> =
            below.last_key_value().map(|(tag, _)| Ack::UpTo(*tag)).into_iter().collect();
        #[cfg(feature = "simulation")]
        if fetchline_store::planted::Fault::AckOverGap.is_planted()
            && let Some((tag, _)) = std::mem::take(&mut self.pending).pop_last()
        {
            acks = vec![Ack::UpTo(tag)];
        }
        if self.pending.is_empty() {
            self.wakes_at = None;
        } else if self.pending.len() > max_pending {
            self.ack_singly(now, &mut acks);
        } else if self.wakes_at.is_some_and(|moment| moment <= now) {
            // Tags that have waited for half as long are included: otherwise there would be an ack
            // at almost every moment.
            self.ack_singly(now.checked_sub(self.max_wait / 2).unwrap_or(now), &mut acks);
        }
        acks
    }

    /// Returns the acks of all settled tags: no tag is settled any more.
    pub(crate) fn close(&mut self, now: Instant) -> Vec<Ack> {
        self.due(now, 0)
    }

    /// When to call [`Self::due`] if nothing is settled until then; `None` if nothing is pending.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.wakes_at
    }

    /// Acks, one by one, the tags that were settled at or before `moment`.
    fn ack_singly(&mut self, moment: Instant, acks: &mut Vec<Ack>) {
        self.pending.retain(|tag, settled_at| {
            let stays = *settled_at > moment;
            if !stays {
                acks.push(Ack::One(*tag));
            }
            stays
        });
        self.wakes_at = self.pending.values().min().map(|oldest| *oldest + self.max_wait);
    }
}

#[cfg(test)]
impl Ledger {
    /// Whether a tag is neither settled nor requeued, as far as the ledger knows.
    pub(super) fn is_out(&self, tag: u64) -> bool {
        let before = self.settled.range(..=tag).next_back();
        tag >= self.lowest_out && before.is_none_or(|(_, end)| *end <= tag)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The broker: it holds unacked tags, and panics where a real one would close the channel.
    struct Broker {
        held: BTreeSet<u64>,
    }

    impl Broker {
        fn receive(&mut self, ack: Ack, settled: &BTreeSet<u64>) {
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
    const SESSION: u64 = 1;

    fn receipt(tag: u64) -> Receipt {
        Receipt { session: SESSION, tag, delivered: Instant::now() }
    }

    #[test]
    fn a_receipt_of_another_channel_is_void() {
        let (mut ledger, now) = (Ledger::new(2, SECOND), Instant::now());
        assert!(!ledger.settle(receipt(1), now));
        assert_eq!(ledger.requeue(receipt(2)), None);
        assert_eq!(ledger.close(now), []);
        assert!(ledger.settle(Receipt { session: 2, ..receipt(1) }, now));
        assert_eq!(ledger.close(now), [Ack::UpTo(1)]);
    }

    #[test]
    fn a_run_of_settled_tags_takes_one_ack() {
        let (mut ledger, now) = (Ledger::new(SESSION, SECOND), Instant::now());
        for tag in [2, 3, 1, 5] {
            assert!(ledger.settle(receipt(tag), now));
        }
        assert_eq!(ledger.due(now, 10), [Ack::UpTo(3)]);
        assert_eq!(ledger.due(now, 10), []);
    }

    #[test]
    fn a_run_takes_one_ack_in_whatever_order_its_tags_are_settled() {
        for tags in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
            let (mut ledger, now) = (Ledger::new(SESSION, SECOND), Instant::now());
            for tag in tags {
                assert!(ledger.settle(receipt(tag), now));
            }
            assert_eq!(ledger.due(now, 10), [Ack::UpTo(3)], "{tags:?}");
        }
    }

    #[test]
    fn a_slow_fetch_does_not_delay_the_acks_of_others_for_long() {
        let (mut ledger, now) = (Ledger::new(SESSION, SECOND), Instant::now());
        assert!(ledger.settle(receipt(2), now));
        assert_eq!(ledger.wakes_at(), Some(now + SECOND));
        assert_eq!(ledger.due(now, 10), []);
        assert_eq!(ledger.due(now + SECOND, 10), [Ack::One(2)]);
        assert_eq!(ledger.wakes_at(), None);
        assert!(ledger.settle(receipt(1), now + SECOND));
        assert_eq!(ledger.due(now + SECOND, 10), [Ack::UpTo(1)]);
    }

    #[test]
    fn tags_that_have_waited_for_half_as_long_are_acked_with_one_that_has_waited_for_too_long() {
        let (mut ledger, start) = (Ledger::new(SESSION, SECOND), Instant::now());
        let half = start + SECOND / 2;
        let later = half + Duration::from_millis(1);
        for (tag, at) in [(2, start), (3, half), (4, later)] {
            assert!(ledger.settle(receipt(tag), at));
        }
        assert_eq!(ledger.due(start + SECOND, 10), [Ack::One(2), Ack::One(3)]);
        assert_eq!(ledger.wakes_at(), Some(later + SECOND));
    }

    #[test]
    fn too_many_tags_above_a_gap_are_acked_one_by_one() {
        let (mut ledger, now) = (Ledger::new(SESSION, SECOND), Instant::now());
        assert!(ledger.settle(receipt(2), now));
        assert!(ledger.settle(receipt(3), now));
        assert_eq!(ledger.due(now, 2), []);
        assert!(ledger.settle(receipt(4), now));
        assert_eq!(ledger.due(now, 2), [Ack::One(2), Ack::One(3), Ack::One(4)]);
    }

    #[test]
    fn a_requeued_tag_is_never_acked() {
        let (mut ledger, now) = (Ledger::new(SESSION, SECOND), Instant::now());
        assert!(ledger.settle(receipt(1), now));
        assert_eq!(ledger.requeue(receipt(3)), Some(3));
        assert!(ledger.settle(receipt(2), now));
        assert_eq!(ledger.due(now, 10), [Ack::UpTo(2)]);
        assert_eq!(ledger.requeue(receipt(4)), Some(4));
        assert_eq!(ledger.due(now, 10), []);
    }

    #[test]
    fn the_ledger_does_not_grow_with_the_number_of_settled_tags() {
        let (mut ledger, now) = (Ledger::new(SESSION, SECOND), Instant::now());
        for tag in 2..10_000 {
            assert!(ledger.settle(receipt(tag), now));
            ledger.due(now, 10);
        }
        assert!(ledger.pending.len() <= 10 && ledger.settled.len() == 1, "{ledger:?}");
    }

    proptest! {
        #[test]
        fn every_tag_is_acked_once_and_after_it_was_settled_in_any_order(
            // For each delivery: when it is settled, and whether it is requeued instead.
            deliveries in prop::collection::vec((0u64..2_000, prop::bool::weighted(0.1)), 1..200),
            // The number of settlements between two rounds of acks.
            acks_every in 1usize..20,
            max_waiting in 0usize..40,
            max_wait_ms in 1u64..500,
        ) {
            let start = Instant::now();
            let mut ledger = Ledger::new(SESSION, Duration::from_millis(max_wait_ms));
            let mut broker = Broker { held: (1..=deliveries.len() as u64).collect() };
            let mut settled = BTreeSet::new();
            let mut order: Vec<(u64, u64, bool)> = (1..)
                .zip(&deliveries)
                .map(|(tag, &(at, is_requeued))| (at, tag, is_requeued))
                .collect();
            order.sort_unstable();
            for (count, &(at, tag, is_requeued)) in order.iter().enumerate() {
                let now = start + Duration::from_millis(at);
                if is_requeued {
                    assert_eq!(ledger.requeue(receipt(tag)), Some(tag));
                    broker.held.remove(&tag);
                } else {
                    assert!(ledger.settle(receipt(tag), now));
                    settled.insert(tag);
                }
                if count % acks_every == 0 {
                    for ack in ledger.due(now, max_waiting) {
                        broker.receive(ack, &settled);
                    }
                }
            }
            for ack in ledger.close(start + Duration::from_millis(2_000)) {
                broker.receive(ack, &settled);
            }
            prop_assert!(broker.held.is_empty(), "left: {:?}", broker.held);
            prop_assert_eq!(ledger.wakes_at(), None);
        }
    }
}
