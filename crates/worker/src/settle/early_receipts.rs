//! Receipts that reach the settler before their session does.
//!
//! Commands to the settler open sessions and settle claims. A claim's command may be sent before
//! the session is opened, and wait. If the broker redelivers the message on the new session
//! meanwhile, the duplicate joins that claim. Its receipt then reaches the settler before the
//! session: dropped, it would never be settled, and the broker would hold the message until the
//! session ends.

use super::claim::Receipt;

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(crate) enum End {
    Ack,
    Requeue,
}

/// Keeps receipts until their session is opened.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Hash))]
pub(crate) struct EarlyReceipts {
    /// The number of the newest session that was opened; 0 for none.
    newest: u64,
    waiting: Vec<(Receipt, End)>,
}

impl EarlyReceipts {
    /// Returns a receipt whose session was opened, now or earlier. Keeps any other.
    pub(crate) fn pass(&mut self, receipt: Receipt, end: End) -> Option<Receipt> {
        if receipt.session <= self.newest {
            return Some(receipt);
        }
        #[cfg(feature = "simulation")]
        if fetchline_store::planted::Fault::EarlyReceiptDropped.is_planted() {
            return None;
        }
        self.waiting.push((receipt, end));
        None
    }

    /// Opens a session, and returns the receipts that have waited for it.
    pub(crate) fn open(&mut self, number: u64) -> Vec<(Receipt, End)> {
        self.newest = number;
        self.waiting.extract_if(.., |(receipt, _)| receipt.session <= number).collect()
    }
}

#[cfg(test)]
impl EarlyReceipts {
    /// The same receipts, for the model of settling.
    pub(super) fn copy(&self) -> Self {
        let copied = |(receipt, end): &(Receipt, End)| (receipt.copy(), *end);
        Self { newest: self.newest, waiting: self.waiting.iter().map(copied).collect() }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn receipt(session: u64) -> Receipt {
        Receipt { session, tag: 1, delivered: Instant::now() }
    }

    #[test]
    fn a_receipt_waits_for_its_session() {
        let mut early = EarlyReceipts::default();
        assert!(early.open(1).is_empty());
        assert!(early.pass(receipt(1), End::Ack).is_some());
        assert!(early.pass(receipt(2), End::Ack).is_none());
        assert!(early.pass(receipt(3), End::Requeue).is_none());
        let channels = |passed: Vec<(Receipt, End)>| -> Vec<_> {
            passed.into_iter().map(|(receipt, end)| (receipt.session, end)).collect()
        };
        assert_eq!(channels(early.open(2)), [(2, End::Ack)]);
        assert!(early.pass(receipt(1), End::Ack).is_some());
        assert_eq!(channels(early.open(3)), [(3, End::Requeue)]);
        assert!(early.open(4).is_empty());
    }
}
