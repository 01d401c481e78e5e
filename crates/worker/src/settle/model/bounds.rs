//! What is modelled: how many tasks and workers, how much trouble, and which fault.

use fetchline_queue::{Address, FetchRequest, Key, Task};
use fetchline_store::Outcome;

/// The limits of a model.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) tasks: Vec<Kind>,
    pub(super) workers: usize,
    /// The most deliveries that may be out on a channel.
    pub(super) prefetch: usize,
    /// The most rows of a batch.
    pub(super) batch: usize,
    pub(super) trouble: Trouble,
    pub(super) fault: Option<Fault>,
}

/// How the site answers to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each attempt is final.
    Final,
    /// The first attempt is final, or retried.
    Retried,
    /// The first attempt is given up: it needs a row and a dead letter.
    GivenUp,
}

impl Kind {
    /// The outcome of a row.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Final | Self::Retried => Outcome::Ok,
            Self::GivenUp => Outcome::Timeout,
        }
    }

    pub(super) fn can_be_retried(self, attempt: u32) -> bool {
        self == Self::Retried && attempt == 1
    }
}

/// How much may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Trouble {
    /// Connections that are lost; either end may notice it first.
    pub(super) losses: u8,
    /// Commits whose result does not arrive.
    pub(super) lost_commits: u8,
    /// Confirms that do not arrive.
    pub(super) lost_confirms: u8,
    /// Messages that a worker requeues.
    pub(super) requeues: u8,
}

/// A fault that is planted in the model, to see whether its rules find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Rows are acked when their batch is closed, not when it has committed.
    AckBeforeCommit,
    /// A COMMIT without an answer is taken for a success.
    LostCommitTaken,
    /// A multiple ack names the highest settled tag, whatever is below it.
    AckOverGap,
    /// Each ack is sent twice.
    AckTwice,
    /// A tag of an earlier channel is acked on the present one.
    AckOnNewerChannel,
    /// A retry is acked when it is sent, not when it is confirmed.
    AckBeforeConfirm,
    /// A task that is given up is acked with its row, before its dead letter is confirmed.
    AckBeforeDeadLetter,
    /// A duplicate delivery is lost when its claim is settled.
    DuplicateLost,
    /// A receipt is dropped because it reaches the settler before its session does.
    EarlyReceiptDropped,
    /// A redelivery is acked without a lookup.
    AckWithoutLookUp,
    /// A retry joins the claim of its original, which still waits for the confirm.
    RetryJoinsOriginal,
}

impl Bounds {
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

/// The first attempt of each task, as a worker reads it.
pub(super) fn first_attempts(tasks: usize) -> Vec<Task> {
    let task = |number| {
        let address = Address::parse(&format!("http://a.example/{number}")).unwrap();
        let key = Key::of_other_program("run", address.as_str());
        Task::new(FetchRequest::get(address), "run".to_owned(), "part".to_owned(), key)
    };
    (0..tasks).map(task).collect()
}
