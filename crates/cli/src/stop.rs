//! Signals: the first one stops gracefully, the second one at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// The conventional exit code of a process that Ctrl-C ends: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Calls `stop` on SIGTERM or Ctrl-C. A second signal ends the process at once.
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
