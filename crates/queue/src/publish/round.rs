//! A round of messages whose confirms are awaited together.

use std::collections::HashSet;

use lapin::types::ShortString;
use lapin::{Confirmation, PublisherConfirm};

use crate::Error;

/// Proof that the broker has taken over a message. Only a finished round creates one.
#[derive(Debug)]
#[must_use]
pub struct Confirmed<T>(T);

impl<T> Confirmed<T> {
    /// Converts the token of the message.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Confirmed<U> {
        Confirmed(convert(self.0))
    }

    /// The token of the message.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// The token of the message, without the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Confirmed<Option<T>> {
    /// The proof for the token inside, if there is one.
    pub fn transpose(self) -> Option<Confirmed<T>> {
        self.0.map(Confirmed)
    }
}

/// What became of a message.
#[derive(Debug)]
pub enum Verdict<T> {
    /// The broker has taken it over.
    Confirmed(Confirmed<T>),
    /// No queue is bound to its routing key.
    Unroutable(T),
    /// The broker refused it: a queue is full.
    Nacked(T),
    /// The channel or the connection broke first, so its fate is unknown.
    Unknown(T, Error),
}

impl<T> Verdict<T> {
    /// The proof, or the token with the reason why there is none.
    pub fn into_result(self) -> Result<Confirmed<T>, (T, Error)> {
        match self {
            Self::Confirmed(proof) => Ok(proof),
            Self::Unroutable(token) => Err((token, Error::Unroutable)),
            Self::Nacked(token) => Err((token, Error::Nacked)),
            Self::Unknown(token, error) => Err((token, error)),
        }
    }
}

/// The most messages of a round.
pub const MAX_ROUND: usize = 256;
/// Bytes of the messages of a round. One larger message is a round of its own.
pub(crate) const MAX_ROUND_BYTES: usize = 4 << 20;

/// Messages whose confirms are awaited together, each with a token of the caller.
pub struct Round<T> {
    sent: Vec<Sent<T>>,
}

/// A message that was published and is not confirmed yet.
pub(super) struct Sent<T> {
    pub(super) token: T,
    pub(super) message_id: Option<ShortString>,
    pub(super) confirm: Result<PublisherConfirm, lapin::Error>,
}

impl<T> Default for Round<T> {
    fn default() -> Self {
        Self { sent: Vec::new() }
    }
}

impl<T> Round<T> {
    /// The number of messages that were sent.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether no message was sent.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub(super) fn extend(&mut self, sent: impl IntoIterator<Item = Sent<T>>) {
        self.sent.extend(sent);
    }

    /// Awaits every confirm; one verdict per message, in the order of sending.
    ///
    /// There is no deadline: a broker under an alarm only takes long, and the heartbeat notices a
    /// dead one.
    pub async fn finish(self) -> Vec<Verdict<T>> {
        let mut returned = HashSet::new();
        let mut returned_without_id = false;
        let mut answers = Vec::with_capacity(self.sent.len());
        for sent in self.sent {
            let answer = match sent.confirm {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) =
                &answer
            {
                match message.delivery.properties.message_id() {
                    Some(id) => _ = returned.insert(id.clone()),
                    None => returned_without_id = true,
                }
            }
            answers.push((sent.token, sent.message_id, answer));
        }
        answers
            .into_iter()
            .map(|(token, id, answer)| match (answer, id) {
                (Err(error), _) => Verdict::Unknown(token, Error::amqp("publishing failed")(error)),
                (Ok(_), Some(id)) if returned.contains(&id) => Verdict::Unroutable(token),
                (Ok(_), None) if returned_without_id => Verdict::Unroutable(token),
                (Ok(Confirmation::Ack(_)), _) => Verdict::Confirmed(Confirmed(token)),
                (Ok(Confirmation::Nack(_) | Confirmation::NotRequested), _) => {
                    Verdict::Nacked(token)
                }
            })
            .collect()
    }
}
