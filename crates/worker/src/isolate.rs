//! Messages that came back so often that one of them may crash its worker: fetched one at a time.
//!
//! The broker charges a crash to every message that the worker held, to the guilty one and to its neighbours alike. So
//! from half of the way to poison on, such a message is fetched with no other of its kind beside it, and the next one is
//! begun when this one is settled. Their order is turned around from one crash to the next: whoever stood behind the
//! guilty one stands before it then, and is done.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::Task;
use tokio::sync::mpsc;
use tracing::warn;

use crate::admit::Admission;
use crate::job::Job;

/// After the first one it is waited for others, so that the order is kept also when the guilty one comes first.
const GATHER: Duration = Duration::from_secs(1);

/// Fetches suspects one at a time.
pub(crate) struct Isolate {
    pub(crate) admission: Arc<Admission>,
}

impl Isolate {
    /// Runs until nobody is left who could bring a suspect.
    pub(crate) async fn run(self, mut suspects: mpsc::UnboundedReceiver<Box<Job>>) {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                let Some(first) = suspects.recv().await else { return };
                let returned = first.task.returned;
                warn!(
                    returned,
                    "messages came back so often that one may crash its worker; they are fetched one by one"
                );
                waiting.push(first);
                tokio::time::sleep(GATHER).await;
            }
            while let Ok(suspect) = suspects.try_recv() {
                waiting.push(suspect);
            }
            let next = (0..waiting.len()).min_by_key(|at| rank(&waiting[*at].task)).unwrap_or(0);
            let mut job = waiting.swap_remove(next);
            let settled = job.claim.end_of();
            self.admission.admit(job);
            // An error says that the other end was dropped, which is how a claim ends.
            _ = settled.await;
        }
    }
}

/// Its place in the order. A crash makes each count of those that were held one higher, and so turns every two around,
/// whatever their counts were.
fn rank(task: &Task) -> u128 {
    let half = task.key.half();
    if task.returned.is_multiple_of(2) { half } else { !half }
}

#[cfg(test)]
mod tests {
    use fetchline_queue::{Address, Key, Order};

    use super::*;

    #[test]
    fn a_crash_turns_every_two_around() {
        let task = |path: &str, returned| {
            let order = Order::get(Address::parse(&format!("http://a.example/{path}")).unwrap());
            let key = Key::of("run", "part", &order, 0);
            Task { returned, ..Task::new(order, "run".to_owned(), "part".to_owned(), key) }
        };
        for (one, other) in [(10, 10), (10, 13), (11, 12), (15, 11)] {
            let is_first = |crashes: u64| rank(&task("a", one + crashes)) < rank(&task("b", other + crashes));
            assert!(is_first(0) != is_first(1) && is_first(1) != is_first(2), "{one} {other}");
        }
    }
}
