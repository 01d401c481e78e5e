//! A worker's side: its claims, what carries them, and its settler.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use fetchline_store::Outcome;
use tokio::time::Instant;

use super::super::claim::{Claim, Claims, Receipt};
use super::super::early_receipts::{EarlyReceipts, End};
use super::super::ledger::{Ack, Ledger};
use super::bounds::{Bounds, Fault};
use super::broker::{Channel, Frame, Message};
use super::problem::Problem;

pub(super) const MAX_WAIT: Duration = Duration::from_secs(1);

/// Where a task is before it has a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    LookUp,
    /// It waits for a place, is fetched, or its row waits for a batch.
    Fetch,
}

#[derive(Debug, Hash)]
pub(super) struct Job {
    pub(super) message: Message,
    pub(super) step: Step,
    pub(super) claim: Claim,
}

/// A row that is not durable yet. The claim is missing only with a planted fault.
#[derive(Debug, Hash)]
pub(super) struct Row {
    pub(super) message: Message,
    pub(super) outcome: Outcome,
    pub(super) claim: Option<Claim>,
}

/// What replaces a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Successor {
    Retry,
    DeadLetter,
}

/// A message that replaces another one. The claim is missing only with a planted fault.
#[derive(Debug, Hash)]
pub(super) struct Republication {
    pub(super) message: Message,
    pub(super) successor: Successor,
    /// Whether the broker has it. The worker learns that from the confirm.
    pub(super) is_accepted: bool,
    pub(super) claim: Option<Claim>,
}

impl Republication {
    pub(super) fn retry(message: Message, claim: Option<Claim>) -> Self {
        Self { message, successor: Successor::Retry, is_accepted: false, claim }
    }

    pub(super) fn dead_letter(message: Message, claim: Option<Claim>) -> Self {
        Self { message, successor: Successor::DeadLetter, is_accepted: false, claim }
    }
}

/// A command for the settler.
#[derive(Debug, Hash)]
pub(super) enum Command {
    Open(u64),
    Ack(Claim),
    Requeue(Claim),
}

/// The settler: its commands, and the ledger of its session.
#[derive(Debug, Default, Hash)]
pub(super) struct Settler {
    pub(super) inbox: Vec<Command>,
    pub(super) early: EarlyReceipts,
    pub(super) present: Option<(u64, Ledger)>,
}

#[derive(Default)]
pub(super) struct Worker {
    /// The number of the newest session.
    pub(super) session: u64,
    pub(super) claims: Claims,
    pub(super) jobs: Vec<Job>,
    /// Batches whose commit was without an answer. They are written again.
    pub(super) unwritten: Vec<Vec<Row>>,
    pub(super) republications: Vec<Republication>,
    pub(super) settler: Settler,
    /// The broker's side of each session that it has not noticed to be lost.
    pub(super) channels: BTreeMap<u64, Channel>,
}

impl Worker {
    pub(super) fn copy(&self) -> Self {
        let claims = self.claims.copy();
        let copied = |claim: &Claim| claim.copy_to(&claims);
        let row = |row: &Row| Row { claim: row.claim.as_ref().map(copied), ..*row };
        let job = |job: &Job| Job { claim: copied(&job.claim), ..*job };
        let republication = |republication: &Republication| {
            let claim = republication.claim.as_ref().map(copied);
            Republication { claim, ..*republication }
        };
        let command = |command: &Command| match command {
            Command::Open(session) => Command::Open(*session),
            Command::Ack(claim) => Command::Ack(copied(claim)),
            Command::Requeue(claim) => Command::Requeue(copied(claim)),
        };
        Self {
            session: self.session,
            jobs: self.jobs.iter().map(job).collect(),
            unwritten: self.unwritten.iter().map(|rows| rows.iter().map(row).collect()).collect(),
            republications: self.republications.iter().map(republication).collect(),
            settler: Settler {
                inbox: self.settler.inbox.iter().map(command).collect(),
                early: self.settler.early.copy(),
                present: self.settler.present.clone(),
            },
            channels: self.channels.clone(),
            claims,
        }
    }

    /// Brings what has no order into one, and forgets lost channels on which nothing was out.
    pub(super) fn normalise(&mut self) {
        fn sort<T>(list: &mut [T], key: impl Fn(&T) -> (Message, Vec<(u64, u64)>)) {
            if list.len() > 1 {
                list.sort_by_cached_key(key);
            }
        }
        let tags = |claim: &Option<Claim>| claim.as_ref().map_or_else(Vec::new, Claim::tags);
        sort(&mut self.jobs, |job| (job.message, job.claim.tags()));
        sort(&mut self.republications, |republication| {
            (republication.message, tags(&republication.claim))
        });
        // Acks and requeues between the openings of two sessions are handled together.
        let of_one_session = |_: &Command, next: &Command| !matches!(next, Command::Open(_));
        for commands in self.settler.inbox.chunk_by_mut(of_one_session) {
            commands.sort_by_cached_key(|command| match command {
                Command::Open(_) => (0, Vec::new()),
                Command::Ack(claim) => (1, claim.tags()),
                Command::Requeue(claim) => (2, claim.tags()),
            });
        }
        self.channels.retain(|number, channel| *number == self.session || !channel.is_idle());
    }

    /// Opens a session, like the router does.
    pub(super) fn reconnect(&mut self) {
        self.claims.session_lost();
        self.session += 1;
        self.claims.session_opened(self.session);
        self.settler.inbox.push(Command::Open(self.session));
        self.channels.insert(self.session, Channel::default());
    }

