//! Turns to several nodes, of which some may be frozen or slow.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::{Node, Nodes};

/// How long a node may take to answer before the next one is tried as well.
const HEAD_START: Duration = Duration::from_secs(2);

/// What a node answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// All that is needed.
    Full(T),
    /// Something to be content with if no other node answers in full, such as a connection that
    /// can only read.
    Partial(T),
}

impl Nodes {
    /// Tries these nodes in their order, and returns the first full answer.
    ///
    /// After a failure the next node is tried at once. One that has not answered after two seconds
    /// is not given up, but the next one is tried beside it: a frozen node delays the others
    /// little, and one that is only slow is still used if it is the only one. Each node has at
    /// least `limit`, unless there is a partial answer.
    ///
    /// # Errors
    ///
    /// The failure of each node, with `None` for one that has not answered.
    pub async fn first_of<'a, T, E>(
        &self,
        candidates: &[Node],
        limit: Duration,
        attempt: impl Fn(Node) -> BoxFuture<'a, Result<Answer<T>, E>>,
    ) -> Result<(Node, T), Vec<(Node, Option<E>)>> {
        let head_starts = u32::try_from(candidates.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let deadline = Instant::now() + limit + HEAD_START * head_starts;
        let (mut running, mut failures, mut partial) = (FuturesUnordered::new(), Vec::new(), None);
        let mut untried = candidates.iter();
        loop {
            let newest = untried.next();
            if let Some(node) = newest {
                running.push(attempt(node.clone()).map(move |result| (node, result)));
            }
            let is_last = untried.len() == 0;
            let until = match is_last && partial.is_none() {
                true => deadline,
                false => deadline.min(Instant::now() + HEAD_START),
            };
            match timeout_at(until, running.next()).await {
                Ok(Some((node, Ok(Answer::Full(value))))) => {
                    self.works(node);
                    return Ok((node.clone(), value));
                }
                Ok(Some((node, Ok(Answer::Partial(value))))) => {
                    self.failed(node);
                    partial.get_or_insert((node.clone(), value));
                }
                Ok(Some((node, Err(error)))) => {
                    self.failed(node);
                    failures.push((node.clone(), Some(error)));
                }
                Err(_) if !is_last => newest.into_iter().for_each(|node| self.failed(node)),
                Ok(None) | Err(_) => break,
            }
        }
        if let Some(partial) = partial {
            return Ok(partial);
        }
        let has_failed = |node: &Node| failures.iter().any(|(failed, _)| failed == node);
        let silent: Vec<_> = candidates.iter().filter(|node| !has_failed(node)).cloned().collect();
        for node in silent {
            self.failed(&node);
            failures.push((node, None));
        }
        Err(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Endpoint;

    const LIMIT: Duration = Duration::from_secs(15);

    /// What a node of a test does after how many seconds.
    type Script = (u64, Result<Answer<&'static str>, &'static str>);

    const FROZEN: Script = (1_000_000, Err("a frozen node does not answer"));

    struct Outcome {
        result: Result<&'static str, Vec<Option<&'static str>>>,
        seconds: u64,
    }

    /// Tries nodes that follow these scripts, in this order.
    async fn run(scripts: &[Script]) -> (Nodes, Outcome) {
        let endpoint = |index| Endpoint { host: format!("192.0.2.{index}"), port: 5672 };
        let nodes = Nodes::new((0..scripts.len()).map(endpoint).collect(), true);
        let mut candidates = nodes.candidates().await;
        candidates.sort_by_key(|node| node.index);
        let begin = Instant::now();
        let attempt = |node: Node| {
            let (seconds, result) = scripts[node.index];
            tokio::time::sleep(Duration::from_secs(seconds)).map(move |()| result).boxed()
        };
        let result = nodes.first_of(&candidates, LIMIT, attempt).await;
        let seconds = begin.elapsed().as_secs();
        let result = result.map(|(_, text)| text).map_err(|mut failures| {
            failures.sort_by_key(|(node, _)| node.index);
            failures.into_iter().map(|(_, error)| error).collect()
        });
        (nodes, Outcome { result, seconds })
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_node_delays_the_next_one_by_two_seconds_and_is_avoided() {
        let (nodes, outcome) = run(&[FROZEN, FROZEN, (1, Ok(Answer::Full("third")))]).await;
        assert_eq!((outcome.result, outcome.seconds), (Ok("third"), 5));
        assert_eq!(nodes.candidates().await[0].index, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_refuses_delays_nothing() {
        let (_, outcome) = run(&[(0, Err("refused")), (0, Ok(Answer::Full("second")))]).await;
        assert_eq!((outcome.result, outcome.seconds), (Ok("second"), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_node_is_used_if_no_other_answers() {
        for slow in 0..3 {
            let mut scripts = [FROZEN, FROZEN, (0, Err("refused"))];
            scripts[slow] = (7, Ok(Answer::Full("slow")));
            let (nodes, outcome) = run(&scripts).await;
            assert_eq!(outcome.result, Ok("slow"));
            assert_eq!(nodes.candidates().await[0].index, slow);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_partial_answer_waits_for_a_better_one_but_not_long() {
        let partial = (0, Ok(Answer::Partial("replica")));
        let (_, outcome) = run(&[partial, FROZEN, (1, Ok(Answer::Full("primary")))]).await;
        assert_eq!((outcome.result, outcome.seconds), (Ok("primary"), 3));
        let partial = (0, Ok(Answer::Partial("replica")));
        let (_, outcome) = run(&[FROZEN, partial, FROZEN]).await;
        assert_eq!(outcome.result, Ok("replica"));
        assert!(outcome.seconds <= 6, "{}", outcome.seconds);
        let (_, outcome) = run(&[(3, Ok(Answer::Partial("only")))]).await;
        assert_eq!((outcome.result, outcome.seconds), (Ok("only"), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_each_node_has_its_failure_after_a_bounded_time() {
        let (_, outcome) = run(&[FROZEN, (1, Err("refused")), FROZEN]).await;
        assert_eq!(outcome.result, Err(vec![None, Some("refused"), None]));
        assert_eq!(outcome.seconds, LIMIT.as_secs() + 2 * HEAD_START.as_secs());
        let (_, outcome) = run(&[(5, Err("refused"))]).await;
        assert_eq!((outcome.result, outcome.seconds), (Err(vec![Some("refused")]), 5));
    }
}
