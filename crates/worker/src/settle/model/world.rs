//! The states of the model, and what can happen in each of them.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use fetchline_queue::Task;
use fetchline_store::{Outcome, StoredFetch};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::super::claim::Receipt;
use super::bounds::{Bounds, Fault, Kind, Trouble, first_attempts};
use super::broker::{Message, Queue};
use super::checker::{self, Model};
use super::problem::Problem;
use super::worker::{Due, Job, Republication, Row, Step, Successor, Worker};
use crate::consume::Dedup;
use crate::execute::{RowState, row_state};

/// A broker, a database, and workers.
pub(super) struct World {
    queue: Queue,
    /// The rows of tasks: each has one, its key is that of the task.
    pub(super) rows: BTreeMap<u8, Outcome>,
    pub(super) workers: Vec<Worker>,
    /// What may still go wrong.
    left: Trouble,
    problem: Option<Problem>,
}

/// Something that happens. The first number of each is the worker's. Workers that are in the same
/// state are alike, so the numbers may change between two actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Deliver(usize, Message),
    LookUp(usize, usize),
    /// The task is to be retried.
    Retry(usize, usize),
    /// A task that has not started is dropped: its message has become ready again.
    Drop(usize, usize),
    /// The rows of one or several tasks are written.
    Write(usize, Rows, Commit),
    /// A batch whose commit was without an answer is written again.
    WriteAgain(usize, usize, Commit),
    /// The broker takes a retry or a dead letter.
    Accept(usize, usize),
    Confirm(usize, usize),
    Settle(usize, Due),
    /// The broker receives the next frame on the channel of a session.
    Arrive(usize, u64),
    /// The broker notices that the channel of a session is lost.
    Lose(usize, u64),
    Reconnect(usize),
    LoseConfirm(usize, usize),
    Requeue(usize, usize),
    RequeueRepublication(usize, usize),
    /// A batch was held for too long.
    RequeueBatch(usize, usize),
}

/// The tasks of a batch: a bit for each job.
type Rows = u8;

/// How a commit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    Answered,
    /// The worker learns nothing: the commit has taken effect, or not.
    Lost {
        took_effect: bool,
    },
}

/// The model of settling.
pub(super) struct Settling {
    bounds: Bounds,
    tasks: Vec<Task>,
    start: Instant,
}

impl Settling {
    pub(super) fn new(bounds: Bounds) -> Self {
        let tasks = first_attempts(bounds.tasks.len());
        Self { bounds, tasks, start: Instant::now() }
    }

    /// The task of a message, as a worker reads it.
    fn task(&self, message: Message) -> Task {
        let Message { task, attempt, redeliveries } = message;
        let first = self.tasks[usize::from(task)].clone();
        Task { attempt, redeliveries: redeliveries.into(), ..first }
    }

