//! A model of settling. It is explored completely within small bounds; docs/testing.md describes
//! it.
//!
//! The broker, the database and what joins the stages are modelled. Claims, ledger and early
//! receipts, the choice of deliveries that are looked up, and the meaning of a row are the worker's
//! own code.

mod bounds;
mod broker;
mod checker;
mod problem;
mod sights;
mod worker;
mod world;

use super::claim::Claim;
use bounds::{Bounds, Fault, Kind, Trouble};
use checker::{Explored, explore};
use problem::Problem;
use world::Settling;

const QUIET: Trouble = Trouble { losses: 0, lost_commits: 0, lost_confirms: 0, requeues: 0 };

fn bounds(tasks: &[Kind], workers: usize, trouble: Trouble) -> Bounds {
    let tasks = tasks.to_vec();
    Bounds { tasks, workers, prefetch: 3, batch: 2, trouble, fault: None }
}

/// Explores a model, which keeps all rules. Fails unless it has at least this many states, and
/// some of them are an example of each sight.
fn keeps_all_rules(bounds: Bounds, at_least: usize, sights: &[&str]) {
    let explored = explore(&Settling::new(bounds)).unwrap();
    println!("{explored:#?}");
    let Explored { states, sights: seen, .. } = explored;
    assert!(states >= at_least, "only {states} states");
    for sight in sights.iter().chain(&["the end"]) {
        assert!(seen.contains_key(sight), "never seen: {sight}");
    }
}

#[test]
fn no_message_is_lost_or_acked_early_by_a_worker_that_reconnects() {
    keeps_all_rules(
        bounds(&[Kind::Final; 3], 1, Trouble { losses: 1, ..QUIET }),
        20_000,
        &[
            "a multiple ack of several tags",
            "an ack above a gap",
            "a reconnect between commit and ack",
            "a claim with tags of two channels",
            "a tag before its session is open",
            "two channels of a worker",
            "acks on an old channel",
        ],
    );
}

#[test]
fn no_message_is_lost_or_acked_early_by_a_worker_that_reconnects_twice() {
    keeps_all_rules(
        bounds(&[Kind::Final; 2], 1, Trouble { losses: 2, ..QUIET }),
        15_000,
        &["a claim with tags of two channels", "a multiple ack of several tags"],
    );
}

#[test]
fn no_message_is_lost_or_acked_early_by_two_workers_whose_commits_are_in_doubt() {
    keeps_all_rules(
        bounds(&[Kind::Final; 2], 2, Trouble { losses: 1, lost_commits: 1, ..QUIET }),
        20_000,
        &[
            "a commit in doubt that took effect",
            "a commit in doubt that did not take effect",
            "a task under way at two workers",
            "a reconnect between commit and ack",
        ],
    );
}

#[test]
fn no_message_is_lost_or_acked_early_if_messages_are_requeued() {
    keeps_all_rules(
        bounds(&[Kind::Final; 2], 1, Trouble { losses: 1, requeues: 1, ..QUIET }),
        5_000,
        &["a requeue", "a multiple ack of several tags", "two channels of a worker"],
    );
}

#[test]
fn no_retry_is_lost_whether_or_not_its_confirm_arrives() {
    keeps_all_rules(
        bounds(&[Kind::Retried], 1, Trouble { losses: 1, lost_confirms: 1, ..QUIET }),
        10_000,
        &["a retry that arrives before its confirm", "a claim with tags of two channels"],
    );
}

#[test]
fn no_retry_is_lost_between_two_workers() {
    keeps_all_rules(
        bounds(&[Kind::Retried], 2, Trouble { losses: 1, ..QUIET }),
        30_000,
        &["a retry that arrives before its confirm", "a task under way at two workers"],
    );
}

#[test]
fn a_task_that_is_given_up_has_a_row_and_a_dead_letter() {
    let trouble = Trouble { losses: 1, lost_commits: 1, lost_confirms: 1, ..QUIET };
    keeps_all_rules(
        bounds(&[Kind::GivenUp], 2, trouble),
        900,
        &["a dead letter before its confirm", "a commit in doubt that took effect"],
    );
}

#[test]
#[ignore = "half a million states: minutes of a debug build"]
fn no_message_is_lost_or_acked_early_by_two_workers_and_two_reconnects() {
    keeps_all_rules(
        bounds(&[Kind::Final; 2], 2, Trouble { losses: 2, ..QUIET }),
        400_000,
        &["a claim with tags of two channels", "a task under way at two workers"],
    );
}

/// A fault, the tasks and the trouble with which it shows, and whether a problem is its effect.
type Planted<'a> = (Fault, &'a [Kind], Trouble, fn(Problem) -> bool);

#[test]
fn each_planted_fault_is_found() {
    let (one, two) = (&[Kind::Final][..], &[Kind::Final; 2][..]);
    let loss = Trouble { losses: 1, ..QUIET };
    let lost_commit = Trouble { lost_commits: 1, ..QUIET };
    let early = |problem: Problem| matches!(problem, Problem::Early(_));
    let left = |problem: Problem| matches!(problem, Problem::Left(_));
    let unfinished = |problem: Problem| matches!(problem, Problem::Unfinished(_));
    let unknown = |problem: Problem| matches!(problem, Problem::UnknownTag(_));
    let faults: [Planted<'_>; 11] = [
        (Fault::AckBeforeCommit, one, QUIET, early),
        (Fault::LostCommitTaken, one, lost_commit, early),
        (Fault::AckOverGap, two, QUIET, unfinished),
        (Fault::AckTwice, one, QUIET, unknown),
        (Fault::AckOnNewerChannel, one, loss, unknown),
        (Fault::AckBeforeConfirm, &[Kind::Retried], QUIET, early),
        (Fault::AckBeforeDeadLetter, &[Kind::GivenUp], QUIET, early),
        (Fault::DuplicateLost, one, loss, left),
        (Fault::EarlyReceiptDropped, one, loss, left),
        (Fault::AckWithoutLookUp, one, loss, early),
        (Fault::RetryJoinsOriginal, &[Kind::Retried], QUIET, early),
    ];
    for (fault, tasks, trouble, is_expected) in faults {
        let keeping = bounds(tasks, 1, trouble);
        assert!(explore(&Settling::new(keeping.clone())).is_ok(), "without {fault:?}");
        let found = explore(&Settling::new(Bounds { fault: Some(fault), ..keeping })).unwrap_err();
        println!("{fault:?}: {found}");
        assert!(found.problem.is_some_and(is_expected), "{fault:?}: {found}");
    }
}
