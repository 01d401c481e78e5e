//! Tasks to the broker: a bounded window of confirms, and what was not confirmed is sent again.

use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use fetchline_queue::{Blocked, Broker, Draft, Error, Lane, Round, Task, Verdict, watch_blocked};
use lapin::Connection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::progress::{Event, Observer, Progress};

/// Messages of one round. Two rounds are under way at once, so the window is twice as large.
const ROUND: usize = 1024;
/// How often a message that no queue took is sent again, before it counts as not sent.
const MAX_RETURNS: u32 = 5;
/// Pauses between tries to reach the broker; they double up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often it is said that the broker blocks us.
const SAY_BLOCKED_EVERY: Duration = Duration::from_secs(10);

/// A task on its way.
struct Letter {
    task: Task,
    /// How often no queue took it.
    returns: u32,
}

/// Two channels that take turns: while the broker confirms the one's round, the other's is being sent.
struct Link {
    lanes: [Lane; 2],
    blocked: watch::Receiver<Option<Blocked>>,
    _connection: Connection,
}

/// Sends tasks and counts what became of them.
pub(crate) struct Sender<'a> {
    broker: Broker,
    progress: &'a Progress,
    observer: &'a Observer,
    link: Option<Link>,
    /// The round that is being filled.
    round: Round<Letter>,
    /// The round that waits for its confirms.
    previous: Option<Round<Letter>>,
    /// To be sent again.
    again: Vec<Letter>,
    rounds: usize,
    pause: Duration,
    said: Option<String>,
    stop: CancellationToken,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(broker: Broker, progress: &'a Progress, observer: &'a Observer, stop: CancellationToken) -> Self {
        Self {
            broker,
            progress,
            observer,
            link: None,
            round: Round::default(),
            previous: None,
            again: Vec::new(),
            rounds: 0,
            pause: FIRST_PAUSE,
            said: None,
            stop,
        }
    }

    /// Sends a task; waits while the window is full.
    pub(crate) async fn send(&mut self, task: Task) {
        self.post(Letter { task, returns: 0 }).await;
        if self.round.len() >= ROUND || self.link.is_none() {
            self.turn().await;
        }
    }

    /// Whether tasks wait for their confirms.
    pub(crate) fn has_unconfirmed(&self) -> bool {
        !self.round.is_empty() || self.previous.is_some() || !self.again.is_empty()
    }

    /// Waits until each task so far is confirmed, or counted as not sent.
    pub(crate) async fn flush(&mut self) {
        while self.has_unconfirmed() {
            self.turn().await;
        }
    }

    async fn post(&mut self, letter: Letter) {
        let draft = Draft::task(&letter.task);
        match &self.link {
            Some(link) => {
                self.progress.unconfirmed.fetch_add(1, Ordering::Relaxed);
                let send = link.lanes[self.rounds % 2].send(&mut self.round, draft, letter);
                telling(Some(link.blocked.clone()), self.observer, send).await;
            }
            None => self.again.push(letter),
        }
    }

    /// Turns to the other lane: finishes its round, and sends again there what has to be.
    async fn turn(&mut self) {
        let current = std::mem::take(&mut self.round);
        let previous = if current.is_empty() { self.previous.take() } else { self.previous.replace(current) };
        if let Some(previous) = previous {
            self.finish(previous).await;
        }
        if self.again.is_empty() {
            self.rounds += 1;
            return;
        }
        // Something went wrong: nothing new is sent before all is known of what was.
        if let Some(rest) = self.previous.take() {
            self.finish(rest).await;
        }
        self.wait().await;
        self.reconnect().await;
        self.rounds += 1;
        for letter in std::mem::take(&mut self.again) {
            if self.link.is_none() && self.stop.is_cancelled() {
                self.not_sent(&letter, "stopped before the broker could be reached");
            } else {
                self.post(letter).await;
            }
        }
    }

    async fn finish(&mut self, round: Round<Letter>) {
        let sent = round.len();
        let blocked = self.link.as_ref().map(|link| link.blocked.clone());
        let verdicts = telling(blocked, self.observer, round.finish()).await;
        self.progress.unconfirmed.fetch_sub(sent as u64, Ordering::Relaxed);
        let mut problem = None;
        let mut confirmed = 0;
        for verdict in verdicts {
            match verdict {
                Verdict::Confirmed(_) => confirmed += 1,
                Verdict::Returned(mut letter) => {
                    letter.returns += 1;
                    if letter.returns < MAX_RETURNS && !self.stop.is_cancelled() {
                        self.again.push(letter);
                    } else {
                        self.not_sent(&letter, "no queue takes it: is a worker's topology there?");
                    }
                }
                Verdict::Nacked(letter) => self.not_sent(&letter, "the broker refused it: the queue is full"),
                Verdict::Unknown(letter, error) => {
                    // The first error says why; those after it only say that the channel is closed.
                    if problem.is_none() || error.is_not_found() {
                        problem = Some(self.explain(&error));
                    }
                    self.again.push(letter);
                }
            }
        }
        self.progress.published.fetch_add(confirmed, Ordering::Relaxed);
        if confirmed > 0 {
            self.pause = FIRST_PAUSE;
            if self.said.take().is_some() {
                (self.observer)(Event::GoesOn);
            }
        }
        if let Some(problem) = problem {
            self.link = None;
            self.say(problem);
        }
    }

    async fn reconnect(&mut self) {
        if self.link.as_ref().is_some_and(|link| link.lanes.iter().all(Lane::is_open)) {
            return;
        }
        self.link = None;
        match open(&self.broker).await {
            Ok(link) => self.link = Some(link),
            Err(error) => self.say(self.explain(&error)),
        }
    }

    /// Connects for the first time, for as long as it takes; a broker that refuses us is not asked again.
    pub(crate) async fn connect(&mut self) -> Result<(), Error> {
        while self.link.is_none() && !self.stop.is_cancelled() {
            match open(&self.broker).await {
                Ok(link) => self.link = Some(link),
                Err(error) if error.is_refusal() => return Err(error),
                Err(error) => {
                    self.say(self.explain(&error));
                    self.wait().await;
                }
            }
        }
        Ok(())
    }

    async fn wait(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(self.pause) => {}
            () = self.stop.cancelled() => {}
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn not_sent(&self, letter: &Letter, why: &str) {
        self.progress.not_sent.fetch_add(1, Ordering::Relaxed);
        (self.observer)(Event::NotSent { url: letter.task.order.address.masked(), why });
    }

    fn explain(&self, error: &Error) -> String {
        if error.is_not_found() {
            let exchange = self.broker.topology().exchange();
            return format!("the exchange `{exchange}` does not exist yet: waiting until a worker has made it");
        }
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}: trying again")
    }

    /// Says it once, until something else has to be said.
    fn say(&mut self, problem: String) {
        if self.said.as_ref() != Some(&problem) {
            (self.observer)(Event::Waits { why: &problem });
            self.said = Some(problem);
        }
    }
}

