//! One task: it is fetched, its answer is judged by the retry policy, and what comes of it goes on.

mod answer;
mod executor;
mod retry_policy;

pub(crate) use answer::Answer;
pub(crate) use executor::{Executing, Executor};
pub(crate) use retry_policy::{RetryPolicy, Seen, is_safe_to_repeat, seen};
