//! What the workers of a fleet do, and whether an operator has paused them.

use std::time::Duration;

use fetchline_queue::control::{Begin, ControlStream, Directive, Scope};
use fetchline_queue::{Broker, Error};
use fetchline_store::{Store, WorkerState};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;

use crate::args::GlobalArgs;
use crate::exit::{Failure, chain};
use crate::schema::shape::{Field, count, field, list, nullable, object, optional, text, time};
use crate::table::{printable, table};

/// How long the database may take. `status` shows the queues without it.
const DATABASE: Duration = Duration::from_secs(3);

/// What the workers of a fleet do.
#[derive(Serialize)]
pub(crate) struct FleetState {
    /// `null` unless an operator has paused all workers.
    paused: Option<Pause>,
    /// `null` if the database does not answer.
    workers: Option<Vec<Worker>>,
    /// Why nobody knows what the workers do.
    #[serde(skip_serializing_if = "Option::is_none")]
    workers_unknown: Option<String>,
}

/// A pause of all workers.
#[derive(Serialize)]
struct Pause {
    /// The host of `fetchline control`; `null` if the console was used.
    by: Option<String>,
    since: Option<String>,
    /// The workers that were resumed by their own names since.
    #[serde(skip)]
    except: Vec<String>,
    /// The workers that had a pause of their own before.
    #[serde(skip)]
    paused_before: Vec<String>,
}

impl Pause {
    /// When the first worker stopped because of this pause, and not of one of its own.
    fn since<'a>(&self, workers: impl Iterator<Item = &'a Worker>) -> Option<String> {
        let is_its_own =
            |pod: &String| self.except.contains(pod) || self.paused_before.contains(pod);
        let workers = workers.filter(|worker| !is_its_own(&worker.pod));
        workers.filter_map(|worker| worker.paused_since.as_ref()).min().cloned()
    }
}

/// The pauses in force, as directives one after another change them.
#[derive(Default)]
struct Pauses {
    fleet: Option<Pause>,
    /// The workers that were paused by their own names.
    alone: Vec<String>,
}

impl Pauses {
    fn obey(&mut self, directive: &Directive, by: Option<String>, since: Option<String>) {
        match directive {
            // The pause that is in force goes on.
            Directive::Pause(Scope::All) => match &mut self.fleet {
                Some(pause) => {
                    pause.by = by;
                    pause.since = since;
                    pause.except.clear();
                }
                None => {
                    let paused_before = std::mem::take(&mut self.alone);
                    self.fleet = Some(Pause { by, since, except: Vec::new(), paused_before });
                }
            },
            Directive::Resume(Scope::All) => *self = Self::default(),
            Directive::Pause(Scope::Pod(pod)) => match &mut self.fleet {
                Some(pause) if pause.except.contains(pod) => {
                    pause.except.retain(|other| other != pod);
                    pause.paused_before.push(pod.clone());
                }
                Some(_) => {}
                None if self.alone.contains(pod) => {}
                None => self.alone.push(pod.clone()),
            },
            Directive::Resume(Scope::Pod(pod)) => {
                self.alone.retain(|other| other != pod);
                if let Some(pause) = &mut self.fleet {
                    pause.paused_before.retain(|other| other != pod);
                    if !pause.except.contains(pod) {
                        pause.except.push(pod.clone());
                    }
                }
            }
            _ => {}
        }
    }
}

#[derive(Serialize)]
struct Worker {
    pod: String,
    paused_since: Option<String>,
    concurrency: u32,
    unacked: u32,
    obstacle: Option<String>,
}

impl FleetState {
    /// Reads the control stream and the database, and does without what does not answer.
    ///
    /// # Errors
    ///
    /// A URL of the database that can never work.
    pub(crate) async fn read(global: &GlobalArgs, broker: &Broker) -> Result<Self, Failure> {
        let store = global.store(1, DATABASE)?;
        let silence = |_| Err(format!("the database does not answer within {DATABASE:?}"));
        let workers = timeout(DATABASE, workers(&store, broker)).await.unwrap_or_else(silence);
        let (workers, workers_unknown) = match workers {
            Ok(workers) => (Some(workers), None),
            Err(reason) => (None, Some(reason)),
        };
        let mut paused = pause(broker).await.ok().flatten();
        // A message of the console has no time, but the workers know when they stopped.
        if let Some(pause) = paused.as_mut().filter(|pause| pause.since.is_none()) {
            pause.since = pause.since(workers.iter().flatten());
        }
        Ok(Self { paused, workers, workers_unknown })
    }

    /// Why nobody knows what the workers do.
    pub(crate) fn workers_unknown(&self) -> Option<&str> {
        self.workers_unknown.as_deref()
    }

