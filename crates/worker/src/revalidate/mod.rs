//! Revalidation: pages that were fetched before are fetched only if they have changed.
//!
//! The database remembers the validators of a page's last full response, and its row. They are used
//! while that row still has its body, and no other fetch has written the page's item since; see
//! [`fetchline_store::KNOWN_PAGES`].

mod config;
mod identity;
mod known_pages;
mod revisit;

use fetchline_queue::Task;
use http::Method;

pub use config::Config;
pub(crate) use identity::Identity;
pub(crate) use known_pages::KnownPages;
pub(crate) use revisit::{FullResponse, Revisit};

use crate::fetch::conditional;

/// Decides which tasks are revalidated, and how.
pub(crate) struct Revalidation {
    config: Config,
    identity: Identity,
    pages: KnownPages,
}

impl Revalidation {
    pub(crate) fn new(config: Config, identity: Identity, pages: KnownPages) -> Self {
        Self { config, identity, pages }
    }

    /// Whether a task is revalidated: it asks for a page as a whole, and sets no condition itself.
    pub(crate) fn concerns(&self, task: &Task) -> bool {
        let request = &task.request;
        request.revalidate.unwrap_or(self.config.revalidate)
            && request.method == Method::GET
            && request.body.is_none()
            && !self.identity.has_own_condition()
            && !conditional::has_own(&request.headers)
    }

    /// Looks up what is known of the page of a task.
    pub(crate) async fn begin(&self, task: &Task) -> Box<Revisit> {
        let (key, reader) = (self.identity.page(&task.request), self.identity.reader(task));
        let known = self.pages.look_up(key).await;
        // The row of an earlier fetch of the same task would be replaced, and its body lost.
        let known = known.filter(|known| known.page.fetch_id != *task.key.as_bytes());
        let known = known.filter(|known| known.page.reader == reader);
        // A condition may be why an attempt failed, so later ones and replays go without.
        let may_ask = task.attempt == 1 && task.failed_at.is_none();
        Box::new(Revisit::new(key, reader, known, may_ask, self.config.revalidate_full_every))
    }
}
