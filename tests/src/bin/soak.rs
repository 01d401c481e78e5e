//! `make soak`: every kind of fault, mixed, for minutes on end; one line of totals.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use fetchline_tests::fleet::{Fleet, Link};
use fetchline_tests::trial::{self, Fate, Trial};
use fetchline_tests::world::World;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::sync::Mutex;
use tokio::time::sleep;

/// How often a slice of the URLs is published.
const SLICE_EVERY: Duration = Duration::from_secs(2);
/// The longest time from one fault to the next.
const CALM: Duration = Duration::from_secs(6);
/// How long the database stands still. In the midst of it a worker is killed.
const FROZEN: Duration = Duration::from_secs(20);
/// How long a link is silent: so long that it is noticed.
const SILENT: Duration = Duration::from_secs(30);
/// How long the memory alarm is on.
const ALARM: Duration = Duration::from_secs(5);
/// How many URLs are under way when the queue is deleted.
const VICTIMS: u64 = 200;
/// How long the workers may take to catch up.
const DONE_WITHIN: Duration = Duration::from_secs(300);

/// Fetches URLs while workers, broker, database and network fail at random. Exits with 0 only if nothing was lost
#[derive(Parser)]
struct Args {
    /// How long faults happen
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u64,
    /// URLs, published over the whole time
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    urls: usize,
    /// Where random moments come from [default: FAULT_SEED, else any]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillWorker,
    TerminateWorker,
    KillBroker,
    KillDatabase,
    FreezeDatabase,
    Cut(Link),
    Silence(Link),
    CloseAllConnections,
    MemoryAlarm,
    DeleteQueue,
}

/// What happens in the course of one round, in any order.
const ROUND: [Fault; 17] = [
    Fault::KillWorker,
    Fault::KillWorker,
    Fault::KillWorker,
    Fault::KillWorker,
    Fault::TerminateWorker,
    Fault::TerminateWorker,
    Fault::KillBroker,
    Fault::KillDatabase,
    Fault::FreezeDatabase,
    Fault::Cut(Link::Broker),
    Fault::Cut(Link::Broker),
    Fault::Cut(Link::Database),
    Fault::Silence(Link::Broker),
    Fault::Silence(Link::Database),
    Fault::CloseAllConnections,
    Fault::MemoryAlarm,
    Fault::DeleteQueue,
];

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let mut trial = Trial::new("soak", args.seed.unwrap_or_else(trial::seed)).await?;
    trial.poison().await?;
    let urls = mixture(&mut trial, args.urls);
    let fleet = Fleet::proxied(&trial.world).await?;
    let long = Duration::from_secs(60 * args.minutes);
    let producer = Arc::new(Producer {
        world: trial.world.clone(),
        urls,
        published: AtomicUsize::new(0),
        due: AtomicUsize::new(0),
        turn: Mutex::new(()),
    });
    let producing = tokio::spawn(producer.clone().run(long));

    let mut soak = Soak { trial, fleet, producer, began: Instant::now(), struck: 0, victims: 0 };
    soak.run(long).await.context("the soak broke off")?;
    producing.await??;
    let Soak { trial, fleet, struck, began, .. } = soak;
    eprintln!("soak: {struck} faults in {} s; now the workers catch up", began.elapsed().as_secs());
    trial.finish_within(fleet, DONE_WITHIN).await
}

/// Good pages for the most part, with some of every other fate among them.
fn mixture(trial: &mut Trial, count: usize) -> Vec<String> {
    let some = (count / 200) as u64;
    let kinds = [
        (trial.poisonous(some / 5 + 1), Fate::REFUSED),
        (trial.urls("/status/500/", some), Fate::GIVEN_UP),
        (trial.urls("/status/404/", some), Fate::HTTP_ERROR),
        (trial.urls("/flaky/1/", some), Fate::OK_AT_LAST),
        (trial.urls("/slow/500/", some), Fate::OK),
        (trial.urls("/p/", count as u64 / 4), Fate::OK),
    ];
    let mut urls = Vec::with_capacity(count);
    for (kind, fate) in kinds {
        trial.expect(&kind, fate);
        urls.extend(kind);
    }
    let rest = trial.urls("/slow/50/", count.saturating_sub(urls.len()) as u64);
    trial.expect(&rest, Fate::OK);
    urls.extend(rest);
    urls.shuffle(&mut trial.rng);
    urls
}

