//! The situations that are hard to get right. A model that reaches none of them proves nothing.

use std::collections::BTreeMap;

use fetchline_store::Outcome;

use super::super::ledger::Ack;
use super::broker::Frame;
use super::worker::{Command, Job, Republication, Successor, Worker};
use super::world::World;

impl World {
    /// Reports which situations this state is an example of.
    pub(super) fn add_sights(&self, see: &mut impl FnMut(bool, &'static str)) {
        let jobs = |worker: &Worker| {
            worker.jobs.iter().map(|job| (job.message.task, job.message.attempt)).collect()
        };
        let begun: Vec<Vec<_>> = self.workers.iter().map(jobs).collect();
        if let [one, other] = &begun[..] {
            see(one.iter().any(|job| other.contains(job)), "a task under way at two workers");
        }
        self.workers.iter().for_each(|worker| worker.add_sights(&self.rows, see));
    }
}

impl Worker {
    fn add_sights(&self, rows: &BTreeMap<u8, Outcome>, see: &mut impl FnMut(bool, &'static str)) {
        let is_stale = |(channel, _): &(u64, u64)| *channel != self.session;
        let is_opening = |command: &Command| matches!(command, Command::Open(_));
        // The newest session, if it is not open yet.
        let opens_at = self.settler.inbox.iter().rposition(is_opening).unwrap_or(0);
        for (at, command) in self.settler.inbox.iter().enumerate() {
            if let Command::Ack(claim) = command {
                let (stale, fresh): (Vec<_>, Vec<_>) = claim.tags().into_iter().partition(is_stale);
                see(fresh.is_empty(), "a reconnect between commit and ack");
                see(at < opens_at && !fresh.is_empty(), "a tag before its session is open");
                see(!stale.is_empty() && !fresh.is_empty(), "a claim with tags of two channels");
            }
            see(matches!(command, Command::Requeue(_)), "a requeue");
        }
        for row in self.unwritten.iter().flatten() {
            let took_effect = rows.contains_key(&row.message.task);
            see(took_effect, "a commit in doubt that took effect");
            see(!took_effect, "a commit in doubt that did not take effect");
        }
        see(self.channels.len() > 1, "two channels of a worker");
        for (number, channel) in &self.channels {
            see(*number != self.session && !channel.wire.is_empty(), "acks on an old channel");
            for frame in &channel.wire {
                let Frame::Ack(ack) = frame else { continue };
                let several = channel.covered(*ack).len() > 1;
                see(several && matches!(ack, Ack::UpTo(_)), "a multiple ack of several tags");
                let is_above_gap = |tag: &u64| channel.unacked.keys().any(|lower| lower < tag);
                see(matches!(ack, Ack::One(tag) if is_above_gap(tag)), "an ack above a gap");
            }
        }
        for republication in &self.republications {
            let Republication { message, is_accepted, .. } = republication;
            let is_retry = republication.successor == Successor::Retry;
            let early = |job: &Job| {
                job.message.task == message.task && job.message.attempt > message.attempt
            };
            see(
                is_retry && *is_accepted && self.jobs.iter().any(early),
                "a retry that arrives before its confirm",
            );
            see(!is_retry && *is_accepted, "a dead letter before its confirm");
        }
    }
}
