//! A world from its beginning to its end.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Once};
use std::time::Duration;

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::types::{AMQPValue, FieldTable};
use cpu_time::ThreadTime;
use fetchline_store::planted::{self, Fault};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use crate::broker::{Broker, Delays, Version};
use crate::chance::Chance;
use crate::database::Database;
use crate::fleet::{Fleet, PREFIX};
use crate::plan::{CANCELLED_RUN, Plan, Task};
use crate::shape::{MAX_ATTEMPTS, Shape};
use crate::trace::Trace;
use crate::trouble::Trouble;
use crate::web::Web;
use crate::wiring::Wiring;
use crate::witness::Witness;

/// How long a world may take once its trouble is over, and how long for each task of a large one.
const MAX_CALM: Duration = Duration::from_secs(40 * 60);
const MAX_CALM_PER_TASK: Duration = Duration::from_secs(12);
/// How often the world is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How many looks in a row have to find nothing left: after an alarm, the broker reads what lost
/// connections have sent.
const LAST_LOOKS: u32 = 30;

/// What a world is made of.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What everything follows from.
    pub seed: u64,
    /// The number of tasks.
    pub tasks: usize,
    /// Whether there is trouble.
    pub trouble: bool,
    /// A fault that is planted in the workers.
    pub planted: Option<Fault>,
    /// Prints every event.
    pub verbose: bool,
}

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Report {
    /// The hash of all events.
    pub hash: u64,
    /// The number of events.
    pub events: u64,
    /// How long it took by its own clock.
    pub time: Duration,
    /// The processor time that it took.
    pub cost: Duration,
    /// What must not happen, and did.
    pub violations: Vec<String>,
    /// The latest events.
    pub latest: Vec<String>,
}

thread_local! {
    /// The panics of this thread. The runtime catches those of tasks.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Records panics from now on, and still prints them.
fn record_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with(|panics| panics.borrow_mut().push(panic.to_string()));
            print(panic);
        }));
    });
}

/// Runs a world, on a thread of its own.
pub fn run(settings: Settings) -> Report {
    record_panics();
    let world = std::thread::spawn(move || {
        fetchline_sim_entropy::seed(settings.seed);
        planted::plant(settings.planted);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let spent = ThreadTime::now();
        let runtime = runtime.expect("the runtime needs nothing");
        let mut report = runtime.block_on(live(settings));
        drop(runtime);
        fetchline_sim_net::set(None);
        report.violations.extend(PANICS.with(RefCell::take));
        Report { cost: spent.elapsed(), ..report }
    });
    world.join().unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report {
            hash: 0,
            events: 0,
            time: Duration::ZERO,
            cost: Duration::ZERO,
            violations: vec![format!("panic: {}", text.unwrap_or_default())],
            latest: Vec::new(),
        }
    })
}

/// Runs a script on a simulated broker, whose URL it gets.
pub fn on_simulated_broker<T, F>(script: impl FnOnce(String) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let thread = std::thread::spawn(|| {
        fetchline_sim_entropy::seed(1);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("the runtime needs nothing").block_on(async {
            fetchline_sim_net::start();
            let witness = Witness::new(Trace::new(false), Arc::default());
            let chance = || Chance::new(1, "script");
            let delays = Delays { handling_ms: 0, confirm_ms: 0 };
            let broker = Broker::new(Version::V3_10, delays, chance(), witness.clone());
            let database = Database::new(chance(), witness.clone());
            let wiring = Wiring::new(broker, database, Web::new(witness, (1, 1)));
            fetchline_sim_net::set(Some(Rc::new(wiring)));
            script(Wiring::broker_url("script")).await
        })
    });
    thread.join().expect("the script does not panic")
}

async fn live(settings: Settings) -> Report {
    fetchline_sim_net::start();
    let (seed, began) = (settings.seed, Instant::now());
    let trace = Trace::new(settings.verbose);
    let mut chance = Chance::new(seed, "world");
    let shape = Shape::new(&mut chance);
    let plan = Plan::new(&mut chance, settings.tasks, MAX_ATTEMPTS, settings.trouble);
    let witness = Witness::new(trace.clone(), Arc::new(plan));
    let broker =
        Broker::new(shape.version, shape.delays, Chance::new(seed, "broker"), witness.clone());
    let database = Database::new(Chance::new(seed, "database"), witness.clone());
    let web = Web::new(witness.clone(), shape.requests());
    let wiring = Wiring::new(broker, database, web);
    fetchline_sim_net::set(Some(Rc::new(wiring.clone())));
    trace.event(format_args!("{shape:?}"));

    let mut fleet = Fleet::new(shape, wiring.clone(), witness.clone());
    fleet.fill().await;
    let publishing =
        publish_all(wiring.broker.clone(), witness.clone(), Chance::new(seed, "producer"));
    let publishing = tokio::spawn(publishing);
    if settings.trouble {
        let mut trouble = Trouble::new(seed, wiring.clone(), trace.clone());
        trouble.make(&mut fleet).await;
        trouble.end(&fleet);
    }
    fleet.fill().await;
    if publishing.await.is_err() {
        trace.violation(format_args!("the producer has failed"));
    }
    let world = World { settings, witness, wiring };
    world.wait_for_end(&mut fleet).await;
    for place in 0..fleet.len() {
        fleet.stop(place, true).await;
    }
    world.check();
    Report {
        hash: trace.hash(),
        events: trace.events(),
        time: began.elapsed(),
        cost: Duration::ZERO,
        violations: trace.violations(),
        latest: trace.latest(),
    }
}

