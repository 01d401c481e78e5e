//! Hosts that answer "too many requests" (429) or "unavailable" (503): what they ask for counts for all workers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::frontier::Frontier;

/// A host that asks for more time than this gets no more: it might have said so by mistake.
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(3600);
/// So many such answers in a row without a word about when to come back, and the host is slowed.
const IN_A_ROW: u32 = 5;
/// It is not slowed again for so long: until then it answers requests that were sent before.
const SLOWED_ONCE_IN: Duration = Duration::from_secs(10);

/// An answer that throttles us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throttled {
    pub(crate) status: u16,
    /// How long the host asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// What is to be written down for all workers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Note {
    /// Nothing is sent for so long.
    CoolDown { host: Arc<str>, wait: Duration, why: String },
    /// Half of so many requests per second: of this worker where `of_fleet` is not set.
    Slow { host: Arc<str>, rate: f64, of_fleet: bool, why: String },
}

impl<T> Frontier<T> {
    /// A host has answered like this; what follows for all workers.
    pub(crate) fn throttled(&mut self, id: usize, answer: Throttled, now: Instant) -> Option<Note> {
        let Throttled { status, retry_after } = answer;
        let host = self.host_mut(id);
        host.throttled += 1;
        let (host, in_a_row, sent) = (host.name.clone(), host.throttled, host.sent.per_second(now));
        let limit = self.limit(&host);
        if let Some(asked) = retry_after.filter(|asked| !asked.is_zero()) {
            let wait = asked.min(LONGEST_COOL_DOWN);
            // Those that were under way when the first one was throttled are throttled as well, and tell nothing new.
            let known = limit.and_then(|limit| limit.cools_until).map(|until| until - now);
            if known.is_some_and(|known| wait <= known + Duration::from_secs(1)) {
                return None;
            }
            self.change_limit(&host, |limit| limit.cool_down(now + wait), now);
            let why = format!("answered {status} and asked for {} s", asked.as_secs());
            return Some(Note::CoolDown { host, wait, why });
        }
        let host_queue = self.host_mut(id);
        let lately = host_queue.slowed_at.is_some_and(|then| now - then < SLOWED_ONCE_IN);
        if in_a_row < IN_A_ROW || lately {
            return None;
        }
        host_queue.slowed_at = Some(now);
        let allowed = limit.and_then(|limit| limit.interval).map(|interval| interval.as_secs_f64().recip());
        let why = format!("slowed: answered {status} {in_a_row} times in a row");
        Some(Note::Slow { host, rate: allowed.unwrap_or(sent), of_fleet: allowed.is_some(), why })
    }

    /// A host has answered, and did not throttle us.
    pub(crate) fn answered(&mut self, id: usize) {
        self.host_mut(id).throttled = 0;
    }
}

#[cfg(test)]
mod tests {
    use fetchline_queue::Tier;

    use super::super::deferral::Deferral;
    use super::super::frontier::Action;
    use super::super::host_queue::Entry;
    use super::*;

    /// A frontier with one fetch under way, and its host's number.
    fn frontier() -> (Frontier<u32>, usize, Instant) {
        let (now, tier) = (Instant::now(), Tier::of(Duration::from_secs(10)).unwrap());
        let mut frontier = Frontier::new(9, 9, 100, Duration::from_secs(20), Deferral::new(&[tier]));
        frontier.push("a.example", Entry { item: 0, priority: 0, deferrals: Some(0) }, now);
        let Some(Action::Start { host, .. }) = frontier.next(now) else { panic!("it starts") };
        (frontier, host, now)
    }

    fn asks(seconds: Option<u64>) -> Throttled {
        Throttled { status: 429, retry_after: seconds.map(Duration::from_secs) }
    }

    #[test]
    fn a_host_that_asks_for_time_gets_it_once_and_no_more_than_an_hour() {
        let (mut frontier, host, now) = frontier();
        let Some(Note::CoolDown { wait, .. }) = frontier.throttled(host, asks(Some(90)), now) else { panic!("a note") };
        assert_eq!(wait.as_secs(), 90);
        assert_eq!(frontier.throttled(host, asks(Some(91)), now), None, "that is known");
        let later = now + Duration::from_secs(100);
        let Some(Note::CoolDown { wait, .. }) = frontier.throttled(host, asks(Some(86_400)), later) else {
            panic!("it asks for more")
        };
        assert_eq!(wait, LONGEST_COOL_DOWN);
    }

    #[test]
    fn five_in_a_row_without_a_word_slow_the_host_by_what_it_was_sent_or_by_its_limit() {
        let (mut frontier, host, now) = frontier();
        let then = now + Duration::from_secs(2);
        for _ in 0..4 {
            assert_eq!(frontier.throttled(host, asks(None), then), None);
        }
        frontier.answered(host);
        for _ in 0..4 {
            assert_eq!(frontier.throttled(host, asks(None), then), None, "one good answer begins anew");
        }
        let note = frontier.throttled(host, asks(Some(0)), then);
        assert!(matches!(note, Some(Note::Slow { rate: 0.5, of_fleet: false, .. })), "{note:?}");
        frontier.change_limit("a.example", |limit| limit.space_out(Duration::from_secs(2)), then);
        for _ in 0..40 {
            assert_eq!(frontier.throttled(host, asks(None), then), None, "that is known for a while");
        }
        let note = frontier.throttled(host, asks(None), then + SLOWED_ONCE_IN);
        assert!(
            matches!(note, Some(Note::Slow { of_fleet: true, rate, .. }) if (rate - 0.476).abs() < 0.01),
            "{note:?}"
        );
    }
}
