//! What operators have told all workers: read from the control stream, whose newest words count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fetchline_queue::control::{Word, Words};
use fetchline_queue::{Broker, Error};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::alarm::Alarm;
use crate::backoff::Backoff;
use crate::failure::chain;
use crate::services::Services;

/// When nothing has come for so long, the stream was read to its end, whatever the broker says of its length.
const QUIET: Duration = Duration::from_secs(5);

/// So many failures in a row are enough to go on without it.
const FAILURES: u32 = 5;

/// What holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Orders {
    /// Whether no messages are taken.
    pub(crate) paused: bool,
    /// Fetches at once.
    pub(crate) concurrency: usize,
}

impl Orders {
    fn after(self, word: Word) -> Self {
        match word {
            Word::Pause => Self { paused: true, ..self },
            Word::Resume => Self { paused: false, ..self },
            Word::Concurrency(concurrency) => Self { concurrency, ..self },
        }
    }
}

/// What holds, as every stage sees it; cheap to clone.
#[derive(Clone)]
pub(crate) struct Control {
    orders: Arc<watch::Sender<Orders>>,
    heard: Arc<watch::Sender<bool>>,
    recalls: Arc<AtomicU64>,
    /// Rings at new orders and at a recall; others ring it for reasons of their own.
    pub(crate) alarm: Alarm,
}

impl Control {
    /// `concurrency` is that of the configuration.
    pub(crate) fn new(concurrency: usize) -> Self {
        let own = Orders { paused: false, concurrency };
        Self {
            orders: Arc::new(watch::Sender::new(own)),
            heard: Arc::default(),
            recalls: Arc::default(),
            alarm: Alarm::default(),
        }
    }

    /// What holds now.
    pub(crate) fn now(&self) -> Orders {
        *self.orders.borrow()
    }

    /// Waits until it is known what was said before this worker began.
    pub(crate) async fn heard(&self) {
        // The senders live as long as this does.
        _ = self.heard.subscribe().wait_for(|heard| *heard).await;
    }

    /// Waits until something else holds.
    pub(crate) async fn changed_from(&self, orders: Orders) -> Orders {
        match self.orders.subscribe().wait_for(|now| *now != orders).await {
            Ok(now) => *now,
            Err(_) => orders,
        }
    }

    /// Has everything given back that waits for its turn: there would be too much of it.
    pub(crate) fn recall(&self) {
        self.recalls.fetch_add(1, Ordering::Relaxed);
        self.alarm.ring();
    }

    /// How often that was said. Whoever came before the last time is meant by it.
    pub(crate) fn recalls(&self) -> u64 {
        self.recalls.load(Ordering::Relaxed)
    }

    /// Waits until the worker is paused.
    pub(crate) async fn pauses(&self) {
        // The senders live as long as this does.
        _ = self.orders.subscribe().wait_for(|now| now.paused).await;
    }

    /// Listens until `stop`. While the stream cannot be read, what was heard last holds.
    pub(crate) async fn listen(self, broker: Broker, services: Services, pod: Arc<str>, stop: CancellationToken) {
        tokio::select! {
            () = self.listen_on(broker, services, &pod) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn listen_on(&self, broker: Broker, services: Services, pod: &str) {
        let mut backoff = Backoff::default();
        let mut failures = 0;
        loop {
            match self.once_through(&broker, &services, pod, &mut backoff).await {
                Ok(()) => failures = 0,
                // Consuming tells of a broker that is away. One that answers, here with a refusal or there, is no reason not to work.
                Err(error) => {
                    failures = if error.is_answer() { FAILURES.max(failures + 1) } else { failures + 1 };
                    if failures == FAILURES {
                        warn!(
                            cause = chain(&error),
                            "what operators tell workers cannot be read; tried again now and then"
                        );
                        self.heard.send_replace(true);
                    }
                }
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    /// Reads the stream from its beginning, until the connection is lost.
    async fn once_through(
        &self,
        broker: &Broker,
        services: &Services,
        pod: &str,
        backoff: &mut Backoff,
    ) -> Result<(), Error> {
        let connection = match broker.connect().await {
            // As long as nothing is consumed either, it may be told to begin with a pause.
            Err(error) if !error.is_answer() && !services.broker_is_up() => return Ok(()),
            connection => connection?,
        };
        let mut words = Words::listen(&connection, broker.topology(), pod).await?;
        backoff.reset();
        // The newest words are read again. Until they are, what was heard last holds.
        let mut orders = self.now();
        for _ in 0..words.said_before() {
            match timeout(QUIET, words.next()).await {
                Ok(Some(Ok(word))) => orders = orders.after(word),
                // What was wrong before this worker began was told by others.
                Ok(Some(Err(_))) => {}
                Ok(None) => return Ok(()),
                Err(_) => break,
            }
        }
        self.take(orders);
        self.heard.send_replace(true);
        loop {
            match words.next().await {
                Some(Ok(word)) => orders = orders.after(word),
                Some(Err(wrong)) => warn!(%wrong, "a message in the control stream is ignored"),
                None => return Ok(()),
            }
            self.take(orders);
        }
    }

    fn take(&self, orders: Orders) {
        let changed = self.orders.send_if_modified(|now| std::mem::replace(now, orders) != orders);
        if changed {
            self.alarm.ring();
            info!(
                paused = orders.paused,
                concurrency = orders.concurrency,
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
        let own = Orders { paused: false, concurrency: 100 };
        let after = |words: &[Word]| words.iter().fold(own, |orders, word| orders.after(*word));
        assert_eq!(after(&[Word::Pause, Word::Resume]), own);
        let told = after(&[Word::Concurrency(5), Word::Resume, Word::Pause, Word::Concurrency(7)]);
        assert_eq!(told, Orders { paused: true, concurrency: 7 });
    }
}
