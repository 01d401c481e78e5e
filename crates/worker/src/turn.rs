//! A task's turn: no more than so many fetches at once in all and at one host, and the next slot of a host that is
//! limited over all workers.
//!
//! Whoever waits for a host holds nothing that another host's tasks need: the worker's permit comes last. What would wait
//! for its host for too long does not wait here at all, but in one of the broker's delay queues.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::Address;
use fetchline_store::{Reserved, Store};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::control::Control;
use crate::host::{Host, Hosts, Visit, Waiting};
use crate::limits::{Limit, Limits};
use crate::pace::Pace;
use crate::permits::Permits;
use crate::services::Services;
use crate::waits::Waits;

/// Gives turns.
pub(crate) struct Turns {
    pub(crate) permits: Permits,
    pub(crate) waits: Waits,
    pub(crate) control: Control,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) store: Arc<Store>,
    pub(crate) services: Services,
    /// What would wait for its host for longer waits elsewhere.
    pub(crate) patience: Duration,
    /// How long nothing is begun while the database is away, before messages are given back.
    pub(crate) hold: Duration,
    pub(crate) stop: CancellationToken,
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// The worker stops, or the database is away for too long: another worker may have the message.
    GiveBack,
    /// The host has no slot for about this long.
    Later(Duration),
}

/// The right to send a request to a host. Dropping it lets the next one have its turn.
pub(crate) struct Turn {
    pub(crate) turns: Arc<Turns>,
    /// Where the next request goes.
    pub(crate) visit: Visit,
    /// The host's, and the worker's.
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Turns {
    /// Keeps to the concurrency that operators want.
    pub(crate) async fn follow(&self) {
        let mut orders = self.control.now();
        loop {
            self.permits.resize(orders.concurrency);
            orders = self.control.changed_from(orders).await;
        }
    }

    /// From now on nobody gets a turn.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.hosts.close();
    }

    /// Waits for a turn at the host of an address.
    pub(crate) async fn take(self: &Arc<Self>, address: &Address) -> Result<Turn, NoTurn> {
        let mut turn = Turn { turns: self.clone(), visit: self.hosts.visit(address.host()), permits: None };
        turn.wait().await?;
        Ok(turn)
    }

    /// A place among those who are fetched from one host at once.
    async fn place(&self, host: &Host) -> Result<OwnedSemaphorePermit, NoTurn> {
        if let Ok(permit) = host.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        // Boxed, as all that not every task has to go through: each would have room for it from its beginning to its end.
        Box::pin(self.wait_for_place(host)).await
    }

    async fn wait_for_place(&self, host: &Host) -> Result<OwnedSemaphorePermit, NoTurn> {
        let _waiting = self.waits.host.one();
        let mut changes = self.limits.changes();
        let mut free = std::pin::pin!(host.permits.clone().acquire_owned());
        let mut patience_ends = Instant::now() + self.patience;
        let mut places = host.places();
        loop {
            tokio::select! {
                permit = &mut free => {
                    host.place_is_given();
                    return permit.map_err(|_| NoTurn::GiveBack);
                }
                _ = changes.changed() => {
                    let wait = self.limits.of(&host.name).and_then(|limit| limit.stands_still(Instant::now()));
                    if let Some(wait) = wait.filter(|wait| *wait > self.patience) {
                        return Err(NoTurn::Later(wait));
                    }
                }
                () = tokio::time::sleep_until(patience_ends) => {
                    // Nothing moves while the database is away.
                    if self.services.database_is_up() {
                        // Those that came first are first: one that has come so far stays if the rest is short.
                        let given = host.places() - std::mem::replace(&mut places, host.places());
                        let wait = self.patience.mul_f64(host.waiting() as f64 / given.max(1) as f64);
                        if given == 0 || wait > self.patience {
                            return Err(NoTurn::Later(wait.max(self.patience)));
                        }
                    }
                    self.database().await?;
                    patience_ends = Instant::now() + self.patience;
                }
            }
        }
    }

    /// Fails where it is known already that the host has no slot for too long.
    fn look_ahead(&self, host: &Host) -> Result<(), NoTurn> {
        let Some(limit) = self.limits.of(&host.name) else { return Ok(()) };
        let queue = limit.interval.map(|interval| host.wait(interval));
        match limit.stands_still(Instant::now()).max(queue) {
            Some(wait) if wait > self.patience => Err(NoTurn::Later(wait)),
            _ => Ok(()),
        }
    }

