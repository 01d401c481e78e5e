//! A bound on what waits in the queue of tasks, and so on the broker's memory.

use std::time::Duration;

use tokio::time::Instant;

/// How long a count of the queue is believed: other producers publish, too, and workers consume.
pub(super) const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// How many more tasks may be published.
pub(super) struct QueueLimit {
    max: u32,
    /// Tasks that may be published before the queue is counted again.
    room: u32,
    counted_at: Option<Instant>,
    is_reported: bool,
}

impl QueueLimit {
    pub(super) fn new(max: u32) -> Self {
        Self { max, room: 0, counted_at: None, is_reported: false }
    }

    /// Takes the room of a task; `false` if the queue has to be counted first.
    pub(super) fn take_room(&mut self) -> bool {
        let is_recent = self.counted_at.is_some_and(|then| then.elapsed() < COUNT_INTERVAL);
        let is_free = is_recent && self.room > 0;
        self.room -= u32::from(is_free);
        is_free
    }

    /// Takes in that so many tasks are ready.
    pub(super) fn counted(&mut self, ready: u32) {
        self.room = self.max.saturating_sub(ready);
        self.counted_at = Some(Instant::now());
    }

    /// Whether nothing may be published now.
    pub(super) fn is_reached(&self) -> bool {
        self.room == 0
    }

    /// Why publishing waits, the first time that it does. A queue stays at its limit while workers
    /// take from it, and one line says that.
    pub(super) fn report(&mut self) -> Option<String> {
        let is_first = !std::mem::replace(&mut self.is_reported, true);
        is_first
            .then(|| format!("{} tasks are queued (--max-queued); waiting for workers", self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_tasks_are_published_than_the_last_count_leaves_room_for() {
        let mut limit = QueueLimit::new(10);
        assert!(!limit.take_room());
        limit.counted(8);
        assert_eq!([limit.take_room(), limit.take_room(), limit.take_room()], [true, true, false]);
        assert!(limit.is_reached() && limit.report().is_some() && limit.report().is_none());
        limit.counted(12);
        assert!(limit.is_reached() && !limit.take_room());
        limit.counted(0);
        assert!(limit.take_room());
        tokio::time::advance(COUNT_INTERVAL).await;
        assert!(!limit.take_room(), "the count is too old");
    }
}
