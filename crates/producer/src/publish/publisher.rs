//! Publishes the tasks of a part, in their order, and records how far it has got.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fetchline_queue::{Fingerprint, PartReport, Task};
use tokio_util::sync::CancellationToken;

use super::pacer::Pacer;
use super::sender::Sender;
use crate::checkpoint::{Checkpoint, Position};
use crate::progress::Progress;

/// How long a message may wait for more input before it is sent. Somebody may be typing.
pub(crate) const MAX_DELAY: Duration = Duration::from_millis(100);

/// Why no more tasks are published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error(
        "the input is not the one that the checkpoint belongs to: its published tasks are not \
         where they were; give the same input again, or remove the checkpoint to start a new part"
    )]
    OtherInput,
    #[error("the checkpoint cannot be written: {0}")]
    Checkpoint(io::Error),
    #[error("{0} cannot be read further: {1}")]
    Source(String, io::Error),
    #[error(
        "a part of the input is missing: {0}; with --checkpoint, the same command publishes the \
         rest later"
    )]
    Missing(io::Error),
}

/// Publishes the tasks of one part.
pub(crate) struct Publisher<'a> {
    /// `None` in a dry run.
    sender: Option<Sender<'a>>,
    checkpoint: Option<Checkpoint>,
    /// The position of the next task.
    position: Position,
    /// Tasks before this position were confirmed by an earlier `produce` of the part.
    confirmed: Position,
    pacer: Option<Pacer>,
    progress: &'a Progress,
    stop: &'a CancellationToken,
}

impl<'a> Publisher<'a> {
    /// `rate` is in tasks per second.
    pub(crate) fn new(
        sender: Option<Sender<'a>>,
        checkpoint: Option<Checkpoint>,
        confirmed: Position,
        rate: Option<f64>,
        progress: &'a Progress,
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            sender,
            checkpoint,
            position: Position::default(),
            confirmed,
            pacer: rate.map(Pacer::new),
            progress,
            stop,
        }
    }

    pub(crate) fn has_checkpoint(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Publishes a task, unless an earlier `produce` of the part has.
    pub(crate) async fn publish(
        &mut self,
        task: Task,
        fingerprint: &Fingerprint,
    ) -> Result<(), PublishError> {
        let position = self.position;
        if position.tasks < self.confirmed.tasks {
            return self.pass(fingerprint);
        }
        let delay = self.pacer.as_mut().map_or(Duration::ZERO, Pacer::next_delay);
        if delay > MAX_DELAY {
            self.flush().await;
        }
        if !delay.is_zero() {
            self.burst().await;
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.stop.cancelled() => {
                    // Its line is counted already.
                    self.progress.not_sent.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
        }
        self.position = position.after(fingerprint);
        match &mut self.sender {
            Some(sender) => sender.send(task, position).await,
            None => _ = self.progress.published.fetch_add(1, Ordering::Relaxed),
        }
        self.save_if_due().await
    }

    /// Skips a task whose page was fetched lately. If an earlier `produce` of the part has seen the
    /// task, what it did with it counts.
    pub(crate) async fn skip(&mut self, task: &Fingerprint) -> Result<(), PublishError> {
        if self.position.tasks < self.confirmed.tasks {
            return self.pass(task);
        }
        self.position = self.position.after_skipped(task);
        self.count_skipped(1);
        self.save_if_due().await
    }

    /// Passes a task that was confirmed or skipped before. The input has changed if the digest
    /// differs in the end.
    fn pass(&mut self, task: &Fingerprint) -> Result<(), PublishError> {
        self.position = self.position.after(task);
        if self.position.tasks < self.confirmed.tasks {
            return Ok(());
        }
        if !self.position.has_same_tasks(self.confirmed) {
            return Err(PublishError::OtherInput);
        }
        self.position = self.confirmed;
        let resumed = self.confirmed.tasks - self.confirmed.skipped.min(self.confirmed.tasks);
        self.progress.resumed.fetch_add(resumed, Ordering::Relaxed);
        self.count_skipped(self.confirmed.skipped);
        Ok(())
    }

    fn count_skipped(&self, tasks: u64) {
        for counter in [&self.progress.skipped, &self.progress.fetched] {
            counter.fetch_add(tasks, Ordering::Relaxed);
        }
    }

    /// Checks that a whole input has every task that was confirmed before.
    pub(crate) fn check_input_is_whole(&self) -> Result<(), PublishError> {
        if self.position.tasks < self.confirmed.tasks {
            return Err(PublishError::OtherInput);
        }
        Ok(())
    }

    /// Sends a part report and waits for its confirm; `false` if it is stopped before.
    pub(crate) async fn report_part(&mut self, part: PartReport) -> bool {
        match &mut self.sender {
            Some(sender) => sender.report_part(part).await,
            None => true,
        }
    }

    /// Whether messages wait for the next burst or for their confirms, or the checkpoint does not
    /// say yet that they are confirmed.
    pub(crate) fn has_unsettled(&self) -> bool {
        self.sender.as_ref().is_some_and(Sender::has_unconfirmed)
            || self
                .checkpoint
                .as_ref()
                .is_some_and(|checkpoint| checkpoint.is_behind(self.confirmed_position()))
    }

    /// Whether messages wait for the next burst.
    pub(crate) fn has_collected(&self) -> bool {
        self.sender.as_ref().is_some_and(Sender::has_collected)
    }

    /// Sends the collected messages without waiting for their confirms.
    pub(crate) async fn burst(&mut self) {
        if let Some(sender) = &mut self.sender {
            sender.burst().await;
        }
    }

    /// Waits until every message so far is confirmed or counts as not sent.
    pub(crate) async fn flush(&mut self) {
        if let Some(sender) = &mut self.sender {
            sender.flush().await;
        }
    }

    /// Writes the checkpoint if the last write is long enough ago. A round may take minutes to be
    /// filled, so it is not waited for: what is sent so far is confirmed first.
    pub(crate) async fn save_if_due(&mut self) -> Result<(), PublishError> {
        if !self.checkpoint.as_ref().is_some_and(Checkpoint::is_due) {
            return Ok(());
        }
        self.flush().await;
        let confirmed = self.confirmed_position();
        match &mut self.checkpoint {
            Some(checkpoint) => checkpoint.save(confirmed).map_err(PublishError::Checkpoint),
            None => Ok(()),
        }
    }

    /// Removes the checkpoint of a finished part, or writes that of one to be resumed.
    pub(crate) fn close(self, is_finished: bool) -> Result<(), PublishError> {
        let confirmed = self.confirmed_position();
        let Some(mut checkpoint) = self.checkpoint else { return Ok(()) };
        let result = if is_finished { checkpoint.remove() } else { checkpoint.save(confirmed) };
        result.map_err(PublishError::Checkpoint)
    }

    /// Every task before this position is confirmed.
    fn confirmed_position(&self) -> Position {
        self.sender.as_ref().and_then(Sender::first_unconfirmed).unwrap_or(self.position)
    }
}
