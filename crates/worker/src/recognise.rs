//! Copies of messages: what was committed before is not fetched again.
//!
//! Only a delivery that can be a copy comes here: one that is delivered again, or that is a retry. Look-ups go in
//! batches, while new deliveries pass by.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::Death;
use fetchline_store::{Known, Store};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admit::Admission;
use crate::backoff::Backoff;
use crate::hand_over::HandOver;
use crate::job::Job;
use crate::judge::{Seen, is_suspect, seen};
use crate::services::Services;
use crate::settle::Settle;

/// Tasks that are looked up together.
const AT_ONCE: usize = 500;

/// Looks copies up.
pub(crate) struct Recognise {
    pub(crate) store: Arc<Store>,
    pub(crate) admission: Arc<Admission>,
    /// Where goes what may crash a worker.
    pub(crate) suspects: mpsc::UnboundedSender<Box<Job>>,
    pub(crate) hand_over: HandOver,
    pub(crate) settle: Settle,
    pub(crate) services: Services,
    pub(crate) hold: Duration,
    pub(crate) stop: CancellationToken,
}

impl Recognise {
    /// Runs until nobody is left who could bring a copy.
    pub(crate) async fn run(self, mut copies: mpsc::UnboundedReceiver<Box<Job>>) {
        let mut jobs = Vec::with_capacity(AT_ONCE);
        while copies.recv_many(&mut jobs, AT_ONCE).await > 0 {
            let tasks = jobs.drain(..).map(|job| (*job.task.key.as_bytes(), job)).collect();
            self.look_up(tasks).await;
        }
    }

    async fn look_up(&self, mut tasks: Vec<([u8; 32], Box<Job>)>) {
        let (mut backoff, began) = (Backoff::default(), Instant::now());
        let found = loop {
            let error = match self.store.look_up(tasks).await {
                Ok(found) => break found,
                Err((unknown, error)) => {
                    tasks = unknown;
                    error
                }
            };
            self.services.database_fails_unless_busy(&self.store, &error);
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => continue,
                () = tokio::time::sleep_until(began + self.hold) => {}
                () = self.services.database_down_for(self.hold) => {}
                () = self.stop.cancelled() => {}
            }
            for (_, job) in tasks {
                self.settle.give_back(job.claim);
            }
            return;
        };
        self.services.database_answers();
        for (known, proof) in found.found {
            let judged = proof.receipts().next().map(|job| seen(&job.task, &known));
            if judged == Some(Seen::Done) {
                self.settle.recognised(proof);
                continue;
            }
            for job in proof.into_receipts() {
                match judged {
                    Some(Seen::GivenUp) => self.hand_over.dead(job.original, &death(&known), job.claim),
                    _ => self.admit(job),
                }
            }
        }
        for job in found.missing {
            self.admit(job);
        }
    }

    fn admit(&self, job: Box<Job>) {
        if is_suspect(&job.task) {
            // The stage lives until this one has ended.
            _ = self.suspects.send(job);
        } else {
            self.admission.admit(job);
        }
    }
}

/// The death that the row tells of.
fn death(known: &Known) -> Death {
    Death {
        reason: known.outcome.map_or("unknown", |outcome| outcome.as_str()),
        error: "given up before; see the task's row".to_owned(),
        status: known.status,
        attempts: known.attempts,
    }
}
