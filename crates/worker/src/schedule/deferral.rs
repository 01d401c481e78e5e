//! How long a deferred task waits in a delay queue of the broker.
//!
//! Two aims conflict. Each return costs the broker a move, so the delay should be long; and a host
//! whose tasks all wait for an hour stands idle. Each delay therefore has an allotment per
//! bottleneck: as many tasks as the host is sent before the next longer delay ends. Further tasks
//! take a longer delay. A million tasks of a slow host are then moved about once an hour each, and
//! the host never runs out of tasks.

use std::time::Duration;

use fetchline_queue::Tier;
use tokio::time::Instant;

/// The delays that follow the retry delays, as far as they are longer.
const LONGER: [Duration; 4] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3600),
];
/// More tasks return than are expected to be needed: the rate is measured, and it may rise.
const SPARE: f64 = 1.25;
/// The upper bound of [`Deferral::patience`]: the broker redelivers what is unacked for 30 minutes.
const LONGEST_PATIENCE: Duration = Duration::from_secs(120);

/// The delays, and the choice among them.
#[derive(Clone, Debug)]
pub(crate) struct Deferral {
    /// In ascending order; never empty.
    tiers: Vec<Tier>,
    /// How many of `tiers`, from the front, are retry delays.
    retry_tiers: usize,
}

/// How many tasks of one bottleneck each delay has taken lately, by the index of the delay.
#[derive(Debug, Default)]
pub(crate) struct Allotments(Vec<Option<Allotment>>);

#[derive(Clone, Copy, Debug)]
struct Allotment {
    since: Instant,
    used: f64,
}

/// Returns the delays of all delay queues in ascending order: the retry delays, and longer ones up
/// to at least an hour.
pub fn delay_tiers(retry_tiers: &[Tier]) -> Vec<Tier> {
    Deferral::new(retry_tiers).tiers
}

impl Deferral {
    /// Takes the retry delays and adds longer ones up to an hour.
    pub(crate) fn new(retry_tiers: &[Tier]) -> Self {
        let mut tiers = retry_tiers.to_vec();
        tiers.sort_unstable();
        tiers.dedup();
        let (retry_tiers, longest) =
            (tiers.len(), tiers.last().map_or(Duration::ZERO, |tier| tier.delay()));
        tiers.extend(LONGER.into_iter().filter(|delay| *delay > longest).filter_map(Tier::of));
        Self { tiers, retry_tiers }
    }

    /// All delays.
    pub(crate) fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// The delays that are not retry delays.
    pub(crate) fn longer(&self) -> &[Tier] {
        &self.tiers[self.retry_tiers..]
    }

    /// The shortest delay.
    pub(crate) fn shortest(&self) -> Duration {
        self.tiers[0].delay()
    }

    /// How long a task waits in this worker for a host that gets no requests. A task that would
    /// wait for longer is deferred, although a move costs the broker more than waiting here.
    pub(crate) fn patience(&self) -> Duration {
        (self.shortest() * 2).min(LONGEST_PATIENCE)
    }

    /// Returns the delay of a task whose host gets no request for about `wait`, after the task was
    /// deferred `before` times for this reason.
    ///
    /// A known wait takes the delay nearest to it. A pause, whose end is unknown (`Duration::MAX`),
    /// begins with the longest retry delay and moves to the next longer one once the task has
    /// waited for a third of that. After a pause, the host therefore continues within the longest
    /// retry delay or within three times the length of the pause, and within an hour at most; and
    /// the tasks of a host that is paused for a week are moved about once an hour.
    pub(crate) fn for_wait(&self, wait: Duration, before: u32) -> Tier {
        if wait < Duration::MAX {
            return self
                .tiers
                .iter()
                .copied()
                .min_by_key(|tier| tier.delay().abs_diff(wait))
                .unwrap_or(self.tiers[0]);
        }
        let mut left = u128::from(before);
        for pair in self.tiers[self.retry_tiers.max(1) - 1..].windows(2) {
            let times =
                pair[1].delay().as_millis().div_ceil(3 * pair[0].delay().as_millis().max(1));
            if left < times {
                return pair[0];
            }
            left -= times;
        }
        self.tiers[self.tiers.len() - 1]
    }

    /// Returns the delay of a task that may not be fetched for `wait`: the longest one that does
    /// not exceed it. A task that comes back early is deferred again, so it is late by the shortest
    /// delay at most.
    pub(crate) fn for_time(&self, wait: Duration) -> Tier {
        let fitting = self.tiers.iter().rev().find(|tier| tier.delay() <= wait);
        *fitting.unwrap_or(&self.tiers[0])
    }

