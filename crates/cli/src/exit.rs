//! Exit codes.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::anyhow;
pub(crate) use fetchline_nodes::error_chain::chain;

use crate::command_line::Misunderstood;
use crate::log::LogFormat;
use crate::secret::presentable;

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
        let error = error.into();
        match is_configuration(&error) {
            true => Self::Usage(error),
            false => Self::Failed(error),
        }
    }
}

impl Failure {
    /// Marks an error as one of usage or configuration.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }
}

/// An error that no repetition cures: the text says what to correct.
#[derive(Debug)]
pub(crate) struct Wrong(pub(crate) String);

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// The result of a command.
pub(crate) type Result = std::result::Result<Done, Failure>;

/// The first failure to write to standard output. A command goes on without its output, since that
/// may be the smaller part of what it does, and fails in the end.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Prints a failure to standard error, or logs it as JSON, and returns the exit code.
pub(crate) fn code(result: Result, log: LogFormat) -> ExitCode {
    let result = match (result, UNWRITTEN.get()) {
        (Ok(_), Some(error)) => Err(anyhow!("cannot write to standard output: {error}").into()),
        (result, _) => result,
    };
    let (error, code) = match result {
        Ok(Done::Whole) => return ExitCode::SUCCESS,
        Ok(Done::InputRejected) => return ExitCode::from(3),
        Err(Failure::Usage(error)) => (error, ExitCode::from(2)),
        Err(Failure::Failed(error)) => (error, ExitCode::FAILURE),
    };
    match log {
        LogFormat::Text => note(format_args!("fetchline: {}", describe(&error))),
        LogFormat::Json => tracing::error!("{}", describe(&error)),
    }
    code
}

/// Whether a repetition cannot help: the one place that judges errors of broker and database.
fn is_configuration(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(fetchline_queue::Error::is_configuration)
            || cause.downcast_ref().is_some_and(fetchline_store::Error::is_configuration)
            || cause.is::<Wrong>()
    })
}

/// What a person has to correct, if broker or database say so.
fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        let of_broker = cause.downcast_ref().and_then(fetchline_queue::Error::refusal);
        of_broker.or_else(|| cause.downcast_ref().and_then(fetchline_store::Error::refusal))
    })
}

/// An error, its causes, and how to fix it.
fn describe(error: &anyhow::Error) -> String {
    let text = chain(error.as_ref());
    presentable(&match remedy(error) {
        Some(remedy) if !text.contains(remedy) => format!("{text}: {remedy}"),
        _ => text,
    })
}

/// Prints what the parser of the command line has to say, which may be the help that was asked for.
/// `origin` is where a wrong value comes from that nobody has typed.
pub(crate) fn explain(misunderstood: &Misunderstood, origin: Option<&str>) -> ExitCode {
    let Misunderstood { error, missing } = misunderstood;
    let is_error = error.use_stderr() || missing.is_some();
    let text = error.to_string();
    let presentable = presentable(&text);
    let styled = error.render();
    let printed = match is_error {
        // It would repeat a value with its password.
        true if presentable != text => writeln!(io::stderr(), "{}", presentable.trim_end()),
        false if presentable != text => writeln!(io::stdout(), "{}", presentable.trim_end()),
        true => write!(anstream::stderr(), "{}", styled.ansi()),
        false => write!(anstream::stdout(), "{}", styled.ansi()),
    };
    if let Some(missing) = missing {
        note(format_args!("\nerror: missing: {missing}"));
    }
    if let Some(origin) = origin {
        note(format_args!("The value comes from {origin}."));
    }
    let flushed = printed.and_then(|()| io::stdout().flush());
    match flushed {
        Err(unwritten) if unwritten.kind() != io::ErrorKind::BrokenPipe => {
            note(format_args!("fetchline: cannot write to standard output: {unwritten}"));
            ExitCode::FAILURE
        }
        _ if is_error => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    }
}

/// Prints to standard output. A closed pipe is not a failure: its reader has seen enough. Any other
/// failure, such as a full disk, decides about the exit code.
pub(crate) fn print(text: impl Display) {
    print_bytes(format!("{text}\n").as_bytes());
}

/// Prints bytes as they are, like [`print()`].
pub(crate) fn print_bytes(bytes: &[u8]) {
    let mut stdout = io::stdout();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        _ = UNWRITTEN.set(error);
    }
}

/// Prints to standard error. Unlike the macro of the standard library, it does not panic if nobody
/// reads that.
pub(crate) fn note(text: impl Display) {
    _ = writeln!(io::stderr(), "{text}");
}
