//! Why a task is deferred.

/// Why a task is deferred without an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeferReason {
    /// Its host has no slot for it soon.
    Slot,
    /// Its host is paused.
    Pause,
    /// The worker was short of memory.
    Memory,
    /// No name server answered.
    Dns,
}

impl DeferReason {
    const ALL: [Self; 4] = [Self::Slot, Self::Pause, Self::Memory, Self::Dns];

    /// The reason as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Pause => "pause",
            Self::Memory => "memory",
            Self::Dns => "dns",
        }
    }

    /// Parses a reason and a count such as `pause 3`.
    pub(super) fn read(text: &str) -> Option<(Self, u32)> {
        let (reason, times) = text.split_once(' ')?;
        Some((Self::ALL.into_iter().find(|it| it.as_str() == reason)?, times.parse().ok()?))
    }
}
