//! What the broker reports of a queue.

/// The messages and consumers of a queue, as the broker reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages that are ready; unacked ones do not count.
    pub ready: u32,
    /// Consumers of the queue.
    pub consumers: u32,
}

impl QueueCounts {
    /// Whether these may be the zeros of a node that does not reach the leader of the queue.
    pub fn may_be_unknown(self) -> bool {
        self.ready == 0 && self.consumers == 0
    }
}
