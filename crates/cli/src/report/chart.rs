//! What the drawings of a report have in common.
//!
//! Shapes are drawn in a space of 1000 by 1000 that is stretched to its place. Texts stand beside
//! them in HTML, positioned in percent, so they are not stretched.

use super::numbers::percent;

/// The width and height of the space.
pub(super) const SIDE: f64 = 1_000.0;

/// A text beside a drawing.
pub(super) struct Tick {
    /// In percent from the left or from the top.
    pub(super) at: f64,
    pub(super) text: String,
}

/// Rounds to hundredths, since less is not visible.
pub(super) fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// The filled part of a bar in percent. It is at least visible if it is not empty.
pub(super) fn bar(part: u64, whole: u64) -> f64 {
    if part == 0 { 0.0 } else { percent(part, whole).max(0.5) }
}