    /// What happens sooner or later, whether or not anything goes wrong.
    fn steps(&self, world: &World) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, worker) in world.movable() {
            if let Some(channel) = worker.channels.get(&worker.session) {
                if channel.unacked.len() < self.bounds.prefetch {
                    let deliverable = world.queue.deliverable();
                    actions.extend(deliverable.map(|message| Action::Deliver(at, message)));
                }
            } else {
                actions.push(Action::Reconnect(at));
            }
            for (number, channel) in &worker.channels {
                if !channel.wire.is_empty() {
                    actions.push(Action::Arrive(at, *number));
                }
                if *number != worker.session {
                    actions.push(Action::Lose(at, *number));
                }
            }
            for (index, job) in worker.jobs.iter().enumerate() {
                self.add_steps_of_job(&mut actions, at, (index, job));
            }
            let batches = self.batches(worker);
            actions.extend(batches.map(|rows| Action::Write(at, rows, Commit::Answered)));
            let unwritten = 0..worker.unwritten.len();
            actions.extend(unwritten.map(|index| Action::WriteAgain(at, index, Commit::Answered)));
            for (index, republication) in worker.republications.iter().enumerate() {
                actions.push(match republication.is_accepted {
                    false => Action::Accept(at, index),
                    true => Action::Confirm(at, index),
                });
            }
            if !worker.settler.inbox.is_empty() {
                actions.extend([Due::Plenty, Due::Scarce].map(|due| Action::Settle(at, due)));
            } else if let Some((_, ledger)) = &worker.settler.present
                && ledger.wakes_at().is_some()
            {
                actions.push(Action::Settle(at, Due::Late));
            }
        }
        actions
    }

    fn add_steps_of_job(&self, actions: &mut Vec<Action>, at: usize, (index, job): (usize, &Job)) {
        if !job.claim.is_live() {
            actions.push(Action::Drop(at, index));
        }
        match job.step {
            Step::LookUp => actions.push(Action::LookUp(at, index)),
            Step::Fetch if self.kind(job.message).can_be_retried(job.message.attempt) => {
                actions.push(Action::Retry(at, index));
            }
            Step::Fetch => {}
        }
    }

    fn kind(&self, message: Message) -> Kind {
        self.bounds.tasks[usize::from(message.task)]
    }

    /// The batches that a worker can write.
    fn batches(&self, worker: &Worker) -> impl Iterator<Item = Rows> {
        let fetched = worker.jobs.iter().enumerate().filter(|(_, job)| job.step == Step::Fetch);
        let fetched = fetched.fold(0, |rows: Rows, (index, _)| rows | 1 << index);
        let most = self.bounds.batch;
        (1..=fetched).filter(move |rows| rows & !fetched == 0 && rows.count_ones() as usize <= most)
    }

    /// What goes wrong, if anything does.
    fn add_trouble(&self, world: &World, actions: &mut Vec<Action>) {
        for (at, worker) in world.movable() {
            if world.left.losses > 0 && worker.is_connected() {
                actions.extend([Action::Lose(at, worker.session), Action::Reconnect(at)]);
            }
            if world.left.lost_commits > 0 {
                for took_effect in [false, true] {
                    let lost = Commit::Lost { took_effect };
                    let batches = self.batches(worker);
                    actions.extend(batches.map(|rows| Action::Write(at, rows, lost)));
                    let unwritten = 0..worker.unwritten.len();
                    actions.extend(unwritten.map(|index| Action::WriteAgain(at, index, lost)));
                }
            }
            let republications = worker.republications.iter().enumerate();
            if world.left.lost_confirms > 0 {
                let accepted = republications.clone().filter(|(_, one)| one.is_accepted);
                actions.extend(accepted.map(|(index, _)| Action::LoseConfirm(at, index)));
            }
            if world.left.requeues > 0 {
                actions.extend((0..worker.jobs.len()).map(|index| Action::Requeue(at, index)));
                let unwritten = 0..worker.unwritten.len();
                actions.extend(unwritten.map(|index| Action::RequeueBatch(at, index)));
                actions.extend(
                    republications.map(|(index, _)| Action::RequeueRepublication(at, index)),
                );
            }
        }
    }

    fn is_durable(world: &World, message: Message) -> bool {
        let Message { task, attempt, .. } = message;
        world.queue.has_retry(task, attempt + 1)
            || world
                .rows
                .get(&task)
                .is_some_and(|outcome| *outcome == Outcome::Ok || world.queue.has_dead_letter(task))
    }

    fn deliver(&self, world: &mut World, at: usize, message: Message) {
        world.queue.take(message);
        let worker = &mut world.workers[at];
        let session = worker.session;
        let Some(channel) = worker.channels.get_mut(&session) else { return };
        let tag = channel.deliver(message);
        let receipt = Receipt { session, tag, delivered: self.start };
        let mut task = self.task(message);
        let step = match Dedup::concerns(&task, message.redeliveries > 0) {
            true => Step::LookUp,
            false => Step::Fetch,
        };
        if self.bounds.has(Fault::RetryJoinsOriginal) {
            task.attempt = 1;
        }
        if let Some(claim) = worker.claims.claim(&task, receipt) {
            worker.jobs.push(Job { message, step, claim });
        }
    }

    fn look_up(&self, world: &mut World, at: usize, index: usize) {
        let (row, worker) = (&world.rows, &mut world.workers[at]);
        let job = &mut worker.jobs[index];
        if self.bounds.has(Fault::AckWithoutLookUp) {
            let claim = worker.jobs.remove(index).claim;
            return worker.ack([claim]);
        }
        let Some(outcome) = row.get(&job.message.task) else {
            job.step = Step::Fetch;
            return;
        };
        let known = StoredFetch {
            outcome: Some(*outcome),
            status: None,
            attempts: 1,
            fetched_at: OffsetDateTime::UNIX_EPOCH,
        };
        match row_state(&self.task(job.message), &known) {
            RowState::Outdated => job.step = Step::Fetch,
            RowState::Final => {
                let claim = worker.jobs.remove(index).claim;
                worker.ack([claim]);
            }
            RowState::GivenUp(_) => {
                let Job { message, claim, .. } = worker.jobs.remove(index);
                let claim = Some(claim);
                worker.republications.push(Republication::dead_letter(message, claim));
            }
        }
    }

    fn retry(&self, world: &mut World, at: usize, index: usize) {
        let worker = &mut world.workers[at];
        let Job { message, claim, .. } = worker.jobs.remove(index);
        let mut claim = Some(claim);
        if self.bounds.has(Fault::AckBeforeConfirm) {
            worker.ack(claim.take());
        }
        worker.republications.push(Republication::retry(message, claim));
    }

    /// Takes the rows of a batch.
    fn take_batch(&self, worker: &mut Worker, rows: Rows) -> Vec<Row> {
        let mut index = 0;
        let taken = worker.jobs.extract_if(.., |_| {
            index += 1;
            rows & 1 << (index - 1) != 0
        });
        let row = |Job { message, claim, .. }: Job| {
            let outcome = self.kind(message).outcome();
            Row { message, outcome, claim: Some(claim) }
        };
        taken.map(row).collect()
    }

    /// Writes a batch. `is_again` is whether it was closed before.
    fn write(
        &self,
        world: &mut World,
        at: usize,
        (mut batch, is_again): (Vec<Row>, bool),
        commit: Commit,
    ) {
        let World { rows, workers, left, .. } = world;
        let worker = &mut workers[at];
        if self.bounds.has(Fault::AckBeforeCommit) && !is_again {
            worker.ack(batch.iter_mut().filter_map(|row| row.claim.take()));
            return worker.unwritten.push(batch);
        }
        if commit != (Commit::Lost { took_effect: false }) {
            rows.extend(batch.iter().map(|row| (row.message.task, row.outcome)));
        }
        if commit != Commit::Answered {
            left.lost_commits -= 1;
            if !self.bounds.has(Fault::LostCommitTaken) {
                return worker.unwritten.push(batch);
            }
        }
        for Row { message, outcome, claim } in batch {
            if outcome == Outcome::Ok || self.bounds.has(Fault::AckBeforeDeadLetter) {
                worker.ack(claim);
            } else {
                worker.republications.push(Republication::dead_letter(message, claim));
            }
        }
    }

    fn accept(world: &mut World, at: usize, index: usize) {
        let republication = &mut world.workers[at].republications[index];
        republication.is_accepted = true;
        let Message { task, attempt, .. } = republication.message;
        match republication.successor {
            Successor::Retry => world.queue.accept_retry(task, attempt + 1),
            Successor::DeadLetter => world.queue.accept_dead_letter(task),
        }
    }

    fn settle(&self, world: &mut World, at: usize, due: Due) {
        let mut workers = std::mem::take(&mut world.workers);
        let is_durable = |message| Self::is_durable(world, message);
        let settled = workers[at].settle(&self.bounds, self.start, due, is_durable);
        world.workers = workers;
        world.problem = settled.err();
    }

    /// What is wrong in a state in which nothing happens any more unless something goes wrong.
    fn problem_at_the_end(&self, world: &World) -> Option<Problem> {
        let unacked = world.workers.iter().flat_map(|worker| worker.channels.values());
        let mut left = unacked.flat_map(|channel| channel.unacked.values());
        if let Some(message) = left.next().or_else(|| world.queue.ready().first()) {
            return Some(Problem::Left(*message));
        }
        let mut tasks = (0u8..).zip(&self.bounds.tasks).map(|(task, _)| task);
        let is_lost = |task: &u8| match world.rows.get(task) {
            Some(outcome) => *outcome != Outcome::Ok && !world.queue.has_dead_letter(*task),
            None => true,
        };
        if let Some(task) = tasks.find(is_lost) {
            return Some(Problem::Lost(task));
        }
        let claims = world.workers.iter().map(|worker| worker.claims.len()).sum();
        (claims > 0).then_some(Problem::ClaimsLeft(claims))
    }
}

