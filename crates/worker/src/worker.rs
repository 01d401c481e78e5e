//! The public face of the crate: a worker that starts, stops and ends.

use fetchline_queue::Broker;
use fetchline_store::Store;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::WorkerConfig;
use crate::error::Error;
use crate::observe::summary::Summary;
use crate::pipeline::Pipeline;

/// A running worker. Dropping it stops it: it finishes what it has begun, and nobody waits for
/// that.
#[derive(Debug)]
#[must_use = "dropping a worker stops it"]
pub struct Worker {
    stop: StopHandle,
    pipeline: JoinHandle<Result<Summary, Error>>,
    _stop_on_drop: DropGuard,
}

/// Stops a worker from elsewhere, such as a signal handler; cheap to clone.
#[derive(Clone, Debug)]
pub struct StopHandle(CancellationToken);

impl StopHandle {
    /// See [`Worker::stop`].
    pub fn stop(&self) {
        self.0.cancel();
    }
}

impl Worker {
    /// Starts a worker in the current Tokio runtime, which has to be a multi-threaded one. Does not
    /// wait for the broker and the database: the worker connects in the background, and waits for
    /// as long as they are away.
    ///
    /// # Errors
    ///
    /// [`Error::Runtime`], [`Error::Config`], [`Error::Resolver`], [`Error::Client`],
    /// [`Error::Traces`] or [`Error::Listen`].
    pub async fn start(config: WorkerConfig, broker: Broker, store: Store) -> Result<Self, Error> {
        let is_simulated = cfg!(feature = "simulation");
        if !is_simulated && Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread {
            return Err(Error::Runtime);
        }
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        let stop = CancellationToken::new();
        let pipeline = Pipeline::new(config, broker, store, stop.clone()).await?;
        Ok(Self {
            stop: StopHandle(stop.clone()),
            pipeline: tokio::spawn(pipeline.run()),
            _stop_on_drop: stop.drop_guard(),
        })
    }

    /// Stops the worker: it takes no more messages, requeues waiting tasks, and finishes within its
    /// grace what it has begun. Returns at once; [`Self::wait`] waits for the end.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// A handle that stops this worker.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Waits until the worker has ended: after [`Self::stop`], or by itself with `until_empty`. A
    /// wait that is dropped before its end can be repeated.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the database lacks the schema, [`Error::Broker`] where the broker
    /// refuses the worker, [`Error::GraceOver`] where the grace was too short, and
    /// [`Error::Panic`].
    ///
    /// # Panics
    ///
    /// When it is called again after it has returned.
    pub async fn wait(&mut self) -> Result<Summary, Error> {
        let ended = (&mut self.pipeline).await;
        ended.unwrap_or_else(|panic| Err(Error::Panic(panic.to_string())))
    }
}
