//! The wall clock: that of the runtime, from a fixed start, and with jumps.

use std::cell::Cell;

use tokio::time::Instant;

/// The wall clock's time at its start, in nanoseconds: 2026-01-01.
const START: i128 = 1_767_225_600_000_000_000;

#[derive(Clone, Copy)]
struct Clock {
    started: Instant,
    /// By how much the clock was set forward or back.
    jumped: i128,
}

thread_local! {
    static CLOCK: Cell<Option<Clock>> = const { Cell::new(None) };
}

/// Starts the wall clock of this thread, which has to be in a runtime.
pub fn start() {
    CLOCK.set(Some(Clock { started: Instant::now(), jumped: 0 }));
}

/// Sets the clock forward, or back.
pub fn jump(milliseconds: i64) {
    let jumped = |clock: Clock| Clock { jumped: i128::from(milliseconds) * 1_000_000, ..clock };
    CLOCK.set(CLOCK.get().map(jumped));
}

/// The nanoseconds since 1970. `None` on a thread that has the real clock.
pub fn now() -> Option<i128> {
    CLOCK.get().map(|clock| true_time(clock) + clock.jumped)
}

/// The time of a server whose clock never jumps, in microseconds since 1970.
pub fn server_us() -> i64 {
    let now = CLOCK.get().map_or(START, true_time);
    i64::try_from(now / 1_000).unwrap_or(i64::MAX)
}

fn true_time(clock: Clock) -> i128 {
    START + i128::try_from(clock.started.elapsed().as_nanos()).unwrap_or(i128::MAX)
}
