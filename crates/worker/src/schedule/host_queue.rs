//! The tasks that wait for one host, and what this worker knows about the host.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::rank::{Priority, Rank};
use super::throttle::Throttling;
use super::throughput::Throughput;

/// A task that waits, with what its order depends on.
#[derive(Debug)]
pub(crate) struct QueuedTask<T> {
    pub(crate) task: T,
    /// Higher numbers go first.
    pub(crate) priority: u8,
    /// How many times in a row the task was deferred for a pause.
    pub(crate) deferrals: u32,
}

/// What a host sends next.
#[derive(Debug)]
pub(crate) enum Next<T, R> {
    Task(T),
    Request(R),
}

/// What a host waits for before it sends the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostStatus {
    /// Nothing is queued.
    Idle,
    /// A free place of the worker.
    Ready(Rank),
    /// The end of one of its fetches: as many as one host may have are in flight.
    AtCap,
    /// A limit, by its id.
    Limited(usize, Rank),
}

impl HostStatus {
    /// Whether the host could not use a free place of the worker.
    pub(crate) fn is_blocked(self) -> bool {
        match self {
            Self::AtCap | Self::Limited(..) => true,
            Self::Idle | Self::Ready(_) => false,
        }
    }
}

/// A host with something queued or in flight.
#[derive(Debug)]
pub(crate) struct HostQueue<T, R> {
    pub(crate) name: Arc<str>,
    /// Fetches in flight that want to send their next request, in order of arrival.
    requests: VecDeque<R>,
    /// By priority, then in order of arrival; each with its time of arrival.
    tasks: VecDeque<(Instant, QueuedTask<T>)>,
    pub(crate) in_flight: usize,
    /// The ids of the matching limits.
    pub(crate) limits: Box<[usize]>,
    pub(crate) status: HostStatus,
    /// The host's position in the round robin.
    pub(crate) round: u64,
    pub(crate) throttling: Throttling,
    pub(crate) throughput: Throughput,
}

impl<T, R> HostQueue<T, R> {
    pub(crate) fn new(name: Arc<str>, limits: Box<[usize]>, now: Instant) -> Self {
        Self {
            name,
            requests: VecDeque::new(),
            tasks: VecDeque::new(),
            in_flight: 0,
            limits,
            status: HostStatus::Idle,
            round: 0,
            throttling: Throttling::default(),
            throughput: Throughput::new(now),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len() + self.tasks.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The priority of what is next; `None` if nothing is queued.
    pub(crate) fn priority(&self) -> Option<Priority> {
        match self.requests.is_empty() {
            true => self.tasks.front().map(|(_, task)| Priority::Task(task.priority)),
            false => Some(Priority::Request),
        }
    }

    pub(crate) fn push_task(&mut self, task: QueuedTask<T>, now: Instant) {
        let at = match self.tasks.back() {
            Some((_, last)) if last.priority < task.priority => {
                self.tasks.partition_point(|(_, other)| other.priority >= task.priority)
            }
            // The common case: all tasks have the same priority.
            _ => self.tasks.len(),
        };
        self.tasks.insert(at, (now, task));
    }

    pub(crate) fn push_request(&mut self, request: R) {
        self.requests.push_back(request);
    }

    /// Removes what is next.
    pub(crate) fn pop(&mut self) -> Option<Next<T, R>> {
        let request = self.requests.pop_front().map(Next::Request);
        request.or_else(|| self.tasks.pop_front().map(|(_, task)| Next::Task(task.task)))
    }

    /// Removes the last task.
    pub(crate) fn pop_last_task(&mut self) -> Option<T> {
        self.tasks.pop_back().map(|(_, task)| task.task)
    }

    /// Removes all requests.
    pub(crate) fn drain_requests(&mut self) -> VecDeque<R> {
        std::mem::take(&mut self.requests)
    }

    /// Removes all tasks.
    pub(crate) fn drain_tasks(&mut self) -> VecDeque<QueuedTask<T>> {
        self.tasks.drain(..).map(|(_, task)| task).collect()
    }

    /// Removes the matching tasks.
    pub(crate) fn extract_tasks(&mut self, mut matches: impl FnMut(&T) -> bool) -> Vec<T> {
        self.extract(|_, task| matches(task))
    }

    /// Removes the tasks that were queued before a moment.
    pub(crate) fn extract_tasks_before(&mut self, moment: Instant) -> Vec<T> {
        self.extract(|queued_at, _| queued_at < moment)
    }

    fn extract(&mut self, mut matches: impl FnMut(Instant, &T) -> bool) -> Vec<T> {
        if !self.tasks.iter().any(|(queued_at, task)| matches(*queued_at, &task.task)) {
            return Vec::new();
        }
        let (extracted, rest) = self
            .tasks
            .drain(..)
            .partition::<Vec<_>, _>(|(queued_at, task)| matches(*queued_at, &task.task));
        self.tasks = rest.into();
        extracted.into_iter().map(|(_, task)| task.task).collect()
    }

    /// Whether the host can be forgotten: nothing is queued or in flight, and its measured rate is
    /// not worth keeping.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.is_empty() && self.in_flight == 0 && !self.throughput.sent.is_worth_keeping(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_before_tasks_and_tasks_by_priority_then_in_order_of_arrival() {
        let mut queue = HostQueue::new("a.example".into(), Box::default(), Instant::now());
        for (task, priority) in [(1, 0), (2, 0), (3, 255), (4, 5), (5, 255), (6, 0)] {
            queue.push_task(QueuedTask { task, priority, deferrals: 0 }, Instant::now());
        }
        queue.push_request(7);
        queue.push_request(8);
        assert_eq!(queue.pop_last_task(), Some(6));
        let order: Vec<u32> = std::iter::from_fn(|| {
            queue.pop().map(|next| match next {
                Next::Task(item) | Next::Request(item) => item,
            })
        })
        .collect();
        assert_eq!(order, [7, 8, 3, 5, 4, 1, 2]);
    }
}
