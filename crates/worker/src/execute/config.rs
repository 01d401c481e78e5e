//! The settings of execution: retries, stored bodies and extraction.

use std::sync::Arc;
use std::time::Duration;

use fetchline_extract::Rules;
use fetchline_queue::Tier;

use crate::problem::Problems;

/// The settings of execution.
#[derive(Clone, Debug)]
pub struct Config {
    /// The delays before further attempts: attempt n waits for the n-th delay, and the last one
    /// repeats. Whole seconds.
    pub retry_delays: Vec<Duration>,
    /// Attempts of a task, the first one included.
    pub max_attempts: u32,
    /// Which bodies are stored. Size and hash are always stored.
    pub store_body: StoreBody,
    /// How stored bodies are compressed.
    pub compress_bodies: CompressBodies,
    /// Where to find the products of pages that have no machine-readable ones, by host.
    pub rules: Arc<Rules>,
}

/// Which bodies are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum StoreBody {
    /// JSON as JSON, and other text as text
    Text,
    /// Only JSON
    Json,
    /// Other bodies too, as bytes
    All,
    /// None
    None,
}

/// How stored bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum CompressBodies {
    /// Not at all
    None,
    /// With zstd, where that makes them smaller
    Zstd,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retry_delays: [10, 60, 600].map(Duration::from_secs).to_vec(),
            max_attempts: 4,
            store_body: StoreBody::Text,
            compress_bodies: CompressBodies::None,
            rules: Arc::default(),
        }
    }
}

impl Config {
    pub(crate) fn check(&self, problems: &mut Problems) {
        problems.require(
            !self.retry_delays.is_empty() && self.tiers().len() == self.retry_delays.len(),
            "retry_delays",
            "needs at least one delay, each of whole seconds from 1s to 49d",
        );
        problems.require(
            self.max_attempts > 0,
            "max_attempts",
            "is 0: nothing would ever be fetched",
        );
    }

    /// The settings that decide how a body is stored and read: if they differ, an equal body is
    /// read again.
    pub(crate) fn reading(&self) -> String {
        // Remembered with each page: another word has every body read again.
        let store_body = match self.store_body {
            StoreBody::Text => "Text",
            StoreBody::Json => "Json",
            StoreBody::All => "All",
            StoreBody::None => "None",
        };
        format!("{store_body} {:016x}", self.rules.fingerprint())
    }

    /// The retry delays, without those that no queue can have.
    pub(crate) fn tiers(&self) -> Vec<Tier> {
        self.retry_delays.iter().filter_map(|delay| Tier::of(*delay)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn another_rule_or_another_way_to_store_is_another_way_to_read() {
        let config = |store_body, text| {
            let rules = Arc::new(Rules::parse("rules.toml", text).unwrap());
            Config { store_body, rules, ..Config::default() }.reading()
        };
        let (tea, jam) =
            ("[\"a.example\"]\ncategory = \"Tea\"", "[\"a.example\"]\ncategory = \"Jam\"");
        let settings = [
            (StoreBody::Text, tea),
            (StoreBody::Text, jam),
            (StoreBody::None, tea),
            (StoreBody::All, tea),
        ];
        let readings: HashSet<_> = settings.map(|(body, text)| config(body, text)).into();
        assert_eq!(readings.len(), settings.len());
        assert_eq!(config(StoreBody::Text, tea), config(StoreBody::Text, tea));
        assert!(!readings.contains(&Config::default().reading()));
    }
}
