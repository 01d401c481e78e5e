//! Errors of the operating system that mean a shortage of sockets.

use std::io;

/// Whether the worker has run out of file descriptors, or the system of them or of local ports.
pub(super) fn is_of_sockets(error: &io::Error) -> bool {
    const OURS: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|number| OURS.contains(&number))
}
