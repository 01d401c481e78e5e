//! How far a fetch has come, so that a timeout loses nothing that is known.

use std::time::Duration;

use fetchline_queue::Address;
use fetchline_store::Outcome;
use http::StatusCode;
use tokio::time::Instant;

use super::answer::Answer;
use super::conditional::Version;
use super::cookies::CookieJar;
use super::deadline::{Deadline, PausedTooLong};
use super::failure::{Failure, Fault};
use crate::memory_budget::Reservation;
use crate::schedule::Denied;

/// A fetch that waited longer than this for memory, and then failed, may have failed for that.
const NOTICEABLE: Duration = Duration::from_secs(1);

/// What is known of a fetch that is under way.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) status: Option<StatusCode>,
    pub(super) redirected_to: Option<Address>,
    pub(super) content_type: Option<String>,
    pub(super) body: Option<(Vec<u8>, Reservation)>,
    pub(super) version: Option<Box<Version>>,
    /// Whether the last request had a condition of ours.
    pub(super) is_conditional: bool,
    pub(super) retry_after: Option<Duration>,
    pub(super) jar: CookieJar,
    pub(super) fault: Fault,
    /// How long the fetch waited for places, slots and name servers.
    waited_for_places: Duration,
}

impl Progress {
    /// The beginning of a fetch with this jar.
    pub(super) fn with_jar(jar: CookieJar) -> Self {
        Self { jar, ..Self::default() }
    }

    /// Waits for a place, a slot or a name server, which pauses the deadline.
    pub(super) async fn wait<T>(
        &mut self,
        deadline: &Deadline,
        wait: impl Future<Output = Result<T, Denied>>,
    ) -> Result<T, End> {
        let started = Instant::now();
        let waited = deadline.pause_during(wait).await;
        self.waited_for_places += started.elapsed();
        waited.unwrap_or_else(|PausedTooLong| Err(Denied::Requeue)).map_err(End::Denied)
    }

    /// The answer of a fetch that has ended.
    pub(super) fn into_answer(
        self,
        outcome: Outcome,
        error: Option<String>,
        deadline: &Deadline,
    ) -> Answer {
        let waited_for_memory = deadline.paused_for().saturating_sub(self.waited_for_places);
        let delayed_by_memory = self.body.is_none() && waited_for_memory > NOTICEABLE;
        let (body, reservation) = self.body.unzip();
        Answer {
            outcome,
            status: self.status.map(|status| status.as_u16()),
            redirected_to: self.redirected_to,
            content_type: self.content_type,
            body,
            version: self.version,
            error,
            retry_after: self.retry_after,
            reservation: reservation.unwrap_or_default(),
            delayed_by_memory,
            fault: self.fault,
        }
    }
}

/// Why a fetch ends before its body has been read.
#[derive(Clone)]
pub(super) enum End {
    Failed(Failure),
    Denied(Denied),
}

impl<F: Into<Failure>> From<F> for End {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

impl From<Denied> for End {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}
