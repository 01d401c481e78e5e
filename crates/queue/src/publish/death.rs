//! Why a message becomes a dead letter.

use crate::NotATask;

/// Why a message is given up: what its dead letter says.
#[derive(Clone, Debug)]
pub struct Death {
    /// One word: [`Self::NOT_A_TASK`], or the outcome of the task.
    pub reason: &'static str,
    /// A sentence for people.
    pub error: String,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// The number of attempts.
    pub attempts: u32,
}

impl Death {
    /// The reason of a message that is not a task.
    pub const NOT_A_TASK: &str = "not_a_task";

    /// The death of a message that is not a task.
    pub fn not_a_task(reason: &NotATask) -> Self {
        Self { reason: Self::NOT_A_TASK, error: reason.to_string(), status: None, attempts: 0 }
    }
}
