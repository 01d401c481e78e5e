//! Tasks to the broker: a bounded window of confirms, and what was not confirmed is sent again.

use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use fetchline_queue::{Blocked, Broker, Draft, Error, Lane, Part, Round, Task, Topology, Verdict, watch_blocked};
use lapin::Connection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::Mark;
use crate::progress::{Event, Observer, Progress};

/// Messages of one round. Two rounds are under way at once, so the window is twice as large.
const ROUND: usize = 1024;
/// Messages that are handed to the connection at once.
const BURST: usize = 64;
/// How often a message that no queue took is sent again, before it counts as not sent.
const MAX_RETURNS: u32 = 5;
/// Pauses between tries to reach the broker; they double up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often it is said that the broker blocks us.
const SAY_BLOCKED_EVERY: Duration = Duration::from_secs(10);

/// A message on its way.
struct Letter {
    what: What,
    /// How often no queue took it.
    returns: u32,
}

#[expect(clippy::large_enum_variant, reason = "nearly every message is a task; a box for each would cost more")]
enum What {
    /// A task, and its place in the input.
    Task(Task, Mark),
    /// What is told of the part of the run; without it the run would not be known.
    Part(Part),
}

impl Letter {
    fn place(&self) -> Option<Mark> {
        match &self.what {
            What::Task(_, place) => Some(*place),
            What::Part(_) => None,
        }
    }
}