/// Publishes URLs slice by slice, each by a `fetchline produce` of its own.
struct Producer {
    world: Arc<World>,
    urls: Vec<String>,
    published: AtomicUsize,
    /// What has been published when the present slice is.
    due: AtomicUsize,
    /// Whoever holds this keeps the producer from publishing.
    turn: Mutex<()>,
}

impl Producer {
    async fn run(self: Arc<Self>, long: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let published = self.published.load(Ordering::Relaxed);
            let share = began.elapsed().as_secs_f64() / long.as_secs_f64();
            let due = ((self.urls.len() as f64 * share) as usize).min(self.urls.len());
            if published < due {
                let _turn = self.turn.lock().await;
                self.due.store(due, Ordering::Relaxed);
                self.world.produce("soak", &self.urls[published..due]).await?;
                self.published.store(due, Ordering::Relaxed);
            }
            if due == self.urls.len() {
                return Ok(());
            }
            sleep(SLICE_EVERY).await;
        }
    }

    /// Messages that may be on their way to the broker at the moment.
    fn under_way(&self) -> usize {
        self.due.load(Ordering::Relaxed).saturating_sub(self.published.load(Ordering::Relaxed))
    }
}

struct Soak {
    trial: Trial,
    fleet: Fleet,
    producer: Arc<Producer>,
    began: Instant,
    struck: u64,
    /// URLs that were published beside the producer's.
    victims: usize,
}

impl Soak {
    async fn run(&mut self, long: Duration) -> anyhow::Result<()> {
        let mut rng = StdRng::seed_from_u64(self.trial.rng.random());
        let mut round = Vec::new();
        while self.began.elapsed() < long {
            if round.is_empty() {
                round = ROUND.to_vec();
                round.shuffle(&mut rng);
            }
            self.trial.pause(CALM).await;
            let Some(fault) = round.pop() else { continue };
            self.struck += 1;
            let published = self.producer.published.load(Ordering::Relaxed);
            eprintln!("soak: {:>4} s  {published:>6} published  {fault:?}", self.began.elapsed().as_secs());
            self.strike(fault).await.with_context(|| format!("{fault:?}"))?;
            self.fleet.all_run()?;
        }
        Ok(())
    }

    /// Returns when what failed is there again; the workers may not have noticed yet.
    async fn strike(&mut self, fault: Fault) -> anyhow::Result<()> {
        let Self { trial, fleet, .. } = self;
        match fault {
            Fault::KillWorker => trial.kill_worker(fleet).await,
            Fault::TerminateWorker => trial.terminate_worker(fleet).await,
            Fault::KillBroker => {
                // What the producer has not had confirmed, it sends again.
                trial.expose_to_doubles(self.producer.under_way());
                trial.kill_broker().await
            }
            Fault::KillDatabase => trial.kill_database().await,
            Fault::FreezeDatabase => {
                trial.expose().await;
                let frozen = trial.arena.database.freeze()?;
                trial.pause(FROZEN / 2).await;
                trial.kill_worker(fleet).await?;
                sleep(FROZEN / 2).await;
                drop(frozen);
                Ok(())
            }
            Fault::Cut(link) => trial.cut(fleet, link).await,
            Fault::Silence(link) => {
                trial.expose().await;
                let worker = fleet.any(&mut trial.rng);
                fleet.silence(worker, link, true)?;
                trial.pause(SILENT).await;
                trial.kill_worker(fleet).await?;
                trial.pause(SILENT).await;
                fleet.silence(worker, link, false)
            }
            Fault::CloseAllConnections => {
                trial.expose_to_doubles(self.producer.under_way());
                trial.close_all_connections().await
            }
            Fault::MemoryAlarm => {
                trial.memory_alarm(true).await?;
                sleep(ALARM).await;
                trial.memory_alarm(false).await
            }
            Fault::DeleteQueue => self.delete_queue().await,
        }
    }

    /// With nothing else under way, so that what the deletion takes can be told from what would be lost by another fault.
    async fn delete_queue(&mut self) -> anyhow::Result<()> {
        let producer = self.producer.clone();
        let _turn = producer.turn.lock().await;
        self.trial.done(producer.published.load(Ordering::Relaxed) + self.victims, DONE_WITHIN).await?;
        let urls = self.trial.urls(&format!("/slow/500/victims/{}/", self.struck), VICTIMS);
        let again = self.trial.delete_queue(&mut self.fleet, &urls).await?;
        self.victims += urls.len();
        eprintln!("soak: {again} messages went with the queue and were published again");
        Ok(())
    }
}