    /// One of the worker's permits. While the database is away nothing is begun: the result could only be held.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, NoTurn> {
        let waiting = self.waits.concurrency.one();
        let permit = self.permits.take().await.map_err(|_| NoTurn::GiveBack)?;
        drop(waiting);
        self.database().await?;
        Ok(permit)
    }

    /// Waits until the database answers.
    pub(crate) async fn database(&self) -> Result<(), NoTurn> {
        if self.services.database_is_up() {
            return Ok(());
        }
        Box::pin(async {
            tokio::select! {
                () = self.services.database_up() => Ok(()),
                () = self.services.database_down_for(self.hold) => Err(NoTurn::GiveBack),
                () = self.stop.cancelled() => Err(NoTurn::GiveBack),
            }
        })
        .await
    }

    /// Sleeps, unless the worker stops.
    pub(crate) async fn pause(&self, pause: Duration) -> Result<(), NoTurn> {
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.stop.cancelled() => Err(NoTurn::GiveBack),
        }
    }

    /// Waits for the next slot of a limited host, and then for a permit of the worker. Only the first of those who wait
    /// for a host gets so far as to hold a permit while it waits for a slot, and only when it had a slot before and no
    /// permit came in time.
    async fn paced(&self, host: &Host) -> Result<OwnedSemaphorePermit, NoTurn> {
        let mut waiting = self.waits.rate.one();
        let mut changes = self.limits.changes();
        let mut pace = host.pace.lock().await;
        let mut permit = None;
        loop {
            if self.stop.is_cancelled() {
                return Err(NoTurn::GiveBack);
            }
            changes.mark_unchanged();
            let Some(Limit { interval, paused, cools_until }) = self.limits.of(&host.name) else {
                break;
            };
            let now = Instant::now();
            let slot = if paused {
                return Err(NoTurn::Later(Duration::MAX));
            } else if let Some(until) = cools_until.filter(|until| *until > now) {
                if until - now > self.patience {
                    return Err(NoTurn::Later(until - now));
                }
                until
            } else if let Some(interval) = interval {
                pace.keep(interval);
                let slot = pace.next(now);
                if slot.is_none() || (pace.runs_out() && host.waiting() > 1) {
                    match self.reserve(host, &mut pace, interval).await {
                        // There is one slot to be used yet.
                        Err(NoTurn::Later(_)) if slot.is_some() => {}
                        reserved => reserved?,
                    }
                }
                let Some(slot) = pace.next(Instant::now()) else { continue };
                slot
            } else {
                break;
            };
            if slot > Instant::now() {
                tokio::select! {
                    () = tokio::time::sleep_until(slot) => {}
                    _ = changes.changed() => {}
                    () = self.stop.cancelled() => {}
                }
            } else if let Some(permit) = permit.take() {
                pace.take();
                return Ok(permit);
            } else {
                // Meanwhile it waits for that, and counts as one that does.
                drop(waiting);
                permit = Some(self.permit().await?);
                waiting = self.waits.rate.one();
            }
        }
        drop(waiting);
        // No limit any more.
        match permit {
            Some(permit) => Ok(permit),
            None => self.permit().await,
        }
    }

    /// Reserves the next slots, through outages of the database.
    async fn reserve(&self, host: &Host, pace: &mut Pace, interval: Duration) -> Result<(), NoTurn> {
        let mut backoff = Backoff::default();
        let slots = pace.wanted(host.waiting());
        loop {
            match self.store.reserve(&host.name, slots, interval, self.patience).await {
                Ok(Reserved::From(first)) => {
                    let first = Instant::from_std(first);
                    pace.reserved(first, slots);
                    host.spaced(first.duration_since(Instant::now()) + interval * slots, slots);
                    self.services.database_answers();
                    return Ok(());
                }
                Ok(Reserved::Later(wait)) => return Err(NoTurn::Later(wait)),
                Ok(Reserved::Paused) => return Err(NoTurn::Later(Duration::MAX)),
                Ok(Reserved::Unlimited) => {
                    self.limits.forget(&host.name);
                    return Ok(());
                }
                Err(error) => self.services.database_fails_unless_busy(&self.store, &error),
            }
            self.database().await?;
            self.pause(backoff.next_pause()).await?;
        }
    }
}

