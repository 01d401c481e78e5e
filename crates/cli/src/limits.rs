//! What the system allows this process.

/// Raises the soft limit of open files to the hard one: a connection is a file, and the usual soft limit of 1,024 is
/// below what a worker at some hundred hosts keeps open.
pub(crate) fn raise_open_files() {
    // Where it cannot be raised, it stays as it is.
    _ = rlimit::increase_nofile_limit(u64::MAX);
}
