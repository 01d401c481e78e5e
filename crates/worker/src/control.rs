//! What operators have told all workers: read from the control stream, whose newest words count.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::control::{Word, Words};
use fetchline_queue::{Broker, Error};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::dependencies::Dependencies;
use crate::failure::chain;
use crate::snapshot::{Directives, Snapshots};

/// When nothing has come for so long, the stream was read to its end, whatever the broker says of its length.
const QUIET: Duration = Duration::from_secs(5);

/// So many failures in a row are enough to go on without it.
const FAILURES: u32 = 5;

impl Directives {
    fn after(self, word: Word) -> Self {
        match word {
            Word::Pause => Self { paused: true, ..self },
            Word::Resume => Self { paused: false, ..self },
            Word::Concurrency(concurrency) => Self { concurrency, ..self },
        }
    }
}

/// Listens to operators, and publishes what they say.
pub(crate) struct Control {
    pub(crate) broker: Broker,
    pub(crate) snapshots: Snapshots,
    pub(crate) dependencies: Dependencies,
    pub(crate) pod: Arc<str>,
}

impl Control {
    /// Listens until `stop`. While the stream cannot be read, what was heard last holds.
    pub(crate) async fn listen(self, stop: CancellationToken) {
        tokio::select! {
            () = self.listen_on() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn listen_on(&self) {
        let mut backoff = Backoff::default();
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let ended = self.once_through().await;
            backoff.lived(began.elapsed());
            match ended {
                Ok(()) => failures = 0,
                // Consuming tells of a broker that is away. One that answers, here with a refusal or there, is no reason not to work.
                Err(error) => {
                    failures = if error.is_answer() { FAILURES.max(failures + 1) } else { failures + 1 };
                    if failures == FAILURES {
                        warn!(
                            cause = chain(&error),
                            "what operators tell workers cannot be read; tried again now and then"
                        );
                        self.publish(self.directives());
                    }
                }
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    /// Reads the stream from its beginning, until the connection is lost.
    async fn once_through(&self) -> Result<(), Error> {
        let connection = match self.broker.connect().await {
            // As long as nothing is consumed either, it may be told to begin with a pause.
            Err(error) if !error.is_answer() && !self.dependencies.broker_is_up() => return Ok(()),
            connection => connection?,
        };
        let mut words = Words::listen(&connection, self.broker.topology(), &self.pod).await?;
        // The newest words are read again. Until they are, what was heard last holds.
        let mut directives = self.directives();
        for _ in 0..words.said_before() {
            match timeout(QUIET, words.next()).await {
                Ok(Some(Ok(word))) => directives = directives.after(word),
                // What was wrong before this worker began was told by others.
                Ok(Some(Err(_))) => {}
                Ok(None) => return Ok(()),
                Err(_) => break,
            }
        }
        self.publish(directives);
        loop {
            match words.next().await {
                Some(Ok(word)) => directives = directives.after(word),
                Some(Err(wrong)) => warn!(%wrong, "a message in the control stream is ignored"),
                None => return Ok(()),
            }
            self.publish(directives);
        }
    }

    fn directives(&self) -> Directives {
        self.snapshots.look(|snapshot| snapshot.directives)
    }

    /// From now on these hold, and it is known what was said before.
    fn publish(&self, directives: Directives) {
        let mut others = false;
        self.snapshots.update(|snapshot| {
            others = std::mem::replace(&mut snapshot.directives, directives) != directives;
            !std::mem::replace(&mut snapshot.directives_known, true) || others
        });
        if others {
            info!(
                paused = directives.paused,
                concurrency = directives.concurrency,
                "an operator has told the workers what to do"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_word_of_each_kind_counts() {
        let own = Directives { paused: false, concurrency: 100 };
        let after = |words: &[Word]| words.iter().fold(own, |directives, word| directives.after(*word));
        assert_eq!(after(&[Word::Pause, Word::Resume]), own);
        let told = after(&[Word::Concurrency(5), Word::Resume, Word::Pause, Word::Concurrency(7)]);
        assert_eq!(told, Directives { paused: true, concurrency: 7 });
    }
}
