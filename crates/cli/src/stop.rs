//! Signals: the first one stops gracefully, the second one at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// The conventional exit code of a process that Ctrl-C ends: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Calls `stop` on SIGTERM or Ctrl-C, or when the terminal is closed. A second signal ends the
/// process at once.
pub(crate) fn on_signal(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // `nohup` ignores it, which a handler would undo.
    let mut hangup =
        match ignores_hangup(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
    tokio::spawn(async move {
        let mut stop = Some(stop);
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = async { hangup.as_mut()?.recv().await }, if hangup.is_some() => {}
            }
            match stop.take() {
                Some(stop) => stop(),
                None => std::process::exit(INTERRUPTED),
            }
        }
    });
    Ok(())
}

/// Whether a process with this status in `/proc` ignores SIGHUP, the first bit of its mask.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_that_nohup_ignores_stays_ignored() {
        assert!(ignores_hangup("Name:\tfetchline\nSigIgn:\t0000000000001001\n"));
        for status in ["SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n", ""] {
            assert!(!ignores_hangup(status), "{status}");
        }
    }
}
