//! What happened in a world: a hash of all events, the latest of them, and what must not happen.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// How many events are kept to be printed.
const KEPT: usize = 400;
/// How many violations are kept: later ones often follow from the first.
const VIOLATIONS: usize = 10;

/// The trace of a world; cheap to clone.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    started: Instant,
    hash: u64,
    events: u64,
    latest: VecDeque<String>,
    violations: Vec<String>,
    /// Prints each event.
    verbose: bool,
    line: String,
}

impl Trace {
    /// An empty trace. Has to be called within a runtime.
    pub fn new(verbose: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            started: Instant::now(),
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            latest: VecDeque::new(),
            violations: Vec::new(),
            verbose,
            line: String::new(),
        })))
    }

    /// Adds an event.
    pub fn event(&self, event: fmt::Arguments<'_>) {
        self.with(|state| state.add(event));
    }

    /// Adds something that must not happen.
    pub fn violation(&self, what: fmt::Arguments<'_>) {
        self.with(|state| {
            state.add(format_args!("VIOLATION: {what}"));
            if state.violations.len() < VIOLATIONS {
                state.violations.push(what.to_string());
            }
        });
    }

    /// The number of events.
    pub fn events(&self) -> u64 {
        self.with(|state| state.events)
    }

    /// The hash of all events with their times.
    pub fn hash(&self) -> u64 {
        self.with(|state| state.hash)
    }

    /// What must not happen, and did.
    pub fn violations(&self) -> Vec<String> {
        self.with(|state| state.violations.clone())
    }

    /// The latest events.
    pub fn latest(&self) -> Vec<String> {
        self.with(|state| state.latest.iter().cloned().collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn add(&mut self, event: fmt::Arguments<'_>) {
        self.events += 1;
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let at = self.started.elapsed();
        _ = write!(line, "{:10.6} {event}", at.as_secs_f64());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.verbose {
            println!("{line}");
        }
        let mut kept = match self.latest.len() {
            KEPT.. => self.latest.pop_front().unwrap_or_default(),
            _ => String::new(),
        };
        kept.clone_from(&line);
        self.latest.push_back(kept);
        self.line = line;
    }
}
