//! Names of runs and parts.

/// The longest name of a run or a part, in bytes.
pub const MAX_NAME_BYTES: usize = 100;
/// The run of a message that names none.
pub const NO_RUN: &str = "adhoc";

/// Whether a text is a valid name of a run or a part.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
}
