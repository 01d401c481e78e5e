//! Messages that came back so often that one of them may crash its worker: fetched one at a time.
//!
//! The broker charges a crash to every message that the worker held, to the guilty one and to its neighbours alike. So
//! from half of the way to poison on, such a message is fetched with no other of its kind beside it, and the next one is
//! begun when this one is settled. They come in random order: whoever crashes the worker, half of the others are done
//! before it on average, each time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::warn;

use crate::admit::Admission;
use crate::job::Job;

/// After the first one it is waited for others, so that the order is random also when the guilty one comes first.
const GATHER: Duration = Duration::from_secs(1);

/// Fetches suspects one at a time.
pub(crate) struct Isolate {
    pub(crate) admission: Arc<Admission>,
}

impl Isolate {
    /// Runs until nobody is left who could bring a suspect.
    pub(crate) async fn run(self, mut suspects: mpsc::UnboundedReceiver<Job>) {
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
            let mut job = waiting.swap_remove(rand::random_range(0..waiting.len()));
            let settled = job.claim.end_of();
            self.admission.admit(job);
            // An error says that the other end was dropped, which is how a claim ends.
            _ = settled.await;
        }
    }
}
