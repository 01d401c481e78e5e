//! The sites: HTTP/1.1 over streams in memory, with the answers of the plan.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fetchline_sim_net::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::plan::Answer;
use crate::witness::Witness;

/// How long requests may be too many before that counts: the end of one and the beginning of the
/// next are seen in any order.
const PATIENCE: Duration = Duration::from_millis(5);
/// A slot may be used late, so a few requests may come together.
const BURST: f64 = 4.0;
const PAGE: &str = "<html><title>A page</title><p>Nothing to buy here.</html>";

/// The sites; cheap to clone.
#[derive(Clone)]
pub struct Web(Arc<Mutex<State>>);

struct State {
    witness: Witness,
    /// How many requests each worker may send at once, in all and to one host.
    limits: (usize, usize),
    /// The requests under way of each worker, by host.
    under_way: BTreeMap<(String, String), usize>,
    /// When each host was asked.
    asked: BTreeMap<String, Vec<Instant>>,
}

impl Web {
    /// The sites of a plan. `limits`: how many requests each worker may send at once, in all and to
    /// one host.
    pub fn new(witness: Witness, limits: (usize, usize)) -> Self {
        let (under_way, asked) = (BTreeMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(State { witness, limits, under_way, asked })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises the number of requests that a worker may send at once.
    pub fn allow(&self, at_once: usize) {
        let mut state = self.state();
        state.limits.0 = state.limits.0.max(at_once);
    }

    /// Compares the requests of hosts with their limits.
    pub fn check_rates(&self) {
        let state = self.state();
        for limit in &state.witness.plan().limits {
            let Some(asked) = state.asked.get(&limit.host) else { continue };
            for (first, began) in asked.iter().enumerate() {
                let excess = asked[first..].iter().zip(1_u32..).find(|(at, count)| {
                    let span = (**at - *began).as_secs_f64();
                    f64::from(*count) > 1.05 * limit.rate * span + BURST
                });
                if let Some((_, count)) = excess {
                    state.witness.trace.violation(format_args!(
                        "{} was asked {count} times too quickly",
                        limit.host
                    ));
                    break;
                }
            }
        }
    }

    fn begin(&self, worker: &str, host: &str) -> UnderWay {
        let key = (worker.to_owned(), host.to_owned());
        let mut state = self.state();
        *state.under_way.entry(key.clone()).or_default() += 1;
        state.asked.entry(host.to_owned()).or_default().push(Instant::now());
        if state.excess(&key).is_some() {
            let (web, key) = (self.clone(), key.clone());
            tokio::spawn(async move {
                sleep(PATIENCE).await;
                let state = web.state();
                if let Some(excess) = state.excess(&key) {
                    state.witness.trace.violation(format_args!("{} sends {excess}", key.0));
                }
            });
        }
        drop(state);
        UnderWay { web: self.clone(), key }
    }
}

impl State {
    /// What is too much of the requests that a worker has under way.
    fn excess(&self, (worker, host): &(String, String)) -> Option<String> {
        let (most, most_of_host) = self.limits;
        let own = self.under_way.iter().filter(|((other, _), _)| other == worker);
        let all: usize = own.map(|(_, count)| count).sum();
        let of_host = self.under_way.get(&(worker.clone(), host.clone())).copied().unwrap_or(0);
        if all > most {
            return Some(format!("{all} requests at once, and may send {most}"));
        }
        (of_host > most_of_host)
            .then(|| format!("{of_host} requests at once to {host}, and may send {most_of_host}"))
    }
}

/// A request under way.
struct UnderWay {
    web: Web,
    key: (String, String),
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(count) = self.web.state().under_way.get_mut(&self.key) {
            *count -= 1;
        }
    }
}

/// Serves a connection until it ends.
pub async fn serve(web: Web, mut stream: Stream, host: String) {
    let (mut received, mut buffer) = (Vec::new(), vec![0; 8 * 1024]);
    loop {
        let end = received.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => received.extend_from_slice(&buffer[..bytes]),
            }
            continue;
        };
        let head: Vec<u8> = received.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let Some((path, worker)) = parse(&head) else { return };
        let witness = web.state().witness.clone();
        let Some(task) = witness.plan().task_at(path).filter(|task| task.host == host) else {
            return;
        };
        let _under_way = web.begin(worker, &host);
        let answer = task.answer(witness.visited(task, worker));
        // The client may give up at any time.
        if !matches!(write_answer(&mut stream, answer).await, Ok(true)) {
            return;
        }
        witness.answered(task, worker);
    }
}

/// The path of a request, and the worker that has sent it.
fn parse(head: &str) -> Option<(&str, &str)> {
    let path = head.split(' ').nth(1)?;
    let agent = head.lines().find_map(|line| line.strip_prefix("user-agent: sim/"))?;
    Some((path, agent))
}

/// Writes an answer. Returns whether the connection can be used again.
async fn write_answer(stream: &mut Stream, answer: Answer) -> io::Result<bool> {
    match answer {
        Answer::Page(ms) => {
            if ms > 0 && !unless_gone(stream, Duration::from_millis(ms)).await {
                return Ok(false);
            }
            let length = PAGE.len();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length:";
            stream.write_all(format!("{head} {length}\r\n\r\n{PAGE}").as_bytes()).await?;
            Ok(true)
        }
        Answer::Status(status) => {
            let text = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(text.as_bytes()).await?;
            Ok(true)
        }
        Answer::Silence => Ok(unless_gone(stream, Duration::from_secs(3600)).await),
        Answer::Reset => {
            stream.reset();
            Ok(false)
        }
        Answer::Half => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 100\r\n\r\n";
            stream.write_all(format!("{head}{PAGE}").as_bytes()).await?;
            Ok(unless_gone(stream, Duration::from_secs(3600)).await)
        }
    }
}

/// Waits. `false` if the client closes the connection meanwhile.
async fn unless_gone(stream: &mut Stream, time: Duration) -> bool {
    let mut byte = [0; 1];
    tokio::select! {
        () = sleep(time) => true,
        _ = stream.read(&mut byte) => false,
    }
}
