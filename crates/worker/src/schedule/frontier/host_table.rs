//! The hosts with something queued or in flight, by id and by name.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use slab::Slab;

use super::super::host_queue::HostQueue;

#[derive(Debug)]
pub(super) struct HostTable<T, R> {
    queues: Slab<HostQueue<T, R>>,
    by_name: HashMap<Arc<str>, usize>,
    last_round: u64,
}

impl<T, R> Index<usize> for HostTable<T, R> {
    type Output = HostQueue<T, R>;

    fn index(&self, id: usize) -> &HostQueue<T, R> {
        &self.queues[id]
    }
}

impl<T, R> IndexMut<usize> for HostTable<T, R> {
    fn index_mut(&mut self, id: usize) -> &mut HostQueue<T, R> {
        &mut self.queues[id]
    }
}

impl<T, R> HostTable<T, R> {
    pub(super) fn new() -> Self {
        Self { queues: Slab::new(), by_name: HashMap::new(), last_round: 0 }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Returns a host by its id, unless it has been removed.
    pub(super) fn get(&self, id: usize) -> Option<&HostQueue<T, R>> {
        self.queues.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &HostQueue<T, R>> {
        self.queues.iter().map(|(_, queue)| queue)
    }

    /// The ids of all hosts. A copy, since hosts are removed while callers iterate.
    pub(super) fn ids(&self) -> Vec<usize> {
        self.queues.iter().map(|(id, _)| id).collect()
    }

    pub(super) fn insert(&mut self, queue: HostQueue<T, R>) -> usize {
        let name = queue.name.clone();
        let id = self.queues.insert(queue);
        self.by_name.insert(name, id);
        id
    }

    pub(super) fn remove(&mut self, id: usize) {
        let queue = self.queues.remove(id);
        self.by_name.remove(&queue.name);
    }

    /// Moves a host to the end of the round robin.
    pub(super) fn move_to_end(&mut self, id: usize) {
        self.last_round += 1;
        self.queues[id].round = self.last_round;
    }
}
