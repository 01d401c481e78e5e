//! Problems of a configuration. All of them are reported at once.

use std::fmt;

/// A setting that cannot be used as it is.
///
/// `Display` shows `` `setting` text ``. Text and display name settings by their fields, in
/// backticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field of the setting, such as `max_body`. The names of all settings differ.
    pub setting: &'static str,
    /// What is wrong, as the rest of a sentence that begins with the setting.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.setting, self.text)
    }
}

/// Collects problems.
#[derive(Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem unless `condition` holds.
    pub(crate) fn require(
        &mut self,
        condition: bool,
        setting: &'static str,
        text: impl Into<String>,
    ) {
        if !condition {
            self.0.push(Problem { setting, text: text.into() });
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}
