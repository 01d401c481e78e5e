//! The state that all parts of a worker act on, published as one immutable value: a reader that
//! holds a snapshot has a consistent view.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fetchline_queue::Task;
use fetchline_store::HostLimit;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::Instant;

/// The state at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) directives: Directives,
    /// Whether the directives from before the start of this worker have been read.
    pub(crate) directives_known: bool,
    /// The place in the control stream of the last message that was read.
    pub(crate) directive: Option<u64>,
    pub(crate) limits: Arc<KnownLimits>,
    pub(crate) cancelled: Arc<CancelledParts>,
    pub(crate) broker: Health,
    /// Whether the exchange and the queues exist.
    pub(crate) topology: Health,
    pub(crate) database: Health,
}

/// The sum of all directives of operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Directives {
    /// Whether this worker is paused.
    pub(crate) paused: bool,
    /// The number of places.
    pub(crate) concurrency: usize,
}

/// Whether a dependency answers.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) up: bool,
    /// When it came up or went down.
    pub(crate) since: OffsetDateTime,
    /// The same on the monotonic clock.
    pub(crate) moment: Instant,
    /// Why it is down.
    pub(crate) error: Option<String>,
}

/// The limits in the database by pattern, each with the time at which it was read.
pub(crate) type KnownLimits = HashMap<Arc<str>, (HostLimit, Instant)>;

/// The cancelled parts by run. Parts that join a cancelled run later are fetched.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CancelledParts(HashMap<String, HashSet<String>>);

impl CancelledParts {
    /// Adds a part, and returns whether it is new.
    pub(crate) fn add(&mut self, run: String, part: String) -> bool {
        self.0.entry(run).or_default().insert(part)
    }

    /// Whether a task is cancelled.
    pub(crate) fn contains(&self, task: &Task) -> bool {
        // Most fleets have no cancelled run. Tasks without a part belong to the part with the
        // empty name.
        !self.0.is_empty()
            && self
                .0
                .get(&task.run)
                .is_some_and(|parts| parts.contains(task.part.as_deref().unwrap_or_default()))
    }

    /// The runs with parts that were not cancelled earlier.
    pub(crate) fn new_since(&self, earlier: &Self) -> impl Iterator<Item = &str> {
        let is_new = |run: &str, parts: &HashSet<String>| {
            earlier.0.get(run).is_none_or(|known| !parts.is_subset(known))
        };
        self.0.iter().filter(move |(run, parts)| is_new(run, parts)).map(|(run, _)| run.as_str())
    }

    /// The number of runs with cancelled parts.
    pub(crate) fn runs(&self) -> usize {
        self.0.len()
    }
}

/// Publishes and reads snapshots; cheap to clone.
#[derive(Clone)]
pub(crate) struct Snapshots(Arc<watch::Sender<Arc<Snapshot>>>);

impl Snapshots {
    /// Starts with an empty snapshot, with the concurrency of the configuration.
    pub(crate) fn new(concurrency: usize) -> Self {
        let unreached = Health {
            up: false,
            since: OffsetDateTime::now_utc(),
            moment: Instant::now(),
            error: Some("not reached yet".to_owned()),
        };
        let snapshot = Snapshot {
            directives: Directives { paused: false, concurrency },
            directives_known: false,
            directive: None,
            limits: Arc::default(),
            cancelled: Arc::default(),
            broker: unreached.clone(),
            topology: Health { up: true, error: None, ..unreached.clone() },
            database: unreached,
        };
        Self(Arc::new(watch::Sender::new(Arc::new(snapshot))))
    }

    /// Returns the newest snapshot.
    pub(crate) fn latest(&self) -> Arc<Snapshot> {
        self.0.borrow().clone()
    }

    /// Reads from the newest snapshot without keeping it.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Snapshot) -> T) -> T {
        read(&self.0.borrow())
    }

    /// Subscribes to changes. Snapshots between two reads are skipped.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.subscribe()
    }

    /// Waits until a snapshot matches.
    pub(crate) async fn wait_for(
        &self,
        mut matches: impl FnMut(&Snapshot) -> bool,
    ) -> Arc<Snapshot> {
        let mut changes = self.0.subscribe();
        match changes.wait_for(|snapshot| matches(snapshot)).await {
            Ok(snapshot) => snapshot.clone(),
            Err(_) => unreachable!("`self` keeps the sender alive"),
        }
    }

    /// Publishes a changed snapshot if `change` returns `true`.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Snapshot) -> bool) -> bool {
        self.0.send_if_modified(|snapshot| change(Arc::make_mut(snapshot)))
    }
}

#[cfg(test)]
mod tests {
    use fetchline_queue::{Address, FetchRequest, Key};

    use super::*;

    #[test]
    fn a_task_is_cancelled_with_its_part() {
        let task = |run: &str, part: Option<&str>| {
            let request = FetchRequest::get(Address::parse("http://a.example/").unwrap());
            let key = Key::of_other_program(run, "order-17");
            Task {
                part: part.map(str::to_owned),
                ..Task::new(request, run.to_owned(), String::new(), key)
            }
        };
        let mut cancelled = CancelledParts::default();
        assert!(!cancelled.contains(&task("nightly", Some("p1"))));
        assert!(
            cancelled.add("nightly".to_owned(), String::new())
                && cancelled.add("nightly".to_owned(), "p1".to_owned())
        );
        assert!(!cancelled.add("nightly".to_owned(), "p1".to_owned()));
        assert!(
            cancelled.contains(&task("nightly", Some("p1")))
                && cancelled.contains(&task("nightly", None))
        );
        assert!(
            !cancelled.contains(&task("nightly", Some("p2")))
                && !cancelled.contains(&task("other", None))
        );
    }

    #[test]
    fn an_update_does_not_change_a_snapshot_that_is_held() {
        let snapshots = Snapshots::new(10);
        let before = snapshots.latest();
        assert!(
            snapshots.update(|snapshot| !std::mem::replace(&mut snapshot.directives.paused, true))
        );
        assert!(!before.directives.paused && snapshots.latest().directives.paused);
    }
}