    /// Returns the delay of a task that overflows a bottleneck which `rate` requests per second
    /// pass.
    pub(crate) fn for_backlog(&self, allotments: &mut Allotments, rate: f64, now: Instant) -> Tier {
        allotments.0.resize(self.tiers.len(), None);
        let last = self.tiers.len() - 1;
        for at in 0..last {
            let until_the_next = self.tiers[at + 1].delay().as_secs_f64();
            let allotment = allotments.0[at].get_or_insert(Allotment { since: now, used: 0.0 });
            let most = (rate * until_the_next * SPARE).max(1.0);
            if allotment.try_use(most, self.tiers[at].delay(), now) {
                return self.tiers[at];
            }
        }
        self.tiers[last]
    }
}

impl Allotment {
    /// Uses one of `most`, which are renewed every `period`, and returns whether one was left.
    fn try_use(&mut self, most: f64, period: Duration, now: Instant) -> bool {
        if now - self.since >= period {
            *self = Self { since: now, used: 0.0 };
        }
        let is_free = self.used + 1.0 <= most;
        self.used += f64::from(u8::from(is_free));
        is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deferral(seconds: &[u64]) -> Deferral {
        let tiers: Vec<Tier> =
            seconds.iter().filter_map(|seconds| Tier::of(Duration::from_secs(*seconds))).collect();
        Deferral::new(&tiers)
    }

    fn seconds(tier: Tier) -> u64 {
        tier.delay().as_secs()
    }

    #[test]
    fn delays_are_the_retry_delays_and_longer_ones_up_to_an_hour() {
        let all = |given: &[u64]| {
            deferral(given).tiers().iter().map(|tier| seconds(*tier)).collect::<Vec<_>>()
        };
        assert_eq!(all(&[60, 10, 600]), [10, 60, 600, 3600]);
        assert_eq!(all(&[1, 2]), [1, 2, 10, 60, 600, 3600]);
        assert_eq!(all(&[86_400]), [86_400]);
    }

    #[test]
    fn a_known_wait_takes_the_nearest_delay_and_a_pause_takes_longer_and_longer_ones() {
        let deferral = deferral(&[10, 60, 600]);
        let for_wait = |wait, before| seconds(deferral.for_wait(wait, before));
        assert_eq!(
            (for_wait(Duration::from_secs(20), 5), for_wait(Duration::from_secs(50), 0)),
            (10, 60)
        );
        assert_eq!(for_wait(Duration::from_secs(3000), 0), 3600);
        let for_pause: Vec<u64> = (0..9).map(|before| for_wait(Duration::MAX, before)).collect();
        assert_eq!(for_pause, [600, 600, 3600, 3600, 3600, 3600, 3600, 3600, 3600]);
    }

    #[test]
    fn a_task_with_a_time_is_never_early_and_late_by_the_shortest_delay_at_most() {
        let deferral = deferral(&[10, 60, 600]);
        for wait in [0, 1, 9, 10, 11, 69, 3599, 7200, 7213, 100_000] {
            let (mut waited, mut hops) = (0, 0);
            while waited < wait {
                waited += seconds(deferral.for_time(Duration::from_secs(wait - waited)));
                hops += 1;
            }
            assert!((wait..wait + 10).contains(&waited), "{wait}: {waited}");
            assert!(hops <= wait / 3600 + 20, "{wait}: {hops} moves");
        }
    }

    #[test]
    fn after_a_pause_a_task_waits_for_at_most_three_times_its_length() {
        let deferral = deferral(&[1, 2]);
        let mut waited = Duration::ZERO;
        for before in 0..200 {
            let delay = deferral.for_wait(Duration::MAX, before).delay();
            assert!(
                delay <= (3 * waited).max(Duration::from_secs(2)),
                "{delay:?} after {waited:?}"
            );
            waited += delay;
        }
        assert!(
            waited > Duration::from_secs(150 * 3600),
            "the task is moved more than once an hour: {waited:?}"
        );
    }

    #[test]
    fn a_slow_host_never_runs_out_of_tasks_and_each_is_moved_about_once_an_hour() {
        let (deferral, start) = (deferral(&[10, 60, 600]), Instant::now());
        let mut allotments = Allotments::default();
        // A million tasks of a host that gets two requests per second. Time is virtual and advances
        // by seconds.
        let (rate, tasks) = (2_u64, 1_000_000);
        let mut returns = std::collections::BTreeMap::from([(0, tasks)]);
        let (mut held, mut moves, mut idle) = (0_u64, 0_u64, 0_u64);
        let hours = 6;
        for second in 0..hours * 3600 {
            for _ in 0..returns.remove(&second).unwrap_or(0) {
                if held < 100 {
                    held += 1;
                    continue;
                }
                let now = start + Duration::from_secs(second);
                let delay = seconds(deferral.for_backlog(&mut allotments, rate as f64, now));
                *returns.entry(second + delay).or_default() += 1_u64;
                moves += 1;
            }
            idle += rate.saturating_sub(held);
            held = held.saturating_sub(rate);
        }
        assert_eq!(idle, 0, "the host stood idle");
        assert!(moves < (hours + 2) * tasks, "{moves} moves");
    }
}
