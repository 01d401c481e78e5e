//! What a check has found.

use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// A worker can work.
    Ok,
    /// A worker can work, but not as well as it should.
    Warning,
    /// A worker cannot work, but could without any change, once something else is up.
    Failed,
    /// A worker cannot work before somebody corrects the configuration.
    Wrong,
    /// An earlier check has failed.
    Skipped,
}

impl Status {
    /// Every status.
    pub(super) const ALL: [Self; 5] =
        [Self::Ok, Self::Warning, Self::Failed, Self::Wrong, Self::Skipped];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Wrong => "wrong",
            Self::Skipped => "skipped",
        }
    }
}

/// The result of a check, in words.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// What was checked.
    pub(super) check: &'static str,
    pub(super) status: Status,
    pub(super) text: String,
    /// How to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, text: text.into(), remedy: None }
    }

    pub(super) fn skipped(check: &'static str, because_of: &str) -> Self {
        let text = format!("not tried, since the check `{because_of}` has failed");
        Self { check, status: Status::Skipped, text, remedy: None }
    }

    pub(super) fn bad(
        check: &'static str,
        status: Status,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into()).filter(|remedy| !remedy.is_empty());
        Self { check, status, text: text.into(), remedy }
    }

    /// One line, and one more for the remedy.
    pub(super) fn line(&self) -> String {
        let Self { check, status, text, remedy } = self;
        let line = format!("{:<8} {check:<13} {text}", status.as_str());
        match remedy {
            Some(remedy) => format!("{line}\n{:23}{remedy}", ""),
            None => line,
        }
    }
}
