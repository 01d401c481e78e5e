//! Signals: the first asks to stop, the second does not ask.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a program that was ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Calls `stop` at SIGTERM or Ctrl-C; a second signal ends the process at once.
pub(crate) fn on_signal(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut stop = Some(stop);
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match stop.take() {
                Some(stop) => stop(),
                None => std::process::exit(INTERRUPTED),
            }
        }
    });
    Ok(())
}
