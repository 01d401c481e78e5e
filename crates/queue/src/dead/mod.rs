//! Dead letters: list, replay and purge them.
//!
//! A walk gets every letter without an ack and holds it until the walk ends. Only a letter that is
//! purged, or whose copy in the work queue is confirmed, is acked. The end of the walk requeues all
//! others, and so does the broker if this process or its connection dies. So a letter that the
//! filter does not match cannot be lost. A crash between a confirm and its ack leaves the letter
//! twice, and its task still has one row.

mod letter;
mod search;
mod walk;

use std::time::Duration;

pub use letter::DeadLetter;
pub use search::{Filter, HostFilter, Search};
pub use walk::Counts;
use walk::{Found, Walk, close};

use crate::publish::{MAX_ROUND, MAX_ROUND_BYTES, unless_blocked};
use crate::{Broker, ConfirmChannel, Draft, Error, Round};

/// How long the broker may take to confirm a round. An operator waits for it, so this ends where a
/// worker would wait on.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(60);

/// Passes the matching letters to `show`, in the order of the queue, and changes nothing.
///
/// `counts` is valid after an error too.
pub async fn list(
    broker: &Broker,
    search: &Search,
    counts: &mut Counts,
    mut show: impl FnMut(DeadLetter),
) -> Result<(), Error> {
    let mut walk = Walk::begin(broker, search, counts).await?;
    let result = async {
        while let Some(found) = walk.next().await? {
            show(found.letter);
        }
        Ok(())
    }
    .await;
    walk.end(result).await
}

/// Deletes the matching letters.
///
/// `counts` is valid after an error too.
pub async fn purge(broker: &Broker, search: &Search, counts: &mut Counts) -> Result<(), Error> {
    let mut walk = Walk::begin(broker, search, counts).await?;
    let result = async {
        while let Some(found) = walk.next().await? {
            walk.remove(found.held).await?;
        }
        Ok(())
    }
    .await;
    walk.end(result).await
}

/// Publishes the matching letters as first attempts, and removes each letter when its copy is
/// confirmed.
///
/// It ends at the first round that the broker does not confirm completely, since the next letter
/// would meet the same obstacle. `remains` receives the letters of that round that stay in the
/// queue. `counts` is valid after an error too.
pub async fn replay(
    broker: &Broker,
    search: &Search,
    counts: &mut Counts,
    mut remains: impl FnMut(DeadLetter),
) -> Result<(), Error> {
    // A connection of its own: a broker under an alarm does not read from one that publishes, so
    // acks would be stuck.
    let connection = broker.connect().await?;
    let channel = ConfirmChannel::open(&connection, broker.topology()).await?;
    let mut walk = Walk::begin(broker, search, counts).await?;
    let result = async {
        let (mut round, mut bytes) = (Round::default(), 0);
        while let Some(Found { letter, original, held }) = walk.next().await? {
            bytes += original.body.len();
            let sending = channel.send(&mut round, [(Draft::replay(original), (letter, held))]);
            confirmed_in_time(sending).await?;
            if round.len() >= MAX_ROUND || bytes >= MAX_ROUND_BYTES {
                finish(&mut walk, std::mem::take(&mut round), &mut remains).await?;
                bytes = 0;
            }
        }
        finish(&mut walk, round, &mut remains).await
    };
    let result = unless_blocked(&connection, result).await;
    let result = walk.end(result).await;
    close(&connection).await;
    result
}

/// Awaits the confirms of a round, and removes the letters whose copies are confirmed.
async fn finish(
    walk: &mut Walk<'_>,
    round: Round<(DeadLetter, walk::Held)>,
    remains: &mut impl FnMut(DeadLetter),
) -> Result<(), Error> {
    let mut problem = None;
    for verdict in confirmed_in_time(round.finish()).await? {
        match verdict.into_result() {
            Ok(proof) => walk.remove(proof.into_inner().1).await?,
            Err(((letter, _), error)) => {
                remains(letter);
                // The first error has the cause; later ones may only say that the channel is
                // closed.
                problem.get_or_insert(error);
            }
        }
    }
    problem.map_or(Ok(()), Err)
}

async fn confirmed_in_time<T>(publishing: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(CONFIRM_DEADLINE, publishing).await.map_err(|_| {
        Error::Deadline(
            CONFIRM_DEADLINE.as_secs(),
            "publishing: check whether a memory or disk alarm blocks publishers",
        )
    })
}
