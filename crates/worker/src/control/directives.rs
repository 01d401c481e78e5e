//! Reads the directives of operators from the control stream.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::control::{ControlStream, Directive};
use fetchline_queue::{Broker, Error};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::dependencies::Dependencies;
use super::snapshot::{Directives, Snapshots};
use crate::backoff::Backoff;
use crate::error_chain::chain;

/// If no message arrives for this long, the stream counts as read to its end, whatever length the
/// broker reports.
const QUIET: Duration = Duration::from_secs(5);
/// After this many failures in a row, the worker continues without the stream.
const FAILURES: u32 = 5;

impl Directives {
    fn after(self, directive: Directive) -> Self {
        match directive {
            Directive::Pause => Self { paused: true, ..self },
            Directive::Resume => Self { paused: false, ..self },
            Directive::Concurrency(concurrency) => Self { concurrency, ..self },
        }
    }
}

/// Follows the control stream and publishes its directives.
pub(crate) struct Control {
    pub(crate) broker: Broker,
    pub(crate) snapshots: Snapshots,
    pub(crate) dependencies: Dependencies,
    pub(crate) pod: Arc<str>,
}

impl Control {
    /// Runs until `stop`. While the stream cannot be read, the last directives apply.
    pub(crate) async fn listen(self, stop: CancellationToken) {
        tokio::select! {
            () = self.follow() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn follow(&self) {
        let mut backoff = Backoff::default();
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let result = self.read_stream().await;
            backoff.reset_after(began.elapsed());
            match result {
                Ok(()) => failures = 0,
                // The consumer reports a broker that is away. A broker that refuses the stream is
                // no reason to stop working.
                Err(error) => {
                    failures =
                        if error.is_answer() { FAILURES.max(failures + 1) } else { failures + 1 };
                    if failures == FAILURES {
                        warn!(
                            cause = chain(&error),
                            "cannot read the control stream; working without new directives, and \
                             retrying at intervals"
                        );
                        self.publish(self.directives());
                    }
                }
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    /// Reads the stream from its beginning until the connection is lost.
    async fn read_stream(&self) -> Result<(), Error> {
        let connection = match self.broker.connect().await {
            // Not a failure while nothing can be consumed either: the first directive after the
            // outage may be a pause.
            Err(error) if !error.is_answer() && !self.dependencies.broker_is_up() => return Ok(()),
            connection => connection?,
        };
        let mut words = ControlStream::open(&connection, self.broker.topology(), &self.pod).await?;
        // Earlier directives are read again. The last published ones apply until then.
        let mut directives = self.directives();
        for _ in 0..words.backlog() {
            match timeout(QUIET, words.next()).await {
                Ok(Some(Ok(directive))) => directives = directives.after(directive),
                // Workers that ran at the time have logged this message.
                Ok(Some(Err(_))) => {}
                Ok(None) => return Ok(()),
                Err(_) => break,
            }
        }
        self.publish(directives);
        loop {
            match words.next().await {
                Some(Ok(directive)) => directives = directives.after(directive),
                Some(Err(reason)) => {
                    warn!(
                        %reason,
                        "a message in the control stream is not a directive and is ignored"
                    );
                }
                None => return Ok(()),
            }
            self.publish(directives);
        }
    }

    fn directives(&self) -> Directives {
        self.snapshots.read(|snapshot| snapshot.directives)
    }

    /// Publishes the directives, and that those from before the start of this worker are known.
    fn publish(&self, directives: Directives) {
        let mut has_changed = false;
        self.snapshots.update(|snapshot| {
            has_changed = std::mem::replace(&mut snapshot.directives, directives) != directives;
            !std::mem::replace(&mut snapshot.directives_known, true) || has_changed
        });
        if has_changed {
            info!(
                paused = directives.paused,
                concurrency = directives.concurrency,
                "an operator has sent a directive"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_directive_of_each_kind_applies() {
        let own = Directives { paused: false, concurrency: 100 };
        let after = |directives: &[Directive]| {
            directives.iter().fold(own, |sum, directive| sum.after(*directive))
        };
        assert_eq!(after(&[Directive::Pause, Directive::Resume]), own);
        let sum = after(&[
            Directive::Concurrency(5),
            Directive::Resume,
            Directive::Pause,
            Directive::Concurrency(7),
        ]);
        assert_eq!(sum, Directives { paused: true, concurrency: 7 });
    }
}
