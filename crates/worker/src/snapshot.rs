//! What all parts of a worker act on: directives of operators, host limits, cancelled runs, and the health of broker and
//! database. Published as one immutable value; a reader that holds it sees one state of things.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fetchline_queue::Task;
use fetchline_store::HostLimit;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::Instant;

/// A state of things.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) directives: Directives,
    /// Whether it is known what operators said before this worker began.
    pub(crate) directives_known: bool,
    pub(crate) limits: Arc<KnownLimits>,
    pub(crate) cancelled: Arc<CancelledParts>,
    pub(crate) broker: Health,
    pub(crate) database: Health,
}

/// What operators have told all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Directives {
    /// Whether no messages are taken.
    pub(crate) paused: bool,
    /// Fetches at once.
    pub(crate) concurrency: usize,
}

/// Whether a dependency answers.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) up: bool,
    /// Since when it is up or down.
    pub(crate) since: OffsetDateTime,
    pub(crate) moment: Instant,
    /// Why it is down.
    pub(crate) error: Option<String>,
}

/// The limits in the database by their pattern, each with the moment at which it was read.
pub(crate) type KnownLimits = HashMap<Arc<str>, (HostLimit, Instant)>;

/// The parts of runs that were cancelled: what is added to a run later is fetched.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CancelledParts(HashMap<String, HashSet<String>>);

impl CancelledParts {
    /// Adds a part; whether it is new.
    pub(crate) fn add(&mut self, run: String, part: String) -> bool {
        self.0.entry(run).or_default().insert(part)
    }

    /// Whether the task is not to be fetched any more.
    pub(crate) fn contains(&self, task: &Task) -> bool {
        // Tasks that belong to no part are a part without a name. Most fleets have no cancelled run.
        !self.0.is_empty()
            && self.0.get(&task.run).is_some_and(|parts| parts.contains(task.part.as_deref().unwrap_or_default()))
    }

    /// How many runs have such parts.
    pub(crate) fn runs(&self) -> usize {
        self.0.len()
    }
}

/// Publishes snapshots and reads them; cheap to clone.
#[derive(Clone)]
pub(crate) struct Snapshots(Arc<watch::Sender<Arc<Snapshot>>>);

impl Snapshots {
    /// Nothing is known yet. `concurrency` is that of the configuration.
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
            limits: Arc::default(),
            cancelled: Arc::default(),
            broker: unreached.clone(),
            database: unreached,
        };
        Self(Arc::new(watch::Sender::new(Arc::new(snapshot))))
    }

    /// The newest one.
    pub(crate) fn latest(&self) -> Arc<Snapshot> {
        self.0.borrow().clone()
    }

    /// Looks at the newest one without keeping it.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Snapshot) -> T) -> T {
        look(&self.0.borrow())
    }

    /// Sees every change from now on, though not each state in between.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.subscribe()
    }

    /// Waits until one fits.
    pub(crate) async fn wait_for(&self, mut fits: impl FnMut(&Snapshot) -> bool) -> Arc<Snapshot> {
        let mut changes = self.0.subscribe();
        match changes.wait_for(|snapshot| fits(snapshot)).await {
            Ok(snapshot) => snapshot.clone(),
            Err(_) => unreachable!("the sender lives as long as this does"),
        }
    }

    /// Publishes another one where `change` says that it has changed anything.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Snapshot) -> bool) -> bool {
        self.0.send_if_modified(|snapshot| change(Arc::make_mut(snapshot)))
    }
}

#[cfg(test)]
mod tests {
    use fetchline_queue::{Address, Key, Order};

    use super::*;

    #[test]
    fn a_task_is_cancelled_with_its_part() {
        let task = |run: &str, part: Option<&str>| {
            let order = Order::get(Address::parse("http://a.example/").unwrap());
            let key = Key::of(run, "part", &order, 0);
            Task { part: part.map(str::to_owned), ..Task::new(order, run.to_owned(), String::new(), key) }
        };
        let mut cancelled = CancelledParts::default();
        assert!(!cancelled.contains(&task("nightly", Some("p1"))));
        assert!(
            cancelled.add("nightly".to_owned(), String::new()) && cancelled.add("nightly".to_owned(), "p1".to_owned())
        );
        assert!(!cancelled.add("nightly".to_owned(), "p1".to_owned()));
        assert!(cancelled.contains(&task("nightly", Some("p1"))) && cancelled.contains(&task("nightly", None)));
        assert!(!cancelled.contains(&task("nightly", Some("p2"))) && !cancelled.contains(&task("other", None)));
    }

    #[test]
    fn whoever_holds_a_snapshot_keeps_it_as_it_was() {
        let snapshots = Snapshots::new(10);
        let before = snapshots.latest();
        assert!(snapshots.update(|snapshot| !std::mem::replace(&mut snapshot.directives.paused, true)));
        assert!(!before.directives.paused && snapshots.latest().directives.paused);
    }
}
