//! How often a task was deferred, by reason.

use std::fmt;

use super::defer_reason::DeferReason;

/// How often a task was deferred since its last attempt, by reason: for a shortage in all, for
/// other reasons in a row.
///
/// A wait for what the worker lacks has an end, and it must come although the task also waits for
/// slots in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeferCounts([u32; DeferReason::ALL.len()]);

impl DeferCounts {
    /// Parses counts such as `slot 1, dns 7`. Skips what is not a count.
    pub fn read(text: &str) -> Self {
        let mut counts = Self::default();
        for (reason, times) in text.split(',').filter_map(DeferReason::read) {
            counts.0[reason as usize] = times;
        }
        counts
    }

    /// The count for a reason.
    pub fn of(&self, reason: DeferReason) -> u32 {
        self.0[reason as usize]
    }

    /// The counts after another deferral.
    #[must_use]
    pub(crate) fn with(mut self, reason: DeferReason) -> Self {
        for other in DeferReason::ALL {
            if other != reason && !other.is_shortage() {
                self.0[other as usize] = 0;
            }
        }
        self.0[reason as usize] = self.of(reason).saturating_add(1);
        self
    }
}

impl fmt::Display for DeferCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = DeferReason::ALL.into_iter().filter(|reason| self.of(*reason) > 0);
        for (nth, reason) in counted.enumerate() {
            let separator = if nth > 0 { ", " } else { "" };
            write!(f, "{separator}{} {}", reason.as_str(), self.of(reason))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_they_are_written_and_damage_is_skipped() {
        for text in ["", "slot 3", "pause 1, memory 2, dns 4294967295"] {
            assert_eq!(DeferCounts::read(text).to_string(), text);
        }
        for damaged in ["dns", "dns -1", "dns 4294967296", "DNS 1", "7 dns", ",,", "dns 1 2"] {
            assert_eq!(DeferCounts::read(damaged), DeferCounts::default(), "{damaged}");
            let text = format!("{damaged}, sockets 2");
            assert_eq!(DeferCounts::read(&text).to_string(), "sockets 2", "{damaged}");
        }
        assert_eq!(
            DeferCounts::read("dns 4294967295").with(DeferReason::Dns).of(DeferReason::Dns),
            u32::MAX
        );
    }
}
