//! Sends messages within a bounded window of confirms, and sends again what was not confirmed.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fetchline_nodes::Backoff;
use fetchline_nodes::error_chain::chain;
use fetchline_queue::{
    Broker, Draft, Error, PartReport, Round, Task, Topology, Undeclared, Verdict,
};
use tokio_util::sync::CancellationToken;

use super::link::{Link, report_blocked};
use super::queue_limit::{COUNT_INTERVAL, QueueLimit};
use super::reporter::Reporter;
use super::window::{Outgoing, Payload, Window};
use crate::checkpoint::Position;
use crate::config;
use crate::progress::{Observer, Progress};

/// Messages of one round. Two rounds are under way at once, so the window is twice as large.
const ROUND_MESSAGES: usize = 1024;
/// Messages that are handed to the connection at once.
const BURST_MESSAGES: usize = 64;
/// How often the broker may return a message before its task counts as not sent.
const MAX_RETURNS: u32 = 5;
/// The pauses between attempts to reach the broker.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Sends messages and counts what becomes of them.
pub(crate) struct Sender<'a> {
    broker: Broker,
    reporter: Reporter<'a>,
    /// `None` while there is no connection.
    link: Option<Link>,
    window: Window,
    /// Whether the last part report is confirmed.
    is_report_confirmed: bool,
    /// The number of the current round, which selects its lane.
    round: usize,
    backoff: Backoff,
    queue_limit: Option<QueueLimit>,
    /// Whether the exchange or a queue may be missing.
    may_lack_topology: bool,
    stop: CancellationToken,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(
        broker: Broker,
        progress: &'a Progress,
        observer: &'a Observer,
        stop: CancellationToken,
    ) -> Self {
        Self {
            broker,
            reporter: Reporter::new(progress, observer),
            link: None,
            window: Window::default(),
            is_report_confirmed: false,
            round: 0,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            queue_limit: None,
            may_lack_topology: true,
            stop,
        }
    }

    /// Connects for the first time and waits for the broker as long as necessary, and at most
    /// `wait_for_topology` for what the user may not declare. A broker that refuses the connection
    /// is an error.
    pub(crate) async fn connect(
        &mut self,
        wait_for_topology: Option<Duration>,
    ) -> Result<(), config::Error> {
        let mut missing_since = None;
        while !self.stop.is_cancelled() {
            let missing = match Link::open(&self.broker).await {
                Ok(link) => {
                    let topology = self.broker.topology();
                    match link.declare(topology, false).await {
                        Ok(missing) if missing.names.is_empty() => {
                            link.check(topology).await.map(|()| (link, missing))
                        }
                        declared => declared.map(|missing| (link, missing)),
                    }
                }
                Err(error) => Err(error),
            };
            match missing {
                Ok((link, missing)) if missing.names.is_empty() => {
                    (self.link, self.may_lack_topology) = (Some(link), false);
                    self.reporter.resumed();
                    return Ok(());
                }
                Ok((_, missing)) => {
                    let since = *missing_since.get_or_insert_with(Instant::now);
                    let text = describe_missing(&missing);
                    if wait_for_topology.is_some_and(|limit| since.elapsed() >= limit) {
                        return Err(config::Error::Topology(text));
                    }
                    self.reporter.waiting(format!("{text}; waiting"));
                }
                Err(error) if error.is_configuration() => {
                    return Err(config::Error::Broker(error));
                }
                Err(error) => self.reporter.waiting(self.describe(&error)),
            }
            self.back_off().await;
        }
        Ok(())
    }

    /// From now on, waits while so many tasks are ready in the queue. It is an error if the broker
    /// does not say how many there are.
    pub(crate) async fn limit_queue(&mut self, max: u32) -> Result<(), Error> {
        self.queue_limit = Some(QueueLimit::new(max));
        match &self.link {
            Some(link) => link.ready_tasks(self.broker.topology()).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Waits until the queue has room for another task, or until it is stopped.
    async fn wait_for_room(&mut self) {
        while !self.queue_limit.as_mut().is_none_or(QueueLimit::take_room) {
            // What is not confirmed is not counted.
            self.flush().await;
            if self.stop.is_cancelled() {
                return;
            }
            let ready = self.ready_tasks().await;
            let Some(limit) = &mut self.queue_limit else { return };
            let Some(ready) = ready else {
                self.back_off().await;
                continue;
            };
            limit.counted(ready);
            if !limit.is_reached() {
                continue;
            }
            if let Some(reason) = limit.report() {
                self.reporter.waiting(reason);
            }
            tokio::select! {
                () = tokio::time::sleep(COUNT_INTERVAL) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// How many tasks are ready in the queue; `None` if the broker does not say.
    async fn ready_tasks(&mut self) -> Option<u32> {
        self.reconnect().await;
        match self.link.as_ref()?.ready_tasks(self.broker.topology()).await {
            Ok(ready) => Some(ready),
            Err(error) => {
                self.link = None;
                self.reporter.waiting(self.describe(&error));
                None
            }
        }
    }

    /// Sends a task with the next burst. It waits while the window or the queue is full.
    pub(crate) async fn send(&mut self, task: Task, position: Position) {
        self.wait_for_room().await;
        self.collect(Outgoing { payload: Payload::Task(task, position), returns: 0 });
        if self.window.collected.len() >= BURST_MESSAGES {
            self.burst().await;
        }
        if self.window.current.round.len() >= ROUND_MESSAGES || self.link.is_none() {
            self.next_round().await;
        }
    }

    /// Sends the collected messages without waiting for their confirms.
    pub(crate) async fn burst(&mut self) {
        let Some(link) = &self.link else { return };
        let collected = std::mem::take(&mut self.window.collected);
        let progress = self.reporter.progress;
        progress.unconfirmed.fetch_add(collected.len() as u64, Ordering::Relaxed);
        let sending = link.lane(self.round).send(&mut self.window.current.round, collected);
        report_blocked(Some(link.blocked()), &self.reporter, sending).await;
    }

    /// Sends a part report and waits for its confirm as long as necessary; `false` if it is
    /// stopped before.
    pub(crate) async fn report_part(&mut self, part: PartReport) -> bool {
        self.is_report_confirmed = false;
        self.collect(Outgoing { payload: Payload::PartReport(part), returns: 0 });
        self.flush().await;
        self.is_report_confirmed
    }

    /// Waits until every message so far is confirmed or counts as not sent.
    pub(crate) async fn flush(&mut self) {
        while self.window.has_unconfirmed() {
            self.next_round().await;
        }
    }

    /// The position of the first task that is not confirmed; `None` if all sent tasks are.
    pub(crate) fn first_unconfirmed(&self) -> Option<Position> {
        self.window.first_unconfirmed()
    }

    /// Whether messages wait for the next burst or for their confirms.
    pub(crate) fn has_unconfirmed(&self) -> bool {
        self.window.has_unconfirmed()
    }

    /// Whether messages wait for the next burst.
    pub(crate) fn has_collected(&self) -> bool {
        !self.window.collected.is_empty()
    }

    fn collect(&mut self, outgoing: Outgoing) {
        if self.link.is_none() {
            return self.window.resend.push(outgoing);
        }
        let draft = match &outgoing.payload {
            Payload::Task(task, _) => Draft::task(task),
            Payload::PartReport(part) => Draft::part_report(part),
        };
        let current = &mut self.window.current;
        current.first = Position::earlier(current.first, outgoing.position());
        self.window.collected.push((draft, outgoing));
    }

    /// Turns to the other lane: finishes its round, and sends again there what was not confirmed.
    async fn next_round(&mut self) {
        self.burst().await;
        let current = std::mem::take(&mut self.window.current);
        let previous = if current.round.is_empty() {
            self.window.previous.take()
        } else {
            self.window.previous.replace(current)
        };
        if let Some(previous) = previous {
            self.finish(previous.round).await;
        }
        if self.window.resend.is_empty() {
            self.round += 1;
            return;
        }
        // After a failure, nothing new is sent before the fate of all sent messages is known.
        if let Some(previous) = self.window.previous.take() {
            self.finish(previous.round).await;
        }
        self.back_off().await;
        self.reconnect().await;
        self.round += 1;
        for outgoing in std::mem::take(&mut self.window.resend) {
            if self.link.is_none() && self.stop.is_cancelled() {
                self.not_sent(outgoing, "stopped before the broker could be reached");
            } else {
                self.collect(outgoing);
            }
        }
    }

    /// Waits for the confirms of a round.
    async fn finish(&mut self, round: Round<Outgoing>) {
        let progress = self.reporter.progress;
        let sent = round.len();
        let blocked = self.link.as_ref().map(Link::blocked);
        let verdicts = report_blocked(blocked, &self.reporter, round.finish()).await;
        progress.unconfirmed.fetch_sub(sent as u64, Ordering::Relaxed);
        // A message that the broker does not accept is kept until it does, or until we are stopped.
        let is_over = self.stop.is_cancelled()
            && verdicts
                .iter()
                .any(|verdict| matches!(verdict, Verdict::Unknown(_, error) if error.is_answer()));
        let mut problem = None;
        let mut confirmed = 0;
        for verdict in verdicts {
            match verdict {
                Verdict::Confirmed(outgoing) => match outgoing.into_inner().payload {
                    Payload::Task(..) => confirmed += 1,
                    Payload::PartReport(_) => self.is_report_confirmed = true,
                },
                Verdict::Unroutable(outgoing) => self.unroutable(outgoing),
                Verdict::Nacked(outgoing) => self.nacked(outgoing),
                Verdict::Unknown(outgoing, error) => {
                    // The first error is the cause; later ones only say that the channel is closed.
                    if problem.is_none() || error.is_not_found() {
                        problem = Some(self.describe(&error));
                    }
                    self.may_lack_topology |= error.is_not_found();
                    if is_over {
                        self.not_sent(outgoing, "stopped before the broker accepted it");
                    } else {
                        self.window.resend.push(outgoing);
                    }
                }
            }
        }
        progress.published.fetch_add(confirmed, Ordering::Relaxed);
        if confirmed > 0 || self.is_report_confirmed {
            self.backoff.reset();
            self.reporter.resumed();
        }
        if let Some(problem) = problem {
            self.link = None;
            self.reporter.waiting(problem);
        }
    }

    fn unroutable(&mut self, mut outgoing: Outgoing) {
        self.may_lack_topology = true;
        if self.must_be_repeated(&outgoing) {
            return self.repeat_report(outgoing);
        }
        outgoing.returns += 1;
        if outgoing.returns < MAX_RETURNS && !self.stop.is_cancelled() {
            self.window.resend.push(outgoing);
        } else {
            let reason = "no queue takes it: check the bindings of the exchange";
            self.not_sent(outgoing, reason);
        }
    }

    fn nacked(&mut self, outgoing: Outgoing) {
        if self.must_be_repeated(&outgoing) {
            self.repeat_report(outgoing);
        } else {
            self.not_sent(outgoing, "the broker rejected it: the queue is full");
        }
    }

    /// Whether a message is a part report. No task of a part is sent before the report of its
    /// begin is confirmed, and the part is not closed before that of its end is.
    fn must_be_repeated(&self, outgoing: &Outgoing) -> bool {
        matches!(outgoing.payload, Payload::PartReport(_)) && !self.stop.is_cancelled()
    }

    fn repeat_report(&mut self, outgoing: Outgoing) {
        let queue = self.broker.topology().queue(Topology::RUNS);
        self.reporter
            .waiting(format!("the queue `{queue}` takes no messages; waiting until it does"));
        self.window.resend.push(outgoing);
    }

    fn not_sent(&mut self, outgoing: Outgoing, reason: &str) {
        // `report_part` returns whether a part report is confirmed.
        let Payload::Task(task, position) = outgoing.payload else { return };
        let first = &mut self.window.first_not_sent;
        *first = Position::earlier(*first, Some(position));
        self.reporter.not_sent(task.request.address.masked(), reason);
    }

    async fn reconnect(&mut self) {
        if !self.link.as_ref().is_some_and(Link::is_open) {
            self.link = None;
            match Link::open(&self.broker).await {
                Ok(link) => self.link = Some(link),
                Err(error) => self.reporter.waiting(self.describe(&error)),
            }
        }
        if let Some(link) = self.link.as_ref().filter(|_| self.may_lack_topology) {
            match link.declare(self.broker.topology(), true).await {
                Ok(missing) if missing.names.is_empty() => self.may_lack_topology = false,
                Ok(missing) => {
                    self.reporter.waiting(format!("{}; waiting", describe_missing(&missing)));
                }
                Err(error) => {
                    self.reporter.waiting(self.describe(&error));
                    self.link = None;
                }
            }
        }
    }

    async fn back_off(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(self.backoff.next_pause()) => {}
            () = self.stop.cancelled() => {}
        }
    }

    fn describe(&self, error: &Error) -> String {
        if error.is_not_found() {
            let exchange = self.broker.topology().exchange();
            return format!("the exchange `{exchange}` does not exist; waiting until it does");
        }
        format!("{}; retrying", chain(error))
    }
}

/// Says what is missing, and what to do about it.
fn describe_missing(Undeclared { names, lacking }: &Undeclared) -> String {
    let (names, are, them) = match names.as_slice() {
        [name] => (format!("`{name}`"), "does", "it"),
        names => (format!("`{}`", names.join("`, `")), "do", "them"),
    };
    let lacking = lacking.iter().map(|lacking| format!("`{}` on {}", lacking.kind, lacking.name));
    let lacking = lacking.collect::<Vec<_>>().join(", ");
    format!(
        "{names} {are} not exist, and this user may not declare {them}: start a worker \
         (`fetchline work`), which declares {them}, or grant this user {lacking}"
    )
}
