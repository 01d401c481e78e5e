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
    /// The message names a later time.
    Delay,
    /// The worker was short of sockets.
    Sockets,
    /// No name server answered, for no host as far as is known.
    Dns,
    /// No name server answered for its host, while they answered for others.
    Host,
    /// Too many other look-ups were ahead.
    Lookups,
}

impl DeferReason {
    /// All reasons, in the order of their declaration.
    pub(super) const ALL: [Self; 8] = [
        Self::Slot,
        Self::Pause,
        Self::Memory,
        Self::Delay,
        Self::Sockets,
        Self::Dns,
        Self::Host,
        Self::Lookups,
    ];

    /// The reason as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Pause => "pause",
            Self::Memory => "memory",
            Self::Delay => "delay",
            Self::Sockets => "sockets",
            Self::Dns => "dns",
            Self::Host => "host",
            Self::Lookups => "lookups",
        }
    }

    /// Whether the worker lacked something, or an answer.
    pub(super) fn is_shortage(self) -> bool {
        match self {
            Self::Slot | Self::Pause | Self::Delay => false,
            Self::Memory | Self::Sockets | Self::Dns | Self::Host | Self::Lookups => true,
        }
    }

    /// The reason as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Slot => "its host is busy or cools down, or a limit has no slot soon enough",
            Self::Pause => "its host is paused",
            Self::Memory => "the worker was short of memory",
            Self::Delay => "it may not be fetched before the time that it names",
            Self::Sockets => "the worker was short of sockets",
            Self::Dns => "no name server answered",
            Self::Host => "no name server answered for its host, while they answer for others",
            Self::Lookups => "other look-ups took all places (--dns-concurrency)",
        }
    }

    /// Parses a reason and a count such as `pause 3`.
    pub(super) fn read(text: &str) -> Option<(Self, u32)> {
        let (reason, times) = text.trim().split_once(' ')?;
        Some((Self::ALL.into_iter().find(|it| it.as_str() == reason)?, times.parse().ok()?))
    }
}
