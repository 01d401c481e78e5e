//! Reports to the operator that the database is away, and that it is back. No worker can claim
//! these facts in the database, so the first worker of the fleet by name reports them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::news::{Fact, NewsHandle};
use super::snapshot::Snapshots;

/// A shorter outage is not worth a message.
const LASTING: Duration = Duration::from_secs(3);
/// The pause after an outage that was reported: a database that comes and goes should not fill the
/// queue.
const QUIET: Duration = Duration::from_secs(60);

/// Reports outages of the database until `end`.
pub(crate) async fn report(snapshots: Snapshots, news: NewsHandle, end: CancellationToken) {
    tokio::select! {
        () = follow(&snapshots, &news) => {}
        () = end.cancelled() => {}
    }
}

async fn follow(snapshots: &Snapshots, news: &NewsHandle) {
    loop {
        snapshots.wait_for(|snapshot| !snapshot.database.up).await;
        let back = snapshots.wait_for(|snapshot| snapshot.database.up);
        if tokio::time::timeout(LASTING, back).await.is_ok() {
            continue;
        }
        let cause = snapshots.read(|snapshot| snapshot.database.error.clone());
        let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
        let sentence = format!(
            "the database is away{cause}: no task is fetched until it is back, and nothing is \
             lost. Pauses are obeyed; other directives wait for the database, for ten minutes"
        );
        news.report_as_leader(Fact::new("database_away", "database away".to_owned(), sentence));
        snapshots.wait_for(|snapshot| snapshot.database.up).await;
        let sentence = "the database is back: tasks are fetched again".to_owned();
        news.report_as_leader(Fact::new("database_back", "database back".to_owned(), sentence));
        tokio::time::sleep(QUIET).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_outage_that_lasts_is_reported_with_its_end_and_then_none_for_a_minute() {
        let (snapshots, end) = (Snapshots::new(1), CancellationToken::new());
        let set_up = |up| {
            snapshots.update(|snapshot| {
                snapshot.database.up = up;
                true
            })
        };
        let (news, mut kinds) = NewsHandle::of_leader();
        set_up(true);
        let reports = tokio::spawn(report(snapshots.clone(), news, end.clone()));
        sleep(SECOND).await;
        set_up(false);
        sleep(2 * SECOND).await;
        set_up(true);
        sleep(5 * SECOND).await;
        assert!(kinds().is_empty(), "the outage was short");
        set_up(false);
        sleep(4 * SECOND).await;
        assert_eq!(kinds(), ["database_away"]);
        set_up(true);
        sleep(SECOND).await;
        assert_eq!(kinds(), ["database_back"]);
        set_up(false);
        sleep(50 * SECOND).await;
        assert!(kinds().is_empty(), "there was just an outage");
        sleep(20 * SECOND).await;
        assert_eq!(kinds(), ["database_away"]);
        end.cancel();
        reports.await.unwrap();
    }
}
