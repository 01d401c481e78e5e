//! News for the operator: what the workers notice, one fact per message.
//!
//! Many workers notice the same fact. Each sends it to its reporter, and the one that claims it in
//! the database publishes it. The others look again after a while, in case that one has died. While
//! the database is away, nobody can claim a fact. Then the first worker of the roster is the
//! leader of the fleet: it publishes what cannot wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fetchline_queue::control::{self, News};
use fetchline_queue::{Broker, DEADLINE, Error, within};
use fetchline_store::{ClaimedFact, FACT_LEASE, Store};
use lapin::Connection;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::error_chain::chain;
use crate::timer::until;

/// The most facts that wait to be reported. The news need not be complete: further facts are
/// dropped.
const MAX_WAITING: usize = 200;
/// How long the same fact is not reported again.
const WINDOW: Duration = Duration::from_secs(600);
/// How many times a fact is looked at.
const LOOKS: u32 = 4;

/// A fact that may be reported.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    /// Workers that notice the same fact give it the same name.
    name: String,
    /// How long the same fact is not reported again.
    window: Duration,
    kind: &'static str,
    pub(super) sentence: String,
    details: Map<String, Value>,
    looks: u32,
    /// The fact that ends this one, and when this one was noticed.
    ended_by: Option<(String, Instant)>,
}

impl Fact {
    pub(crate) fn new(kind: &'static str, name: String, sentence: String) -> Self {
        Self { name, window: WINDOW, kind, sentence, details: Map::new(), looks: 0, ended_by: None }
    }

    /// Adds a detail for programs.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Reports the same fact again if this other one, which ends it, was reported in between.
    pub(super) fn again_after(mut self, end: String) -> Self {
        self.ended_by = Some((end, Instant::now()));
        self
    }

    /// Reports the same fact once in this time.
    pub(crate) fn once_in(self, window: Duration) -> Self {
        Self { window, ..self }
    }
}

/// Sends facts to the reporter of this worker; cheap to clone.
#[derive(Clone)]
pub(crate) struct NewsHandle {
    sender: mpsc::Sender<Message>,
    /// Whether this worker was the first one of the roster when the database answered last.
    is_leader: Arc<AtomicBool>,
}

/// What is sent to a reporter.
enum Message {
    /// A fact for the worker that claims it.
    Claimable(Fact),
    /// A fact for this worker.
    Own(Fact),
}

impl NewsHandle {
    /// Reports a fact, unless another worker does.
    pub(crate) fn report(&self, fact: Fact) {
        self.send(Message::Claimable(fact));
    }

    /// Reports a fact without a claim if this worker is the leader.
    pub(super) fn report_as_leader(&self, fact: Fact) {
        if self.is_leader.load(Ordering::Relaxed) {
            self.send(Message::Own(fact));
        }
    }

    /// Records whether this worker is the first one of the roster.
    pub(super) fn set_leader(&self, is_leader: bool) {
        self.is_leader.store(is_leader, Ordering::Relaxed);
    }

    fn send(&self, message: Message) {
        if self.sender.try_send(message).is_err() {
            debug!("too many news; one is dropped");
        }
    }
}

#[cfg(test)]
impl NewsHandle {
    /// The handle of a leader, and a function that returns the kinds of the facts since its last
    /// call.
    pub(super) fn of_leader() -> (Self, impl FnMut() -> Vec<&'static str>) {
        let (sender, mut inbox) = mpsc::channel(MAX_WAITING);
        let kind = |(Message::Claimable(fact) | Message::Own(fact))| fact.kind;
        let kinds = move || std::iter::from_fn(|| inbox.try_recv().ok()).map(kind).collect();
        (Self { sender, is_leader: Arc::new(true.into()) }, kinds)
    }
}

/// The identity of a fact in a fleet.
pub(super) fn identity(prefix: &str, name: &str) -> [u8; 32] {
    Sha256::new().chain_update(prefix).chain_update([0_u8]).chain_update(name).finalize().into()
}

/// Publishes news.
pub(crate) struct Reporter {
    inbox: mpsc::Receiver<Message>,
    store: Arc<Store>,
    broker: Broker,
    pod: Arc<str>,
    connection: Option<Connection>,
    /// Facts that another worker has claimed, or that were not reported, and when to look again.
    later: VecDeque<(Instant, Fact)>,
    /// Whether a failure has been logged.
    has_warned: bool,
}

/// Creates a reporter and its handle.
pub(crate) fn channel(store: Arc<Store>, broker: Broker, pod: Arc<str>) -> (NewsHandle, Reporter) {
    let (sender, inbox) = mpsc::channel(MAX_WAITING);
    let (later, has_warned) = (VecDeque::new(), false);
    let reporter = Reporter { inbox, store, broker, pod, connection: None, later, has_warned };
    (NewsHandle { sender, is_leader: Arc::default() }, reporter)
}

