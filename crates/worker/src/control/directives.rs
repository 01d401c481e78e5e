//! Reads the directives of operators from the control stream, and obeys them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fetchline_nodes::Backoff;
use fetchline_queue::control::{Begin, ControlStream, Directive, TypedWord};
use fetchline_queue::lapin::Connection;
use fetchline_queue::{Broker, Error, Node, Topology};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::answers::Answers;
use super::dependencies::Dependencies;
use super::snapshot::{Directives, Snapshots};
use super::topology::{TopologyKeeper, TopologyState, report_declared};
use crate::error_chain::chain;

/// After this many failures in a row, the worker continues without the stream.
const FAILURES: u32 = 5;
/// How long and how often a stream that cannot be read is tried on the same connection. Meanwhile,
/// the exchange and the queues are checked.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
const RETRIES: u32 = 30;

impl Directives {
    /// The sum with one more directive, for a worker with this name and this concurrency.
    fn after(self, directive: &Directive, pod: &str, own_concurrency: usize) -> Self {
        match directive {
            Directive::Pause(scope) if scope.includes(pod) => Self { paused: true, ..self },
            Directive::Resume(scope) if scope.includes(pod) => Self { paused: false, ..self },
            Directive::Concurrency(number) => {
                Self { concurrency: number.unwrap_or(own_concurrency), ..self }
            }
            _ => self,
        }
    }
}

/// Which messages of the stream a worker has seen before, or precede its start.
#[derive(Clone, Copy)]
enum Old {
    All,
    UpTo(Option<u64>),
}

/// What is known from earlier connections.
struct Reading<'a> {
    old: &'a mut Old,
    /// The nodes that cannot read the stream.
    without_stream: &'a mut Vec<Node>,
    /// How often the stream could not be read since it was read last.
    failures: &'a mut u32,
    topology: &'a Mutex<TopologyState>,
}

/// Follows the control stream and publishes its directives.
pub(crate) struct Control {
    pub(crate) broker: Broker,
    pub(crate) snapshots: Snapshots,
    pub(crate) dependencies: Dependencies,
    pub(crate) answers: Arc<Answers>,
    pub(crate) pod: Arc<str>,
    /// The concurrency of the configuration.
    pub(crate) concurrency: usize,
    /// Stops this worker.
    pub(crate) stop: CancellationToken,
}

impl Control {
    /// Runs until `end`. While the stream cannot be read, the last directives apply.
    pub(crate) async fn listen(self, end: CancellationToken) {
        tokio::select! {
            () = self.follow() => {}
            () = end.cancelled() => {}
        }
    }

