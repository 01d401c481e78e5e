//! Changes of limits, the hosts that wait for them, and the slots that they need.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::host_queue::HostStatus;
use super::super::limits::{Limit, Permission, Reserving, is_wide};
use super::super::reserved_slots::SlotRequest;
use super::{Action, Frontier, SlotReply};

impl<T, R> Frontier<T, R> {
    /// Takes the reply to an [`Action::Reserve`] that was sent at `sent_at`.
    pub(crate) fn slots_replied(
        &mut self,
        pattern: &str,
        request: SlotRequest,
        reply: SlotReply,
        sent_at: Instant,
        now: Instant,
    ) {
        let Some(id) = self.limits.find(pattern) else { return };
        let state = &mut self.limits[id];
        match reply {
            SlotReply::From(first) => {
                state.reserving = Reserving::Idle;
                state.slots.add(first, request, sent_at, now);
            }
            SlotReply::RetryAfter(wait) => {
                state.reserving = Reserving::RetryAt(now + wait);
                state.slots.measure_round_trip(sent_at, now);
            }
        }
        self.limits.check_soon(id);
    }

    /// The limit of a pattern.
    pub(super) fn limit(&self, pattern: &str) -> Option<Limit> {
        self.limits.find(pattern).map(|id| self.limits[id].limit)
    }

    /// Replaces limits. A limit that is not in force is removed.
    pub(crate) fn set_limits(
        &mut self,
        changes: impl IntoIterator<Item = (Arc<str>, Limit)>,
        now: Instant,
    ) {
        let mut any_wide = false;
        for (pattern, limit) in changes {
            if !self.set_limit(&pattern, limit, now) {
                continue;
            }
            if is_wide(&pattern) {
                any_wide = true;
            } else if let Some(host) = self.hosts.find(&pattern) {
                self.match_limits(host, now);
            }
        }
        if any_wide {
            self.hosts.ids().into_iter().for_each(|host| self.match_limits(host, now));
        }
    }

    /// Changes the limit of a single host, on top of what the database says.
    pub(crate) fn change_limit(
        &mut self,
        host: &str,
        change: impl FnOnce(&mut Limit),
        now: Instant,
    ) {
        let mut limit = self.limit(host).unwrap_or_default();
        change(&mut limit);
        self.set_limits([(host.into(), limit)], now);
    }

    pub(super) fn remove_expired_limits(&mut self, now: Instant) {
        let states = self.limits.ids().into_iter().map(|id| &self.limits[id]);
        let expired: Vec<_> = states
            .filter(|state| !state.limit.is_in_force(now))
            .map(|state| (state.pattern.clone(), Limit::default()))
            .collect();
        self.set_limits(expired, now);
    }

    /// Sets one limit and returns whether anything has changed. The caller matches its hosts again.
    fn set_limit(&mut self, pattern: &Arc<str>, limit: Limit, now: Instant) -> bool {
        let is_in_force = limit.is_in_force(now);
        match self.limits.find(pattern) {
            Some(id) if is_in_force => {
                let state = &mut self.limits[id];
                state.limit = limit;
                if state.reserving != Reserving::InProgress {
                    state.reserving = Reserving::Idle;
                }
                self.limits.check_soon(id);
            }
            Some(id) => self.remove_limit(id),
            None if is_in_force => _ = self.limits.add(pattern.clone(), limit, now),
            None => return false,
        }
        true
    }

    /// Removes a limit, also from the hosts that it matches.
    fn remove_limit(&mut self, id: usize) {
        let pattern = &self.limits[id].pattern;
        let hosts = match is_wide(pattern) {
            true => self.hosts.ids(),
            false => self.hosts.find(pattern).into_iter().collect(),
        };
        for host in hosts {
            if self.hosts[host].limits.contains(&id) {
                self.set_status(host, HostStatus::Idle);
                let kept = self.hosts[host].limits.iter().copied().filter(|limit| *limit != id);
                self.hosts[host].limits = kept.collect();
            }
        }
        self.limits.remove(id);
    }

    /// Determines which limits match a host, and what it waits for now.
    fn match_limits(&mut self, host: usize, now: Instant) {
        self.set_status(host, HostStatus::Idle);
        let queued = self.hosts[host].len();
        let limits = self.limits.matching(&self.hosts[host].name);
        for limit in &limits {
            self.limits[*limit].queued += queued;
            self.limits.check_soon(*limit);
        }
        for limit in std::mem::replace(&mut self.hosts[host].limits, limits) {
            self.limits[limit].queued -= queued;
        }
        self.update_status(host, now);
    }

    /// Wakes the first waiting host for which there may be a slot. Once that host has started, the
    /// limit is checked again.
    pub(super) fn wake(&mut self, id: usize, now: Instant) {
        let patience = self.patience();
        while let Some(rank) = self.limits[id].waiting.first().copied() {
            match self.limits[id].permission(now, patience) {
                Permission::At(moment) => return self.limits.check_at(id, moment),
                Permission::NeedsSlot => return,
                // If the limit holds its hosts off, the update removes each from `waiting`.
                Permission::Granted | Permission::HeldOff(_) => self.update_status(rank.host, now),
            }
            let status = self.hosts.get(rank.host).map(|host| host.status);
            if matches!(status, Some(HostStatus::Ready(_))) {
                return;
            }
        }
    }

    /// Voids all reserved slots, and requests new ones.
    pub(super) fn void_slots(&mut self) {
        for id in self.limits.ids() {
            self.limits[id].slots.clear();
            self.limits.check_soon(id);
        }
    }

    /// Counts the tasks that could use a slot now. For a single host, these are all tasks; for a
    /// wide limit, those that wait for no other limit.
    fn slots_needed(&self, id: usize) -> usize {
        let state = &self.limits[id];
        if !is_wide(&state.pattern) {
            return state.queued;
        }
        let waits_for_this = |status| match status {
            HostStatus::Limited(limit, _) => limit == id,
            HostStatus::Ready(_) => true,
            HostStatus::Idle | HostStatus::AtCap => false,
        };
        let hosts = self.hosts.iter().filter(|host| host.limits.contains(&id));
        hosts.filter(|host| waits_for_this(host.status)).map(|host| host.len()).sum()
    }

    /// Requests the slots that a limit needs.
    pub(super) fn request_slots(&mut self, id: usize, now: Instant) {
        if !self.places.is_open {
            return;
        }
        let waiting = self.slots_needed(id);
        let state = &mut self.limits[id];
        let Some(interval) = state.limit.interval else { return };
        if state.limit.is_closed(now) || !state.reserving.is_due(now) {
            return;
        }
        state.slots.set_interval(interval);
        if let Some(slots) = state.slots.missing(waiting) {
            state.reserving = Reserving::InProgress;
            self.actions.push_back(Action::Reserve { pattern: state.pattern.clone(), slots });
        }
    }
}
