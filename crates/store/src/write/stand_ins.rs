//! Stand-ins: what is written in place of refused rows.

use std::time::Duration;

use tokio::time::Instant;

use super::batch::Refusal;
use super::chunk::Chunk;
use super::remedy::Remedy;
use super::transaction::Contents;
use super::writer::{Refused, State, Writer, write_timeout};
use crate::fetch::Fetch;

/// The minimum time for the stand-ins, even if the write has taken too long by then.
const MIN_STAND_IN_TIME: Duration = Duration::from_secs(20);

/// The forms in which a refused row is tried, one after another until the database accepts one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The row as it is: the trouble may have passed, and then the row was not at fault.
    Whole,
    WithoutItem,
    Bare,
}

impl<R> Writer<'_, R> {
    /// Brings the refused rows and part reports to an end.
    pub(super) async fn write_stand_ins(&mut self) {
        self.deadline = self.deadline.max(Instant::now() + MIN_STAND_IN_TIME);
        self.finish_rows().await;
        self.finish_parts().await;
    }

    async fn finish_rows(&mut self) {
        let mut unrecorded = Vec::new();
        for row in std::mem::take(&mut self.refused_rows) {
            let is_out_of_time = Instant::now() > self.deadline;
            if is_out_of_time {
                self.fail(Remedy::OutOfTime, write_timeout());
            }
            match is_out_of_time || self.state == State::Stopped {
                true => self.unwritten.push(row.entry, row.receipt),
                false => unrecorded.extend(self.finish_row(row).await),
            }
        }
        // Not even a bare row was accepted. A sample tells rows that are at fault from an outage.
        if let Some(first) = unrecorded.first()
            && self.accepted.rows == 0
            && self.state < State::Stopped
        {
            self.accepts_sample(Contents::SampleRow(&first.entry.sample())).await;
        }
        for Refused { entry, receipt, reason } in unrecorded {
            match self.state {
                State::Stopped => self.unwritten.push(entry, receipt),
                State::Writing | State::OutOfTime => {
                    self.refusals.push(Refusal { receipt, recorded: false, reason });
                }
            }
        }
    }

    /// Writes a stand-in for a refused row. Returns the row if not even its bare row is accepted.
    async fn finish_row(
        &mut self,
        mut row: Refused<Box<Fetch>, R>,
    ) -> Option<Refused<Box<Fetch>, R>> {
        for form in [Form::Whole, Form::WithoutItem, Form::Bare] {
            #[cfg(feature = "simulation")]
            if form == Form::Whole && crate::planted::Fault::PoisonedNeighbour.is_planted() {
                continue;
            }
            let stand_in = match form {
                Form::Whole => None,
                Form::WithoutItem if row.entry.item.is_none() => continue,
                Form::WithoutItem => row.entry.without_item(&row.reason),
                Form::Bare => Some(row.entry.bare(&row.reason)),
            };
            let contents = [stand_in.as_ref().unwrap_or(&row.entry)];
            match self.try_write(Contents::Rows(&contents), true).await {
                Ok(()) => {
                    self.accept_form(form, row);
                    return None;
                }
                // The reason why the bare row is refused is not that of the row.
                Err((Remedy::Refuse, _)) if form == Form::Bare => {}
                Err((Remedy::Refuse, error)) => row.reason = error.reason(),
                Err((remedy, error)) => {
                    self.unwritten.push(row.entry, row.receipt);
                    self.fail(remedy, error);
                    return None;
                }
            }
        }
        Some(row)
    }

    fn accept_form(&mut self, form: Form, row: Refused<Box<Fetch>, R>) {
        let Refused { entry, receipt, reason } = row;
        match form {
            Form::Whole => self.accept(Chunk::Rows(vec![(entry, receipt)])),
            Form::WithoutItem => {
                self.accepted.rows += 1;
                self.accepted.receipts.push(receipt);
                let left_out = self.accepted.items_left_out.as_ref().map_or(0, |(count, _)| *count);
                self.accepted.items_left_out = Some((left_out + 1, reason));
            }
            Form::Bare => {
                self.accepted.rows += 1;
                self.refusals.push(Refusal { receipt, recorded: true, reason });
            }
        }
    }

    /// A part report has no bare form. It is at fault if the table accepts another one.
    async fn finish_parts(&mut self) {
        let refused = std::mem::take(&mut self.refused_parts);
        if !refused.is_empty() && self.accepted.parts == 0 && self.state < State::Stopped {
            self.accepts_sample(Contents::SamplePart).await;
        }
        for Refused { entry, receipt, reason } in refused {
            match self.state {
                State::Stopped => self.unwritten.push_part(entry, receipt),
                State::Writing | State::OutOfTime => {
                    self.refusals.push(Refusal { receipt, recorded: false, reason });
                }
            }
        }
    }
}
