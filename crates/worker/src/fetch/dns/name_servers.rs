//! The name servers, and when to ask which.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::{DnsResponse, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::reply::{Content, MAX_ALIASES, Reply, about_the_server};
use super::{Counters, name_server};
use crate::fetch::shortage;

/// How long an answer may take until the question is repeated; later pauses grow.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// Up to how much longer a pause is, at random: a server that lost a burst of queries must not get
/// the same burst again.
const JITTER: f64 = 0.25;
/// The longest pause between repetitions.
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// How long an answer shows that the servers work.
const WORKING_FOR: Duration = Duration::from_secs(60);
/// How long the servers may take to show that they work.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long it is known that they did not.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// Why there is no reply. It says nothing about the name.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Unanswered {
    /// No answer came.
    #[error("no name server ({0}) answered within {1} s (--dns-timeout)")]
    Silence(String, f64),
    /// All servers refused to answer, or could not.
    #[error("{0}")]
    Refused(String),
    /// Too many other questions were ahead.
    #[error("other look-ups took all {0} places (--dns-concurrency) for {1} s (--dns-timeout)")]
    Crowded(usize, f64),
    /// No socket could be opened for the question.
    #[error("no socket could be opened for the question (ulimit -n)")]
    NoSockets,
    /// A loop of aliases.
    #[error("more than {MAX_ALIASES} aliases lead to no address")]
    Aliases,
}

/// Whether the servers answer for hosts other than the one that they do not answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    Answered,
    Unanswered,
    /// They have answered for none yet, and failed for no other; or they could not be asked.
    Unknown,
}

pub(super) struct NameServers {
    addresses: Vec<SocketAddr>,
    /// The server that is asked first: the last one that answered where others had not.
    first: AtomicUsize,
    /// The queries that may be under way.
    permits: Semaphore,
    concurrency: usize,
    timeout: Duration,
    counters: Counters,
    /// The last host that was answered for, and when.
    answered: Mutex<Option<(Name, Instant)>>,
    /// The first host that was not answered for, if none has been answered for before.
    first_unanswered: OnceLock<String>,
    /// When the servers last failed a trial. Locked during a trial.
    failed_at: tokio::sync::Mutex<Option<Instant>>,
}

impl NameServers {
    pub(super) fn new(
        addresses: Vec<SocketAddr>,
        concurrency: usize,
        timeout: Duration,
        counters: Counters,
    ) -> Self {
        let permits = Semaphore::new(concurrency);
        Self {
            addresses,
            first: AtomicUsize::new(0),
            permits,
            concurrency,
            timeout,
            counters,
            answered: Mutex::default(),
            first_unanswered: OnceLock::new(),
            failed_at: tokio::sync::Mutex::default(),
        }
    }

