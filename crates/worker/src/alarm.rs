//! Tells the tasks that wait for their turn to look whether they still should.

use std::sync::Arc;

use tokio::sync::watch;

/// One alarm for all reasons, since each task that waits listens to it. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Alarm(Arc<watch::Sender<()>>);

impl Alarm {
    /// Wakes whoever listens.
    pub(crate) fn ring(&self) {
        self.0.send_replace(());
    }

    /// Hears what rings from now on. The other end lives as long as the alarm does.
    pub(crate) fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
