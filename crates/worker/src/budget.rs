//! The memory that all bodies may take together: what is being read, and what waits for its commit.
//!
//! Bodies grow while they are read, and nobody knows how far. If all drew on one pool, they could come to a stand, each
//! with a part of what it needs and none able to finish. So a share of the budget is the reserve: as large as the most
//! that one fetch can need, and lent to one fetch at a time. A room that finds nothing in the pool waits for either, the
//! pool in no order and the reserve in the order of asking. Whoever has the reserve needs nobody, ends, and gives it on.

use std::pin::pin;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tracing::warn;

/// A room up to this size is a small one. The last eighth of the pool is for small ones: pages go on while large bodies
/// wait.
const SMALL: usize = 256 * 1024;
/// A wait of this length is told.
const LONG: Duration = Duration::from_secs(1);
/// How often it is told.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The budget; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Shares>);

#[derive(Debug)]
struct Shares {
    /// Bytes in all, and those of them that are the pool.
    total: usize,
    pool: usize,
    /// Bytes of the pool that nobody has; below 0 where more was charged than there is.
    free: AtomicIsize,
    /// Bytes of the pool that only small rooms may take.
    for_small: usize,
    /// The least level of `free` that helps somebody who waits; `isize::MAX` where nobody does.
    wanted: AtomicIsize,
    /// Wakes all who wait for the pool.
    given_back: Notify,
    /// The right to use the reserve.
    reserve: Arc<Semaphore>,
    told: Mutex<Option<Instant>>,
    /// How many wait for room.
    waiting: AtomicUsize,
}

/// A part of the budget, in bytes. It grows, shrinks, and is given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Room {
    bytes: usize,
    /// Absent in a room that never had any.
    shares: Option<Arc<Shares>>,
    /// Where this is held, all of the room is in the reserve, and nothing of it in the pool.
    reserve: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A budget of `total` bytes, `reserve` of them for one room at a time. No room may grow above `reserve`.
    pub(crate) fn new(total: usize, reserve: usize) -> Self {
        let pool = total.saturating_sub(reserve);
        Self(Arc::new(Shares {
            total,
            pool,
            free: AtomicIsize::new(signed(pool)),
            for_small: pool / 8,
            wanted: AtomicIsize::new(isize::MAX),
            given_back: Notify::new(),
            reserve: Arc::new(Semaphore::new(1)),
            told: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// How many bytes are lent, and how many there are. The reserve is lent as a whole.
    pub(crate) fn used(&self) -> (usize, usize) {
        let Shares { total, pool, free, reserve, .. } = &*self.0;
        let reserved = if reserve.available_permits() == 0 { total - pool } else { 0 };
        (pool.saturating_sub_signed(free.load(SeqCst)) + reserved, *total)
    }

    /// How many wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(SeqCst)
    }

    /// The memory of a message. `held` counts the bytes of all messages.
    pub(crate) fn message(&self, bytes: usize, held: &Arc<AtomicUsize>) -> MessageMemory {
        held.fetch_add(bytes, SeqCst);
        MessageMemory { bytes, held: held.clone(), _room: self.charge(bytes) }
    }

    /// The room of what is held already, whether there is room for it or not.
    fn charge(&self, bytes: usize) -> Room {
        self.0.free.fetch_sub(signed(bytes), SeqCst);
        Room { bytes, shares: Some(self.0.clone()), reserve: None }
    }

    /// An empty room.
    pub(crate) fn room(&self) -> Room {
        Room { bytes: 0, shares: Some(self.0.clone()), reserve: None }
    }
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

/// The memory of a message, which is held when it comes.
#[derive(Debug)]
pub(crate) struct MessageMemory {
    bytes: usize,
    held: Arc<AtomicUsize>,
    _room: Room,
}

impl Drop for MessageMemory {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, SeqCst);
    }
}

/// Somebody who waits for room, as a count.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(shares: &'a Shares) -> Self {
        shares.waiting.fetch_add(1, SeqCst);
        Self(&shares.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Shares {
    /// The level of `free` at which a room may grow to `to` bytes, by `more`.
    fn level(&self, to: usize, more: usize) -> isize {
        signed(if to > SMALL { more.saturating_add(self.for_small) } else { more })
    }

    fn try_take(&self, to: usize, more: usize) -> bool {
        let level = self.level(to, more);
        self.free.fetch_update(SeqCst, SeqCst, |free| (free >= level).then(|| free - signed(more))).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        let free = self.free.fetch_add(signed(bytes), SeqCst) + signed(bytes);
        if free >= self.wanted.load(SeqCst) {
            // Whoever is woken in vain says again what it wants.
            self.wanted.store(isize::MAX, SeqCst);
            self.given_back.notify_waiters();
        }
    }

    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            *told = Some(Instant::now());
            warn!(
                free_bytes = self.free.load(SeqCst),
                "bodies wait for room: --memory-budget is used up by what is being fetched or waits for its commit"
            );
        }
    }
}