impl Model for Settling {
    type State = World;
    type Action = Action;
    type Problem = Problem;

    fn initial(&self) -> World {
        let mut queue = Queue::default();
        for (task, _) in (0u8..).zip(&self.bounds.tasks) {
            queue.publish(Message { task, attempt: 1, redeliveries: 0 });
        }
        let mut workers: Vec<_> = (0..self.bounds.workers).map(|_| Worker::default()).collect();
        for worker in &mut workers {
            worker.reconnect();
            let opened = worker.settle(&self.bounds, self.start, Due::Plenty, |_| false);
            assert_eq!(opened, Ok(()));
        }
        World { queue, rows: BTreeMap::new(), workers, left: self.bounds.trouble, problem: None }
    }

    fn actions(&self, world: &World) -> Vec<Action> {
        let mut actions = self.steps(world);
        self.add_trouble(world, &mut actions);
        actions
    }

    fn next(&self, world: &World, action: Action) -> World {
        let mut world = world.copy();
        match action {
            Action::Deliver(at, message) => self.deliver(&mut world, at, message),
            Action::LookUp(at, index) => self.look_up(&mut world, at, index),
            Action::Retry(at, index) => self.retry(&mut world, at, index),
            Action::Drop(at, index) => drop(world.workers[at].jobs.remove(index)),
            Action::Write(at, rows, commit) => {
                let batch = self.take_batch(&mut world.workers[at], rows);
                self.write(&mut world, at, (batch, false), commit);
            }
            Action::WriteAgain(at, index, commit) => {
                let batch = world.workers[at].unwritten.remove(index);
                self.write(&mut world, at, (batch, true), commit);
            }
            Action::Accept(at, index) => Self::accept(&mut world, at, index),
            Action::Confirm(at, index) => {
                let claim = world.workers[at].republications.remove(index).claim;
                world.workers[at].ack(claim);
            }
            Action::Settle(at, due) => self.settle(&mut world, at, due),
            Action::Arrive(at, session) => {
                if let Some(channel) = world.workers[at].channels.get_mut(&session) {
                    world.problem = channel.receive(&mut world.queue).err();
                }
            }
            Action::Lose(at, session) => {
                if let Some(channel) = world.workers[at].channels.remove(&session) {
                    channel.lose(&mut world.queue);
                }
                if session == world.workers[at].session {
                    world.left.losses -= 1;
                }
            }
            Action::Reconnect(at) => {
                if world.workers[at].is_connected() {
                    world.left.losses -= 1;
                }
                world.workers[at].reconnect();
            }
            Action::LoseConfirm(at, index) => {
                world.left.lost_confirms -= 1;
                world.workers[at].republications[index].is_accepted = false;
            }
            Action::Requeue(at, index) => {
                let claim = world.workers[at].jobs.remove(index).claim;
                world.requeue(at, [Some(claim)]);
            }
            Action::RequeueRepublication(at, index) => {
                let claim = world.workers[at].republications.remove(index).claim;
                world.requeue(at, [claim]);
            }
            Action::RequeueBatch(at, index) => {
                let batch = world.workers[at].unwritten.remove(index);
                world.requeue(at, batch.into_iter().map(|row| row.claim));
            }
        }
        world.workers.iter_mut().for_each(Worker::normalise);
        world.workers.sort_by_cached_key(checker::bytes);
        world
    }

