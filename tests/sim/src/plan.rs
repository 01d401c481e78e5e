//! The plan of a world: its tasks, and how their sites answer.

use std::collections::BTreeMap;

use crate::chance::Chance;

/// The run of most tasks.
pub const RUN: &str = "night";
/// A run that may be cancelled.
pub const CANCELLED_RUN: &str = "cancelled";

/// How a site answers one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A page, after this many milliseconds.
    Page(u64),
    /// A status without a page.
    Status(u16),
    /// Nothing, until the client gives up.
    Silence,
    /// The connection is reset.
    Reset,
    /// The head of an answer and half of its body, then nothing.
    Half,
}

/// A task.
#[derive(Clone, Debug)]
pub struct Task {
    /// The key in hexadecimal digits, which is the message's id.
    pub id: String,
    /// The run.
    pub run: &'static str,
    /// The part of the run.
    pub part: String,
    /// The host.
    pub host: String,
    /// The path.
    pub path: String,
    /// How often the site fails before it answers for good.
    pub failures: usize,
    /// How it fails.
    pub failure: Answer,
    /// How it answers for good.
    pub answer: Answer,
    /// The database refuses the row.
    pub is_refused: bool,
}

/// The result that a task must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The outcome of its row.
    pub outcome: &'static str,
    /// Whether it has a dead letter.
    pub is_dead: bool,
    /// The most attempts that may be charged to it.
    pub attempts: u32,
}

impl Task {
    /// The answer to a request, after this many others.
    pub fn answer(&self, visits: usize) -> Answer {
        if visits < self.failures { self.failure } else { self.answer }
    }

    /// The result that the task must have if it may be tried this often.
    pub fn expected(&self, max_attempts: u32) -> Expected {
        if self.failures >= max_attempts as usize && !self.is_refused {
            let outcome = match self.failure {
                Answer::Silence | Answer::Half => "timeout",
                Answer::Reset => "protocol",
                Answer::Status(_) | Answer::Page(_) => "http_error",
            };
            return Expected { outcome, is_dead: true, attempts: max_attempts };
        }
        let attempts = u32::try_from(self.failures).unwrap_or(u32::MAX).saturating_add(1);
        let attempts = attempts.min(max_attempts);
        let outcome = match (self.is_refused, self.answer) {
            (true, _) => "refused",
            (false, Answer::Page(_)) => "ok",
            (false, _) => "http_error",
        };
        Expected { outcome, is_dead: self.is_refused, attempts }
    }
}

/// A host with a limit.
#[derive(Clone, Debug)]
pub struct LimitedHost {
    /// Its name.
    pub host: String,
    /// Requests per second.
    pub rate: f64,
}

/// The plan of a world.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    tasks: Vec<Task>,
    by_id: BTreeMap<String, usize>,
    by_path: BTreeMap<String, usize>,
    /// The hosts with limits.
    pub limits: Vec<LimitedHost>,
    /// The parts of runs: the run, the part, and the number of its tasks.
    pub parts: Vec<(&'static str, String, u64)>,
}

impl Plan {
    /// A plan for a number of tasks. With `trouble`, sites fail and rows are refused.
    pub fn new(chance: &mut Chance, tasks: usize, max_attempts: u32, trouble: bool) -> Self {
        let mut plan = Self::default();
        let hosts = 1 + chance.below(12);
        if chance.happens(0.5) {
            plan.limits.push(LimitedHost {
                host: "host-0.example".to_owned(),
                rate: chance.pick(&[2.0, 5.0, 20.0]),
            });
        }
        let share_of_refused = if trouble { chance.pick(&[0.0, 0.0, 0.02, 0.2]) } else { 0.0 };
        let share_of_failing = if trouble { chance.pick(&[0.0, 0.05, 0.3]) } else { 0.0 };
        let share_of_cancelled = if trouble { chance.pick(&[0.0, 0.0, 0.3]) } else { 0.0 };
        let part =
            |name: u64| format!("019b76da-a800-7{name:03x}-8000-000000000000").replace('-', "");
        for (at, run) in (1..).zip([RUN, CANCELLED_RUN]) {
            plan.parts.push((run, part(at), 0));
        }
        for ordinal in 0..tasks {
            let which = usize::from(chance.happens(share_of_cancelled));
            let (run, part, count) = &mut plan.parts[which];
            *count += 1;
            let id = format!("{}{:013x}", &part[..19], (ordinal as u64 + 1) << 20 | 0xc_0ffe);
            let is_failing = chance.happens(share_of_failing);
            let answers = [
                Answer::Status(500),
                Answer::Status(503),
                Answer::Reset,
                Answer::Silence,
                Answer::Half,
            ];
            let failures = 1 + chance.below(max_attempts as usize);
            let forever = failures == max_attempts as usize;
            let host = match plan.limits.is_empty() {
                false if chance.happens(0.2) => 0,
                false => 1 + chance.below(hosts),
                true => chance.below(hosts),
            };
            let task = Task {
                id,
                run: *run,
                part: part.clone(),
                host: format!("host-{host}.example"),
                path: format!("/{ordinal}"),
                failures: match (is_failing, forever) {
                    (false, _) => 0,
                    (true, false) => failures,
                    (true, true) => usize::MAX,
                },
                // A request that was not processed is repeated without another slot.
                failure: match host == 0 && !plan.limits.is_empty() {
                    true => Answer::Status(500),
                    false => chance.pick(&answers),
                },
                answer: match chance.below(20) {
                    0 => Answer::Status(404),
                    1..=5 => Answer::Page(1 + chance.below(3_000) as u64),
                    _ => Answer::Page(chance.below(40) as u64),
                },
                is_refused: chance.happens(share_of_refused),
            };
            plan.by_id.insert(task.id.clone(), ordinal);
            plan.by_path.insert(task.path.clone(), ordinal);
            plan.tasks.push(task);
        }
        plan
    }

    /// The tasks.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The task with this id.
    pub fn task(&self, id: &str) -> Option<&Task> {
        self.by_id.get(id).map(|at| &self.tasks[*at])
    }

    /// The task with this path.
    pub fn task_at(&self, path: &str) -> Option<&Task> {
        self.by_path.get(path).map(|at| &self.tasks[*at])
    }
}