impl Room {
    /// How large it is.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows to at least `to` bytes, if that can be done at once.
    pub(crate) fn try_grow(&mut self, to: usize) -> bool {
        let Some(shares) = &self.shares else { return true };
        let grown = to <= self.bytes || self.reserve.is_some() || shares.try_take(to, to - self.bytes);
        if grown {
            self.bytes = self.bytes.max(to);
        }
        grown
    }

    /// Grows to at least `to` bytes, as soon as there is room. Dropping the future leaves the room as it was.
    pub(crate) async fn grow(&mut self, to: usize) {
        if self.try_grow(to) {
            return;
        }
        let Some(shares) = self.shares.clone() else { return };
        let _waiting = Waiting::of(&shares);
        let mut waiting = pin!(self.wait(to, &shares));
        if timeout(LONG, &mut waiting).await.is_err() {
            shares.tell();
            waiting.await;
        }
    }

    async fn wait(&mut self, to: usize, shares: &Shares) {
        // One place in the queue for the whole of the wait.
        let mut reserve = pin!(shares.reserve.clone().acquire_owned());
        let level = shares.level(to, to - self.bytes);
        loop {
            // In this order: what is given back after the look wakes this up.
            let given_back = shares.given_back.notified();
            shares.wanted.fetch_min(level, SeqCst);
            if self.try_grow(to) {
                return;
            }
            tokio::select! {
                () = given_back => {}
                permit = &mut reserve => {
                    let Ok(permit) = permit else { unreachable!("the semaphore is never closed") };
                    self.reserve = Some(permit);
                    shares.give_back(std::mem::replace(&mut self.bytes, to));
                    return;
                }
            }
        }
    }