    async fn follow(&self) {
        let mut backoff = Backoff::default();
        let (mut failures, mut old) = (0, Old::All);
        let (mut without_stream, topology) = (Vec::new(), Mutex::default());
        loop {
            let began = Instant::now();
            let reading = Reading {
                old: &mut old,
                without_stream: &mut without_stream,
                failures: &mut failures,
                topology: &topology,
            };
            let result = self.read_stream(reading).await;
            backoff.reset_after(began.elapsed());
            match result {
                Ok(()) => failures = 0,
                Err(error) => self.cannot_read(&error, &without_stream, &mut failures),
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    /// The consumer reports a broker that is away. A broker that refuses the stream is no reason to
    /// stop working.
    fn cannot_read(&self, error: &Error, without_stream: &[Node], failures: &mut u32) {
        let is_final = is_about_fleet(error)
            || error.is_answer() && !self.broker.has_other_nodes_than(without_stream);
        let before = std::mem::replace(failures, *failures + 1);
        if is_final {
            *failures = FAILURES.max(*failures);
        }
        if before < FAILURES && *failures >= FAILURES {
            warn!(
                cause = chain(error),
                "cannot read the control stream; working without new directives, and retrying at \
                 intervals"
            );
            self.publish(self.directives(), None);
        }
    }

    /// Reads the stream from its beginning until the connection is lost. Meanwhile, answers the
    /// operators, and checks the exchange and the queues.
    async fn read_stream(&self, reading: Reading<'_>) -> Result<(), Error> {
        let connected = self.broker.connect_to_node(reading.without_stream).await;
        let (connection, node) = match connected {
            // Not a failure while nothing can be consumed either: the first directive after the
            // outage may be a pause.
            Err(error) if !error.is_answer() && !self.dependencies.broker_is_up() => return Ok(()),
            connected => connected?,
        };
        let keeper = TopologyKeeper {
            connection: &connection,
            broker: &self.broker,
            dependencies: &self.dependencies,
            news: self.answers.news(),
            state: reading.topology,
        };
        tokio::select! {
            result = self.read_on((&connection, &node), &keeper, reading) => result,
            result = keeper.keep() => result,
        }
    }

    /// Reads the stream. If no node can, it is tried again on the same connection.
    async fn read_on(
        &self,
        (connection, node): (&Connection, &Node),
        keeper: &TopologyKeeper<'_>,
        Reading { old, without_stream, failures, .. }: Reading<'_>,
    ) -> Result<(), Error> {
        let topology = self.broker.topology();
        for retry in 0.. {
            let opened = ControlStream::open(connection, topology, &self.pod, Begin::First).await;
            let error = match opened {
                Ok(stream) => {
                    without_stream.clear();
                    *failures = 0;
                    keeper.record_stream(None);
                    // A new fleet has none at first.
                    if stream.is_new() && matches!(old, Old::UpTo(_)) {
                        let name = topology.queue(Topology::CONTROL);
                        report_declared(keeper.news, &format!("the queue {name}"));
                    }
                    return tokio::select! {
                        () = self.obey(stream, old) => Ok(()),
                        result = self.answers.run(connection) => result,
                    };
                }
                Err(error) => error,
            };
            keeper.record_stream(Some(&error));
            // A node without a replica of the stream cannot read it.
            let is_about_node = !is_about_fleet(&error);
            if is_about_node {
                // All were tried: begin anew.
                if without_stream.contains(node) {
                    without_stream.clear();
                }
                without_stream.push(node.clone());
            }
            let has_others = is_about_node && self.broker.has_other_nodes_than(without_stream);
            if !error.is_answer() || has_others || retry == RETRIES {
                return Err(error);
            }
            self.cannot_read(&error, without_stream, failures);
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        Ok(())
    }

    /// Publishes the sum of the directives after each message, until the connection is lost.
    async fn obey(&self, mut stream: ControlStream, old: &mut Old) {
        // Earlier directives are read again. The last published ones apply until then.
        let (mut directives, mut last) = (self.directives(), None);
        while let Ok(word) = stream.next_old().await {
            let Some(word) = word else { return };
            directives = self.sum(directives, &word);
            self.drain_if_told(&word, *old);
            last = Some(word.offset);
        }
        // What was typed before the start was meant for a predecessor of the same name.
        *old = Old::UpTo(last);
        self.publish(directives, last);
        while let Some(word) = stream.next().await {
            if let Err(reason) = &word.directive {
                warn!(
                    %reason,
                    "a message in the control stream is not a directive and is ignored"
                );
            }
            directives = self.sum(directives, &word);
            self.publish(directives, Some(word.offset));
            self.drain_if_told(&word, *old);
            *old = Old::UpTo(Some(word.offset));
        }
    }

    fn sum(&self, directives: Directives, word: &TypedWord) -> Directives {
        match &word.directive {
            Ok(directive) => directives.after(directive, &self.pod, self.concurrency),
            Err(_) => directives,
        }
    }

    /// Stops this worker if a new message says so.
    fn drain_if_told(&self, word: &TypedWord, old: Old) {
        let is_new = match old {
            Old::All => false,
            Old::UpTo(last) => last.is_none_or(|last| word.offset > last),
        };
        if is_new && matches!(&word.directive, Ok(Directive::Drain(pod)) if **pod == *self.pod) {
            info!("an operator drains this worker");
            self.stop.cancel();
        }
    }

    fn directives(&self) -> Directives {
        self.snapshots.read(|snapshot| snapshot.directives)
    }

    /// Publishes the directives, and that those from before the start of this worker are known.
    fn publish(&self, directives: Directives, last: Option<u64>) {
        let mut has_changed = false;
        self.snapshots.update(|snapshot| {
            has_changed = std::mem::replace(&mut snapshot.directives, directives) != directives;
            let was_known = std::mem::replace(&mut snapshot.directives_known, true);
            let last = last.or(snapshot.directive);
            let was_last = std::mem::replace(&mut snapshot.directive, last);
            !was_known || has_changed || was_last != last
        });
        if has_changed {
            info!(
                paused = directives.paused,
                concurrency = directives.concurrency,
                "an operator has sent a directive"
            );
        }
    }
}

/// Whether every node of the broker would answer the same.
fn is_about_fleet(error: &Error) -> bool {
    matches!(error, Error::Missing(_) | Error::NotAStream(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(pod: &str, words: &[&str]) -> Directives {
        let own = Directives { paused: false, concurrency: 100 };
        words
            .iter()
            .fold(own, |sum, word| sum.after(&Directive::read(word.as_bytes()).unwrap(), pod, 100))
    }

    #[test]
    fn the_newest_directive_of_each_kind_applies() {
        for (words, paused, concurrency) in [
            (&["pause", "resume"][..], false, 100),
            (&["concurrency 5", "resume", "pause", "concurrency 7"], true, 7),
            (&["concurrency 5", "concurrency default"], false, 100),
            (&["pause", "cancel nightly", "host a.example pause", "drain blue-1"], true, 100),
        ] {
            assert_eq!(sum("blue-1", words), Directives { paused, concurrency }, "{words:?}");
        }
    }

    #[test]
    fn a_directive_for_one_worker_applies_to_it_alone() {
        for (words, blue, green) in [
            (&["pause blue-1"][..], true, false),
            (&["pause", "resume blue-1"], false, true),
            (&["pause blue-1", "resume"], false, false),
            (&["pause blue-1", "pause", "resume green-1"], true, false),
        ] {
            let paused = |pod| sum(pod, words).paused;
            assert_eq!((paused("blue-1"), paused("green-1")), (blue, green), "{words:?}");
        }
    }
}
