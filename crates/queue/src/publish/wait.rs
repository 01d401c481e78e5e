//! Why a message waits in a delay queue.

/// Why a message waits for another attempt: what its headers say meanwhile.
#[derive(Clone, Debug)]
pub struct Wait {
    /// One word: the outcome of the attempt.
    pub reason: &'static str,
    /// A sentence for people.
    pub error: String,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
}