    pub(super) fn is_connected(&self) -> bool {
        self.channels.contains_key(&self.session)
    }

    pub(super) fn ack(&mut self, claims: impl IntoIterator<Item = Claim>) {
        self.settler.inbox.extend(claims.into_iter().map(Command::Ack));
    }

    pub(super) fn requeue(&mut self, claims: impl IntoIterator<Item = Claim>) {
        self.settler.inbox.extend(claims.into_iter().map(Command::Requeue));
    }

    /// Handles all commands, and sends the acks that are due.
    pub(super) fn settle(
        &mut self,
        bounds: &Bounds,
        start: Instant,
        due: Due,
        is_durable: impl Fn(Message) -> bool,
    ) -> Result<(), Problem> {
        for command in std::mem::take(&mut self.settler.inbox) {
            match command {
                Command::Open(session) => self.open(session, bounds, start)?,
                Command::Ack(claim) => self.settle_claim(claim, bounds, start)?,
                Command::Requeue(claim) => {
                    claim.into_receipts().try_for_each(|receipt| self.requeue_receipt(receipt))?;
                }
            }
        }
        let Some((session, ledger)) = &mut self.settler.present else { return Ok(()) };
        let mut acks = match due {
            Due::Plenty => ledger.due(start, usize::MAX),
            Due::Scarce => ledger.due(start, 0),
            Due::Late => ledger.due(start + MAX_WAIT, usize::MAX),
        };
        if bounds.has(Fault::AckOverGap) {
            acks.extend(ledger.due(start, 0));
            let tag = |ack: &Ack| match ack {
                Ack::One(tag) | Ack::UpTo(tag) => *tag,
            };
            acks = acks.iter().map(tag).max().map(Ack::UpTo).into_iter().collect();
        }
        if bounds.has(Fault::AckTwice) {
            acks = acks.iter().flat_map(|ack| [*ack, *ack]).collect();
        }
        if acks.is_empty() {
            return Ok(());
        }
        let Some(channel) = self.channels.get_mut(session) else {
            // The channel is closed: nothing can be settled before the next session.
            self.settler.present = None;
            return Ok(());
        };
        for ack in acks {
            for (tag, message) in channel.covered(ack) {
                if !channel.is_finished(tag) {
                    return Err(Problem::Unfinished(tag));
                }
                if !is_durable(message) {
                    return Err(Problem::Early(message));
                }
            }
            channel.wire.push_back(Frame::Ack(ack));
        }
        Ok(())
    }

    fn open(&mut self, session: u64, bounds: &Bounds, start: Instant) -> Result<(), Problem> {
        self.settler.present = Some((session, Ledger::new(session, MAX_WAIT)));
        let mut early = self.settler.early.open(session).into_iter();
        early.try_for_each(|(receipt, end)| match end {
            End::Ack if bounds.has(Fault::EarlyReceiptDropped) => Ok(()),
            End::Ack => self.settle_receipt(receipt, bounds, start),
            End::Requeue => self.requeue_receipt(receipt),
        })
    }

    fn settle_claim(
        &mut self,
        claim: Claim,
        bounds: &Bounds,
        start: Instant,
    ) -> Result<(), Problem> {
        let most = if bounds.has(Fault::DuplicateLost) { 1 } else { usize::MAX };
        claim.into_receipts().take(most).try_for_each(|receipt| {
            if let Some(channel) = self.channels.get_mut(&receipt.session) {
                channel.finish(receipt.tag);
            }
            self.settle_receipt(receipt, bounds, start)
        })
    }

    fn settle_receipt(
        &mut self,
        mut receipt: Receipt,
        bounds: &Bounds,
        start: Instant,
    ) -> Result<(), Problem> {
        if let Some((session, _)) = &self.settler.present
            && bounds.has(Fault::AckOnNewerChannel)
        {
            receipt.session = *session;
        }
        let Some(receipt) = self.settler.early.pass(receipt, End::Ack) else { return Ok(()) };
        if let Some((session, ledger)) = &mut self.settler.present {
            once(&receipt, *session, ledger)?;
            _ = ledger.settle(receipt, start);
        }
        Ok(())
    }

    fn requeue_receipt(&mut self, receipt: Receipt) -> Result<(), Problem> {
        let Some(receipt) = self.settler.early.pass(receipt, End::Requeue) else { return Ok(()) };
        if let Some((session, ledger)) = &mut self.settler.present {
            once(&receipt, *session, ledger)?;
            if let Some(tag) = ledger.requeue(receipt)
                && let Some(channel) = self.channels.get_mut(session)
            {
                channel.wire.push_back(Frame::Requeue(tag));
            }
        }
        Ok(())
    }
}

/// Checks that the ledger of a session was not given this receipt before.
fn once(receipt: &Receipt, session: u64, ledger: &Ledger) -> Result<(), Problem> {
    match receipt.session != session || ledger.is_out(receipt.tag) {
        true => Ok(()),
        false => Err(Problem::SettledTwice(receipt.tag)),
    }
}

impl Hash for Worker {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.session, self.claims.len(), &self.jobs).hash(state);
        (&self.unwritten, &self.republications, &self.settler, &self.channels).hash(state);
    }
}

/// Which acks are due: those that a ledger makes at once, or also those above a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Plenty,
    /// No tag may wait above a gap.
    Scarce,
    /// The tags above a gap have waited for as long as they may.
    Late,
}