/// Publishes the reports of the parts and their tasks, in several bursts.
async fn publish_all(broker: Broker, witness: Witness, mut chance: Chance) {
    let queue = |key: &str| format!("{PREFIX}.{key}");
    while !(broker.has_queue(&queue("urls")) && broker.has_queue(&queue("dead"))) {
        sleep(LOOK).await;
    }
    sleep(LOOK).await;
    let plan = witness.plan();
    let pauses = chance.pick(&[0.0, 0.05, 0.3]);
    for (run, part, _) in &plan.parts {
        publish_part(&broker, (run, part), None).await;
    }
    for task in plan.tasks() {
        // The tasks come over a while, so that there is something to do whenever trouble comes.
        if chance.happens(pauses) {
            sleep(chance.wait(1, 5_000)).await;
        }
        publish_task(&broker, task).await;
    }
    for (run, part, count) in &plan.parts {
        publish_part(&broker, (run, part), Some(*count)).await;
    }
}

fn own(id: &str) -> AMQPProperties {
    AMQPProperties::default().with_app_id("fetchline".into()).with_message_id(id.into())
}

/// Publishes a message as soon as its queue is bound: the worker that declares the queues may lose
/// its connection in between.
async fn publish(broker: &Broker, key: &str, properties: AMQPProperties, body: &[u8]) {
    while !broker.publish(PREFIX, key, properties.clone(), body) {
        sleep(LOOK).await;
    }
}

async fn publish_task(broker: &Broker, task: &Task) {
    let mut headers = FieldTable::default();
    for (name, value) in [("x-run", task.run), ("x-part", &task.part)] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let properties = own(&task.id).with_content_type("text/plain".into()).with_headers(headers);
    let url = format!("http://{}{}", task.host, task.path);
    publish(broker, "urls", properties, url.as_bytes()).await;
}

async fn publish_part(broker: &Broker, (run, part): (&str, &str), planned: Option<u64>) {
    let end = if planned.is_some() { "ended" } else { "began" };
    let properties = own(&format!("{part}-{end}"))
        .with_content_type("application/json".into())
        .with_type("part".into());
    let planned = planned.map_or_else(|| "null".to_owned(), |count| count.to_string());
    let second = if end == "ended" { 2 } else { 1 };
    let body = format!(
        r#"{{"run":"{run}","part":"{part}","planned":{planned},"at":"2026-01-01T00:00:0{second}Z"}}"#
    );
    publish(broker, "runs", properties, body.as_bytes()).await;
}

struct World {
    settings: Settings,
    witness: Witness,
    wiring: Wiring,
}

impl World {
    /// Waits until every task has ended and nothing is left.
    async fn wait_for_end(&self, fleet: &mut Fleet) {
        let (began, tasks) = (Instant::now(), self.witness.plan().tasks().len());
        let max_calm = MAX_CALM.max(MAX_CALM_PER_TASK * u32::try_from(tasks).unwrap_or(u32::MAX));
        let mut looks = 0;
        loop {
            let (waiting, unacked) = (self.wiring.broker.waiting(), self.wiring.broker.unacked());
            let is_over = waiting.is_empty() && unacked == 0 && self.witness.rows() >= tasks;
            looks = if is_over { looks + 1 } else { 0 };
            if looks >= LAST_LOOKS {
                return;
            }
            if began.elapsed() > max_calm {
                let rows = self.witness.rows();
                return self.witness.trace.violation(format_args!(
                    "not done: {rows} rows of {tasks} tasks, {unacked} unacked, {waiting:?}"
                ));
            }
            let is_empty = waiting.is_empty() && unacked == 0 && !is_over;
            if is_empty && began.elapsed() > Duration::from_secs(60) {
                let rows = self.witness.rows();
                return self.witness.trace.violation(format_args!(
                    "lost: {rows} rows of {tasks} tasks, and no message is left"
                ));
            }
            fleet.fill().await;
            sleep(LOOK).await;
        }
    }

    /// Compares what is left with the plan.
    fn check(&self) {
        let trace = &self.witness.trace;
        let dead = self.wiring.broker.messages(&format!("{PREFIX}.dead"));
        let dead: std::collections::BTreeSet<_> =
            dead.iter().filter_map(|letter| letter.id()).collect();
        for task in self.witness.plan().tasks() {
            let expected = task.expected(MAX_ATTEMPTS);
            let (row, visits) = self.witness.seen(&task.id);
            let Some(row) = row else {
                trace.violation(format_args!("no row of {} {}", task.id, task.path));
                continue;
            };
            if task.run == CANCELLED_RUN && row.outcome == "cancelled" {
                continue;
            }
            let is_dead = dead.contains(task.id.as_str());
            if row.outcome == "poison" && is_dead && self.witness.may_be_poison(&task.id) {
                continue;
            }
            if !is_outcome(&row.outcome, expected.outcome)
                || is_dead != expected.is_dead
                || row.attempts > expected.attempts
            {
                trace.violation(format_args!(
                    "{} has {row:?}, dead {is_dead}, and should have {expected:?}: {task:?}",
                    task.id
                ));
            }
            if !self.settings.trouble && visits != 1 {
                trace.violation(format_args!("{} was requested {visits} times", task.id));
            }
        }
        let left = (self.wiring.broker.waiting(), self.wiring.broker.unacked());
        if !left.0.is_empty() || left.1 > 0 {
            trace.violation(format_args!("left after the end: {left:?}"));
        }
        self.wiring.web.check_rates();
    }
}

/// A reset has several outcomes, depending on the moment at which it comes.
fn is_outcome(outcome: &str, expected: &str) -> bool {
    let is_broken = |outcome: &str| ["protocol", "connect", "timeout"].contains(&outcome);
    outcome == expected || is_broken(outcome) && is_broken(expected)
}
