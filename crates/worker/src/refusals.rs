//! Answers that refuse: what a host asks for then counts for all workers.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::failure::chain;
use crate::turn::Turn;

/// A host that asks for more time than this gets no more: it might have said so by mistake.
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(3600);
/// So many refusals in a row without a word about when to come back, and the host is slowed.
const IN_A_ROW: u32 = 5;

/// What a host wishes.
enum Wish {
    /// Nothing for so long.
    CoolDown(Duration),
    /// So many requests per second.
    Slow(f64),
}

impl Turn {
    /// The host has answered.
    pub(crate) fn answered(&self, status: u16, retry_after: Option<Duration>) {
        let host = &*self.visit;
        if !matches!(status, 429 | 503) {
            return host.answered();
        }
        let refusals = host.refused();
        let limit = self.turns.limits.of(&host.name);
        if let Some(asked) = retry_after.filter(|asked| !asked.is_zero()) {
            let wait = asked.min(LONGEST_COOL_DOWN);
            // Those that were under way when the first one was refused are refused as well, and tell nothing new.
            let known = limit.and_then(|limit| limit.cools_until).map(|until| until.duration_since(Instant::now()));
            if known.is_none_or(|known| wait > known + Duration::from_secs(1)) {
                self.note(Wish::CoolDown(wait), format!("answered {status} and asked for {} s", asked.as_secs()));
            }
        } else if refusals.is_multiple_of(IN_A_ROW) {
            let rate =
                limit.and_then(|limit| limit.interval).map_or(host.rate(), |interval| interval.as_secs_f64().recip());
            self.note(Wish::Slow(rate / 2.0), format!("slowed: answered {status} {refusals} times in a row"));
        }
    }

    /// Writes a wish down for all workers, beside the fetch. That it fails changes nothing for this worker.
    fn note(&self, wish: Wish, why: String) {
        let (turns, host) = (self.turns.clone(), self.visit.name.clone());
        let now = Instant::now();
        if let Wish::CoolDown(wait) = wish {
            turns.limits.cool_down(&host, now + wait);
        }
        tokio::spawn(async move {
            let noted = match wish {
                Wish::CoolDown(wait) => {
                    let noted = turns.store.cool_down(&host, wait, &why).await;
                    // What was read of the host meanwhile did not have it yet.
                    turns.limits.cool_down(&host, now + wait);
                    noted
                }
                Wish::Slow(rate) => turns.store.slow(&host, rate, &why).await,
            };
            match noted {
                Ok(()) => info!(host = &*host, why, "a host is treated with more care"),
                Err(error) => {
                    warn!(host = &*host, cause = chain(&error), "the other workers cannot be told what a host wishes");
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::NoTurn;
    use crate::turn::tests::{at, turns};

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_asks_for_time_stops_the_host_and_its_neighbours_go_on() {
        let turns = turns(2, 2);
        let turn = turns.take(&at("a.example")).await.ok().unwrap();
        turn.answered(429, Some(Duration::from_secs(90)));
        drop(turn);
        assert!(matches!(turns.take(&at("a.example")).await.err(), Some(NoTurn::Later(_))));
        assert!(turns.take(&at("b.example")).await.is_ok());
        let mistaken = turns.take(&at("b.example")).await.ok().unwrap();
        mistaken.answered(503, Some(Duration::from_secs(86_400 * 365)));
        let Err(NoTurn::Later(wait)) = turns.take(&at("b.example")).await else { panic!("it cools down") };
        assert!(wait <= LONGEST_COOL_DOWN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_at_the_end_of_a_redirect_is_the_other_hosts_also_when_the_worker_stops() {
        let turns = turns(1, 1);
        let mut turn = turns.take(&at("a.example")).await.ok().unwrap();
        turns.stop.cancel();
        assert_eq!(turn.next(&at("b.example")).await, Ok(()));
        turn.answered(429, Some(Duration::from_secs(90)));
        assert!(turns.limits.of("a.example").is_none() && turns.limits.of("b.example").is_some());
    }
}
