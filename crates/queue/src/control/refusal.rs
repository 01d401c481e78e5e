//! The words that directives begin with, and why a message is not a directive.

/// The first word of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `pause`
    Pause,
    /// `resume`
    Resume,
    /// `concurrency`
    Concurrency,
    /// `host`
    Host,
    /// `cancel`
    Cancel,
    /// `drain`
    Drain,
    /// `replay`
    Replay,
}

/// Each verb with its usage, which begins with the verb.
const VERBS: [(Verb, &str); 7] = [
    (Verb::Pause, "pause [WORKER]"),
    (Verb::Resume, "resume [WORKER]"),
    (Verb::Concurrency, "concurrency N|default"),
    (Verb::Host, "host NAME N/s|pause|resume|clear"),
    (Verb::Cancel, "cancel RUN"),
    (Verb::Drain, "drain WORKER"),
    (Verb::Replay, "replay host=… status=… reason=… run=… limit=…|all"),
];

/// Words that look like another verb than the one that is meant.
const OTHER_WORDS: [(&str, Verb); 3] =
    [("unpause", Verb::Resume), ("unpaused", Verb::Resume), ("continue", Verb::Resume)];

/// How different a mistyped word may be from the one that is proposed.
const MAX_TYPOS: usize = 2;

impl Verb {
    /// The verb of a word, in any case.
    pub(super) fn of(word: &str) -> Result<Self, Refusal> {
        let found = VERBS.iter().find(|(verb, _)| verb.as_str().eq_ignore_ascii_case(word));
        found.map(|(verb, _)| *verb).ok_or_else(|| Refusal::unknown(word))
    }

    fn usage(self) -> &'static str {
        VERBS.iter().find(|(verb, _)| *verb == self).map_or("", |(_, usage)| usage)
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        self.usage().split(' ').next().unwrap_or_default()
    }
}

/// All words with their usage.
fn known() -> String {
    VERBS.map(|(_, usage)| format!("`{usage}`")).join(", ")
}

fn proposal(nearest: &Option<Verb>) -> String {
    nearest.map(|verb| format!(" (did you mean `{}`?)", verb.as_str())).unwrap_or_default()
}

/// Why a message is not a directive: what is wrong, and what to type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing but white space.
    #[error("the message is empty; workers know {known}", known = known())]
    Empty,
    /// Longer than any directive.
    #[error(
        "the message has {0} bytes, too many for a directive; workers know {known}",
        known = known()
    )]
    TooLong(usize),
    /// Not UTF-8.
    #[error("the message is not text; workers know {known}", known = known())]
    NotText,
    /// JSON.
    #[error("the message is JSON; type the words alone. Workers know {known}", known = known())]
    Json,
    /// More than one line.
    #[error("the message has {0} lines; publish each directive as a message of its own")]
    SeveralLines(usize),
    /// Another first word.
    #[error(
        "its first word is not one that workers know{proposal}; they know {known}",
        proposal = proposal(.0),
        known = known()
    )]
    Unknown(Option<Verb>),
    /// A known word with wrong arguments.
    #[error("{1}; the syntax is `{usage}`", usage = .0.usage())]
    Usage(Verb, String),
}

impl Refusal {
    /// Another first word, with a proposal if it is nearly a known one.
    pub(super) fn unknown(word: &str) -> Self {
        let word = word.to_lowercase();
        if let Some((_, verb)) = OTHER_WORDS.iter().find(|(other, _)| *other == word) {
            return Self::Unknown(Some(*verb));
        }
        let typos = |verb: Verb| strsim::damerau_levenshtein(verb.as_str(), &word);
        let nearest = VERBS.iter().map(|(verb, _)| *verb).min_by_key(|verb| typos(*verb));
        Self::Unknown(nearest.filter(|verb| typos(*verb) <= MAX_TYPOS))
    }
}
