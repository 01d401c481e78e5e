//! Changes of host limits, as operators write them.

use std::fmt;

/// A change of the limits of a host or a pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HostChange {
    /// Limit the requests per second that all workers together send.
    Rate(f64),
    /// Stop all requests.
    Pause,
    /// End a pause, a cool-down and a reduced rate.
    Resume,
    /// The same, and lift the limit.
    Clear,
}

impl HostChange {
    /// Parses `5/s`, `pause`, `resume` or `clear`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "pause" => Ok(Self::Pause),
            "resume" => Ok(Self::Resume),
            "clear" => Ok(Self::Clear),
            "" => Err("it does not say what to change".to_owned()),
            rate => parse_rate(rate).map(Self::Rate),
        }
    }
}

impl fmt::Display for HostChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(f, "{rate}/s"),
            Self::Pause => f.write_str("pause"),
            Self::Resume => f.write_str("resume"),
            Self::Clear => f.write_str("clear"),
        }
    }
}

/// Parses `5/s`, `0.2/s`: a number per second.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").and_then(|number| number.trim().parse().ok());
    // Slower than once in ten days is a pause, and a million per second is no limit.
    let in_range = number.filter(|rate| (1e-6..=1e6).contains(rate));
    in_range.ok_or_else(|| "not a rate from 0.000001/s to 1000000/s (write it like 5/s)".to_owned())
}
