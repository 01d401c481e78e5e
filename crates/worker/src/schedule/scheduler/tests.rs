use std::sync::Mutex;

use fetchline_queue::{Address, Broker, DeferReason, FetchRequest, Key, RawMessage, Task};
use fetchline_store::StoreConfig;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::frontier::WaitCounts;
use super::super::handle::channel;
use super::*;
use crate::settle::{Claims, Receipt};

/// Keeps the places of started tasks, and logs what happens to each task.
#[derive(Default)]
struct Fake {
    started: Mutex<Vec<Place>>,
    log: Mutex<Vec<String>>,
}

impl Fake {
    fn record(&self, what: &str, job: &Job) {
        self.log
            .lock()
            .unwrap()
            .push(format!("{what} {}", job.task.request.address.as_url().path()));
    }
}

impl Execute for Fake {
    fn start(self: Arc<Self>, job: Box<Job>, place: Place) {
        self.record("start", &job);
        self.started.lock().unwrap().push(place);
    }

    fn defer(&self, job: Box<Job>, tier: Tier, _: DeferReason) {
        self.record(&format!("defer {}", tier.delay().as_secs()), &job);
    }

    fn requeue(&self, job: Box<Job>) {
        self.record("requeue", &job);
    }

    fn record_cancelled(&self, job: Box<Job>) {
        self.record("cancel", &job);
    }
}

/// A scheduler that never queries its database.
struct World {
    scheduler: SchedulerHandle,
    snapshots: Snapshots,
    dependencies: Dependencies,
    fake: Arc<Fake>,
    claims: Claims,
    running: JoinHandle<()>,
}

fn world(concurrency: usize) -> World {
    let (scheduler, events) = channel();
    let snapshots = Snapshots::new(concurrency);
    let dependencies = Dependencies::new(snapshots.clone());
    dependencies.database_takes_rows();
    let url = "mysql://root@127.0.0.1:9/x".to_owned();
    let config = StoreConfig { url, pool: 1, pool_timeout: Duration::from_secs(1) };
    let broker = fetchline_queue::BrokerConfig {
        url: "amqp://127.0.0.1:9".to_owned(),
        ca: None,
        prefix: "p".to_owned(),
    };
    let fake = Arc::new(Fake::default());
    let scheduling = Collaborators {
        scheduler: scheduler.clone(),
        executor: fake.clone(),
        snapshots: snapshots.clone(),
        dependencies: dependencies.clone(),
        store: Arc::new(Store::open(config).unwrap()),
        queue: QueueDepth {
            broker: Broker::new(&broker, fetchline_queue::Role::Consume, "pod").unwrap(),
            session: watch::channel(None).1,
        },
        scarce: Arc::default(),
    };
    let tier = Tier::of(Duration::from_secs(10)).unwrap();
    let settings = Settings {
        concurrency,
        per_host: 1,
        prefetch: 100,
        deferral: Deferral::new(&[tier]),
        hold: Duration::from_secs(600),
    };
    let claims = Claims::default();
    claims.session_opened(1);
    World {
        running: tokio::spawn(scheduling.run(settings, events)),
        scheduler,
        snapshots,
        dependencies,
        fake,
        claims,
    }
}

fn at(url: &str) -> Address {
    Address::parse(&format!("http://{url}")).unwrap()
}

impl World {
    fn submit(&self, url: &str) {
        let request = FetchRequest::get(at(url));
        let key = Key::of_other_program("run", request.address.as_str());
        let task = Task::new(request, "run".to_owned(), "part".to_owned(), key);
        let receipt = Receipt { session: 1, tag: 1, delivered: tokio::time::Instant::now() };
        let claim = self.claims.claim(&task, receipt).unwrap();
        let original = RawMessage { properties: Box::default(), body: bytes::Bytes::new() };
        self.scheduler.submit(Job::lean(task, original, claim));
    }

    /// Returns and clears the log, after the scheduler has done what it can.
    async fn log(&self) -> Vec<String> {
        // The paused clock advances only when no task of the runtime can proceed.
        tokio::time::sleep(Duration::from_millis(1)).await;
        std::mem::take(&mut *self.fake.log.lock().unwrap())
    }

