//! The rules, by what breaks them.

use std::fmt::{Display, Formatter};

use super::broker::Message;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Problem {
    /// A message was acked without a proof.
    Early(Message),
    /// An ack covers a delivery that the worker has not finished.
    Unfinished(u64),
    /// The broker closes the channel with 406: the tag is not out.
    UnknownTag(u64),
    /// The ledger is given the same tag twice.
    SettledTwice(u64),
    /// A message is left, and nothing will settle it.
    Left(Message),
    /// A task has no row at the end, or was given up without a dead letter.
    Lost(u8),
    /// Claims are left, although no work is.
    ClaimsLeft(usize),
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Early(message) => {
                write!(f, "acked before its row or its copy was durable: {message:?}")
            }
            Self::Unfinished(tag) => write!(f, "acked tag {tag}, whose delivery is not finished"),
            Self::UnknownTag(tag) => write!(f, "406: tag {tag} is not out"),
            Self::SettledTwice(tag) => write!(f, "tag {tag} is settled twice"),
            Self::Left(message) => write!(f, "left ready or unacked at the end: {message:?}"),
            Self::Lost(task) => write!(f, "task {task} has no row or no dead letter at the end"),
            Self::ClaimsLeft(claims) => write!(f, "{claims} claims are left at the end"),
        }
    }
}
