//! Which runs were cancelled. The database has them; they are asked for every second.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use fetchline_queue::Task;
use fetchline_store::Store;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::alarm::Alarm;
use crate::failure::chain;

/// How often they are asked for.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The parts of runs that were cancelled, by run.
type Parts = HashMap<String, HashSet<String>>;

/// The runs that were cancelled, part by part: what is added to a run later is fetched.
pub(crate) struct Cancelled {
    parts: RwLock<Parts>,
    /// Whether there are any: that is asked for every task.
    any: AtomicBool,
    /// Rings when there are others.
    alarm: Alarm,
}

impl Cancelled {
    pub(crate) fn new(alarm: Alarm) -> Self {
        Self { parts: RwLock::default(), any: AtomicBool::new(false), alarm }
    }

    /// Whether the task is not to be fetched any more.
    pub(crate) fn holds(&self, task: &Task) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        // Tasks that belong to no part are a part without a name.
        parts.get(&task.run).is_some_and(|parts| parts.contains(task.part.as_deref().unwrap_or_default()))
    }

    /// Asks until the database tells. Nothing may be fetched before.
    pub(crate) async fn begin(&self, store: &Store) {
        loop {
            match store.cancelled_parts().await {
                Ok(parts) => return self.take_over(parts),
                Err(error) => {
                    warn!(
                        cause = chain(&error),
                        "it cannot be read which runs were cancelled; nothing is fetched before"
                    )
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Asks again and again, until `stop`. While the database is away what is known stays in force.
    pub(crate) async fn follow(&self, store: &Store, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY) => {}
                () = stop.cancelled() => return,
            }
            match store.cancelled_parts().await {
                Ok(parts) => self.take_over(parts),
                Err(error) => debug!(cause = chain(&error), "it cannot be read which runs were cancelled"),
            }
        }
    }

    fn take_over(&self, told: Vec<(String, String)>) {
        let mut parts = Parts::new();
        for (run, part) in told {
            parts.entry(run).or_default().insert(part);
        }
        if *self.parts.read().unwrap_or_else(PoisonError::into_inner) == parts {
            return;
        }
        info!(runs = parts.len(), "runs were cancelled: what waits of them is recorded as such, and not fetched");
        self.any.store(!parts.is_empty(), Ordering::Relaxed);
        *self.parts.write().unwrap_or_else(PoisonError::into_inner) = parts;
        self.alarm.ring();
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
        let cancelled = Cancelled::new(Alarm::default());
        assert!(!cancelled.holds(&task("nightly", Some("p1"))));
        cancelled.take_over(vec![("nightly".to_owned(), String::new()), ("nightly".to_owned(), "p1".to_owned())]);
        assert!(cancelled.holds(&task("nightly", Some("p1"))) && cancelled.holds(&task("nightly", None)));
        assert!(!cancelled.holds(&task("nightly", Some("p2"))) && !cancelled.holds(&task("other", None)));
        cancelled.take_over(Vec::new());
        assert!(!cancelled.holds(&task("nightly", Some("p1"))));
    }
}
