//! Results into batches: a batch closes by rows, bytes or age, whichever comes first.

use std::pin::pin;
use std::time::Duration;

use fetchline_store::Batch;
use tokio::sync::mpsc;

use super::committer::Commits;
use crate::job::{Done, Finished};

/// When a batch closes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) age: Duration,
}

/// Runs until nobody is left who could bring a result, and every batch is committed or given up.
pub(crate) async fn run(mut results: mpsc::UnboundedReceiver<Done>, limits: BatchLimits, commits: Commits) {
    while let Some(batch) = collect(&mut results, limits).await {
        commits.begin(batch).await;
    }
    commits.finish().await;
}

/// The next batch; `None` when there will be no more.
async fn collect(results: &mut mpsc::UnboundedReceiver<Done>, limits: BatchLimits) -> Option<Batch<Finished>> {
    let mut batch = Batch::default();
    push(&mut batch, results.recv().await?);
    let mut too_old = pin!(tokio::time::sleep(limits.age));
    while batch.len() < limits.rows && batch.weight() < limits.bytes {
        tokio::select! {
            biased;
            done = results.recv() => match done {
                Some(done) => push(&mut batch, done),
                None => break,
            },
            () = &mut too_old => break,
        }
    }
    Some(batch)
}

fn push(batch: &mut Batch<Finished>, done: Done) {
    match done {
        Done::Row(row, finished) => batch.push(row, finished),
        Done::Part(told, finished) => batch.push_part(told, finished),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fetchline_queue::{Address, Order, Original, Task};
    use fetchline_store::Outcome;
    use time::OffsetDateTime;
    use tokio::time::Instant;

    use super::*;
    use crate::budget::Room;
    use crate::config::StoreBody;
    use crate::execute::Answer;
    use crate::extract::{Extract, Took};
    use crate::settle::{Claims, Receipt};

    const LIMITS: BatchLimits = BatchLimits { rows: 3, bytes: 10_000, age: Duration::from_millis(250) };

    async fn result(body: usize) -> Done {
        let order = Order::get(Address::parse("http://a.example/").unwrap());
        let key = fetchline_queue::Key::of("run", "part", &order, 0);
        let task = Task::new(order, "run".to_owned(), "part".to_owned(), key);
        let mut answer = Answer::without(Outcome::Ok, String::new());
        answer.body = Some(vec![b'x'; body]);
        let extract = Extract::new(StoreBody::All, Arc::default(), "pod".into());
        let read = extract.read(&task, &mut answer).await;
        let row = extract.row(task, answer, read, Took { ended: OffsetDateTime::UNIX_EPOCH, elapsed: Duration::ZERO });
        let claim =
            Claims::default().without_task(Receipt { channel: 1, tag: 1, delivered: std::time::Instant::now() });
        let original = Original { properties: Box::default(), body: bytes::Bytes::new() };
        let fetched = Some((Outcome::Ok, Duration::ZERO));
        let finished =
            Finished { claim, original, fetched, attempts: 1, status: None, death: None, _room: Room::default() };
        Done::Row(Box::new(row), finished)
    }

    /// The sizes of the batches that come of these bodies, and how long each took to close.
    async fn batches(bodies: &[usize], ends: bool) -> Vec<(usize, Duration)> {
        let (sender, mut results) = mpsc::unbounded_channel();
        for body in bodies {
            sender.send(result(*body).await).unwrap();
        }
        let kept = (!ends).then_some(sender);
        let mut sizes = Vec::new();
        while !results.is_empty() {
            let started = Instant::now();
            let batch = collect(&mut results, LIMITS).await.unwrap();
            sizes.push((batch.len(), started.elapsed()));
        }
        drop(kept);
        sizes
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_closes_by_rows() {
        assert_eq!(batches(&[1; 6], false).await, [(3, Duration::ZERO), (3, Duration::ZERO)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_closes_by_bytes() {
        let sizes: Vec<_> = batches(&[6_000, 6_000, 20_000, 1], true).await.into_iter().map(|(rows, _)| rows).collect();
        assert_eq!(sizes, [2, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_closes_by_age() {
        let sizes = batches(&[1], false).await;
        assert_eq!(sizes.len(), 1);
        assert!(sizes[0].0 == 1 && sizes[0].1 >= LIMITS.age, "{sizes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_closes_when_there_will_be_no_more() {
        assert_eq!(batches(&[1, 1], true).await, [(2, Duration::ZERO)]);
    }
}
