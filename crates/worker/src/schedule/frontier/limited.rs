//! Who waits for which limit, and the slots that limits need.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::limits::{Clearance, Limit, is_wide};
use super::{Action, Frontier, Standing};

impl<T> Frontier<T> {
    pub(super) fn set_timer(&mut self, id: usize, then: Instant) {
        let state = self.limits.get_mut(id);
        if state.timer.is_some_and(|timer| timer <= then) {
            return;
        }
        if let Some(before) = state.timer.replace(then) {
            self.timers.remove(&(before, id));
        }
        self.timers.insert((then, id));
    }

    /// A slot's time may have come: the first host that it makes ready is the next to go. When that one has started,
    /// there is another look.
    pub(super) fn wake(&mut self, id: usize, now: Instant) {
        while let Some(turn) = self.limits.get(id).waiting.first().copied() {
            match self.limits.get_mut(id).clearance(now, self.patience) {
                Clearance::At(then) => return self.set_timer(id, then),
                Clearance::NoSlot => return,
                // Each of them is held off by standing anew.
                Clearance::Now | Clearance::HeldOff(_) => self.stand(turn.host, now),
            }
            let standing = self.hosts.get(turn.host).map(|host| host.standing);
            if matches!(standing, Some(Standing::Ready(_))) {
                return;
            }
        }
    }

    /// Sets a limit; whether anything has changed. The hosts that it matches have to look which limits are theirs.
    pub(super) fn set_limit(&mut self, pattern: &Arc<str>, limit: Limit, now: Instant) -> bool {
        match self.limits.find(pattern) {
            Some(id) if limit.holds(now) => {
                self.limits.get_mut(id).limit = limit;
                self.limits.get_mut(id).not_before = None;
                self.unsure.insert(id);
            }
            Some(id) => self.remove_limit(id),
            None if limit.holds(now) => {
                let id = self.limits.add(pattern.clone(), now);
                self.limits.get_mut(id).limit = limit;
            }
            None => return false,
        }
        true
    }

    /// Forgets a limit, and takes it from the hosts that have it.
    fn remove_limit(&mut self, id: usize) {
        let hosts = match is_wide(&self.limits.get(id).pattern) {
            true => self.ids(),
            false => self.by_name.get(&self.limits.get(id).pattern).copied().into_iter().collect(),
        };
        for host in hosts {
            if self.hosts[host].limits.contains(&id) {
                self.set_standing(host, Standing::Idle);
                let kept = self.hosts[host].limits.iter().copied().filter(|limit| *limit != id);
                self.hosts[host].limits = kept.collect();
            }
        }
        if let Some(timer) = self.limits.get(id).timer {
            self.timers.remove(&(timer, id));
        }
        self.unsure.remove(&id);
        self.limits.remove(id);
    }

    /// A host looks which limits are its own, and stands anew.
    pub(super) fn match_limits(&mut self, id: usize, now: Instant) {
        self.set_standing(id, Standing::Idle);
        let tasks = self.hosts[id].len();
        let limits = self.limits.matching(&self.hosts[id].name);
        for limit in std::mem::replace(&mut self.hosts[id].limits, limits) {
            self.limits.get_mut(limit).queued -= tasks;
        }
        for limit in &self.hosts[id].limits {
            self.limits.get_mut(*limit).queued += tasks;
            self.unsure.insert(*limit);
        }
        self.stand(id, now);
    }

    /// What was reserved and not used is void, and asked for anew.
    pub(super) fn void_slots(&mut self) {
        for id in self.limits.ids() {
            self.limits.get_mut(id).pacer.clear();
            self.unsure.insert(id);
        }
    }

    /// How many tasks could use a slot, were there one: those of a single host, or, of a limit of many, those that wait
    /// for no other one.
    fn waiting_for(&self, id: usize) -> usize {
        let state = self.limits.get(id);
        if !is_wide(&state.pattern) {
            return state.queued;
        }
        let waits = |standing| match standing {
            Standing::Limited(limit, _) => limit == id,
            Standing::Ready(_) => true,
            Standing::Idle | Standing::AtCap => false,
        };
        let hosts = self.hosts.iter().map(|(_, host)| host).filter(|host| host.limits.contains(&id));
        hosts.filter(|host| waits(host.standing)).map(|host| host.len()).sum()
    }

    /// Asks for the slots that a limit needs.
    pub(super) fn ask_for_slots(&mut self, id: usize, now: Instant) {
        if !self.open {
            return;
        }
        let waiting = self.waiting_for(id);
        let state = self.limits.get_mut(id);
        let Limit { interval, paused, cools_until } = state.limit;
        let still = paused || cools_until.is_some_and(|until| until > now);
        let early = state.not_before.is_some_and(|then| then > now);
        let Some(interval) = interval.filter(|_| !still && !early && !state.reserving) else { return };
        state.pacer.set_interval(interval);
        if let Some(wanted) = state.pacer.wanted(waiting) {
            state.reserving = true;
            self.actions.push_back(Action::Reserve { pattern: state.pattern.clone(), wanted });
        }
    }
}
