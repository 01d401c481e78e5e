//! The network of a thread: who answers at which host and port.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use crate::Stream;

/// Answers connections.
pub trait Network {
    /// Connects to a host and port, or refuses that.
    fn connect(&self, host: &str, port: u16) -> io::Result<Stream>;
}

thread_local! {
    static NETWORK: RefCell<Option<Rc<dyn Network>>> = const { RefCell::new(None) };
}

/// Sets the network of this thread.
pub fn set(network: Option<Rc<dyn Network>>) {
    NETWORK.with(|own| *own.borrow_mut() = network);
}

/// Whether this thread has a network in memory.
pub fn is_simulated() -> bool {
    NETWORK.with(|own| own.borrow().is_some())
}

/// Connects in memory. `None` on a thread that has the real network.
pub fn connect(host: &str, port: u16) -> Option<io::Result<Stream>> {
    let network = NETWORK.with(|own| own.borrow().clone())?;
    Some(network.connect(host, port))
}
