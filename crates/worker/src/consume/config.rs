//! The settings of consuming.

/// The settings of consuming.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How many messages the worker holds unacked at most; fewer while they are large. `None` for
    /// [`WorkerConfig::default_prefetch`](crate::WorkerConfig::default_prefetch).
    pub prefetch: Option<usize>,
    /// Whether the worker ends when there is nothing left to do.
    pub until_empty: bool,
}
