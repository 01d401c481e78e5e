//! The tasks of one host that wait, and what this worker has seen of the host.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::deferral::Allotments;
use super::frontier::Turn;

/// Over how long it is measured how much a host was sent.
const MEASURED: Duration = Duration::from_secs(10);
/// No rate is measured over less than this, in seconds.
const SOONEST: f64 = 0.1;
/// A host that was sent fewer requests of late is forgotten at once when nothing of it is under way.
const OF_USE: u32 = 10;

/// What waits, with what the order depends on.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) item: T,
    /// Higher ones first.
    pub(crate) priority: u8,
    /// How often in a row it was deferred since its host is paused; `None` for what cannot be deferred.
    pub(crate) deferrals: Option<u32>,
}

/// Why a host's next task does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing waits.
    Idle,
    /// It starts when the worker has a free place.
    Ready(Turn),
    /// As many fetches as there may be at one host are under way.
    AtCap,
    /// It waits for a limit, by its number.
    Limited(usize, Turn),
}

impl Standing {
    /// Whether free places of the worker do not help.
    pub(crate) fn is_blocked(self) -> bool {
        matches!(self, Self::AtCap | Self::Limited(..))
    }
}

/// A host that something waits for, or is fetched from.
#[derive(Debug)]
pub(crate) struct HostQueue<T> {
    pub(crate) name: Arc<str>,
    /// In the order in which they are taken: by priority, and within it as they came; each with when it came.
    entries: VecDeque<(Instant, Entry<T>)>,
    pub(crate) in_flight: usize,
    /// The numbers of the limits that match.
    pub(crate) limits: Box<[usize]>,
    pub(crate) standing: Standing,
    /// Its place in the round of hosts.
    pub(crate) turn: u64,
    /// Answers in a row that throttled us (429 and 503).
    pub(crate) throttled: u32,
    /// When it was last noted that the host has to be slowed.
    pub(crate) slowed_at: Option<Instant>,
    pub(crate) sent: SendRate,
    pub(crate) allotments: Allotments,
}

