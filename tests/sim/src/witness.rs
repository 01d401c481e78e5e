//! The witness of a world: it sees what the broker, the database and the sites see, and knows what
//! must not happen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::message::Message;
use crate::plan::{Plan, Task};
use crate::trace::Trace;

/// Outcomes after which a task is given up: its dead letter is due.
const GIVEN_UP: [&str; 7] = ["refused", "poison", "timeout", "connect", "protocol", "dns", "tls"];
/// Statuses of a transient failure.
const TRANSIENT: [u16; 7] = [408, 425, 429, 500, 502, 503, 504];

/// A task is poison if this many workers have died while they held it: the marks that a worker
/// needs.
const POISON_DEATHS: u32 = 5;

/// The witness; cheap to clone.
#[derive(Clone)]
pub struct Witness {
    /// What happened.
    pub trace: Trace,
    plan: Arc<Plan>,
    state: Arc<Mutex<State>>,
}

/// The row of a task, as far as it is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRow {
    /// What the row says.
    pub outcome: String,
    /// What the row says.
    pub status: Option<u16>,
    /// What the row says.
    pub attempts: u32,
}

impl SeenRow {
    /// Whether the task was given up.
    pub fn is_given_up(&self) -> bool {
        let is_transient = self.status.is_some_and(|status| TRANSIENT.contains(&status));
        GIVEN_UP.contains(&self.outcome.as_str()) || self.outcome == "http_error" && is_transient
    }
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<String, TaskState>,
    /// How many of them have a row.
    rows: usize,
    /// The parts whose reports are committed, with the number of their tasks.
    parts: BTreeSet<(String, Option<u64>)>,
    /// Counts the events, so that they have an order.
    now: u64,
}

#[derive(Default)]
struct TaskState {
    row: Option<SeenRow>,
    committed_at: u64,
    /// When it was last delivered to each worker, if it was not the first delivery, and the worker
    /// held no other message of it.
    delivered_again: BTreeMap<String, u64>,
    /// The messages of it that each worker holds, all over this connection.
    held: BTreeMap<String, (u64, u32)>,
    /// The highest number of a confirmed message that replaces an earlier one.
    confirmed_copy: u64,
    /// The furthest progress of one, which replaces every earlier attempt of the task.
    confirmed_progress: (i64, i64),
    /// The same of a dead letter.
    confirmed_death: u64,
    visits: usize,
    /// How many workers died after it was delivered to them, and not for the first time.
    deaths: u32,
    /// The workers that have received an answer and have neither its row, nor a copy, nor requeued
    /// the message.
    unsettled: BTreeSet<String>,
}

