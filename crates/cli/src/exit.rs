//! How the program ends.

use std::process::ExitCode;

/// What a command comes to, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// All of it.
    Whole,
    /// All that could be, but some input was refused.
    InputRefused,
}

/// A failure, with the exit code that it stands for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage or configuration: trying again will not help.
    Usage(anyhow::Error),
    /// Anything else.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Failure {
    /// Marks an error as one of usage or configuration.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }
}

/// The outcome of a command.
pub(crate) type Result = std::result::Result<Done, Failure>;

/// Tells a failure to people, and an exit code to programs.
pub(crate) fn code(result: Result) -> ExitCode {
    match result {
        Ok(Done::Whole) => ExitCode::SUCCESS,
        Ok(Done::InputRefused) => ExitCode::from(3),
        Err(Failure::Usage(error)) => {
            eprintln!("fetchline: {error:#}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(error)) => {
            eprintln!("fetchline: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints to standard output. That nobody reads it any more is no failure.
pub(crate) fn print(text: impl std::fmt::Display) {
    use std::io::Write;
    _ = writeln!(std::io::stdout(), "{text}");
}
