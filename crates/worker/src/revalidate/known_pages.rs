//! Lookups of known pages: fetches that begin at the same time share a statement.

use std::sync::Arc;
use std::time::Duration;

use fetchline_store::{KnownPage, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::control::dependencies::Dependencies;

/// The most pages of one statement.
const AT_ONCE: usize = 512;
/// A fetch does not wait for longer: without an answer it asks for the whole page.
const PATIENCE: Duration = Duration::from_secs(3);

/// A fetch that waits for what is known of its page.
struct Request {
    key: [u8; 16],
    reply: oneshot::Sender<Option<KnownPage>>,
}

/// Looks up pages.
pub(crate) struct KnownPages {
    requests: mpsc::UnboundedSender<Request>,
}

impl KnownPages {
    /// Starts a task that looks up pages until this is dropped. It costs nothing while no page is
    /// looked up.
    pub(crate) fn start(store: Arc<Store>, dependencies: Dependencies) -> Self {
        let (requests, inbox) = mpsc::unbounded_channel();
        tokio::spawn(run(store, dependencies, inbox));
        Self { requests }
    }

    /// What is known of a page; `None` as well if the database does not say so soon.
    pub(super) async fn look_up(&self, key: [u8; 16]) -> Option<KnownPage> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { key, reply }).ok()?;
        answer.await.ok().flatten()
    }
}

async fn run(
    store: Arc<Store>,
    dependencies: Dependencies,
    mut inbox: mpsc::UnboundedReceiver<Request>,
) {
    let mut requests = Vec::with_capacity(AT_ONCE);
    while inbox.recv_many(&mut requests, AT_ONCE).await > 0 {
        let mut keys: Vec<_> = requests.iter().map(|request| request.key).collect();
        // In key order, as the pages lie.
        keys.sort_unstable();
        keys.dedup();
        let known = match timeout(PATIENCE, store.known_pages(&keys)).await {
            Ok(Ok(known)) => known,
            Ok(Err(error)) => {
                dependencies.report(&error);
                Default::default()
            }
            Err(_) => Default::default(),
        };
        for Request { key, reply } in requests.drain(..) {
            // The fetch may have ended in the meantime.
            _ = reply.send(known.get(&key).cloned());
        }
    }
}