impl Reporter {
    /// Runs until `end`, then reports what has been sent by then.
    pub(crate) async fn run(mut self, end: CancellationToken) {
        loop {
            let due = self.later.front().map(|(due, _)| *due);
            tokio::select! {
                biased;
                message = self.inbox.recv() => match message {
                    Some(message) => self.receive(message).await,
                    None => return,
                },
                () = until(due) => {
                    if let Some((_, fact)) = self.later.pop_front() {
                        self.claim_and_publish(fact).await;
                    }
                }
                () = end.cancelled() => break,
            }
        }
        while let Ok(message) = self.inbox.try_recv() {
            self.receive(message).await;
        }
    }

    async fn receive(&mut self, message: Message) {
        match message {
            Message::Claimable(fact) => self.claim_and_publish(fact).await,
            Message::Own(fact) => _ = self.publish(&fact).await,
        }
    }

    async fn claim_and_publish(&mut self, fact: Fact) {
        let identity = |name| identity(self.broker.topology().exchange(), name);
        let own = identity(&fact.name);
        let claimed = match &fact.ended_by {
            None => self.store.claim_fact(&own, fact.window).await,
            Some((end, noticed_at)) => {
                let (end, age) = (identity(end), noticed_at.elapsed());
                self.store.claim_fact_again(&own, fact.window, &end, age).await
            }
        };
        match claimed {
            Ok(Some(claimed)) => self.report(fact, claimed).await,
            Ok(None) => self.look_again(fact),
            Err(error) => {
                debug!(cause = chain(&error), "cannot claim a fact");
                self.look_again(fact);
            }
        }
    }

    /// Looks at a fact again once a claim on it has ended.
    fn look_again(&mut self, mut fact: Fact) {
        fact.looks += 1;
        if fact.looks < LOOKS && self.later.len() < MAX_WAITING {
            self.later.push_back((Instant::now() + FACT_LEASE + DEADLINE, fact));
        }
    }

    async fn report(&mut self, fact: Fact, claimed: ClaimedFact) {
        if !self.publish(&fact).await {
            self.look_again(fact);
        } else if let Err(error) = self.store.fact_reported(claimed).await {
            debug!(cause = chain(&error), "cannot record that a fact is reported");
        }
    }

    /// Publishes a fact; `false` if the broker does not take it.
    async fn publish(&mut self, fact: &Fact) -> bool {
        let now = self.store.now();
        let news = News {
            news: fact.sentence.clone(),
            kind: fact.kind,
            at: now.replace_nanosecond(0).unwrap_or(now),
            reported_by: self.pod.to_string(),
            details: fact.details.clone(),
        };
        let Err(error) = within("publishing news", self.try_publish(&news)).await else {
            self.has_warned = false;
            return true;
        };
        self.connection = None;
        if !std::mem::replace(&mut self.has_warned, true) {
            warn!(cause = chain(&error), kind = news.kind, "cannot publish news to the operator");
        }
        false
    }

    async fn try_publish(&mut self, news: &News) -> Result<(), Error> {
        let topology = self.broker.topology();
        if self.connection.as_ref().is_none_or(|connection| !connection.status().connected()) {
            let connection = self.broker.connect().await?;
            topology.declare_news(&connection).await?;
            self.connection = Some(connection);
        }
        match &self.connection {
            Some(connection) => control::publish_news(connection, topology, news).await,
            None => Ok(()),
        }
    }
}

/// Names in a sentence: `blue-1, blue-2 and green-1`, the first ones of many.
pub(super) fn listing(names: &[String]) -> String {
    const MAX_NAMES: usize = 10;
    match names {
        [] => "none".to_owned(),
        [name] => name.clone(),
        [first @ .., last] if names.len() <= MAX_NAMES => {
            format!("{} and {last}", first.join(", "))
        }
        _ => format!("{} and {} others", names[..MAX_NAMES].join(", "), names.len() - MAX_NAMES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_sentence_are_bounded() {
        let names = |count: usize| (1..=count).map(|n| format!("p{n}")).collect::<Vec<_>>();
        assert_eq!(listing(&names(1)), "p1");
        assert_eq!(listing(&names(3)), "p1, p2 and p3");
        assert_eq!(listing(&names(12)), "p1, p2, p3, p4, p5, p6, p7, p8, p9, p10 and 2 others");
    }

    #[test]
    fn facts_of_two_fleets_on_one_database_differ() {
        assert_ne!(identity("a", "b"), identity("ab", ""));
        assert_eq!(identity("a", "b"), identity("a", "b"));
    }
}
