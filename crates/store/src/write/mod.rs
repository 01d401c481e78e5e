//! Writing a batch. Everything that can be committed is committed: one bad row, one locked row or
//! one lost connection does not affect the other rows.

mod batch;
mod chunk;
mod server_thread;
mod transaction;
mod probe;
mod remedy;
mod writer;
mod stand_ins;

#[cfg(feature = "bench")]
pub use self::batch::encoded;
pub use self::batch::{Batch, Committed, Refusal, UnwrittenBatch, Written};

use self::writer::Writer;
use crate::Store;

impl Store {
    /// Writes a batch, in one transaction unless some of it fails. A row that exists is replaced,
    /// unless the existing row was fetched later. Writing a batch again is safe.
    ///
    /// The [`Class`](crate::Class) of a failure decides what happens:
    /// - **rejected**: the batch is split until the row is found, and the row is tried once more.
    ///   If it fails again, it is written without its item, and else a bare row replaces it. If the
    ///   table accepts no item at all, or not even bare rows are accepted, the rows are not at
    ///   fault: this is an outage.
    /// - **contention**: the transaction is retried, and then split. A single row that others have
    ///   locked is left unwritten; its neighbours are committed.
    /// - **slow**: a transaction that exceeds its deadline, which grows with the batch's weight, is
    ///   split. If the server commits nothing at all, it is away.
    /// - **away**: if the server answers nobody else either, the rest is left unwritten. A single
    ///   row that loses its connection again and again while other rows succeed is refused.
    ///
    /// As far as this function knows, nothing of what it leaves unwritten has been committed. The
    /// caller writes it again.
    pub async fn write<R>(&self, batch: Batch<R>) -> Written<R> {
        let mut writer = Writer::new(self, batch);
        writer.write_all().await;
        writer.write_stand_ins().await;
        writer.into_written()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Fetch, Outcome};

    #[tokio::test]
    async fn a_batch_is_returned_whole_if_no_database_accepts_it() {
        let store = Store::unreachable(1);
        let mut batch = Batch::default();
        for id in 1..=3 {
            batch.push(Box::new(Fetch::example(id, "r", Outcome::Ok)), id);
        }
        let weight = batch.weight();
        let written = store.write(batch).await;
        let Some(UnwrittenBatch { batch, error }) = written.unwritten else {
            panic!("the batch was written")
        };
        assert_eq!((batch.len(), batch.weight(), error.class()), (3, weight, Class::Away));
        assert!(written.refused.is_empty() && written.committed.into_receipts().is_empty());
    }
}
