//! The bound on the memory of all bodies: those being read and those that wait for their commit.
//!
//! Bodies grow while they are read, and their final size is unknown. If all of them drew on one
//! pool, they could deadlock, each with a part of what it needs and none able to finish. A share
//! of the budget is therefore the reserve: as large as the most that one fetch can need, and lent
//! to one fetch at a time. A reservation that does not fit into the pool waits for the pool or the
//! reserve, whichever is free first. The pool serves waiters in no order, the reserve in order of
//! arrival. The owner of the reserve waits for nobody, so it finishes and passes the reserve on.

use std::pin::pin;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::log_interval::is_due;

/// A reservation of at most this size is small. The last eighth of the pool is for small ones, so
/// that ordinary pages proceed while large bodies wait.
const SMALL: usize = 256 * 1024;
/// A wait of this length is logged.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// The budget; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Shares>);

#[derive(Debug)]
struct Shares {
    /// Bytes of the pool and of the reserve together.
    total: usize,
    /// Bytes of the pool.
    pool: usize,
    /// Free bytes of the pool; negative if more was charged than the pool has.
    free: AtomicIsize,
    /// Bytes of the pool that only small reservations may use.
    for_small: usize,
    /// The lowest level of `free` that serves a waiter; `isize::MAX` if nobody waits.
    wanted: AtomicIsize,
    /// Wakes all that wait for the pool.
    released: Notify,
    /// One permit: the right to use the reserve.
    reserve: Arc<Semaphore>,
    warned_at: Mutex<Option<Instant>>,
    /// The number of fetches that wait for a reservation.
    waiting: AtomicUsize,
}

/// A part of the budget, in bytes. It grows and shrinks, and drop releases it.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    bytes: usize,
    /// `None` for a reservation that belongs to no budget.
    shares: Option<Arc<Shares>>,
    /// If present, all bytes come from the reserve and none from the pool.
    reserve: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// Creates a budget of `total` bytes; `reserve` of them are lent to one reservation at a time.
    /// No reservation may grow above `reserve`.
    pub(crate) fn new(total: usize, reserve: usize) -> Self {
        let pool = total.saturating_sub(reserve);
        Self(Arc::new(Shares {
            total,
            pool,
            free: AtomicIsize::new(signed(pool)),
            for_small: pool / 8,
            wanted: AtomicIsize::new(isize::MAX),
            released: Notify::new(),
            reserve: Arc::new(Semaphore::new(1)),
            warned_at: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// Returns the bytes in use and the bytes in all. A lent reserve counts as a whole.
    pub(crate) fn used(&self) -> (usize, usize) {
        let Shares { total, pool, free, reserve, .. } = &*self.0;
        let reserved = if reserve.available_permits() == 0 { total - pool } else { 0 };
        (pool.saturating_sub_signed(free.load(SeqCst)) + reserved, *total)
    }

    /// Returns the number of fetches that wait for a reservation.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(SeqCst)
    }

    /// Charges the memory of a message. `held` counts the bytes of all messages.
    pub(crate) fn message(&self, bytes: usize, held: &Arc<AtomicUsize>) -> MessageReservation {
        held.fetch_add(bytes, SeqCst);
        MessageReservation { bytes, held: held.clone(), _reservation: self.charge(bytes) }
    }

    /// Reserves bytes that are in use already, even if the pool does not have them.
    fn charge(&self, bytes: usize) -> Reservation {
        self.0.free.fetch_sub(signed(bytes), SeqCst);
        Reservation { bytes, shares: Some(self.0.clone()), reserve: None }
    }

    /// Returns an empty reservation.
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation { bytes: 0, shares: Some(self.0.clone()), reserve: None }
    }
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

/// The memory of a message; it is in use from the moment of delivery.
#[derive(Debug)]
pub(crate) struct MessageReservation {
    bytes: usize,
    held: Arc<AtomicUsize>,
    _reservation: Reservation,
}

impl Drop for MessageReservation {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, SeqCst);
    }
}

/// Counts one waiter while it lives.
struct WaitGuard<'a>(&'a AtomicUsize);