    fn problem(&self, world: &World) -> Option<Problem> {
        let at_the_end =
            || self.steps(world).is_empty().then(|| self.problem_at_the_end(world)).flatten();
        world.problem.or_else(at_the_end)
    }

    fn sights(&self, world: &World) -> Vec<&'static str> {
        let mut sights = Vec::new();
        let mut see = |is_seen: bool, sight: &'static str| {
            if is_seen {
                sights.push(sight);
            }
        };
        see(self.steps(world).is_empty(), "the end");
        world.add_sights(&mut see);
        sights
    }
}

impl World {
    fn copy(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            rows: self.rows.clone(),
            workers: self.workers.iter().map(Worker::copy).collect(),
            left: self.left,
            problem: self.problem,
        }
    }

    /// The workers that can do something, with their numbers. While acks of a worker are under way,
    /// the others stand still. That leaves nothing out: what they do is independent of these acks,
    /// so it can as well be done before they are sent, or after they have arrived or are lost.
    fn movable(&self) -> impl Iterator<Item = (usize, &Worker)> {
        let is_sending =
            |worker: &Worker| worker.channels.values().any(|channel| !channel.wire.is_empty());
        let sending = self.workers.iter().position(is_sending);
        let all = self.workers.iter().enumerate();
        all.filter(move |(at, _)| sending.is_none_or(|sending| sending == *at))
    }

    fn requeue(&mut self, at: usize, claims: impl IntoIterator<Item = Option<super::Claim>>) {
        self.left.requeues -= 1;
        self.workers[at].requeue(claims.into_iter().flatten());
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.queue, &self.rows, &self.workers, self.left, self.problem).hash(state);
    }
}