    fn end_one(&self) {
        drop(self.fake.started.lock().unwrap().remove(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_place_lets_the_next_task_start() {
    let world = world(2);
    for url in ["a.example/1", "a.example/2", "b.example/3"] {
        world.submit(url);
    }
    assert_eq!(world.log().await, ["start /1", "start /3"]);
    tokio::time::sleep(TICK).await;
    assert_eq!(world.scheduler.wait_counts(), WaitCounts { host: 1, rate: 0, concurrency: 0 });
    world.end_one();
    assert_eq!(world.log().await, ["start /2"]);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_goes_before_tasks_and_releases_its_place() {
    let world = world(1);
    world.submit("a.example/1");
    assert_eq!(world.log().await, ["start /1"]);
    world.submit("b.example/2");
    let mut place = world.fake.started.lock().unwrap().remove(0);
    assert_eq!(place.advance(&at("b.example/x")).await, Ok(()));
    assert_eq!(world.log().await, Vec::<String>::new(), "the redirect has the only place");
    drop(place);
    assert_eq!(world.log().await, ["start /2"]);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_that_is_no_longer_awaited_keeps_no_place() {
    let world = world(1);
    world.submit("a.example/1");
    world.log().await;
    let mut place = world.fake.started.lock().unwrap().remove(0);
    world.submit("b.example/2");
    world.log().await;
    let here = at("b.example/x");
    drop(tokio::time::timeout(Duration::ZERO, place.advance(&here)).await);
    drop(place);
    assert_eq!(world.log().await, ["start /2"]);
}

#[tokio::test(start_paused = true)]
async fn a_throttling_answer_stops_its_host_and_no_other() {
    let world = world(4);
    world.submit("a.example/1");
    world.log().await;
    world.fake.started.lock().unwrap()[0].answered(429, Some(Duration::from_secs(90)));
    world.end_one();
    world.submit("a.example/2");
    world.submit("b.example/3");
    assert_eq!(world.log().await, ["defer 60 /2", "start /3"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_requeues_tasks_and_a_cancelled_run_records_them() {
    let world = world(1);
    for url in ["a.example/1", "a.example/2", "b.example/3"] {
        world.submit(url);
    }
    assert_eq!(world.log().await, ["start /1"]);
    world.snapshots.update(|snapshot| !std::mem::replace(&mut snapshot.directives.paused, true));
    tokio::task::yield_now().await;
    assert_eq!(world.log().await, ["requeue /2", "requeue /3"]);
    world.snapshots.update(|snapshot| std::mem::replace(&mut snapshot.directives.paused, false));
    tokio::task::yield_now().await;
    world.submit("a.example/4");
    world.log().await;
    world.snapshots.update(|snapshot| {
        Arc::make_mut(&mut snapshot.cancelled).add("run".to_owned(), "part".to_owned())
    });
    tokio::task::yield_now().await;
    assert_eq!(world.log().await, ["cancel /4"]);
    world.submit("a.example/5");
    assert_eq!(world.log().await, ["cancel /5"]);
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_lost_session_are_requeued() {
    let world = world(1);
    world.submit("a.example/1");
    world.submit("b.example/2");
    assert_eq!(world.log().await, ["start /1"]);
    world.claims.session_lost();
    world.scheduler.session_lost();
    assert_eq!(world.log().await, ["requeue /2"]);
}

#[tokio::test(start_paused = true)]
async fn while_the_database_is_away_nothing_starts_and_after_the_hold_all_is_requeued() {
    let world = world(1);
    world.dependencies.database_fails("away");
    tokio::task::yield_now().await;
    world.submit("a.example/1");
    assert_eq!(world.log().await, Vec::<String>::new());
    let began = Instant::now();
    let mut log = Vec::new();
    while log.is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        log = world.log().await;
    }
    assert_eq!((log, began.elapsed().as_secs()), (vec!["requeue /1".to_owned()], 600));
    world.submit("a.example/2");
    assert_eq!(world.log().await, ["requeue /2"], "a later task does not wait for another hold");
    world.dependencies.database_takes_rows();
    world.log().await;
    world.submit("a.example/3");
    assert_eq!(world.log().await, ["start /3"]);
}

#[tokio::test(start_paused = true)]
async fn the_scheduler_ends_once_it_is_finished_and_every_fetch_has_ended() {
    let world = world(2);
    world.submit("a.example/1");
    world.submit("a.example/2");
    world.log().await;
    world.scheduler.close();
    world.scheduler.finish();
    assert_eq!(world.log().await, ["requeue /2"]);
    assert!(!world.running.is_finished());
    // A fetch in flight may follow its redirects.
    let mut place = world.fake.started.lock().unwrap().remove(0);
    assert_eq!(place.advance(&at("b.example/x")).await, Ok(()));
    drop(place);
    world.running.await.unwrap();
}
