//! For how long a task that cannot be held here waits in a delay queue of the broker.
//!
//! Two wishes pull at the delay. Every return costs the broker a move, so it should be long; and a host whose tasks all
//! wait for an hour stands idle. So each delay has an allotment per host: as many tasks return by it as the host is
//! sent until the next longer delay is over, and what is beyond that waits for longer. A million tasks of a slow host
//! are then moved about once an hour, and the host never waits for one of them.

use std::time::Duration;

use fetchline_queue::Tier;
use tokio::time::Instant;

/// Delays besides the retry delays, as far as these are shorter.
const LONGER: [Duration; 4] =
    [Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(600), Duration::from_secs(3600)];
/// More tasks return than are expected to be needed: the rate is measured, and it may rise.
const SPARE: f64 = 1.25;

/// The delays that there are, and how one is chosen.
#[derive(Clone, Debug)]
pub(crate) struct Deferral {
    /// From short to long; never empty.
    tiers: Vec<Tier>,
    /// How many of them are retry delays.
    of_retries: usize,
}

/// How many tasks of a host were deferred by each delay of late.
#[derive(Debug, Default)]
pub(crate) struct Allotments(Vec<Option<Allotment>>);

#[derive(Clone, Copy, Debug)]
struct Allotment {
    since: Instant,
    used: f64,
}

/// The delays of all queues in which tasks may wait, where failed tries wait these: from short to long, up to an hour at
/// least.
pub fn delay_tiers(retry_tiers: &[Tier]) -> Vec<Tier> {
    Deferral::new(retry_tiers).tiers
}

impl Deferral {
    /// The retry delays, and longer ones up to an hour.
    pub(crate) fn new(retry_tiers: &[Tier]) -> Self {
        let mut tiers = retry_tiers.to_vec();
        tiers.sort_unstable();
        tiers.dedup();
        let (of_retries, longest) = (tiers.len(), tiers.last().map_or(Duration::ZERO, |tier| tier.delay()));
        tiers.extend(LONGER.into_iter().filter(|delay| *delay > longest).filter_map(Tier::of));
        Self { tiers, of_retries }
    }

    /// Every delay.
    pub(crate) fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// The delays beside the retry delays.
    pub(crate) fn longer(&self) -> &[Tier] {
        &self.tiers[self.of_retries..]
    }

    /// The delay of a task whose host is sent nothing for about `wait`, and that was deferred `before` times: the nearest to
    /// the wait. A wait whose end is not known begins with the longest retry delay, and takes the next longer one when the
    /// task has waited for a third of it: so after a pause the host goes on within the longest
    /// retry delay, or three times as long as the pause was, and within an hour in any case; and
    /// the tasks of one that is paused for a week are moved once an hour.
    pub(crate) fn of_wait(&self, wait: Duration, before: u32) -> Tier {
        if wait < Duration::MAX {
            return self.tiers.iter().copied().min_by_key(|tier| tier.delay().abs_diff(wait)).unwrap_or(self.tiers[0]);
        }
        let mut left = u128::from(before);
        for pair in self.tiers[self.of_retries.max(1) - 1..].windows(2) {
            let times = pair[1].delay().as_millis().div_ceil(3 * pair[0].delay().as_millis().max(1));
            if left < times {
                return pair[0];
            }
            left -= times;
        }
        self.tiers[self.tiers.len() - 1]
    }

    /// The delay of a task that finds too many before it, at a host that is sent `rate` requests per second.
    pub(crate) fn of_backlog(&self, allotments: &mut Allotments, rate: f64, now: Instant) -> Tier {
        allotments.0.resize(self.tiers.len(), None);
        let last = self.tiers.len() - 1;
        for at in 0..last {
            let until_the_next = self.tiers[at + 1].delay().as_secs_f64();
            if allotments.0[at].get_or_insert(Allotment { since: now, used: 0.0 }).take(
                (rate * until_the_next * SPARE).max(1.0),
                self.tiers[at].delay(),
                now,
            ) {
                return self.tiers[at];
            }
        }
        self.tiers[last]
    }
}

impl Allotment {
    /// Takes one of `most`, which come anew every `span`.
    fn take(&mut self, most: f64, span: Duration, now: Instant) -> bool {
        if now - self.since >= span {
            *self = Self { since: now, used: 0.0 };
        }
        let free = self.used + 1.0 <= most;
        self.used += f64::from(u8::from(free));
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deferral(seconds: &[u64]) -> Deferral {
        let tiers: Vec<Tier> = seconds.iter().filter_map(|seconds| Tier::of(Duration::from_secs(*seconds))).collect();
        Deferral::new(&tiers)
    }

    fn seconds(tier: Tier) -> u64 {
        tier.delay().as_secs()
    }

    #[test]
    fn there_are_the_retry_delays_and_longer_ones_up_to_an_hour() {
        let all = |given: &[u64]| deferral(given).tiers().iter().map(|tier| seconds(*tier)).collect::<Vec<_>>();
        assert_eq!(all(&[60, 10, 600]), [10, 60, 600, 3600]);
        assert_eq!(all(&[1, 2]), [1, 2, 10, 60, 600, 3600]);
        assert_eq!(all(&[86_400]), [86_400]);
    }

    #[test]
    fn a_wait_whose_end_is_known_takes_the_nearest_delay_and_a_pause_a_longer_one_each_time() {
        let deferral = deferral(&[10, 60, 600]);
        let of_wait = |wait, before| seconds(deferral.of_wait(wait, before));
        assert_eq!((of_wait(Duration::from_secs(20), 5), of_wait(Duration::from_secs(50), 0)), (10, 60));
        assert_eq!(of_wait(Duration::from_secs(3000), 0), 3600);
        let of_pause: Vec<u64> = (0..9).map(|before| of_wait(Duration::MAX, before)).collect();
        assert_eq!(of_pause, [600, 600, 3600, 3600, 3600, 3600, 3600, 3600, 3600]);
    }

    #[test]
    fn after_a_pause_no_task_waits_for_more_than_three_times_as_long() {
        let deferral = deferral(&[1, 2]);
        let mut waited = Duration::ZERO;
        for before in 0..200 {
            let delay = deferral.of_wait(Duration::MAX, before).delay();
            assert!(delay <= (3 * waited).max(Duration::from_secs(2)), "{delay:?} after {waited:?}");
            waited += delay;
        }
        assert!(waited > Duration::from_secs(150 * 3600), "and it is moved about once an hour: {waited:?}");
    }

    #[test]
    fn a_host_never_waits_for_its_tasks_and_the_broker_moves_each_about_once_an_hour() {
        let (deferral, start) = (deferral(&[10, 60, 600]), Instant::now());
        let mut allotments = Allotments::default();
        // A million tasks of a host that is sent two requests per second, by virtual time, second by second.
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
                let delay = seconds(deferral.of_backlog(&mut allotments, rate as f64, now));
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
