//! Who waits for which limit, and the slots that limits need.

use tokio::time::Instant;

use super::super::limits::{Clearance, Limit};
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

    /// Forgets a limit. [`Self::match_limits`] has to follow.
    pub(super) fn remove_limit(&mut self, id: usize) {
        let waiting = std::mem::take(&mut self.limits.get_mut(id).waiting);
        for turn in waiting {
            let host = &mut self.hosts[turn.host];
            host.standing = Standing::Idle;
            self.blocked = (self.blocked.0 - 1, self.blocked.1 - host.len());
        }
        if let Some(timer) = self.limits.get(id).timer {
            self.timers.remove(&(timer, id));
        }
        self.unsure.remove(&id);
        self.limits.remove(id);
    }

    /// There are other limits than before: each host looks which are its own, and stands anew.
    pub(super) fn match_limits(&mut self, now: Instant) {
        for id in self.limits.ids() {
            self.limits.get_mut(id).queued = 0;
        }
        for id in self.ids() {
            self.hosts[id].limits = self.limits.matching(&self.hosts[id].name);
            for limit in &self.hosts[id].limits {
                self.limits.get_mut(*limit).queued += self.hosts[id].len();
                self.unsure.insert(*limit);
            }
        }
        for id in self.ids() {
            self.stand(id, now);
        }
    }

    /// Asks for the slots that a limit needs.
    pub(super) fn ask_for_slots(&mut self, id: usize, now: Instant) {
        let state = self.limits.get_mut(id);
        let Limit { interval, paused, cools_until } = state.limit;
        let still = paused || cools_until.is_some_and(|until| until > now);
        let early = state.not_before.is_some_and(|then| then > now);
        let Some(interval) = interval.filter(|_| !still && !early && !state.reserving) else { return };
        state.pacer.set_interval(interval);
        if let Some(wanted) = state.pacer.wanted(state.queued) {
            state.reserving = true;
            self.actions.push_back(Action::Reserve { pattern: state.pattern.clone(), wanted });
        }
    }
}
