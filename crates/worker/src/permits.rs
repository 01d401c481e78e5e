//! How many fetches there are at once; an operator may change that at any time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The permits of a worker.
#[derive(Debug)]
pub(crate) struct Permits {
    free: Arc<Semaphore>,
    /// How many are out that there should not be: each is taken out of use when it comes back.
    excess: AtomicUsize,
    size: Mutex<usize>,
}

impl Permits {
    pub(crate) fn new(size: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(size)), excess: AtomicUsize::new(0), size: Mutex::new(size) }
    }

    /// Waits for a permit, in turn; fails when they are closed.
    pub(crate) async fn take(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        loop {
            let permit = self.free.clone().acquire_owned().await?;
            if !self.is_excess() {
                return Ok(permit);
            }
            permit.forget();
        }
    }

    /// From now on there are so many. What is under way goes on.
    pub(crate) fn resize(&self, to: usize) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let from = std::mem::replace(&mut *size, to);
        // First, what is too many already becomes right by itself, or is taken back.
        if to >= from {
            let mut more = to - from;
            while more > 0 && self.is_excess() {
                more -= 1;
            }
            self.free.add_permits(more);
        } else {
            let less = from - to;
            let forgotten = self.free.forget_permits(less);
            self.excess.fetch_add(less - forgotten, Ordering::Relaxed);
        }
    }

    /// From now on nobody gets one.
    pub(crate) fn close(&self) {
        self.free.close();
    }

    /// Whether there is one too many; then there is one less of these.
    fn is_excess(&self) -> bool {
        self.excess.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |excess| excess.checked_sub(1)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many can be had at once.
    async fn all(permits: &Permits) -> Vec<OwnedSemaphorePermit> {
        let mut taken = Vec::new();
        while let Ok(permit) = tokio::time::timeout(std::time::Duration::from_millis(1), permits.take()).await {
            taken.push(permit.unwrap());
        }
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_as_many_as_was_said_last_whatever_is_out() {
        let permits = Permits::new(5);
        let mut out = all(&permits).await;
        assert_eq!(out.len(), 5);
        permits.resize(2);
        out.truncate(3);
        assert_eq!(all(&permits).await.len(), 0, "three are out, and two are allowed");
        out.truncate(1);
        assert_eq!(all(&permits).await.len(), 1);
        permits.resize(4);
        assert_eq!(all(&permits).await.len(), 3);
        drop(out);
        assert_eq!(all(&permits).await.len(), 4);
        permits.resize(1);
        permits.resize(3);
        assert_eq!(all(&permits).await.len(), 3);
    }
}