    /// When a lookup that begins now has to end.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Waits for room for this many questions.
    pub(super) async fn permits(
        &self,
        questions: u32,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, Unanswered> {
        let crowded = Unanswered::Crowded(self.concurrency, self.timeout.as_secs_f64());
        let permits = timeout_at(deadline, self.permits.acquire_many(questions)).await;
        permits.ok().and_then(Result::ok).ok_or(crowded)
    }

    /// Asks for the addresses of a name, and of what it is an alias of.
    pub(super) async fn ask(
        &self,
        name: &Name,
        kind: RecordType,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        let mut name = name.clone();
        for _ in 0..MAX_ALIASES {
            let question = Query::query(name.clone(), kind);
            let response = match timeout_at(deadline, self.any_answer(&question)).await {
                Ok(response) => response?,
                Err(_) => {
                    self.counters.timeouts.increment(1);
                    return Err(Unanswered::Silence(self.to_string(), self.timeout.as_secs_f64()));
                }
            };
            match Content::of(&response, &name, kind) {
                Content::Reply(reply) => return Ok(reply),
                Content::Alias(target) => name = target,
            }
        }
        Err(Unanswered::Aliases)
    }

    /// Notes that the servers have answered for this name.
    pub(super) fn note_answered(&self, name: &Name) {
        *self.answered() = Some((name.clone(), Instant::now()));
    }

    fn answered(&self) -> MutexGuard<'_, Option<(Name, Instant)>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the servers answer for other hosts than this one, which they do not answer for. They
    /// are asked only if they have not answered lately.
    pub(super) async fn others_than(&self, host: &str) -> Others {
        let last = || self.answered().clone();
        let answered_lately = || last().is_some_and(|(_, at)| at.elapsed() < WORKING_FOR);
        if answered_lately() {
            return Others::Answered;
        }
        let mut failed_at = self.failed_at.lock().await;
        if answered_lately() {
            return Others::Answered;
        }
        let Some((name, _)) = last() else {
            let first = self.first_unanswered.get_or_init(|| host.to_owned());
            return if first == host { Others::Unknown } else { Others::Unanswered };
        };
        if failed_at.is_some_and(|at| at.elapsed() < FAILED_FOR) {
            return Others::Unanswered;
        }
        let deadline = Instant::now() + TRIAL_TIMEOUT;
        let asking = async {
            let _permit = self.permits(1, deadline).await?;
            self.ask(&name, RecordType::A, deadline).await
        };
        let others = match asking.await {
            Ok(_) | Err(Unanswered::Aliases) => Others::Answered,
            Err(Unanswered::Silence(..) | Unanswered::Refused(_)) => Others::Unanswered,
            // The question was not put.
            Err(Unanswered::Crowded(..) | Unanswered::NoSockets) => Others::Unknown,
        };
        if others == Others::Answered {
            self.note_answered(&name);
        }
        *failed_at = (others == Others::Unanswered).then(Instant::now);
        others
    }

    /// Forgets that the servers have answered lately.
    #[cfg(test)]
    pub(super) fn forget_answers(&self) {
        if let Some((_, at)) = &mut *self.answered() {
            *at -= WORKING_FOR;
        }
    }

    /// Asks one server after the other, and listens to all of them until one answers: a slow answer
    /// to the first question is as good as a quick one to the second. `Err` where all have been
    /// asked and none of them can answer.
    async fn any_answer(&self, question: &Query) -> Result<DnsResponse, Unanswered> {
        let first = self.first.load(Relaxed);
        let mut asked = JoinSet::new();
        let mut pause = REPEAT_AFTER;
        let mut failure = Unanswered::Refused("there is no name server".to_owned());
        for nth in 0.. {
            let index = (first + nth) % self.addresses.len();
            let (server, limit, question) = (self.addresses[index], self.timeout, question.clone());
            self.counters.queries.increment(1);
            asked.spawn(async move { (index, name_server::ask(server, question, limit).await) });
            let jitter = rand::random_range(1.0..1.0 + JITTER);
            let mut time_up = std::pin::pin!(sleep(pause.mul_f64(jitter)));
            loop {
                tokio::select! {
                    Some(Ok((index, result))) = asked.join_next() => match result {
                        Ok(response) if about_the_server(&response).is_none() => {
                            if index != first {
                                self.first.store(index, Relaxed);
                            }
                            return Ok(response);
                        }
                        result => failure = describe(self.addresses[index], result),
                    },
                    () = &mut time_up => {
                        self.counters.repeated.increment(1);
                        // The second repetition waits no longer than the first.
                        if nth > 0 {
                            pause = (pause * 2).min(MAX_PAUSE);
                        }
                        break;
                    }
                }
                let all_asked = nth + 1 >= self.addresses.len();
                if !all_asked {
                    break;
                }
                if asked.is_empty() {
                    return Err(failure);
                }
            }
        }
        Err(failure)
    }
}

impl std::fmt::Display for NameServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(SocketAddr::to_string).collect();
        f.write_str(&addresses.join(", "))
    }
}

/// Why a server does not answer.
fn describe(server: SocketAddr, result: Result<DnsResponse, NetError>) -> Unanswered {
    Unanswered::Refused(match result {
        Err(NetError::Io(error)) if shortage::is_of_sockets(&error) => {
            return Unanswered::NoSockets;
        }
        Ok(response) => {
            let answer = about_the_server(&response).unwrap_or_default();
            format!("the name server {server} answered {answer}")
        }
        Err(error) => format!("the name server {server} cannot be asked: {error}"),
    })
}

/// Whether packets can be sent to any of these addresses. Sends none. Without a descriptor to find
/// out, it counts as so: the connection then says what is missing.
pub(in crate::fetch) fn has_route(addresses: &[IpAddr]) -> bool {
    addresses.iter().any(|ip| is_reachable(*ip, UdpSocket::bind("[::]:0")))
}

fn is_reachable(ip: IpAddr, socket: io::Result<UdpSocket>) -> bool {
    match socket.and_then(|socket| socket.connect((ip, 53))) {
        Ok(()) => true,
        Err(error) => shortage::is_of_descriptors(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_descriptors_is_no_lack_of_a_route() {
        let ip = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        for (number, expected) in [
            (libc::EMFILE, true),
            (libc::ENFILE, true),
            (libc::ENOBUFS, true),
            (libc::EAFNOSUPPORT, false),
            (libc::EADDRNOTAVAIL, false),
        ] {
            let missing = Err(io::Error::from_raw_os_error(number));
            assert_eq!(is_reachable(ip, missing), expected, "{number}");
        }
        let local = UdpSocket::bind("127.0.0.1:0");
        assert!(is_reachable(std::net::Ipv4Addr::LOCALHOST.into(), local));
    }
}
