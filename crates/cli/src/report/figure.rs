//! A number at the top of the page.

/// A number at the top of the page, and what it means.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) note: String,
}

impl Figure {
    pub(super) fn new(name: &'static str, value: String, note: String) -> Self {
        Self { name, value, note }
    }
}
