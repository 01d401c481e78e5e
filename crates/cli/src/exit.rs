//! Exit codes.

use std::process::ExitCode;

use crate::args::LogFormat;

/// The result of a command that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Everything is done.
    Whole,
    /// Everything is done, but some input was rejected or some URLs failed.
    InputRejected,
}

/// A failure, by its exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage or configuration: a repetition does not help.
    Usage(anyhow::Error),
    /// Any other failure.
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

/// The result of a command.
pub(crate) type Result = std::result::Result<Done, Failure>;

/// Prints a failure to standard error, or logs it as JSON, and returns the exit code.
pub(crate) fn code(result: Result, log: LogFormat) -> ExitCode {
    let (error, code) = match result {
        Ok(Done::Whole) => return ExitCode::SUCCESS,
        Ok(Done::InputRejected) => return ExitCode::from(3),
        Err(Failure::Usage(error)) => (error, ExitCode::from(2)),
        Err(Failure::Failed(error)) => (error, ExitCode::FAILURE),
    };
    match log {
        LogFormat::Text => eprintln!("fetchline: {error:#}"),
        LogFormat::Json => tracing::error!("{error:#}"),
    }
    code
}

/// Prints to standard output. A closed pipe is not a failure.
pub(crate) fn print(text: impl std::fmt::Display) {
    use std::io::Write;
    _ = writeln!(std::io::stdout(), "{text}");
}