/// Does some work with the broker, and tells when it is the broker that lets us wait.
async fn telling<T>(
    blocked: Option<watch::Receiver<Option<Blocked>>>,
    observer: &Observer,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    let at_once = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
    let mut blocked = match (at_once, blocked) {
        (Poll::Ready(done), _) => return done,
        (Poll::Pending, None) => return work.await,
        (Poll::Pending, Some(blocked)) => blocked,
    };
    let mut again = tokio::time::interval(SAY_BLOCKED_EVERY);
    let mut said = false;
    let done = loop {
        let told = blocked.borrow_and_update().clone();
        if let Some(Blocked { reason, since }) = told {
            said = true;
            observer(Event::Blocked { reason: &reason, since: since.elapsed() });
            again.reset();
        }
        tokio::select! {
            biased;
            done = &mut work => break done,
            changed = blocked.changed() => if changed.is_err() {
                // The connection is gone, and the work will say so.
                break work.await;
            },
            _ = again.tick() => {}
        }
    };
    if said {
        observer(Event::GoesOn);
    }
    done
}

async fn open(broker: &Broker) -> Result<Link, Error> {
    let connection = broker.connect().await?;
    let topology = broker.topology();
    let lanes = [Lane::open(&connection, topology).await?, Lane::open(&connection, topology).await?];
    Ok(Link { lanes, blocked: watch_blocked(&connection), _connection: connection })
}
