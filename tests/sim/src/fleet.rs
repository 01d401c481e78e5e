//! The workers of a world, which die and start again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fetchline_queue::{Broker, BrokerConfig, Role};
use fetchline_store::{Store, StoreConfig};
use fetchline_worker::{StopHandle, Worker};
use tokio::time::{Instant, sleep};

use crate::shape::Shape;
use crate::trace::Trace;
use crate::wiring::Wiring;
use crate::witness::Witness;

/// The name of the fleet on the broker.
pub const PREFIX: &str = "sim";
/// How long a worker may take to end after its grace.
const AFTER_GRACE: Duration = Duration::from_secs(15);

/// The workers.
pub struct Fleet {
    shape: Shape,
    wiring: Wiring,
    trace: Trace,
    witness: Witness,
    places: Vec<Place>,
    /// Counts the processes.
    started: usize,
}

/// The place of a worker: at most one process is there at a time.
#[derive(Default)]
struct Place {
    process: Option<Process>,
}

struct Process {
    /// The name of this process, which no other one has.
    owner: String,
    stop: StopHandle,
    end: Arc<Mutex<Option<Result<(), String>>>>,
}

impl Fleet {
    /// A fleet without workers.
    pub fn new(shape: Shape, wiring: Wiring, witness: Witness) -> Self {
        let trace = witness.trace.clone();
        let places = (0..shape.workers).map(|_| Place::default()).collect();
        Self { shape, wiring, trace, witness, places, started: 0 }
    }

    /// The number of places.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The name of the process at a place.
    pub fn owner(&self, place: usize) -> Option<String> {
        self.places[place].process.as_ref().map(|process| process.owner.clone())
    }

    /// The name that operators know.
    pub fn pod(place: usize) -> String {
        format!("w{place}")
    }

    /// Starts a worker at each free place.
    pub async fn fill(&mut self) {
        for place in 0..self.places.len() {
            self.clear_ended(place);
            if self.places[place].process.is_none() {
                self.start(place).await;
            }
        }
    }

    async fn start(&mut self, place: usize) {
        self.started += 1;
        let (pod, owner) = (Self::pod(place), format!("w{place}-{}", self.started));
        self.trace.event(format_args!("start {owner}"));
        let config = self.shape.config(&pod, &owner);
        let broker =
            BrokerConfig { url: Wiring::broker_url(&owner), ca: None, prefix: PREFIX.to_owned() };
        let store = StoreConfig {
            url: Wiring::database_url(&owner),
            pool: self.shape.pool,
            pool_timeout: Duration::from_secs(5),
        };
        let broker = Broker::new(&broker, Role::Consume, &pod).expect("the URL is valid");
        let store = Store::open(store).expect("the URL is valid");
        let mut worker =
            Worker::start(config, broker, store).await.expect("the configuration is valid");
        let (stop, end) = (worker.stop_handle(), Arc::new(Mutex::new(None)));
        let ended = end.clone();
        tokio::spawn(async move {
            let result = worker.wait().await.map(drop).map_err(|error| error.to_string());
            *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        });
        self.places[place].process = Some(Process { owner, stop, end });
    }

    /// Frees a place whose worker has ended, as it does after the directive `drain`.
    fn clear_ended(&mut self, place: usize) {
        let process = self.places[place].process.as_ref();
        let Some(result) = process.and_then(Process::result) else { return };
        match result {
            Ok(()) => process.into_iter().for_each(|ended| self.witness.drained(&ended.owner)),
            Err(error) if error.contains("grace") => {
                process.into_iter().for_each(|ended| self.witness.died(&ended.owner));
            }
            Err(error) => self.trace.violation(format_args!("w{place} has ended: {error}")),
        }
        self.places[place].process = None;
    }

    /// Kills the worker of a place, if there is one.
    pub fn kill(&mut self, place: usize) {
        let Some(process) = self.places[place].process.take() else { return };
        self.trace.event(format_args!("kill {}", process.owner));
        self.wiring.kill(&process.owner);
        self.witness.died(&process.owner);
        process.stop.stop();
    }

    /// Stops the worker of a place, and waits for its end.
    pub async fn stop(&mut self, place: usize, is_calm: bool) {
        let Some(process) = self.places[place].process.take() else { return };
        let owner = &process.owner;
        self.trace.event(format_args!("stop {owner}"));
        process.stop.stop();
        let deadline = Instant::now() + self.shape.config("w", "w").grace + AFTER_GRACE;
        let result = loop {
            match process.result() {
                Some(result) => break result,
                None if Instant::now() > deadline => {
                    self.trace.violation(format_args!("{owner} does not end within its grace"));
                    return self.wiring.kill(owner);
                }
                None => sleep(Duration::from_millis(100)).await,
            }
        };
        self.trace.event(format_args!("ended {owner}: {result:?}"));
        match result {
            Ok(()) => self.witness.drained(owner),
            Err(error) if is_calm || !error.contains("grace") => {
                self.trace.violation(format_args!("{owner} was stopped and failed: {error}"));
            }
            Err(_) => self.witness.died(owner),
        }
    }
}

impl Process {
    fn result(&self) -> Option<Result<(), String>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