impl Witness {
    /// A witness of a world with this plan.
    pub fn new(trace: Trace, plan: Arc<Plan>) -> Self {
        Self { trace, plan, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan of the world.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// A client has published a message.
    pub fn published(&self, queue: &str, message: &Message) {
        let (id, number) = (message.id().unwrap_or("-"), message.number);
        self.trace.event(format_args!("publish {queue} {} #{number}", short(id)));
    }

    /// The broker confirms a message.
    pub fn confirmed(&self, queue: &str, message: &Message) {
        let (Some(id), number) = (message.id(), message.number) else { return };
        self.trace.event(format_args!("confirm {queue} {} #{number}", short(id)));
        let mut state = self.state();
        let task = state.tasks.entry(id.to_owned()).or_default();
        let copy = match queue.ends_with(".dead") {
            true => &mut task.confirmed_death,
            false => &mut task.confirmed_copy,
        };
        *copy = number.max(*copy);
        if !queue.ends_with(".dead") {
            task.confirmed_progress = task.confirmed_progress.max(message.progress());
        }
        task.unsettled.clear();
    }

    /// The broker delivers a message to a worker.
    pub fn delivered(&self, queue: &str, message: &Message, worker: &str, tag: (u64, u64)) {
        let (id, number) = (message.id().unwrap_or("-"), message.number);
        let (connection, tag) = tag;
        self.trace.event(format_args!(
            "deliver {queue} {} #{number} to {worker} {connection}:{tag}",
            short(id)
        ));
        if queue.ends_with(".urls") {
            let mut state = self.state();
            state.now += 1;
            let now = state.now;
            let task = state.tasks.entry(id.to_owned()).or_default();
            let held = task.held.entry(worker.to_owned()).or_default();
            if held.0 != connection {
                *held = (connection, 0);
            }
            held.1 += 1;
            // What joins a delivery that is held was looked up with that one.
            if message.returns > 0 && held.1 == 1 {
                task.delivered_again.insert(worker.to_owned(), now);
            }
        }
    }

    /// A worker has requeued a message.
    pub fn requeued(&self, queue: &str, message: &Message, worker: &str) {
        let id = message.id().unwrap_or("-");
        self.trace.event(format_args!("requeue {queue} {} by {worker}", short(id)));
        if let Some(task) = self.state().tasks.get_mut(id) {
            task.unsettled.remove(worker);
            task.settled(worker);
        }
    }

    /// A worker has acked a message. Its row has to be committed, or its copy confirmed.
    pub fn acked(&self, queue: &str, message: &Message, worker: &str, tag: (u64, u64)) {
        let (id, number) = (message.id().unwrap_or("-"), message.number);
        let (connection, tag) = tag;
        self.trace.event(format_args!(
            "ack {queue} {} #{number} by {worker} {connection}:{tag}",
            short(id)
        ));
        let mut state = self.state();
        if let Some(task) = state.tasks.get_mut(id) {
            task.settled(worker);
        }
        let is_right = match queue.rsplit('.').next() {
            Some("urls") => state.tasks.get(id).is_some_and(|task| task.may_be_acked(message)),
            Some("runs") => match id.split_once('-') {
                Some((part, "began")) => state.parts.iter().any(|(known, _)| known == part),
                Some((part, _)) => {
                    state.parts.iter().any(|(known, planned)| known == part && planned.is_some())
                }
                None => true,
            },
            _ => true,
        };
        drop(state);
        if !is_right {
            self.trace.violation(format_args!(
                "{worker} acked {} #{number} of {queue} without a committed row or a confirmed copy",
                short(id)
            ));
        }
    }

    /// The database has committed the row of a task.
    pub fn committed(&self, key: &[u8; 16], row: SeenRow, worker: &str) {
        let id = hex(key);
        self.trace.event(format_args!("row {} {row:?} by {worker}", short(&id)));
        if self.plan.task(&id).is_none() {
            self.trace.violation(format_args!("{worker} wrote a row for an unknown task {id}"));
        }
        let mut state = self.state();
        state.now += 1;
        let now = state.now;
        let task = state.tasks.entry(id).or_default();
        let is_new = task.row.is_none();
        if task.row.as_ref().is_none_or(SeenRow::is_given_up) {
            task.committed_at = now;
        }
        task.row = Some(row);
        task.unsettled.clear();
        state.rows += usize::from(is_new);
    }

    /// The database has committed the report of a part.
    pub fn part_committed(&self, part: &str, planned: Option<u64>) {
        self.trace.event(format_args!("part {} {planned:?}", short(part)));
        self.state().parts.insert((part.to_owned(), planned));
    }

    /// A worker requests the page of a task. Returns how often that happened before.
    pub fn visited(&self, task: &Task, worker: &str) -> usize {
        self.trace.event(format_args!("visit {} by {worker}", short(&task.id)));
        let mut state = self.state();
        let seen = state.tasks.entry(task.id.clone()).or_default();
        seen.visits += 1;
        let visits = seen.visits - 1;
        let is_final = seen.row.as_ref().is_some_and(|row| !row.is_given_up());
        let delivered = seen.delivered_again.get(worker).copied().unwrap_or(0);
        if is_final && delivered > seen.committed_at {
            let id = short(&task.id).to_owned();
            drop(state);
            self.trace.violation(format_args!(
                "{worker} requested {id} again although its row was committed before it was \
                 delivered"
            ));
        }
        visits
    }

    /// A worker has received the answer of a task's page.
    pub fn answered(&self, task: &Task, worker: &str) {
        let mut state = self.state();
        let seen = state.tasks.entry(task.id.clone()).or_default();
        if seen.row.is_none() {
            seen.unsettled.insert(worker.to_owned());
        }
    }

    /// A worker has died, or ended without a drain.
    pub fn died(&self, worker: &str) {
        for task in self.state().tasks.values_mut() {
            let held = task.row.is_none() && task.delivered_again.contains_key(worker);
            task.deaths += u32::from(held);
        }
    }

    /// Whether so many workers died with a task that it cannot be told from one that kills them.
    pub fn may_be_poison(&self, id: &str) -> bool {
        self.state().tasks.get(id).is_some_and(|task| task.deaths >= POISON_DEATHS)
    }

    /// A worker has drained: each answer that it had received must have become something.
    pub fn drained(&self, worker: &str) {
        let state = self.state();
        let lost = state.tasks.iter().find(|(_, task)| task.unsettled.contains(worker));
        let lost = lost.map(|(id, _)| short(id).to_owned());
        drop(state);
        if let Some(id) = lost {
            self.trace.violation(format_args!("{worker} drained and dropped the answer of {id}"));
        }
    }

    /// The row of a task, and how often its page was requested.
    pub fn seen(&self, id: &str) -> (Option<SeenRow>, usize) {
        let state = self.state();
        state.tasks.get(id).map_or((None, 0), |task| (task.row.clone(), task.visits))
    }

    /// How many tasks have a row.
    pub fn rows(&self) -> usize {
        self.state().rows
    }
}

impl TaskState {
    /// The worker holds one message less.
    fn settled(&mut self, worker: &str) {
        if let Some((_, messages)) = self.held.get_mut(worker) {
            *messages = messages.saturating_sub(1);
        }
    }

    fn may_be_acked(&self, message: &Message) -> bool {
        let number = message.number;
        let is_dead = self.confirmed_death > number;
        let has_row = self.row.as_ref().is_some_and(|row| !row.is_given_up() || is_dead);
        let is_replaced =
            self.confirmed_copy > number || self.confirmed_progress > message.progress();
        has_row || is_replaced || is_dead
    }
}

/// The end of an id, by which the tasks of a part differ.
fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(13)..).unwrap_or(id)
}

/// A key as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
