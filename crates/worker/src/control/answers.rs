//! Answers what operators type into the control stream, and carries out what is to be done once.
//!
//! Each worker reads the stream a second time, from some minutes ago, and one of them claims each
//! message. So a directive is carried out once, even if it was typed while no worker ran. An old
//! one never is: the stream keeps what was typed months ago.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::control::{
    Begin, ControlStream, Directive, HostChange, Refusal, Scope, TypedWord,
};
use fetchline_queue::dead::{self, Counts, Search};
use fetchline_queue::{Address, Broker, Error, Role, Topology};
use fetchline_store::{ClaimedFact, Selection, Store};
use lapin::Connection;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info};

use super::host_answer::KnownHosts;
use super::news::{Fact, NewsHandle, identity, listing};
use crate::error_chain::chain;

/// A directive that is older is not carried out any more.
const MAX_AGE: Duration = Duration::from_secs(600);
/// A claim on a message outlives the message, which counts for [`MAX_AGE`].
const WINDOW: Duration = Duration::from_secs(1200);
/// How long to wait until all workers obey, and how often to look.
const OBEY_DEADLINE: Duration = Duration::from_secs(6);
const OBEY_INTERVAL: Duration = Duration::from_millis(200);
/// How many of the newest rows show which hosts there are.
const NEWEST_ROWS: u32 = 1000;
/// How much of a message an answer repeats, in characters.
const EXCERPT_CHARS: usize = 100;

/// Carries out directives and answers them.
pub(crate) struct Answers {
    pub(crate) store: Arc<Store>,
    pub(crate) broker: Broker,
    pub(crate) news: NewsHandle,
    pub(crate) pod: Arc<str>,
}

/// A message that this worker has claimed.
struct Claimed {
    word: TypedWord,
    /// What was typed, without control characters.
    typed: String,
    by: String,
    fact: ClaimedFact,
}

impl Answers {
    pub(super) fn news(&self) -> &NewsHandle {
        &self.news
    }

    /// Reads the stream until the connection is lost.
    pub(super) async fn run(self: &Arc<Self>, connection: &Connection) -> Result<(), Error> {
        let (topology, begin) = (self.broker.topology(), OffsetDateTime::now_utc() - MAX_AGE);
        let tag = format!("{} answers", self.pod);
        let mut stream = ControlStream::open(connection, topology, &tag, Begin::At(begin)).await?;
        // They end with the connection: the next one brings the same messages again.
        let mut looks = JoinSet::new();
        while let Some(word) = stream.next().await {
            while looks.try_join_next().is_some() {}
            // Asked before the claim: a worker that is drained may have ended by the time of the
            // answer.
            let is_pod_known = self.knows_drained_pod(&word).await;
            match self.claim(&word).await {
                Ok(Some(claimed)) => self.carry_out(claimed, is_pod_known).await,
                Ok(None) => _ = looks.spawn(self.clone().look_again(word, is_pod_known)),
                Err(error) => {
                    debug!(cause = chain(&error), "cannot claim a directive");
                    self.news.report_as_leader(waiting(&word));
                    looks.spawn(self.clone().look_again(word, is_pod_known));
                }
            }
        }
        Ok(())
    }

    /// Whether the message drains a worker that exists, or may exist.
    async fn knows_drained_pod(&self, word: &TypedWord) -> bool {
        let Ok(Directive::Drain(pod)) = &word.directive else { return false };
        let workers = self.store.workers(self.broker.topology().exchange()).await;
        // While the database does not answer, nobody knows better. The worker may have ended by the
        // time of the answer.
        workers.map_or(true, |workers| workers.iter().any(|worker| worker.pod == *pod))
    }

