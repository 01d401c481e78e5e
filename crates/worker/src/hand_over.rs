//! Messages that replace others: published with a confirm, and only then is the original acked.
//!
//! Publishing has a connection of its own. A broker under an alarm does not read from a connection that publishes, and
//! acks would be stuck behind the message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Broker, Death, Draft, Error, Lane, Original, Round, Tier, Verdict};
use lapin::Connection;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::claim::Claim;
use crate::failure::chain;
use crate::settle::Settle;

/// Messages that are confirmed together.
const ROUND: usize = 256;
/// After this long without confirms it is said that the broker lets us wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes messages that replace others; cheap to clone.
#[derive(Clone)]
pub(crate) struct HandOver {
    letters: mpsc::UnboundedSender<Letter>,
    worker: Arc<str>,
}

/// A message and the claim on the one that it replaces.
struct Letter {
    draft: Draft,
    claim: Claim,
}

impl HandOver {
    /// The task is tried again later.
    pub(crate) fn retry(&self, original: Original, tier: Tier, attempt: u32, claim: Claim) {
        self.send(Draft::retry(original, tier, attempt), claim);
    }

    /// The message is given up. Its row, where there is one, has to be durable.
    pub(crate) fn dead(&self, original: Original, death: &Death, claim: Claim) {
        self.send(Draft::dead(original, death, &self.worker), claim);
    }

    fn send(&self, draft: Draft, claim: Claim) {
        // The publisher lives until nobody is left who could send.
        _ = self.letters.send(Letter { draft, claim });
    }
}

/// The two ends of handing over. There are never more letters under way than deliveries that are out.
pub(crate) fn channel(worker: Arc<str>, broker: Broker, settle: Settle) -> (HandOver, Publisher) {
    let (letters, inbox) = mpsc::unbounded_channel();
    (HandOver { letters, worker }, Publisher { inbox, broker, settle, link: None })
}

/// Publishes.
pub(crate) struct Publisher {
    inbox: mpsc::UnboundedReceiver<Letter>,
    broker: Broker,
    settle: Settle,
    link: Option<(Connection, Lane)>,
}

impl Publisher {
    /// Publishes until nobody is left who could ask for it. What cannot be published is tried again for as long as it
    /// takes: the original stays unacked, so nothing is lost should this worker end first.
    pub(crate) async fn run(mut self) {
        let mut waiting = VecDeque::new();
        let mut received = Vec::new();
        let mut backoff = Backoff::default();
        let mut failing = false;
        loop {
            // What waits does not keep out what comes: one letter that is refused holds up no other.
            if waiting.is_empty() {
                if self.inbox.recv_many(&mut received, ROUND).await == 0 {
                    return;
                }
            } else {
                while let Ok(letter) = self.inbox.try_recv() {
                    received.push(letter);
                }
            }
            waiting.extend(received.drain(..));
            // After a failure one by one, in turn: the one that is the cause is not known.
            let round = if failing { 1 } else { ROUND.min(waiting.len()) };
            let letters = waiting.drain(..round).collect();
            match self.noticing(letters).await {
                Ok(()) => {
                    backoff.reset();
                    if waiting.is_empty() && std::mem::take(&mut failing) {
                        info!("retries and dead letters are published again");
                    }
                }
                Err((letters, problem)) => {
                    waiting.extend(letters);
                    if !std::mem::replace(&mut failing, true) {
                        let waiting = waiting.len();
                        warn!(problem, waiting, "cannot publish retries or dead letters; trying again until it works");
                    }
                    tokio::time::sleep(backoff.next_pause()).await;
                }
            }
        }
    }

    /// One round; says so when the broker lets us wait.
    async fn noticing(&mut self, letters: Vec<Letter>) -> Result<(), (Vec<Letter>, String)> {
        let mut round = std::pin::pin!(self.publish(letters));
        if let Ok(result) = timeout(PATIENCE, &mut round).await {
            return result;
        }
        warn!("the broker does not confirm: is it under a memory or disk alarm?");
        let result = round.await;
        info!("the broker confirms again");
        result
    }

    /// One round. What was not confirmed comes back.
    async fn publish(&mut self, letters: Vec<Letter>) -> Result<(), (Vec<Letter>, String)> {
        let link = match self.link.take().filter(|(_, lane)| lane.is_open()) {
            Some(link) => link,
            None => match open(&self.broker).await {
                Ok(link) => link,
                Err(error) => return Err((letters, chain(&error))),
            },
        };
        let (_, lane) = self.link.insert(link);
        let mut round = Round::default();
        for Letter { draft, claim } in letters {
            lane.send(&mut round, draft.clone(), (draft, claim)).await;
        }
        let mut problem = None;
        let mut unconfirmed = Vec::new();
        for verdict in round.finish().await {
            let ((draft, claim), why) = match verdict {
                Verdict::Confirmed(proof) => {
                    self.settle.confirmed(proof.map(|(_, claim)| claim));
                    continue;
                }
                Verdict::Returned(token) => {
                    // The queue was deleted: opening anew makes it again.
                    self.link = None;
                    (token, "no queue is bound to the routing key".to_owned())
                }
                Verdict::Nacked(token) => (token, "the broker refused the message: the queue is full".to_owned()),
                Verdict::Unknown(token, error) => (token, chain(&error)),
            };
            unconfirmed.push(Letter { draft, claim });
            problem = Some(why);
        }
        problem.map_or(Ok(()), |problem| Err((unconfirmed, problem)))
    }
}

/// A queue that was deleted is made again: what has to go into it would wait for ever.
async fn open(broker: &Broker) -> Result<(Connection, Lane), Error> {
    let connection = broker.connect().await?;
    broker.topology().declare(&connection).await?;
    let lane = Lane::open(&connection, broker.topology()).await?;
    Ok((connection, lane))
}
