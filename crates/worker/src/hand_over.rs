//! Messages that replace others: published with a confirm, and only then is the original acked.
//!
//! Publishing has a connection of its own. A broker under an alarm does not read from a connection that publishes, and
//! acks would be stuck behind the message.

use fetchline_queue::{Broker, Draft, Error, Lane, Round, Verdict};
use lapin::Connection;
use tokio::sync::mpsc;
use tracing::warn;

use crate::backoff::Backoff;
use crate::failure::chain;
use crate::settle::{Receipt, Settle};

/// Messages that are confirmed together.
const ROUND: usize = 256;

/// A message and the receipt of the one that it replaces.
#[derive(Debug)]
pub(crate) struct HandOver {
    pub(crate) draft: Draft,
    pub(crate) receipt: Receipt,
}

/// Publishes until nobody is left who could ask for it. What cannot be published is tried again for as long as it takes:
/// the original stays unacked, so nothing is lost should this worker end first.
pub(crate) async fn run(mut inbox: mpsc::UnboundedReceiver<HandOver>, broker: Broker, settle: Settle) {
    let mut publisher = None;
    let mut waiting = Vec::new();
    let mut backoff = Backoff::default();
    let mut failing = false;
    while !waiting.is_empty() || inbox.recv_many(&mut waiting, ROUND).await > 0 {
        match publish(&broker, &mut publisher, &mut waiting, &settle).await {
            Ok(()) => {
                backoff.reset();
                failing = false;
            }
            Err(problem) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(problem, "cannot publish dead letters; their originals stay unacked until it works");
                }
                publisher = None;
                tokio::time::sleep(backoff.next_pause()).await;
            }
        }
    }
}

/// One round. What was not confirmed is put back into `waiting`.
async fn publish(
    broker: &Broker,
    publisher: &mut Option<(Connection, Lane)>,
    waiting: &mut Vec<HandOver>,
    settle: &Settle,
) -> Result<(), String> {
    let lane = match publisher {
        Some((_, lane)) if lane.is_open() => lane,
        _ => {
            let opened = open(broker).await.map_err(|error| chain(&error))?;
            &mut publisher.insert(opened).1
        }
    };
    let mut round = Round::default();
    for HandOver { draft, receipt } in waiting.drain(..) {
        lane.send(&mut round, draft.clone(), (draft, receipt)).await;
    }
    let mut problem = None;
    for verdict in round.finish().await {
        let ((draft, receipt), why) = match verdict {
            Verdict::Confirmed(proof) => {
                settle.confirmed(proof.map(|(_, receipt)| receipt));
                continue;
            }
            Verdict::Returned(token) => (token, "no queue is bound to the routing key".to_owned()),
            Verdict::Nacked(token) => (token, "the broker refused the message: the queue is full".to_owned()),
            Verdict::Unknown(token, error) => (token, chain(&error)),
        };
        waiting.push(HandOver { draft, receipt });
        problem = Some(why);
    }
    problem.map_or(Ok(()), Err)
}

async fn open(broker: &Broker) -> Result<(Connection, Lane), Error> {
    let connection = broker.connect().await?;
    let lane = Lane::open(&connection, broker.topology()).await?;
    Ok((connection, lane))
}
