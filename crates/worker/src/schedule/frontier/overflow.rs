//! What the frontier does not hold: tasks of hosts that are sent nothing, and of hosts that have too many.

use std::time::Duration;

use tokio::time::Instant;

use super::{Action, Entry, Frontier};

/// What would wait here for longer is deferred to the broker, which takes back what is unacked for 30 minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(8 * 60);
/// A blocked host may hold what it is sent until deferred tasks return, and this much more: they return all at once.
const SPARE: f64 = 1.5;

impl<T> Frontier<T> {
    /// Nothing is sent to the host for so long: nothing waits for it here.
    pub(super) fn hold_off(&mut self, id: usize, wait: Duration, now: Instant) {
        let entries = self.hosts[id].take_where(|_| true);
        self.count_gone(id, entries.len());
        for Entry { item, deferrals, .. } in entries {
            self.actions.push_back(match deferrals {
                Some(before) => Action::Defer { item, tier: self.deferral.of_wait(wait, before) },
                None => Action::Deny { item, wait },
            });
        }
        self.stand(id, now);
    }

    /// Whether blocked hosts hold so much of the prefetch that others might not be delivered, while places are free.
    pub(crate) fn is_clogged(&self) -> bool {
        self.used < self.places && self.blocked.1 * 4 >= self.capacity.saturating_sub(self.used) * 3
    }

    /// Defers the last task of a blocked host that holds too much; whether it did.
    ///
    /// Where a free place is all that is missing, nothing is deferred: the worker is at work. Nor is it where the host
    /// is done with all that there is before a deferred task returns.
    pub(super) fn defer_overflow(&mut self, id: usize, now: Instant) -> bool {
        let Some(host) = self.hosts.get(id).filter(|host| host.standing.is_blocked()) else { return false };
        let (held, rate) = (host.len(), self.rate(id, now));
        let takes = |tasks: usize| tasks as f64 / rate;
        let returns = self.deferral.tiers()[0].delay().as_secs_f64();
        let clogs = self.is_clogged() && takes(held + self.backlog) > returns && held > self.may_hold(rate * returns);
        let for_too_long = held > 1 && takes(held) > LONGEST_WAIT.as_secs_f64();
        if !clogs && !for_too_long {
            return false;
        }
        let Some(entry) = self.hosts[id].pop_last() else { return false };
        self.count_gone(id, 1);
        let tier = self.deferral.of_backlog(&mut self.hosts[id].allotments, rate, now);
        self.actions.push_back(Action::Defer { item: entry.item, tier });
        self.stand(id, now);
        true
    }

    /// How many tasks of a blocked host are held, where it is sent so many until deferred ones return.
    fn may_hold(&self, until_return: f64) -> usize {
        let share = self.capacity / (2 * self.blocked.0.max(1));
        let most = (self.capacity * 3 / 4).max(share);
        ((until_return * SPARE) as usize).clamp(share, most)
    }

    /// About how many requests per second the host is sent.
    fn rate(&self, id: usize, now: Instant) -> f64 {
        let host = &self.hosts[id];
        let intervals = host.limits.iter().filter_map(|limit| self.limits.get(*limit).limit.interval);
        let allowed = intervals.map(|interval| interval.as_secs_f64().recip()).fold(f64::INFINITY, f64::min);
        let measured = host.sent.measured(now).filter(|rate| *rate > 0.0);
        // Until it has been measured, a page is taken to need a second.
        let expected = if allowed.is_finite() { allowed } else { self.per_host as f64 };
        measured.unwrap_or(expected).min(allowed)
    }
}
