//! `make soak`: every kind of fault in random order, for several minutes; prints one line of
//! totals.

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

/// Interval between two slices of URLs.
const SLICE_INTERVAL: Duration = Duration::from_secs(2);
/// The longest pause between two faults.
const LONGEST_PAUSE: Duration = Duration::from_secs(6);
/// How long the database is frozen. A worker is killed meanwhile.
const FROZEN: Duration = Duration::from_secs(20);
/// How long a link is silent: long enough for a worker to notice.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the memory alarm lasts.
const ALARM: Duration = Duration::from_secs(5);
/// The number of URLs under way when the queue is deleted.
const VICTIMS: u64 = 200;
/// Deadline for the workers to catch up.
const DEADLINE: Duration = Duration::from_secs(300);

/// Fetches URLs while workers, broker, database and network fail at random. Exits with 0 only if
/// nothing is lost
#[derive(Parser)]
struct Args {
    /// How long to inject faults
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u64,
    /// Number of URLs, published over the whole time
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    urls: usize,
    /// Seed of the random moments [default: FAULT_SEED, else a random one]
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

/// The faults of one round, in random order.
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
    trial.refuse_product().await?;
    let urls = mixed_urls(&mut trial, args.urls);
    let fleet = Fleet::proxied(&trial.world).await?;
    let duration = Duration::from_secs(60 * args.minutes);
    let producer = Arc::new(Producer {
        world: trial.world.clone(),
        urls,
        published: AtomicUsize::new(0),
        due: AtomicUsize::new(0),
        publishing: Mutex::new(()),
    });
    let producing = tokio::spawn(producer.clone().run(duration));

    let mut soak = Soak { trial, fleet, producer, began: Instant::now(), faults: 0, victims: 0 };
    soak.run(duration).await.context("the soak test was aborted")?;
    producing.await??;
    let Soak { trial, fleet, faults, began, .. } = soak;
    eprintln!("soak: {faults} faults in {} s; the workers catch up now", began.elapsed().as_secs());
    trial.finish_within(fleet, DEADLINE).await
}

/// Mostly good pages, mixed with some of every other fate.
fn mixed_urls(trial: &mut Trial, count: usize) -> Vec<String> {
    let some = (count / 200) as u64;
    let kinds = [
        (trial.refused_urls(some / 5 + 1), Fate::REFUSED),
        (trial.urls("/status/500/", some), Fate::GIVEN_UP),
        (trial.urls("/status/404/", some), Fate::HTTP_ERROR),
        (trial.urls("/flaky/1/", some), Fate::OK_AFTER_RETRY),
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

/// Publishes URLs slice by slice, each with its own `fetchline produce`.
struct Producer {
    world: Arc<World>,
    urls: Vec<String>,
    published: AtomicUsize,
    /// What is published once the present slice is.
    due: AtomicUsize,
    /// Locked while a slice is published. Holding the lock stops the producer.
    publishing: Mutex<()>,
}

impl Producer {
    async fn run(self: Arc<Self>, duration: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let published = self.published.load(Ordering::Relaxed);
            let share = began.elapsed().as_secs_f64() / duration.as_secs_f64();
            let due = ((self.urls.len() as f64 * share) as usize).min(self.urls.len());
            if published < due {
                let _publishing = self.publishing.lock().await;
                self.due.store(due, Ordering::Relaxed);
                self.world.produce("soak", &self.urls[published..due]).await?;
                self.published.store(due, Ordering::Relaxed);
            }
            if due == self.urls.len() {
                return Ok(());
            }
            sleep(SLICE_INTERVAL).await;
        }
    }

    /// Messages that may be on their way to the broker now.
    fn under_way(&self) -> usize {
        self.due.load(Ordering::Relaxed).saturating_sub(self.published.load(Ordering::Relaxed))
    }
}

struct Soak {
    trial: Trial,
    fleet: Fleet,
    producer: Arc<Producer>,
    began: Instant,
    faults: u64,
    /// URLs published in addition to those of the producer.
    victims: usize,
}

impl Soak {
    async fn run(&mut self, duration: Duration) -> anyhow::Result<()> {
        let mut rng = StdRng::seed_from_u64(self.trial.rng.random());
        let mut round = Vec::new();
        while self.began.elapsed() < duration {
            if round.is_empty() {
                round = ROUND.to_vec();
                round.shuffle(&mut rng);
            }
            self.trial.pause(LONGEST_PAUSE).await;
            let Some(fault) = round.pop() else { continue };
            self.faults += 1;
            let published = self.producer.published.load(Ordering::Relaxed);
            eprintln!(
                "soak: {:>4} s  {published:>6} published  {fault:?}",
                self.began.elapsed().as_secs()
            );
            self.inject(fault).await.with_context(|| format!("{fault:?}"))?;
            self.fleet.ensure_running()?;
        }
        Ok(())
    }

    /// Returns when the fault is over; the workers may not have noticed that yet.
    async fn inject(&mut self, fault: Fault) -> anyhow::Result<()> {
        let Self { trial, fleet, .. } = self;
        match fault {
            Fault::KillWorker => trial.kill_worker(fleet).await,
            Fault::TerminateWorker => trial.terminate_worker(fleet).await,
            Fault::KillBroker => {
                // The producer publishes unconfirmed messages again.
                trial.expose_to_duplicates(self.producer.under_way());
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
                let worker = fleet.pick(&mut trial.rng);
                fleet.silence(worker, link, true)?;
                trial.pause(SILENCE).await;
                trial.kill_worker(fleet).await?;
                trial.pause(SILENCE).await;
                fleet.silence(worker, link, false)
            }
            Fault::CloseAllConnections => {
                trial.expose_to_duplicates(self.producer.under_way());
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

    /// Deletes the queue with nothing else under way, so that the messages lost by the deletion
    /// differ from losses by another fault.
    async fn delete_queue(&mut self) -> anyhow::Result<()> {
        let producer = self.producer.clone();
        let _publishing = producer.publishing.lock().await;
        self.trial
            .wait_for_rows(producer.published.load(Ordering::Relaxed) + self.victims, DEADLINE)
            .await?;
        let urls = self.trial.urls(&format!("/slow/500/victims/{}/", self.faults), VICTIMS);
        let lost = self.trial.delete_queue(&mut self.fleet, &urls).await?;
        self.victims += urls.len();
        eprintln!("soak: {lost} messages were lost with the queue and published again");
        Ok(())
    }
}
