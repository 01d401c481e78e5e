//! What the workers of a fleet do, and whether an operator has paused them.

use std::time::Duration;

use fetchline_queue::control::{Begin, ControlStream, Directive, Scope};
use fetchline_queue::{Broker, Error};
use fetchline_store::WorkerState;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;

use crate::args::GlobalArgs;
use crate::schema::shape::{Field, count, field, list, nullable, object, optional, text, time};
use crate::table::table;

/// How long the next message of the control stream may take.
const QUIET: Duration = Duration::from_secs(5);
/// How long a message may take that the broker has not counted yet: it counts those of a stream
/// up to some seconds late.
const UNCOUNTED: Duration = Duration::from_millis(300);
/// How long the database may take. `status` shows the queues without it.
const DATABASE: Duration = Duration::from_secs(3);

/// What the workers of a fleet do.
#[derive(Serialize)]
pub(crate) struct FleetState {
    /// `null` unless an operator has paused all workers.
    paused: Option<Pause>,
    /// `null` if the database does not answer.
    workers: Option<Vec<Worker>>,
}

/// A pause of all workers.
#[derive(Serialize)]
struct Pause {
    /// The host of `fetchline control`; `null` if the console was used.
    by: Option<String>,
    since: Option<String>,
}

#[derive(Serialize)]
struct Worker {
    pod: String,
    paused_since: Option<String>,
    concurrency: u32,
    unacked: u32,
}

impl FleetState {
    /// Reads the control stream and the database, and does without what does not answer.
    pub(crate) async fn read(global: &GlobalArgs, broker: &Broker) -> Self {
        let workers = timeout(DATABASE, workers(global, broker)).await.ok().flatten();
        let mut paused = pause(broker).await.ok().flatten();
        // A message of the console has no time, but the workers know when they stopped.
        if let Some(Pause { since: since @ None, .. }) = &mut paused {
            let stopped =
                workers.iter().flatten().filter_map(|worker| worker.paused_since.as_ref());
            *since = stopped.min().cloned();
        }
        Self { paused, workers }
    }

    /// The text for people; empty if nothing is known.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        if let Some(Pause { by, since }) = &self.paused {
            let by = by.as_deref().unwrap_or("the console");
            let since = since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
            text.push_str(&format!("\nall workers are paused{since}, by {by}\n"));
        }
        if let Some(workers) = self.workers.as_ref().filter(|workers| !workers.is_empty()) {
            let rows = workers.iter().map(|worker| {
                let state = match &worker.paused_since {
                    Some(since) => format!("paused since {since}"),
                    None => "takes tasks".to_owned(),
                };
                [
                    worker.pod.clone(),
                    state,
                    worker.concurrency.to_string(),
                    worker.unacked.to_string(),
                ]
            });
            let headings = ["worker", "state", "concurrency", "unacked"];
            text.push_str(&format!("\n{}", table(headings, rows.collect())));
        }
        text.trim_end().to_owned()
    }
}

/// The fields of the state.
pub(crate) fn fields() -> Vec<Field> {
    let pause = object([
        field("by", nullable(text("The host of `control`; `null` if the console was used."))),
        field("since", nullable(time("Since when the workers are paused."))),
    ]);
    let worker = object([
        field("pod", text("The name of the worker.")),
        field("paused_since", nullable(time("Since when it takes no tasks."))),
        field("concurrency", count("The most fetches at the same time.")),
        field("unacked", count("The messages that it holds.")),
    ]);
    vec![optional("paused", nullable(pause)), optional("workers", nullable(list(worker)))]
}

async fn workers(global: &GlobalArgs, broker: &Broker) -> Option<Vec<Worker>> {
    let store = global.store(1, DATABASE).ok()?;
    let workers = store.workers(broker.topology().exchange()).await.ok()?;
    let worker = |state: WorkerState| Worker {
        pod: state.pod,
        paused_since: state.paused_since.and_then(to_text),
        concurrency: state.concurrency,
        unacked: state.unacked,
    };
    Some(workers.into_iter().map(worker).collect())
}

fn to_text(time: OffsetDateTime) -> Option<String> {
    time.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
}

/// The pause in force, by the newest directive for all workers.
async fn pause(broker: &Broker) -> Result<Option<Pause>, Error> {
    let connection = broker.connect().await?;
    let topology = broker.topology();
    if topology.counts(&connection, fetchline_queue::Topology::CONTROL).await?.is_none() {
        return Ok(None);
    }
    let mut stream = ControlStream::open(&connection, topology, "status", Begin::First).await?;
    let mut pause = None;
    for read in 0.. {
        let patience = if read < stream.backlog() { QUIET } else { UNCOUNTED };
        let Ok(Some(word)) = timeout(patience, stream.next()).await else { break };
        match word.directive {
            Ok(Directive::Pause(Scope::All)) => {
                pause = Some(Pause { by: word.by, since: word.at.and_then(to_text) });
            }
            Ok(Directive::Resume(Scope::All)) => pause = None,
            _ => {}
        }
    }
    Ok(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_who_has_paused_the_workers_and_since_when() {
        let worker = |pod: &str, since: Option<&str>| Worker {
            pod: pod.to_owned(),
            paused_since: since.map(str::to_owned),
            concurrency: 100,
            unacked: 560,
        };
        let state = FleetState {
            paused: Some(Pause { by: None, since: Some("2026-03-01T10:00:00Z".to_owned()) }),
            workers: Some(vec![
                worker("blue-1", Some("2026-03-01T10:00:00Z")),
                worker("blue-2", None),
            ]),
        };
        let text = state.describe();
        assert!(text.contains("paused since 2026-03-01T10:00:00Z, by the console"), "{text}");
        assert!(text.contains("takes tasks") && text.contains("560"), "{text}");
        assert_eq!(FleetState { paused: None, workers: None }.describe(), "");
    }
}
