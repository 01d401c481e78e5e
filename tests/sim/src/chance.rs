//! Decisions that follow from the seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A stream of decisions. Parts of a world have streams of their own, so that a decision more in
/// one part does not change all others.
#[derive(Debug)]
pub struct Chance(SmallRng);

impl Chance {
    /// The stream of one part of a world.
    pub fn new(seed: u64, part: &str) -> Self {
        let part = part.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(SmallRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part))
    }

    /// A stream that follows from this one.
    pub fn split(&mut self) -> Self {
        Self(SmallRng::seed_from_u64(self.0.random()))
    }

    /// `true` with this probability.
    pub fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.random_bool(probability.min(1.0))
    }

    /// A number of `0..below`; 0 for an empty range.
    pub fn below(&mut self, below: usize) -> usize {
        if below < 2 { 0 } else { self.0.random_range(0..below) }
    }

    /// One of several values.
    pub fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// A time between two, in milliseconds. Short ones are more likely.
    pub fn wait(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        let share: f64 = self.0.random::<f64>().powi(3);
        let span = (to_ms.saturating_sub(from_ms)) as f64 * 1_000.0;
        Duration::from_micros(from_ms * 1_000 + (span * share) as u64)
    }
}