    /// Gives back what is above `to` bytes, and the reserve where the pool has room for the rest.
    pub(crate) fn shrink(&mut self, to: usize) {
        let Some(shares) = &self.shares else { return };
        let less = self.bytes.saturating_sub(to);
        self.bytes -= less;
        if self.reserve.is_none() {
            shares.give_back(less);
        } else if shares.try_take(self.bytes, self.bytes) {
            self.reserve = None;
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // The reserve is given back by its permit.
        if let (Some(shares), None) = (&self.shares, &self.reserve) {
            shares.give_back(self.bytes);
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
    fn a_room_is_given_back_when_it_is_dropped() {
        let budget = Budget::new(100 * KIB, 20 * KIB);
        let mut room = budget.room();
        assert!(room.try_grow(10 * KIB) && room.try_grow(5 * KIB));
        assert_eq!(free(&budget), 70 * KIB);
        room.shrink(3 * KIB);
        assert_eq!(free(&budget), 77 * KIB);
        assert!(!room.try_grow(81 * KIB));
        drop(room);
        assert_eq!(free(&budget), 80 * KIB);
    }

    #[tokio::test]
    async fn what_is_charged_leaves_less_to_bodies_and_may_be_more_than_there_is() {
        let budget = Budget::new(100 * KIB, 20 * KIB);
        let charged = budget.charge(90 * KIB);
        let mut room = budget.room();
        assert!(!room.try_grow(1));
        assert_eq!(budget.used().0, 90 * KIB);
        // One at a time may use the reserve all the same.
        room.grow(KIB).await;
        drop((charged, room));
        assert_eq!(free(&budget), 80 * KIB);
    }

    #[tokio::test]
    async fn one_that_finds_the_pool_empty_gets_the_reserve_and_gives_its_share_of_the_pool_on() {
        let budget = Budget::new(100 * KIB, 20 * KIB);
        let (mut first, mut second, mut third) = (budget.room(), budget.room(), budget.room());
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
        // What is done leaves the reserve to the next one as soon as the pool can hold it.
        third.shrink(12 * KIB);
        assert!(third.reserve.is_some());
        third.shrink(8 * KIB);
        assert_eq!((third.reserve.is_none(), free(&budget)), (true, 2 * KIB));
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_leaves_nothing_behind() {
        let budget = Budget::new(100 * KIB, 20 * KIB);
        let (mut first, mut second, mut third) = (budget.room(), budget.room(), budget.room());
        first.grow(80 * KIB).await;
        second.grow(20 * KIB).await;
        assert!(timeout(Duration::from_millis(10), third.grow(20 * KIB)).await.is_err());
        assert_eq!(third.bytes, 0);
        drop((first, second, third));
        assert_eq!((free(&budget), budget.0.reserve.available_permits()), (80 * KIB, 1));
    }

    #[tokio::test]
    async fn large_rooms_leave_some_of_the_pool_to_small_ones() {
        let budget = Budget::new(1024 * KIB, 224 * KIB);
        let (mut large, mut small) = (budget.room(), budget.room());
        assert!(!large.try_grow(701 * KIB) && large.try_grow(700 * KIB));
        assert!(small.try_grow(100 * KIB) && !small.try_grow(101 * KIB));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn however_bodies_grow_all_end_and_never_exceed_the_budget_together() {
        // In multiples of what counts as small, so that both kinds meet.
        const RESERVE: usize = 3 * SMALL;
        const TOTAL: usize = 8 * SMALL;
        let budget = Budget::new(TOTAL, RESERVE);
        let held = Arc::new(AtomicUsize::new(0));
        let mut bodies = JoinSet::new();
        for _ in 0..2_000 {
            let (budget, held) = (budget.clone(), held.clone());
            bodies.spawn(async move {
                let mut room = budget.room();
                let (mut size, end) = (0, rand::rng().random_range(1..=RESERVE));
                while size < end {
                    let next = (size + rand::rng().random_range(1..=SMALL)).min(end);
                    // Some give up, as a fetch does whose time is over.
                    let patience = Duration::from_micros(rand::rng().random_range(0..200_000));
                    if timeout(patience, room.grow(next)).await.is_err() && rand::rng().random_bool(0.1) {
                        break;
                    }
                    room.grow(next).await;
                    let sum = held.fetch_add(next - size, SeqCst) + next - size;
                    assert!(sum <= TOTAL, "{sum} bytes of {TOTAL}");
                    size = next;
                    tokio::task::yield_now().await;
                }
                let kept = size / 2;
                held.fetch_sub(size - kept, SeqCst);
                room.shrink(kept);
                tokio::task::yield_now().await;
                held.fetch_sub(kept, SeqCst);
            });
        }
        let all = async { while bodies.join_next().await.transpose().unwrap().is_some() {} };
        timeout(Duration::from_secs(60), all).await.expect("bodies wait for each other");
        assert_eq!((free(&budget), budget.0.reserve.available_permits()), (TOTAL - RESERVE, 1));
    }
}
