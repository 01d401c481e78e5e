//! Errors in a file of rules.

use std::fmt;

/// Every error in a file of rules, one per line, with its file, line and rule.
#[derive(Debug, thiserror::Error)]
pub struct RulesError {
    pub(super) file: String,
    /// Sorted by line; never empty.
    pub(super) faults: Vec<Fault>,
}

/// One error.
#[derive(Debug)]
pub(super) struct Fault {
    /// Counts from 1.
    pub(super) line: usize,
    /// The host pattern of the rule, if the error is in one.
    pub(super) rule: Option<String>,
    pub(super) message: String,
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Fault { line, rule, message }) in self.faults.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{line}: ", self.file)?;
            if let Some(rule) = rule {
                write!(f, "rule \"{rule}\": ")?;
            }
            f.write_str(message)?;
        }
        Ok(())
    }
}
