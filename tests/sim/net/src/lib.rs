//! What the patched libraries use in place of the operating system: streams in memory, and a wall
//! clock that follows the runtime's. Both belong to a thread, since each simulation has one.

mod clock;
mod network;
mod stream;

pub use clock::{jump, now, server_us, start};
pub use network::{Network, connect, is_simulated, set};
pub use stream::{Stream, pair};