    /// Claims a message; `None` if another worker has.
    async fn claim(&self, word: &TypedWord) -> Result<Option<Claimed>, fetchline_store::Error> {
        let typed = excerpt(&word.body);
        // The offsets of a stream that was deleted and declared again start over.
        let name = format!("directive {} {typed}", word.offset);
        let identity = identity(self.broker.topology().exchange(), &name);
        let fact = self.store.claim_fact(&identity, WINDOW).await?;
        Ok(fact.map(|fact| Claimed { word: word.clone(), typed, by: author(word), fact }))
    }

    /// Looks again once the worker that has claimed a message would have answered it, and while
    /// the database is away, as long as the message counts.
    async fn look_again(self: Arc<Self>, word: TypedWord, is_pod_known: bool) {
        let began = Instant::now();
        loop {
            tokio::time::sleep(fetchline_store::FACT_LEASE + OBEY_DEADLINE).await;
            match self.claim(&word).await {
                Ok(Some(claimed)) => return self.carry_out(claimed, is_pod_known).await,
                Err(_) if began.elapsed() < MAX_AGE => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    async fn carry_out(self: &Arc<Self>, claimed: Claimed, is_pod_known: bool) {
        // Not what was typed: it may be anything.
        info!(by = claimed.by, offset = claimed.word.offset, "answering an operator");
        let directive = match &claimed.word.directive {
            Ok(directive) => directive.clone(),
            Err(reason) => {
                let sentence = refused(&claimed.typed, reason);
                return self.answer(claimed, "refused", sentence).await;
            }
        };
        match directive {
            Directive::Host { pattern, change } => {
                let result = self.change_host(&pattern, change).await;
                self.answer_result(claimed, "host", result).await;
            }
            Directive::Cancel(run) => {
                let result = self.cancel(&run).await;
                self.answer_result(claimed, "run_cancelled", result).await;
            }
            Directive::Replay(search) => {
                let answers = self.clone();
                // It may take long, and other operators should not have to wait.
                tokio::spawn(async move {
                    let result = answers.replay(&search).await;
                    answers.answer_result(claimed, "replayed", result).await;
                });
            }
            Directive::Pause(_) | Directive::Resume(_) | Directive::Concurrency(_) => {
                let answers = self.clone();
                tokio::spawn(async move { answers.answer_state(claimed, directive).await });
            }
            Directive::Drain(pod) if is_pod_known => {
                let sentence = format!("{pod} finishes what it has begun, and ends");
                self.answer(claimed, "draining", sentence).await;
            }
            Directive::Drain(pod) => self.answer_unknown(claimed, &pod).await,
        }
    }

    async fn change_host(&self, pattern: &str, change: HostChange) -> Result<String, String> {
        let failed = |error: fetchline_store::Error| chain(&error);
        // Asked before the change, which makes a row for the host.
        let seen = self.seen_hosts().await.map_err(failed)?;
        match change {
            HostChange::Rate(rate) => self.store.set_rate(pattern, Some(rate)).await,
            HostChange::Pause => self.store.pause_host(pattern).await,
            HostChange::Resume => self.store.resume_host(pattern).await,
            HostChange::Clear => match self.store.set_rate(pattern, None).await {
                Ok(()) => self.store.resume_host(pattern).await,
                failed => failed,
            },
        }
        .map_err(failed)?;
        let limits = self.store.hosts().await.map_err(failed)?;
        let urls = self.broker.topology().queue(Topology::URLS);
        Ok(KnownHosts { limits: &limits, seen: &seen, urls: &urls }.answer(pattern, change))
    }

    /// The hosts that have a limit or had one, and those of the newest rows.
    async fn seen_hosts(&self) -> Result<BTreeSet<String>, fetchline_store::Error> {
        let mut seen: BTreeSet<String> =
            self.store.hosts().await?.into_iter().map(|limit| limit.host).collect();
        let urls = self.store.newest_urls(NEWEST_ROWS).await?;
        let addresses = urls.iter().filter_map(|url| Address::parse(url).ok());
        seen.extend(addresses.map(|address| address.host().to_owned()));
        Ok(seen)
    }

    async fn cancel(&self, run: &str) -> Result<String, String> {
        let failed = |error: fetchline_store::Error| chain(&error);
        let is_known = self.store.run(run, &Selection::Newest).await.map_err(failed)?.is_known();
        self.store.cancel_run(run).await.map_err(failed)?;
        // The poller of each worker notices this as well.
        let identity = identity(self.broker.topology().exchange(), &cancelled_name(run));
        if let Ok(Some(fact)) = self.store.claim_fact(&identity, WINDOW).await {
            _ = self.store.fact_reported(fact).await;
        }
        Ok(cancelled_sentence(run, is_known))
    }

    async fn replay(&self, search: &Search) -> Result<String, String> {
        let broker = self.broker.clone().with_role(Role::Dead);
        let (mut counts, mut left) = (Counts::default(), 0_u64);
        let replayed = dead::replay(&broker, search, &mut counts, |_| left += 1).await;
        let Counts { total: examined, removed, .. } = counts;
        match replayed {
            Ok(()) => Ok(format!("{removed} of {examined} dead letters are replayed")),
            Err(error) => Err(format!(
                "{} ({removed} of {examined} dead letters are replayed; the others are still in the \
                 dead queue)",
                chain(&error)
            )),
        }
    }

    /// Answers once all workers obey, or after a while.
    async fn answer_state(&self, claimed: Claimed, directive: Directive) {
        let offset = claimed.word.offset;
        let began = Instant::now();
        let (obeying, waiting) = loop {
            let workers = self.workers(&directive).await;
            let (obeying, waiting): (Vec<_>, Vec<_>) =
                workers.into_iter().partition(|(_, directive)| *directive >= Some(offset));
            if waiting.is_empty() && !obeying.is_empty() || began.elapsed() > OBEY_DEADLINE {
                let names = |workers: Vec<(String, _)>| -> Vec<String> {
                    workers.into_iter().map(|(pod, _)| pod).collect()
                };
                break (names(obeying), names(waiting));
            }
            tokio::time::sleep(OBEY_INTERVAL).await;
        };
        if let Some(pod) = directive.pod()
            && obeying.is_empty()
            && waiting.is_empty()
        {
            return self.answer_unknown(claimed, pod).await;
        }
        let (kind, mut sentence) = match &directive {
            Directive::Pause(scope) => {
                let until = match scope {
                    Scope::All => "`resume`".to_owned(),
                    Scope::Pod(pod) => format!("`resume` or `resume {pod}`"),
                };
                ("paused", format!("{} take no tasks until {until}", listing(&obeying)))
            }
            Directive::Resume(_) => ("resumed", format!("{} take tasks again", listing(&obeying))),
            Directive::Concurrency(Some(number)) => (
                "concurrency",
                format!("{} make up to {number} fetches at the same time, each", listing(&obeying)),
            ),
            _ => (
                "concurrency",
                format!("{} make as many fetches as --concurrency says", listing(&obeying)),
            ),
        };
        if !waiting.is_empty() {
            sentence = format!("{sentence}; not yet: {}", listing(&waiting));
        }
        let fact = self.fact(&claimed, kind, sentence).with("pods", obeying);
        let fact = if waiting.is_empty() { fact } else { fact.with("not_yet", waiting) };
        self.finish(claimed, fact).await;
    }

    /// The workers that a directive is for, each with the last directive that it has obeyed.
    async fn workers(&self, directive: &Directive) -> Vec<(String, Option<u64>)> {
        let workers = self.store.workers(self.broker.topology().exchange()).await;
        let workers = workers.unwrap_or_default().into_iter();
        let workers = workers.filter(|worker| directive.pod().is_none_or(|pod| pod == worker.pod));
        workers.map(|worker| (worker.pod, worker.directive)).collect()
    }

    async fn answer_unknown(&self, claimed: Claimed, pod: &str) {
        let workers = self.store.workers(self.broker.topology().exchange()).await;
        let workers = workers.unwrap_or_default().into_iter().map(|worker| worker.pod);
        let sentence = format!(
            "`{}` is refused: no worker is called {pod}; the workers are {}",
            claimed.typed,
            listing(&workers.collect::<Vec<_>>())
        );
        self.answer(claimed, "refused", sentence).await;
    }

    async fn answer_result(
        &self,
        claimed: Claimed,
        kind: &'static str,
        result: Result<String, String>,
    ) {
        match result {
            Ok(sentence) => self.answer(claimed, kind, sentence).await,
            Err(error) => {
                let sentence = format!("`{}` has failed: {error}", claimed.typed);
                self.answer(claimed, "failed", sentence).await;
            }
        }
    }

    async fn answer(&self, claimed: Claimed, kind: &'static str, sentence: String) {
        let fact = self.fact(&claimed, kind, sentence);
        self.finish(claimed, fact).await;
    }

    /// Reports the answer, and records that the message needs nothing more.
    async fn finish(&self, claimed: Claimed, fact: Fact) {
        self.news.report(fact);
        if let Err(error) = self.store.fact_reported(claimed.fact).await {
            debug!(cause = chain(&error), "cannot record that a directive is answered");
        }
    }

    fn fact(&self, claimed: &Claimed, kind: &'static str, sentence: String) -> Fact {
        fact(&claimed.word, kind, sentence)
    }
}

/// An answer to a message.
fn fact(word: &TypedWord, kind: &'static str, sentence: String) -> Fact {
    let typed = excerpt(&word.body);
    let fact = Fact::new(kind, format!("answer {} {typed}", word.offset), sentence)
        .with("typed", typed)
        .with("by", author(word))
        .with("accepted", word.directive.is_ok() && kind != "refused");
    match &word.directive {
        Ok(directive) => fact.with("directive", directive.to_string()),
        Err(_) => fact,
    }
}

/// The fact to report about a message while the database is away.
fn waiting(word: &TypedWord) -> Fact {
    let typed = excerpt(&word.body);
    let sentence = match &word.directive {
        Err(reason) => return fact(word, "refused", refused(&typed, reason)),
        Ok(
            Directive::Pause(_)
            | Directive::Resume(_)
            | Directive::Concurrency(_)
            | Directive::Drain(_),
        ) => format!(
            "`{typed}` is obeyed; the database is away, so the names of the workers that obey \
             follow when it is back"
        ),
        Ok(Directive::Host { .. } | Directive::Cancel(_) | Directive::Replay(_)) => format!(
            "`{typed}` waits, since the database is away: it is carried out when the database is \
             back within ten minutes; after that, type it again"
        ),
    };
    fact(word, "waiting", sentence)
}

fn refused(typed: &str, reason: &Refusal) -> String {
    format!("`{typed}` is refused: {reason}")
}

/// Who has published a message.
fn author(word: &TypedWord) -> String {
    word.by.clone().unwrap_or_else(|| "the console".to_owned())
}

/// The name of the fact that a run was cancelled.
pub(super) fn cancelled_name(run: &str) -> String {
    format!("run cancelled {run}")
}

/// Says that a run was cancelled.
pub(super) fn cancelled_sentence(run: &str, is_known: bool) -> String {
    match is_known {
        true => format!("the run {run} is cancelled: its waiting tasks are not fetched"),
        false => format!(
            "the run {run} is cancelled, but no worker has reported a run of this name; check the \
             name"
        ),
    }
}

/// The beginning of what was typed, on one line and without control characters.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT_CHARS)]);
    let shown = text.trim().chars().take(EXCERPT_CHARS);
    shown.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_a_part_of_what_was_typed() {
        assert_eq!(excerpt(b" puase\n"), "puase");
        assert_eq!(excerpt(b"pause\nresume\x1b[31m"), "pause resume [31m");
        assert_eq!(excerpt(&[b'x'; 10_000]).len(), EXCERPT_CHARS);
        assert_eq!(excerpt(b"\xff"), "\u{fffd}");
    }
}
