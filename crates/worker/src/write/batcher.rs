//! Collects results into batches. A batch closes by rows, bytes or age, whichever comes first.

use std::pin::pin;

use fetchline_store::Batch;
use tokio::sync::mpsc;

use super::committer::Committers;
use super::config::Config;
use crate::job::{PendingCommit, Record};

/// Runs until every sender of results is dropped, and every batch is committed or given up.
pub(crate) async fn run(
    mut results: mpsc::UnboundedReceiver<Record>,
    config: Config,
    committers: Committers,
) {
    while let Some(batch) = collect(&mut results, config).await {
        committers.begin(batch).await;
    }
    committers.finish().await;
}

/// The next batch; `None` after the last one.
async fn collect(
    results: &mut mpsc::UnboundedReceiver<Record>,
    config: Config,
) -> Option<Batch<PendingCommit>> {
    let mut batch = Batch::default();
    push(&mut batch, results.recv().await?);
    let mut too_old = pin!(tokio::time::sleep(config.batch_age));
    while batch.len() < config.batch_rows && batch.weight() < config.batch_bytes {
        tokio::select! {
            biased;
            record = results.recv() => match record {
                Some(record) => push(&mut batch, record),
                #[cfg(feature = "simulation")]
                None if fetchline_store::planted::Fault::DrainDropsBatch.is_planted() => {
                    return None;
                }
                None => break,
            },
            () = &mut too_old => break,
        }
    }
    Some(batch)
}

fn push(batch: &mut Batch<PendingCommit>, record: Record) {
    match record {
        Record::Row(row, pending) => batch.push(row, pending),
        Record::Part(report, pending) => batch.push_part(report, pending),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fetchline_queue::{Address, FetchRequest, RawMessage, Task};
    use fetchline_store::Outcome;
    use time::OffsetDateTime;
    use tokio::time::Instant;

    use super::*;
    use crate::execute::extraction::{Extractor, FetchTime};
    use crate::execute::{self, StoreBody};
    use crate::fetch::answer::Answer;
    use crate::memory_budget::Reservation;
    use crate::settle::{Claims, Receipt};

    const CONFIG: Config =
        Config { batch_rows: 3, batch_bytes: 10_000, batch_age: Duration::from_millis(250) };

    async fn result(body: usize) -> Record {
        let request = FetchRequest::get(Address::parse("http://a.example/").unwrap());
        let key = fetchline_queue::Key::of_other_program("run", "order-17");
        let task = Task::new(request, "run".to_owned(), "part".to_owned(), key);
        let mut answer = Answer::without_response(Outcome::Ok, String::new());
        answer.body = Some(vec![b'x'; body]);
        let config = execute::Config { store_body: StoreBody::All, ..Default::default() };
        let extractor = Extractor::new(&config, "pod".into());
        let facts = extractor.read(&task, &mut answer, None).await;
        let time = FetchTime { ended: OffsetDateTime::UNIX_EPOCH, elapsed: Duration::ZERO };
        let row = extractor.row(task, answer, facts, time);
        let claim = Claims::default().without_task(Receipt {
            session: 1,
            tag: 1,
            delivered: Instant::now(),
        });
        let original = RawMessage { properties: Box::default(), body: bytes::Bytes::new() };
        let fetched = Some((Outcome::Ok, Duration::ZERO));
        let pending = PendingCommit {
            claim,
            original,
            fetched,
            attempts: 1,
            status: None,
            death: None,
            _reservation: Reservation::default(),
        };
        Record::Row(Box::new(row), pending)
    }

    /// The sizes of the batches of these bodies, and how long each took to close.
    async fn batches(bodies: &[usize], is_end: bool) -> Vec<(usize, Duration)> {
        let (sender, mut results) = mpsc::unbounded_channel();
        for body in bodies {
            sender.send(result(*body).await).unwrap();
        }
        let sender = (!is_end).then_some(sender);
        let mut sizes = Vec::new();
        while !results.is_empty() {
            let started = Instant::now();
            let batch = collect(&mut results, CONFIG).await.unwrap();
            sizes.push((batch.len(), started.elapsed()));
        }
        drop(sender);
        sizes
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_closes_by_rows() {
        assert_eq!(batches(&[1; 6], false).await, [(3, Duration::ZERO), (3, Duration::ZERO)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_closes_by_bytes() {
        let sizes: Vec<_> = batches(&[6_000, 6_000, 20_000, 1], true)
            .await
            .into_iter()
            .map(|(rows, _)| rows)
            .collect();
        assert_eq!(sizes, [2, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_closes_by_age() {
        let sizes = batches(&[1], false).await;
        assert_eq!(sizes.len(), 1);
        assert!(sizes[0].0 == 1 && sizes[0].1 >= CONFIG.batch_age, "{sizes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_closes_when_all_senders_are_dropped() {
        assert_eq!(batches(&[1, 1], true).await, [(2, Duration::ZERO)]);
    }
}
