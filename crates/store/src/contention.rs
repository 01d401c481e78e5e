//! Retries of transactions that lost against another one.

use std::time::Duration;

use crate::Error;

/// How often a transaction that loses against other ones is tried.
pub(crate) const MAX_TRIES: u32 = 5;
/// The average pause after the first try; it doubles with each further try.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Runs a transaction, and repeats it as a whole if it lost against another one. After a lock wait
/// timeout the server has rolled back the statement only; the connection is closed, and that rolls
/// back the rest.
pub(crate) async fn retry<T, F: Future<Output = Result<T, Error>>>(
    mut transaction: impl FnMut() -> F,
) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        match transaction().await {
            // Without a number the pool is busy, and the transaction has already waited for it.
            Err(error)
                if error.is_contention() && error.number().is_some() && tries < MAX_TRIES =>
            {
                tokio::time::sleep(pause_after(tries)).await;
                tries += 1;
            }
            result => return result,
        }
    }
}

/// The pause after this many tries. It is random, so that two transactions do not meet again.
pub(crate) fn pause_after(tries: u32) -> Duration {
    (FIRST_PAUSE * 2_u32.saturating_pow(tries.saturating_sub(1).min(5)))
        .mul_f64(rand::random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::server_error;

    /// The result of a transaction that fails `failures` times, and how often it was tried.
    async fn retried(failures: u32, fail: impl AsyncFn() -> Error) -> (Result<(), Error>, u32) {
        let tries = std::cell::Cell::new(0);
        let result = retry(async || {
            tries.set(tries.get() + 1);
            assert!(tries.get() <= MAX_TRIES, "there is no end");
            if tries.get() <= failures { Err(fail().await) } else { Ok(()) }
        });
        (result.await, tries.get())
    }

    #[tokio::test]
    async fn a_transaction_that_lost_is_repeated_and_any_other_failure_is_not() {
        let deadlock = async || Error::database("cannot write")(server_error(1213).await);
        assert!(matches!(retried(MAX_TRIES - 1, deadlock).await, (Ok(()), MAX_TRIES)));
        assert!(matches!(retried(u32::MAX, deadlock).await, (Err(_), MAX_TRIES)));
        let rejected = async || Error::database("cannot write")(server_error(1406).await);
        assert!(matches!(retried(u32::MAX, rejected).await, (Err(_), 1)));
        let busy = async || Error::PoolTimeout { timeout_s: 5.0, size: 2 };
        assert!(matches!(retried(u32::MAX, busy).await, (Err(_), 1)));
    }

    #[test]
    fn pauses_grow_and_differ() {
        for tries in 1..20 {
            let (pause, longest) = (pause_after(tries), FIRST_PAUSE * 48);
            assert!(pause >= FIRST_PAUSE / 2 && pause <= longest, "{tries}: {pause:?}");
        }
        assert!(pause_after(6) > pause_after(1));
    }
}