impl<'a> WaitGuard<'a> {
    fn new(shares: &'a Shares) -> Self {
        shares.waiting.fetch_add(1, SeqCst);
        Self(&shares.waiting)
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Shares {
    /// The level of `free` at which a reservation may grow by `more` bytes to `size` bytes.
    fn required_level(&self, size: usize, more: usize) -> isize {
        signed(if size > SMALL { more.saturating_add(self.for_small) } else { more })
    }

    fn try_acquire(&self, size: usize, more: usize) -> bool {
        let level = self.required_level(size, more);
        self.free
            .fetch_update(SeqCst, SeqCst, |free| (free >= level).then(|| free - signed(more)))
            .is_ok()
    }

    fn release(&self, bytes: usize) {
        let free = self.free.fetch_add(signed(bytes), SeqCst) + signed(bytes);
        if free >= self.wanted.load(SeqCst) {
            // A waiter that is woken in vain states its level again.
            self.wanted.store(isize::MAX, SeqCst);
            self.released.notify_waiters();
        }
    }

    fn warn_of_shortage(&self) {
        let mut warned_at = self.warned_at.lock().unwrap_or_else(PoisonError::into_inner);
        if is_due(&mut warned_at) {
            warn!(
                free_bytes = self.free.load(SeqCst),
                "fetches wait for memory: bodies in flight and uncommitted results use up the \
                 memory budget; raise it or lower the concurrency"
            );
        }
    }
}

impl Reservation {
    /// The size in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows to at least `size` bytes if that is possible at once, and returns whether it is.
    pub(crate) fn try_grow(&mut self, size: usize) -> bool {
        let Some(shares) = &self.shares else { return true };
        let has_grown = size <= self.bytes
            || self.reserve.is_some()
            || shares.try_acquire(size, size - self.bytes);
        if has_grown {
            self.bytes = self.bytes.max(size);
        }
        has_grown
    }

    /// Grows to at least `size` bytes and waits until that is possible. If the future is dropped,
    /// the reservation keeps its size.
    pub(crate) async fn grow(&mut self, size: usize) {
        if self.try_grow(size) {
            return;
        }
        let Some(shares) = self.shares.clone() else { return };
        let _guard = WaitGuard::new(&shares);
        let mut growing = pin!(self.wait_and_grow(size, &shares));
        if timeout(LONG_WAIT, &mut growing).await.is_err() {
            shares.warn_of_shortage();
            growing.await;
        }
    }

    async fn wait_and_grow(&mut self, size: usize, shares: &Shares) {
        // Created once, so that this waiter keeps its position in the semaphore's queue.
        let mut reserve = pin!(shares.reserve.clone().acquire_owned());
        let level = shares.required_level(size, size - self.bytes);
        loop {
            // The order matters: a release after `try_grow` wakes this waiter.
            let released = shares.released.notified();
            shares.wanted.fetch_min(level, SeqCst);
            if self.try_grow(size) {
                return;
            }
            tokio::select! {
                () = released => {}
                permit = &mut reserve => {
                    let Ok(permit) = permit else { unreachable!("the semaphore is never closed") };
                    self.reserve = Some(permit);
                    shares.release(std::mem::replace(&mut self.bytes, size));
                    return;
                }
            }
        }
    }

    /// Shrinks to at most `size` bytes, and releases the reserve if the rest fits into the pool.
    pub(crate) fn shrink(&mut self, size: usize) {
        let Some(shares) = &self.shares else { return };
        let less = self.bytes.saturating_sub(size);
        self.bytes -= less;
        if self.reserve.is_none() {
            shares.release(less);
        } else if shares.try_acquire(self.bytes, self.bytes) {
            self.reserve = None;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // The permit releases the reserve.
        if let (Some(shares), None) = (&self.shares, &self.reserve) {
            shares.release(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;
    use tokio::task::JoinSet;

    use super::*;

    const KIB: usize = 1024;

    fn free(budget: &Budget) -> usize {
        usize::try_from(budget.0.free.load(SeqCst)).unwrap()
    }

    #[test]
    fn a_dropped_reservation_is_released() {
        let budget = Budget::new(100 * KIB, 20 * KIB);
        let mut reservation = budget.reservation();
        assert!(reservation.try_grow(10 * KIB) && reservation.try_grow(5 * KIB));
        assert_eq!(free(&budget), 70 * KIB);
        reservation.shrink(3 * KIB);
        assert_eq!(free(&budget), 77 * KIB);
        assert!(!reservation.try_grow(81 * KIB));
        drop(reservation);
        assert_eq!(free(&budget), 80 * KIB);
    }

    #[tokio::test]
    async fn a_charge_leaves_less_to_bodies_and_may_exceed_the_pool() {
        let budget = Budget::new(100 * KIB, 20 * KIB);
        let charged = budget.charge(90 * KIB);
        let mut reservation = budget.reservation();
        assert!(!reservation.try_grow(1));
        assert_eq!(budget.used().0, 90 * KIB);
        // One reservation at a time may still use the reserve.
        reservation.grow(KIB).await;
        drop((charged, reservation));
        assert_eq!(free(&budget), 80 * KIB);
    }

    #[tokio::test]
    async fn a_reservation_that_does_not_fit_the_pool_moves_to_the_reserve() {
        let budget = Budget::new(100 * KIB, 20 * KIB);
        let (mut first, mut second, mut third) =
            (budget.reservation(), budget.reservation(), budget.reservation());
        first.grow(70 * KIB).await;
        second.grow(10 * KIB).await;
        second.grow(20 * KIB).await;
        assert_eq!((second.reserve.is_some(), free(&budget)), (true, 10 * KIB));
        third.grow(10 * KIB).await;
        let waiting = tokio::spawn(async move {
            third.grow(15 * KIB).await;
            third
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        third = waiting.await.unwrap();
        assert_eq!((third.reserve.is_some(), free(&budget)), (true, 10 * KIB));
        // A finished body leaves the reserve as soon as the pool can hold it.
        third.shrink(12 * KIB);
        assert!(third.reserve.is_some());
        third.shrink(8 * KIB);
        assert_eq!((third.reserve.is_none(), free(&budget)), (true, 2 * KIB));
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_nothing_behind() {
        let budget = Budget::new(100 * KIB, 20 * KIB);
        let (mut first, mut second, mut third) =
            (budget.reservation(), budget.reservation(), budget.reservation());
        first.grow(80 * KIB).await;
        second.grow(20 * KIB).await;
        assert!(timeout(Duration::from_millis(10), third.grow(20 * KIB)).await.is_err());
        assert_eq!(third.bytes, 0);
        drop((first, second, third));
        assert_eq!((free(&budget), budget.0.reserve.available_permits()), (80 * KIB, 1));
    }

    #[tokio::test]
    async fn large_reservations_leave_a_part_of_the_pool_to_small_ones() {
        let budget = Budget::new(1024 * KIB, 224 * KIB);
        let (mut large, mut small) = (budget.reservation(), budget.reservation());
        assert!(!large.try_grow(701 * KIB) && large.try_grow(700 * KIB));
        assert!(small.try_grow(100 * KIB) && !small.try_grow(101 * KIB));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn bodies_that_grow_at_random_all_finish_within_the_budget() {
        // Multiples of SMALL, so that small and large reservations compete.
        const RESERVE: usize = 3 * SMALL;
        const TOTAL: usize = 8 * SMALL;
        let budget = Budget::new(TOTAL, RESERVE);
        let held = Arc::new(AtomicUsize::new(0));
        let mut bodies = JoinSet::new();
        for _ in 0..2_000 {
            let (budget, held) = (budget.clone(), held.clone());
            bodies.spawn(async move {
                let mut reservation = budget.reservation();
                let (mut size, end) = (0, rand::rng().random_range(1..=RESERVE));
                while size < end {
                    let next = (size + rand::rng().random_range(1..=SMALL)).min(end);
                    // Some waits are cancelled, like those of a fetch that times out.
                    let patience = Duration::from_micros(rand::rng().random_range(0..200_000));
                    if timeout(patience, reservation.grow(next)).await.is_err()
                        && rand::rng().random_bool(0.1)
                    {
                        break;
                    }
                    reservation.grow(next).await;
                    let sum = held.fetch_add(next - size, SeqCst) + next - size;
                    assert!(sum <= TOTAL, "{sum} bytes of {TOTAL}");
                    size = next;
                    tokio::task::yield_now().await;
                }
                let kept = size / 2;
                held.fetch_sub(size - kept, SeqCst);
                reservation.shrink(kept);
                tokio::task::yield_now().await;
                held.fetch_sub(kept, SeqCst);
            });
        }
        let all = async { while bodies.join_next().await.transpose().unwrap().is_some() {} };
        timeout(Duration::from_secs(60), all).await.expect("bodies deadlock");
        assert_eq!((free(&budget), budget.0.reserve.available_permits()), (TOTAL - RESERVE, 1));
    }
}
