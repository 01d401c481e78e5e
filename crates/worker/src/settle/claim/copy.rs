//! Copies of claims for the model of settling, which continues from each state in several ways. The
//! worker cannot copy a receipt.

use std::hash::{Hash, Hasher};

use super::{AtomicU64, Claim, Claims, Inner, Mutex, Ordering, Receipt};

impl Receipt {
    pub(in crate::settle) fn copy(&self) -> Self {
        Self { ..*self }
    }
}

impl Claims {
    /// The same claims, of which no [`Claim`] exists yet.
    pub(in crate::settle) fn copy(&self) -> Self {
        let copy = |receipts: &Vec<Receipt>| receipts.iter().map(Receipt::copy).collect();
        let attempts = self.lock().iter().map(|(id, receipts)| (*id, copy(receipts))).collect();
        let session = AtomicU64::new(self.0.session.load(Ordering::Relaxed));
        Self(Inner { attempts: Mutex::new(attempts), session }.into())
    }

    /// The number of attempts that are claimed.
    pub(in crate::settle) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl Claim {
    /// The same claim, among a copy of its claims.
    pub(in crate::settle) fn copy_to(&self, claims: &Claims) -> Self {
        let (receipt, attempt) = (self.receipt.as_ref().map(Receipt::copy), self.attempt);
        let claims = claims.clone();
        Self { receipt, attempt, claims, on_end: None, trace: None, memory: None }
    }

    /// The channels and tags of the delivery, and of its duplicates.
    pub(in crate::settle) fn tags(&self) -> Vec<(u64, u64)> {
        let of_receipt = |receipt: &Receipt| (receipt.session, receipt.tag);
        let mut tags: Vec<_> = self.receipt.iter().map(of_receipt).collect();
        if let Some(attempt) = self.attempt
            && let Some(duplicates) = self.claims.lock().get(&attempt)
        {
            tags.extend(duplicates.iter().map(of_receipt));
        }
        tags
    }
}

impl Hash for Receipt {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.session, self.tag).hash(state);
    }
}

impl Hash for Claim {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tags().hash(state);
    }
}