impl<T> HostQueue<T> {
    pub(crate) fn new(name: Arc<str>, limits: Box<[usize]>, now: Instant) -> Self {
        Self {
            name,
            entries: VecDeque::new(),
            in_flight: 0,
            limits,
            standing: Standing::Idle,
            turn: 0,
            throttled: 0,
            slowed_at: None,
            sent: SendRate::new(now),
            allotments: Allotments::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The priority of the task that is next.
    pub(crate) fn priority(&self) -> Option<u8> {
        self.entries.front().map(|(_, entry)| entry.priority)
    }

    pub(crate) fn push(&mut self, entry: Entry<T>, now: Instant) {
        let at = match self.entries.back() {
            // Nearly always: all have one priority.
            Some((_, last)) if last.priority < entry.priority => {
                self.entries.partition_point(|(_, other)| other.priority >= entry.priority)
            }
            _ => self.entries.len(),
        };
        self.entries.insert(at, (now, entry));
    }

    /// The next one.
    pub(crate) fn pop(&mut self) -> Option<Entry<T>> {
        self.entries.pop_front().map(|(_, entry)| entry)
    }

    /// The last one that can be deferred.
    pub(crate) fn pop_last(&mut self) -> Option<Entry<T>> {
        let at = self.entries.iter().rposition(|(_, entry)| entry.deferrals.is_some())?;
        self.entries.remove(at).map(|(_, entry)| entry)
    }

    /// Takes out all that fit.
    pub(crate) fn take_where(&mut self, mut fits: impl FnMut(&T) -> bool) -> Vec<Entry<T>> {
        self.take(|_, entry| fits(&entry.item))
    }

    /// Takes out what can be deferred and came before a moment.
    pub(crate) fn take_older(&mut self, than: Instant) -> Vec<Entry<T>> {
        self.take(|came, entry| came < than && entry.deferrals.is_some())
    }

    fn take(&mut self, mut fits: impl FnMut(Instant, &Entry<T>) -> bool) -> Vec<Entry<T>> {
        if !self.entries.iter().any(|(came, entry)| fits(*came, entry)) {
            return Vec::new();
        }
        let (taken, rest) = self.entries.drain(..).partition::<Vec<_>, _>(|(came, entry)| fits(*came, entry));
        self.entries = rest.into();
        taken.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Whether the host can be forgotten: nothing of it is under way, and what was seen of it is of no use.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.entries.is_empty() && self.in_flight == 0 && !self.sent.is_of_use(now)
    }
}

/// What a host was sent of late.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendRate {
    since: Instant,
    requests: u32,
    /// Requests per second in the span before.
    before: Option<f64>,
}

impl SendRate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, requests: 0, before: None }
    }

    /// A request is sent.
    pub(crate) fn count(&mut self, now: Instant) {
        let span = now - self.since;
        if span > MEASURED {
            // What was long ago is not what was before.
            let before = if span > 2 * MEASURED { 0.0 } else { self.per_second(now) };
            *self = Self { since: now, requests: 0, before: Some(before) };
        }
        self.requests += 1;
    }

    /// Requests per second.
    pub(crate) fn per_second(&self, now: Instant) -> f64 {
        let seconds = (now - self.since).as_secs_f64();
        let present = f64::from(self.requests) / seconds.max(1.0);
        // Too little of the present says nothing yet.
        if seconds < 1.0 { present.max(self.before.unwrap_or_default()) } else { present }
    }

    /// About how many requests per second the host is sent from now on. In the first second, what was sent is taken for as
    /// much as it can be: the first fetches at a fast host are not yet those of a slow one. Nothing within some seconds
    /// is taken for one within them, so that it is never 0.
    pub(crate) fn expected(&self, now: Instant) -> f64 {
        let elapsed = (now - self.since).as_secs_f64();
        let rate = match self.before {
            Some(_) => self.per_second(now),
            None => f64::from(self.requests) / elapsed.max(SOONEST),
        };
        rate.max(elapsed.max(1.0).recip())
    }

    /// Whether what was measured is worth its memory.
    fn is_of_use(&self, now: Instant) -> bool {
        let many = self.requests >= OF_USE || self.before.is_some_and(|before| before >= 1.0);
        many && now - self.since < 2 * MEASURED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(item: u32, priority: u8) -> Entry<u32> {
        Entry { item, priority, deferrals: Some(0) }
    }

    #[test]
    fn higher_priorities_come_first_and_equal_ones_as_they_came() {
        let mut queue = HostQueue::new("a.example".into(), Box::default(), Instant::now());
        for (item, priority) in [(1, 0), (2, 0), (3, 9), (4, 5), (5, 9), (6, 0)] {
            queue.push(entry(item, priority), Instant::now());
        }
        assert_eq!(queue.pop_last().map(|entry| entry.item), Some(6));
        let order: Vec<u32> = std::iter::from_fn(|| queue.pop().map(|entry| entry.item)).collect();
        assert_eq!(order, [3, 5, 4, 1, 2]);
    }

    #[test]
    fn what_was_sent_is_measured_over_some_seconds_also_when_they_have_just_begun() {
        let start = Instant::now();
        let mut sent = SendRate::new(start);
        let mut now = start;
        for _ in 0..88 {
            sent.count(now);
            now += Duration::from_millis(125);
        }
        assert!((sent.per_second(now) - 8.0).abs() < 0.5, "{}", sent.per_second(now));
        now += Duration::from_secs(7);
        assert!(sent.per_second(now) < 2.0, "{}", sent.per_second(now));
    }

    #[test]
    fn what_to_expect_of_a_host_is_known_within_a_second_and_is_never_nothing() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut fast = SendRate::new(start);
        (0..300).for_each(|request| fast.count(after(request)));
        assert!((fast.expected(after(300)) - 1_000.0).abs() < 1.0, "{}", fast.expected(after(300)));
        // Thirty at once, and none has come to an end.
        let mut slow = SendRate::new(start);
        (0..30).for_each(|_| slow.count(start));
        assert!(slow.expected(after(50)) >= 300.0, "nothing is known yet");
        assert!((slow.expected(after(2_000)) - 15.0).abs() < 0.1);
        let silent = SendRate::new(start);
        assert!((silent.expected(after(4_000)) - 0.25).abs() < 0.01);
    }
}
