//! The status of hosts, and the counts that depend on it.

use std::cmp::Reverse;

use tokio::time::Instant;

use super::super::host_queue::HostStatus;
use super::super::limits::Permission;
use super::super::rank::Rank;
use super::Frontier;

impl<T, R> Frontier<T, R> {
    /// Counts a task or a request that is queued at a host.
    pub(super) fn count_queued(&mut self, id: usize) {
        for limit in &self.hosts[id].limits {
            self.limits[*limit].queued += 1;
            self.limits.check_soon(*limit);
        }
        if self.hosts[id].status.is_blocked() {
            self.load.blocked.tasks += 1;
        }
    }

    /// Counts tasks or requests that have left a host.
    pub(super) fn count_removed(&mut self, id: usize, removed: usize) {
        for limit in &self.hosts[id].limits {
            self.limits[*limit].queued -= removed;
        }
        if self.hosts[id].status.is_blocked() {
            self.load.blocked.tasks -= removed;
        }
    }

    /// Determines what a host waits for. A host that is no longer needed is removed.
    pub(super) fn update_status(&mut self, id: usize, now: Instant) {
        self.set_status(id, HostStatus::Idle);
        let host = &self.hosts[id];
        if host.is_over(now) {
            return self.hosts.remove(id);
        }
        let Some(priority) = host.priority() else { return };
        let is_at_cap = host.in_flight >= self.places.per_host;
        let rank = Rank {
            priority: Reverse(priority),
            is_unlimited: host.limits.is_empty(),
            round: host.round,
            host: id,
        };
        match self.first_obstacle(id, now) {
            Some((_, Permission::HeldOff(wait))) => self.hold_off(id, wait, now),
            _ if is_at_cap => self.set_status(id, HostStatus::AtCap),
            None => self.set_status(id, HostStatus::Ready(rank)),
            Some((limit, permission)) => {
                self.set_status(id, HostStatus::Limited(limit, rank));
                if let Permission::At(moment) = permission {
                    self.limits.check_at(limit, moment);
                }
            }
        }
    }

    /// Returns the first limit that does not grant a request to the host. A limit that holds the
    /// host off takes precedence.
    pub(super) fn first_obstacle(
        &mut self,
        id: usize,
        now: Instant,
    ) -> Option<(usize, Permission)> {
        let patience = self.patience();
        let mut first = None;
        for limit in &self.hosts[id].limits {
            let permission = self.limits[*limit].permission(now, patience);
            match permission {
                Permission::Granted => continue,
                Permission::HeldOff(_) => return Some((*limit, permission)),
                // All missing slots are requested together, so that they arrive at about the same
                // time.
                Permission::NeedsSlot => self.limits.check_soon(*limit),
                Permission::At(_) => {}
            }
            first.get_or_insert((*limit, permission));
        }
        first
    }

    pub(super) fn set_status(&mut self, id: usize, status: HostStatus) {
        let host = &mut self.hosts[id];
        let (before, tasks) = (std::mem::replace(&mut host.status, status), host.len());
        let blocked = &mut self.load.blocked;
        match before {
            HostStatus::Ready(rank) => {
                self.ready.remove(&rank);
                // Hosts that wait for this host's slot, or for the one after it, are next.
                host.limits.iter().for_each(|limit| self.limits.check_soon(*limit));
            }
            HostStatus::Limited(limit, rank) => {
                let waiting = &mut self.limits[limit].waiting;
                waiting.remove(&rank);
                blocked.bottlenecks -= usize::from(waiting.is_empty());
            }
            HostStatus::AtCap => blocked.bottlenecks -= 1,
            HostStatus::Idle => {}
        }
        match status {
            HostStatus::Ready(rank) => _ = self.ready.insert(rank),
            HostStatus::Limited(limit, rank) => {
                let waiting = &mut self.limits[limit].waiting;
                blocked.bottlenecks += usize::from(waiting.is_empty());
                waiting.insert(rank);
            }
            HostStatus::AtCap => blocked.bottlenecks += 1,
            HostStatus::Idle => {}
        }
        blocked.tasks -= if before.is_blocked() { tasks } else { 0 };
        blocked.tasks += if status.is_blocked() { tasks } else { 0 };
    }
}