    /// The text for people; empty if nothing is known.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        if let Some(Pause { by, since, except, .. }) = &self.paused {
            let by = printable(by.clone().unwrap_or_else(|| "the console".to_owned()));
            let since = since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
            let except = match except.is_empty() {
                true => String::new(),
                false => format!(" but {}, which may take tasks,", except.join(", ")),
            };
            text.push_str(&format!("\nall workers{except} are paused{since}, by {by}\n"));
        }
        if let Some(workers) = self.workers.as_ref().filter(|workers| !workers.is_empty()) {
            let rows = workers.iter().map(|worker| {
                let state = match (&worker.obstacle, &worker.paused_since) {
                    (Some(obstacle), _) => obstacle.clone(),
                    (None, Some(since)) => format!("paused since {since}"),
                    (None, None) => "takes tasks".to_owned(),
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
        field("obstacle", nullable(text("Why it fetches nothing; `null` while it can."))),
    ]);
    vec![
        optional("paused", nullable(pause)),
        optional("workers", nullable(list(worker))),
        optional("workers_unknown", text("Why nobody knows what the workers do.")),
    ]
}

/// The workers, or why nobody knows them.
async fn workers(store: &Store, broker: &Broker) -> Result<Vec<Worker>, String> {
    let read = async {
        store.check_schema().await?;
        store.workers(broker.topology().exchange()).await
    };
    let describe = |error: fetchline_store::Error| match error.refusal() {
        Some(remedy) => format!("{}: {remedy}", chain(&error)),
        None => chain(&error),
    };
    let workers = read.await.map_err(describe)?;
    let worker = |state: WorkerState| Worker {
        pod: state.pod,
        paused_since: state.paused_since.and_then(to_text),
        concurrency: state.concurrency,
        unacked: state.unacked,
        obstacle: state.obstacle,
    };
    Ok(workers.into_iter().map(worker).collect())
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
    let mut pauses = Pauses::default();
    while let Ok(Some(word)) = stream.next_old().await {
        if let Ok(directive) = &word.directive {
            pauses.obey(directive, word.by, word.at.and_then(to_text));
        }
    }
    Ok(pauses.fleet)
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
            obstacle: None,
        };
        let state = FleetState {
            paused: Some(Pause {
                by: None,
                since: Some("2026-03-01T10:00:00Z".to_owned()),
                except: Vec::new(),
                paused_before: Vec::new(),
            }),
            workers: Some(vec![
                worker("blue-1", Some("2026-03-01T10:00:00Z")),
                worker("blue-2", None),
            ]),
            workers_unknown: None,
        };
        let text = state.describe();
        assert!(text.contains("paused since 2026-03-01T10:00:00Z, by the console"), "{text}");
        assert!(text.contains("takes tasks") && text.contains("560"), "{text}");
        let by = Some("\u{1b}[31mops-1".to_owned());
        let paused = Some(Pause { by, since: None, except: Vec::new(), paused_before: Vec::new() });
        let text = FleetState { paused, workers: None, workers_unknown: None }.describe();
        assert!(text.contains("by \u{fffd}[31mops-1"), "{text}");
        let held = "holds results, the database takes none: read-only";
        let obstacle = Some(held.to_owned());
        let workers = Some(vec![Worker { obstacle, ..worker("blue-1", None) }]);
        let text = FleetState { paused: None, workers, workers_unknown: None }.describe();
        assert!(text.contains(held) && !text.contains("takes tasks"), "{text}");
        let unknown = FleetState { paused: None, workers: None, workers_unknown: None };
        assert_eq!(unknown.describe(), "");
    }

    #[test]
    fn a_worker_that_was_resumed_or_paused_by_its_name_is_no_part_of_the_pause_of_all() {
        let mut pauses = Pauses::default();
        for typed in ["pause blue-1", "pause", "resume blue-2"] {
            pauses.obey(&Directive::read(typed.as_bytes()).unwrap(), None, None);
        }
        let worker = |pod: &str, since: Option<&str>| Worker {
            pod: pod.to_owned(),
            paused_since: since.map(str::to_owned),
            concurrency: 100,
            unacked: 0,
            obstacle: None,
        };
        let workers = [
            worker("blue-1", Some("2026-03-01T10:00:00Z")),
            worker("blue-2", None),
            worker("blue-3", Some("2026-03-01T11:00:00Z")),
        ];
        let mut pause = pauses.fleet.take().unwrap();
        pause.since = pause.since(workers.iter());
        assert_eq!(pause.since.as_deref(), Some("2026-03-01T11:00:00Z"));
        let workers = Some(workers.into());
        let text = FleetState { paused: Some(pause), workers, workers_unknown: None }.describe();
        let expected =
            "all workers but blue-2, which may take tasks, are paused since 2026-03-01T11";
        assert!(text.contains(expected), "{text}");

        pauses.obey(&Directive::read(b"pause").unwrap(), None, None);
        pauses.obey(&Directive::read(b"resume").unwrap(), None, None);
        assert!(pauses.fleet.is_none());
    }
}