/// Messages that wait for their confirms, and the first of their places.
#[derive(Default)]
struct Sent {
    round: Round<Letter>,
    first: Option<Mark>,
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
    /// To be sent with the next burst.
    collected: Vec<(Draft, Letter)>,
    /// The round that is being filled.
    sent: Sent,
    /// The round that waits for its confirms.
    previous: Option<Sent>,
    /// To be sent again.
    again: Vec<Letter>,
    /// The first task that the broker did not take.
    first_not_sent: Option<Mark>,
    /// Whether what was told of the part last was confirmed.
    told: bool,
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
            collected: Vec::new(),
            sent: Sent::default(),
            previous: None,
            again: Vec::new(),
            first_not_sent: None,
            told: false,
            rounds: 0,
            pause: FIRST_PAUSE,
            said: None,
            stop,
        }
    }

    /// Sends a task of which this is the place in the input, with the next burst; waits while the window is full.
    pub(crate) async fn send(&mut self, task: Task, place: Mark) {
        self.post(Letter { what: What::Task(task, place), returns: 0 });
        if self.collected.len() >= BURST {
            self.burst().await;
        }
        if self.sent.round.len() >= ROUND || self.link.is_none() {
            self.turn().await;
        }
    }

    /// Sends what was collected, without waiting for its confirms.
    pub(crate) async fn burst(&mut self) {
        let Some(link) = &self.link else { return };
        let collected = std::mem::take(&mut self.collected);
        self.progress.unconfirmed.fetch_add(collected.len() as u64, Ordering::Relaxed);
        let (lane, round) = (&link.lanes[self.rounds % 2], &mut self.sent.round);
        telling(Some(link.blocked.clone()), self.progress, self.observer, lane.send(round, collected)).await;
    }

    /// Tells of the part, and waits until that is confirmed, for as long as it takes. `false` where it was stopped before.
    pub(crate) async fn tell(&mut self, part: Part) -> bool {
        self.told = false;
        self.post(Letter { what: What::Part(part), returns: 0 });
        self.flush().await;
        self.told
    }

    /// The first place whose task is not confirmed; `None` where all are that were sent.
    pub(crate) fn first_unconfirmed(&self) -> Option<Mark> {
        let under_way = self.previous.iter().chain([&self.sent]).map(|sent| sent.first);
        let again = self.again.iter().map(Letter::place);
        under_way.chain(again).chain([self.first_not_sent]).fold(None, Mark::earlier)
    }

    /// Whether tasks wait for their confirms.
    pub(crate) fn has_unconfirmed(&self) -> bool {
        !self.sent.round.is_empty() || !self.collected.is_empty() || self.previous.is_some() || !self.again.is_empty()
    }

    /// Whether tasks wait for the next burst.
    pub(crate) fn has_collected(&self) -> bool {
        !self.collected.is_empty()
    }

    /// Waits until each task so far is confirmed, or counted as not sent.
    pub(crate) async fn flush(&mut self) {
        while self.has_unconfirmed() {
            self.turn().await;
        }
    }

    fn post(&mut self, letter: Letter) {
        if self.link.is_none() {
            return self.again.push(letter);
        }
        let draft = match &letter.what {
            What::Task(task, _) => Draft::task(task),
            What::Part(part) => Draft::part(part),
        };
        self.sent.first = Mark::earlier(self.sent.first, letter.place());
        self.collected.push((draft, letter));
    }

    /// Turns to the other lane: finishes its round, and sends again there what has to be.
    async fn turn(&mut self) {
        self.burst().await;
        let current = std::mem::take(&mut self.sent);
        let previous = if current.round.is_empty() { self.previous.take() } else { self.previous.replace(current) };
        if let Some(previous) = previous {
            self.finish(previous.round).await;
        }
        if self.again.is_empty() {
            self.rounds += 1;
            return;
        }
        // Something went wrong: nothing new is sent before all is known of what was.
        if let Some(rest) = self.previous.take() {
            self.finish(rest.round).await;
        }
        self.wait().await;
        self.reconnect().await;
        self.rounds += 1;
        for letter in std::mem::take(&mut self.again) {
            if self.link.is_none() && self.stop.is_cancelled() {
                self.not_sent(letter, "stopped before the broker could be reached");
            } else {
                self.post(letter);
            }
        }
    }

    async fn finish(&mut self, round: Round<Letter>) {
        let sent = round.len();
        let blocked = self.link.as_ref().map(|link| link.blocked.clone());
        let verdicts = telling(blocked, self.progress, self.observer, round.finish()).await;
        self.progress.unconfirmed.fetch_sub(sent as u64, Ordering::Relaxed);
        // What the broker does not want is kept until it does, but not for longer than we are wanted.
        let is_over = self.stop.is_cancelled()
            && verdicts.iter().any(|verdict| matches!(verdict, Verdict::Unknown(_, error) if error.is_answer()));
        let mut problem = None;
        let mut confirmed = 0;
        for verdict in verdicts {
            match verdict {
                Verdict::Confirmed(letter) => match letter.into_inner().what {
                    What::Task(..) => confirmed += 1,
                    What::Part(_) => self.told = true,
                },
                // Nothing of the part is sent, or it is not over, before that is known.
                Verdict::Returned(letter) | Verdict::Nacked(letter)
                    if matches!(letter.what, What::Part(_)) && !self.stop.is_cancelled() =>
                {
                    let queue = self.broker.topology().queue(Topology::RUNS);
                    self.say(format!("the queue `{queue}` takes nothing: waiting until a worker has made it"));
                    self.again.push(letter);
                }
                Verdict::Returned(mut letter) => {
                    letter.returns += 1;
                    if letter.returns < MAX_RETURNS && !self.stop.is_cancelled() {
                        self.again.push(letter);
                    } else {
                        self.not_sent(letter, "no queue takes it: is a worker's topology there?");
                    }
                }
                Verdict::Nacked(letter) => self.not_sent(letter, "the broker refused it: the queue is full"),
                Verdict::Unknown(letter, error) => {
                    // The first error says why; those after it only say that the channel is closed.
                    if problem.is_none() || error.is_not_found() {
                        problem = Some(self.explain(&error));
                    }
                    match is_over {
                        true => self.not_sent(letter, "stopped before the broker wanted it"),
                        false => self.again.push(letter),
                    }
                }
            }
        }
        self.progress.published.fetch_add(confirmed, Ordering::Relaxed);
        if confirmed > 0 || self.told {
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
                Err(error) if error.refusal().is_some() => return Err(error),
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

    fn not_sent(&mut self, letter: Letter, why: &str) {
        // That nothing was told of the part is told by `tell`.
        let What::Task(task, place) = letter.what else { return };
        self.first_not_sent = Mark::earlier(self.first_not_sent, Some(place));
        self.progress.not_sent.fetch_add(1, Ordering::Relaxed);
        (self.observer)(Event::NotSent { url: task.order.address.masked(), why });
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
    progress: &Progress,
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
        progress.set_blocked(told.clone());
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
    progress.set_blocked(None);
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
