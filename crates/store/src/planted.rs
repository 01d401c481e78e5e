//! Faults that the simulation plants, to see whether it finds them, and stalls of tasks. No other
//! build has this module.

#[cfg(not(debug_assertions))]
compile_error!("the feature `simulation` plants faults: it is not for a release");

use std::cell::{Cell, RefCell};
use std::time::Duration;

thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    static STALLS: RefCell<Option<Stalls>> = const { RefCell::new(None) };
}

/// Returns how long the next stall takes.
type Stalls = Box<dyn FnMut() -> Duration>;

/// A fault that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Rows are acked when their batch is closed, not when it has committed.
    AckBeforeCommit,
    /// A multiple ack names the highest settled tag, whatever is below it.
    AckOverGap,
    /// A retry is acked when it is sent, not when it is confirmed.
    AckBeforeConfirm,
    /// Rows are written without their counts.
    CountWithoutRow,
    /// A drain drops the last batch.
    DrainDropsBatch,
    /// A tag of an earlier channel is acked on the present one.
    AckOnNewerChannel,
    /// A host's slot is given twice.
    SlotTwice,
    /// A place for a fetch is not freed when the fetch ends.
    PlaceLost,
    /// A duplicate delivery is lost on a reconnect.
    DuplicateLost,
    /// A refused row takes its neighbour with it.
    PoisonedNeighbour,
    /// A receipt is dropped because it reaches the settler before its session does.
    EarlyReceiptDropped,
}

impl Fault {
    /// Every fault, with its name.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::AckBeforeCommit, "ack-before-commit"),
        (Self::AckOverGap, "ack-over-gap"),
        (Self::AckBeforeConfirm, "ack-before-confirm"),
        (Self::CountWithoutRow, "count-without-row"),
        (Self::DrainDropsBatch, "drain-drops-batch"),
        (Self::AckOnNewerChannel, "ack-on-newer-channel"),
        (Self::SlotTwice, "slot-twice"),
        (Self::PlaceLost, "place-lost"),
        (Self::DuplicateLost, "duplicate-lost"),
        (Self::PoisonedNeighbour, "poisoned-neighbour"),
        (Self::EarlyReceiptDropped, "early-receipt-dropped"),
    ];

    /// The fault of this name.
    ///
    /// # Errors
    ///
    /// The names of all faults.
    pub fn of(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, own)| *own == name);
        found.map(|(fault, _)| *fault).ok_or_else(|| Self::ALL.map(|(_, name)| name).join(", "))
    }

    /// Whether it is planted on this thread.
    pub fn is_planted(self) -> bool {
        PLANTED.get() == Some(self)
    }
}

/// Plants a fault on this thread.
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Lets tasks of this thread stall; `None` ends that.
pub fn set_stalls(stalls: Option<Stalls>) {
    STALLS.set(stalls);
}

/// Stalls a task as if its thread did not run, while the others go on.
pub async fn stall() {
    let time = STALLS.with_borrow_mut(|stalls| stalls.as_mut().map(|next| next()));
    if let Some(time) = time.filter(|time| !time.is_zero()) {
        tokio::time::sleep(time).await;
    }
}
