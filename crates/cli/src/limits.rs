//! Limits of the operating system.

/// Raises the soft limit of open files to the hard limit. Each connection is a file, and a worker
/// with some hundred hosts keeps more of them open than the usual soft limit of 1,024.
pub(crate) fn raise_open_files() {
    // If the limit cannot be raised, it stays as it is.
    _ = rlimit::increase_nofile_limit(u64::MAX);
}