impl Turn {
    /// The turn for one more request, to wherever a redirect led. What is held is let go of first.
    pub(crate) async fn next(&mut self, address: &Address) -> Result<(), NoTurn> {
        let elsewhere = &*self.visit.name != address.host();
        if elsewhere {
            self.visit = self.turns.hosts.visit(address.host());
        }
        let limited = self.turns.limits.of(address.host()).is_some();
        // When the worker stops, nothing new is begun, and what was begun is finished with what it has.
        let has_it = self.permits.is_some() && !elsewhere;
        if !limited && (has_it || self.turns.stop.is_cancelled()) {
            return Ok(());
        }
        let turns = self.turns.clone();
        tokio::select! {
            biased;
            turn = self.wait() => turn,
            // What has to wait is not begun any more.
            () = turns.control.pauses() => Err(NoTurn::GiveBack),
        }
    }

    /// Lets others have their turns, while this one waits for something else. [`Self::next`] takes it again.
    pub(crate) fn let_go(&mut self) {
        self.permits = None;
    }

    async fn wait(&mut self) -> Result<(), NoTurn> {
        self.let_go();
        let (turns, host) = (&self.turns, &*self.visit);
        turns.look_ahead(host)?;
        let waiting = Waiting::at(host);
        let place = turns.place(host).await?;
        let permit = loop {
            if turns.limits.of(&host.name).is_some() {
                // Boxed, so that those who need not wait for a slot do not have room for it.
                break Box::pin(turns.paced(host)).await?;
            }
            let permit = turns.permit().await?;
            // It may have been limited while this one waited.
            if turns.limits.of(&host.name).is_none() {
                break permit;
            }
        };
        drop(waiting);
        host.sends();
        self.permits = Some((place, permit));
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use fetchline_store::StoreConfig;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    /// Turns at hosts that nothing limits. The database is not asked for them.
    pub(crate) fn turns(concurrency: usize, per_host: usize) -> Arc<Turns> {
        let config =
            StoreConfig { url: "mysql://root@127.0.0.1:9/x".to_owned(), pool: 1, pool_timeout: Duration::ZERO };
        let services = Services::new();
        services.database_takes_rows();
        Arc::new(Turns {
            permits: Permits::new(concurrency),
            waits: Waits::default(),
            control: Control::new(concurrency),
            hosts: Arc::new(Hosts::new(per_host)),
            limits: Arc::new(Limits::default()),
            store: Arc::new(Store::open(config).unwrap()),
            services,
            patience: Duration::from_secs(20),
            hold: Duration::from_secs(600),
            stop: CancellationToken::new(),
        })
    }

    pub(crate) fn at(host: &str) -> Address {
        Address::parse(&format!("http://{host}/")).unwrap()
    }

    /// Somebody who waits for a turn, and says what came of it.
    fn waiting(turns: &Arc<Turns>, host: &'static str) -> JoinHandle<Option<NoTurn>> {
        let turns = turns.clone();
        tokio::spawn(async move { turns.take(&at(host)).await.err() })
    }

    /// Whether somebody who asks for a turn has to wait.
    async fn waits(turns: &Arc<Turns>, host: &str) -> bool {
        timeout(Duration::from_millis(1), turns.take(&at(host))).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_at_one_host_and_in_all() {
        let turns = turns(3, 2);
        let first = turns.take(&at("a.example")).await;
        let second = turns.take(&at("a.example")).await;
        assert!(first.is_ok() && second.is_ok() && waits(&turns, "a.example").await);
        let other = turns.take(&at("b.example")).await;
        assert!(other.is_ok() && waits(&turns, "c.example").await, "three in all");
        drop(first);
        assert!(!waits(&turns, "c.example").await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_one_host_holds_up_no_other() {
        let turns = turns(2, 1);
        let busy = turns.take(&at("a.example")).await;
        let queue: Vec<_> = (0..100)
            .map(|_| {
                tokio::spawn({
                    let turns = turns.clone();
                    async move { turns.take(&at("a.example")).await.is_ok() }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(!waits(&turns, "b.example").await);
        drop((busy, queue));
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_wait_for_too_long_does_not_wait_here() {
        let turns = turns(2, 1);
        let _busy = turns.take(&at("a.example")).await;
        assert_eq!(turns.take(&at("a.example")).await.err(), Some(NoTurn::Later(Duration::from_secs(20))));
        turns.limits.cool_down("b.example", Instant::now() + Duration::from_secs(90));
        let Err(NoTurn::Later(wait)) = turns.take(&at("b.example")).await else { panic!("it cools down") };
        assert_eq!(wait.as_secs_f64().round(), 90.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_cools_down_for_a_moment_is_waited_for() {
        let turns = turns(2, 1);
        turns.limits.cool_down("a.example", Instant::now() + Duration::from_secs(7));
        let started = Instant::now();
        assert!(turns.take(&at("a.example")).await.is_ok());
        assert_eq!(started.elapsed().as_secs(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_for_long_stays_if_places_come_free_fast_enough() {
        let turns = turns(1, 1);
        let ends = async |tasks: u32, each: Duration| {
            let tasks: Vec<_> = (0..tasks)
                .map(|_| {
                    tokio::spawn({
                        let turns = turns.clone();
                        async move {
                            let _turn = turns.take(&at("a.example")).await?;
                            tokio::time::sleep(each).await;
                            Ok::<(), NoTurn>(())
                        }
                    })
                })
                .collect();
            let mut later = 0;
            for task in tasks {
                later += u32::from(task.await.unwrap().is_err());
            }
            later
        };
        assert_eq!(ends(25, Duration::from_secs(1)).await, 0);
        // One in 30 s, or ten in line: it takes too long for all but the first.
        assert_eq!(ends(3, Duration::from_secs(30)).await, 2);
        assert!(ends(100, Duration::from_secs(1)).await > 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_redirect_to_a_host_that_is_busy_lets_go_of_what_it_holds() {
        let turns = turns(2, 1);
        let busy = turns.take(&at("b.example")).await;
        let mut turn = turns.take(&at("a.example")).await.ok().unwrap();
        let hopping = tokio::spawn(async move { turn.next(&at("b.example")).await.map(|()| turn.visit.name.clone()) });
        tokio::task::yield_now().await;
        assert!(!waits(&turns, "a.example").await, "its place and its permit are free");
        drop(busy);
        assert_eq!(hopping.await.unwrap().as_deref(), Ok("b.example"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_when_the_worker_stops_may_follow_its_redirects() {
        let turns = turns(1, 1);
        let mut turn = turns.take(&at("a.example")).await.ok().unwrap();
        turns.stop.cancel();
        turns.close();
        assert_eq!(turn.next(&at("b.example")).await, Ok(()));
        assert_eq!(turns.take(&at("b.example")).await.err(), Some(NoTurn::GiveBack));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_seen_by_those_who_wait_for_a_place() {
        let turns = turns(2, 1);
        let _busy = turns.take(&at("a.example")).await;
        let waiting = waiting(&turns, "a.example");
        tokio::task::yield_now().await;
        let started = Instant::now();
        turns.limits.cool_down("a.example", Instant::now() + Duration::from_secs(600));
        assert!(matches!(waiting.await.unwrap(), Some(NoTurn::Later(wait)) if wait > Duration::from_secs(590)));
        assert!(started.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_when_the_worker_stops_gets_no_turn() {
        let turns = turns(1, 2);
        let _busy = turns.take(&at("a.example")).await;
        let waiting = waiting(&turns, "b.example");
        tokio::task::yield_now().await;
        turns.close();
        assert_eq!(waiting.await.unwrap(), Some(NoTurn::GiveBack));
        assert_eq!(turns.take(&at("c.example")).await.err(), Some(NoTurn::GiveBack));
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_database_is_away_nothing_is_begun_and_after_the_hold_it_is_given_back() {
        let turns = turns(1, 1);
        turns.services.database_fails("away");
        let started = Instant::now();
        assert_eq!(turns.take(&at("a.example")).await.err(), Some(NoTurn::GiveBack));
        assert_eq!(started.elapsed().as_secs(), 600);
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(&at("a.example")).await.is_ok() }
        });
        turns.services.database_takes_rows();
        assert!(waiting.await.unwrap());
    }
}
