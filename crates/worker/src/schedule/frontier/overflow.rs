//! What the frontier does not hold: tasks of hosts that are sent nothing, and of hosts that have too many.

use std::time::Duration;

use fetchline_queue::DeferReason;
use tokio::time::Instant;

use super::{Action, Entry, Frontier, Standing};

/// What would wait here for longer is deferred to the broker, which takes back what is unacked for 30 minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(8 * 60);
/// A blocked host may hold what it is sent until deferred tasks return, and this much more: they return all at once.
const SPARE: f64 = 1.5;
/// Nothing is deferred where all that there is passes within so many times the shortest delay: for as long, those behind
/// may wait, and a bottleneck whose tasks are deferred may stand idle.
const WORTH_IT: f64 = 4.0;

impl<T> Frontier<T> {
    /// Nothing is sent to the host for so long: nothing waits for it here.
    pub(super) fn hold_off(&mut self, id: usize, wait: Duration, now: Instant) {
        let entries = self.hosts[id].take_where(|_| true);
        self.count_gone(id, entries.len());
        let reason = if wait == Duration::MAX { DeferReason::Pause } else { DeferReason::Slot };
        for Entry { item, deferrals, .. } in entries {
            self.actions.push_back(match deferrals {
                Some(before) => Action::Defer { item, tier: self.deferral.of_wait(wait, before), reason },
                None => Action::Deny { item, wait },
            });
        }
        self.stand(id, now);
    }

    /// Whether blocked tasks take so much of the prefetch that others might not be delivered, while places are free.
    pub(crate) fn is_clogged(&self) -> bool {
        self.used < self.places && self.blocked.tasks * 4 >= self.capacity.saturating_sub(self.used) * 3
    }

    /// Defers what any bottleneck holds too much.
    pub(super) fn defer_overflows(&mut self, now: Instant) {
        for id in self.ids() {
            self.defer_overflow(id, now);
        }
    }

    /// Defers the last tasks of a blocked host, where its bottleneck holds too many. What limits many hosts is one
    /// bottleneck.
    ///
    /// Where a free place is all that is missing, nothing is deferred: the worker is at work. Nor is it where all that
    /// there is passes the bottleneck soon.
    pub(super) fn defer_overflow(&mut self, id: usize, now: Instant) {
        let Some((held, rate)) = self.bottleneck(id, now) else { return };
        let returns = self.deferral.tiers()[0].delay().as_secs_f64();
        let clogs = self.is_clogged() && (held + self.backlog) as f64 / rate > WORTH_IT * returns;
        let in_time = (rate * LONGEST_WAIT.as_secs_f64()).ceil() as usize;
        let most = if clogs { self.may_hold(rate * returns).min(in_time) } else { in_time };
        for _ in most..held {
            let Some(entry) = self.hosts[id].pop_last() else { break };
            self.count_gone(id, 1);
            self.defer(id, entry, rate, now);
        }
        if held > most {
            self.stand(id, now);
        }
    }

    /// Defers tasks of blocked hosts that have waited for too long, whatever they wait for.
    pub(super) fn defer_old(&mut self, now: Instant) {
        let Some(than) = now.checked_sub(LONGEST_WAIT) else { return };
        for id in self.ids() {
            let Some((_, rate)) = self.bottleneck(id, now) else { continue };
            let old = self.hosts[id].take_older(than);
            if !old.is_empty() {
                self.count_gone(id, old.len());
                old.into_iter().for_each(|entry| self.defer(id, entry, rate, now));
                self.stand(id, now);
            }
        }
    }

    fn defer(&mut self, id: usize, entry: Entry<T>, rate: f64, now: Instant) {
        let allotments = match self.hosts[id].standing {
            Standing::Limited(limit, _) => &mut self.limits.get_mut(limit).allotments,
            _ => &mut self.hosts[id].allotments,
        };
        let tier = self.deferral.of_backlog(allotments, rate, now);
        self.actions.push_back(Action::Defer { item: entry.item, tier, reason: DeferReason::Slot });
    }

    /// How many tasks wait at what blocks a host, and about how many requests per second pass it; `None` where nothing
    /// does. Of a limit, which workers share, this one may get all: the others may hold nothing that it limits.
    fn bottleneck(&self, id: usize, now: Instant) -> Option<(usize, f64)> {
        let host = self.hosts.get(id)?;
        match host.standing {
            Standing::AtCap => Some((host.len(), host.sent.expected(now))),
            Standing::Limited(limit, _) => {
                let state = self.limits.get(limit);
                let limited = state.limit.interval.map(|interval| interval.as_secs_f64().recip());
                Some((state.queued, limited.unwrap_or_else(|| state.sent.expected(now))))
            }
            Standing::Idle | Standing::Ready(_) => None,
        }
    }

    /// How many tasks a bottleneck may hold, which lets so many pass until deferred ones return.
    fn may_hold(&self, until_return: f64) -> usize {
        let share = (self.capacity * 3 / 4 / self.blocked.bottlenecks.max(1)).max(1);
        ((until_return * SPARE) as usize).max(2 * self.per_host).min(share)
    }
}
