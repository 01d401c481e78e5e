//! Errors of the operating system that mean a shortage of sockets.

use std::io;

/// Whether the worker has run out of file descriptors, or the system of them or of local ports.
pub(super) fn is_of_sockets(error: &io::Error) -> bool {
    is_of_descriptors(error) || error.raw_os_error() == Some(libc::EADDRNOTAVAIL)
}

/// The same without local ports. A missing route or address has the error of those, too.
pub(super) fn is_of_descriptors(error: &io::Error) -> bool {
    const OURS: [i32; 3] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|number| OURS.contains(&number))
}
