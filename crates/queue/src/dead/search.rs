//! Which dead letters an operator selects.

use time::OffsetDateTime;

use super::letter::DeadLetter;

/// Which dead letters to process.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// What a letter must match.
    pub filter: Filter,
    /// The highest number of letters; `None` for all.
    pub limit: Option<u64>,
}

/// A filter of dead letters; every field that is set must match.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The run.
    pub run: Option<String>,
    /// The host, as in [`DeadLetter::host`].
    pub host: Option<String>,
    /// The reason.
    pub reason: Option<String>,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// Letters given up before this time. A letter without a time does not match, since it may be
    /// new.
    pub before: Option<OffsetDateTime>,
}

impl Filter {
    /// Whether a letter matches.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        matches(&self.run, &letter.run)
            && matches(&self.host, &letter.host)
            && matches(&self.reason, &letter.reason)
            && matches(&self.status, &letter.status)
            && self
                .before
                .is_none_or(|before| letter.failed_at.is_some_and(|failed_at| failed_at < before))
    }
}

fn matches<T: PartialEq>(wanted: &Option<T>, found: &Option<T>) -> bool {
    wanted.is_none() || wanted == found
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_letter_must_match_every_field_that_is_set() {
        let letter = DeadLetter {
            run: Some("nightly".into()),
            host: Some("shop.example:8443".into()),
            reason: Some("http_error".into()),
            status: Some(503),
            failed_at: Some(datetime!(2026-03-01 10:00 UTC)),
            ..DeadLetter::default()
        };
        assert!(
            Filter::default().matches(&letter) && Filter::default().matches(&DeadLetter::default())
        );
        let matching = Filter {
            run: Some("nightly".into()),
            host: Some("shop.example:8443".into()),
            reason: Some("http_error".into()),
            status: Some(503),
            before: Some(datetime!(2026-03-01 10:00:01 UTC)),
        };
        assert!(matching.matches(&letter) && !matching.matches(&DeadLetter::default()));
        for other in [
            Filter { run: Some("night".into()), ..matching.clone() },
            Filter { host: Some("shop.example".into()), ..matching.clone() },
            Filter { reason: Some("timeout".into()), ..matching.clone() },
            Filter { status: Some(500), ..matching.clone() },
            Filter { before: Some(datetime!(2026-03-01 10:00 UTC)), ..matching.clone() },
        ] {
            assert!(!other.matches(&letter), "{other:?}");
        }
    }
}
