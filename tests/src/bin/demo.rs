//! `make run`: shop, producer and workers together, with one progress bar and one summary.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use fetchline_store::{Selection, Store, StoreConfig};
use fetchline_tests::items;
use fetchline_tests::process::Running;
use fetchline_tests::services::{Services, project};
use fetchline_tests::shop::{self, Shop};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use sqlx::mysql::MySqlPool;
use tokio::process::Command;

/// Interval between two counts of the rows.
const COUNT_INTERVAL: Duration = Duration::from_millis(250);

/// Publishes URLs, fetches them and prints a summary. Exits with 0 only if every URL has its row
#[derive(Parser)]
struct Args {
    /// A file with one URL per line; without it, the pages of a sample shop
    #[arg(long, value_name = "FILE")]
    urls: Option<PathBuf>,
    /// Number of pages of the sample shop
    #[arg(long, value_name = "N", default_value_t = 5000)]
    count: u64,
    /// Number of worker processes
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=64))]
    workers: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<bool> {
    let services = Services::find()?;
    let demo = Demo { services, logs: project().join(".local/run") };
    std::fs::create_dir_all(&demo.logs)?;
    let migrated = demo.fetchline(&["migrate"])?.stdout(Stdio::null()).status().await?;
    ensure!(migrated.success(), "the database migration failed");

    let shop = match &args.urls {
        Some(_) => None,
        None => Some(demo.shop().await?),
    };
    let (database, store) = (MySqlPool::connect_lazy(&demo.services.database_url)?, demo.store()?);
    let prices_before = count(&database, PRICES).await?;
    let unchanged = match &shop {
        // Items that are as they were at the previous revision.
        Some((shop, revision)) => {
            let changed =
                items::mismatches(&database, shop, args.count, revision.saturating_sub(1)).await?;
            args.count - changed.len() as u64
        }
        None => 0,
    };
    let finished = demo.fetch_all(&args, shop.as_ref().map(|(shop, _)| shop), &store).await?;

    println!();
    finished.print_outcomes(&store).await?;
    let new_prices = count(&database, PRICES).await?.saturating_sub(prices_before);
    let mut mismatches = Vec::new();
    match &shop {
        Some((shop, revision)) => {
            mismatches = items::mismatches(&database, shop, args.count, *revision).await?;
            let matching = args.count - mismatches.len() as u64;
            println!(
                "items           {} of {} match the shop",
                HumanCount(matching),
                HumanCount(args.count)
            );
            // If all items existed before, a tenth of them has a new price.
            if unchanged == args.count && *revision > 0 && new_prices != args.count.div_ceil(10) {
                mismatches.push(format!(
                    "{new_prices} new prices, but the shop has changed {}",
                    args.count.div_ceil(10)
                ));
            }
        }
        None => {
            let found = sqlx::query_scalar(
                "SELECT COUNT(*) FROM fetches WHERE run = ? AND product = 'found'",
            );
            let found: i64 = found.bind(&finished.run).fetch_one(&database).await?;
            println!("products        {} with a price", HumanCount(found.unsigned_abs()));
        }
    }
    println!("prices          {} new in the history", HumanCount(new_prices));
    finished.print_performance(&store, args.workers).await?;
    println!();
    demo.print_locations(&finished.run)?;
    for mismatch in mismatches.iter().take(10) {
        eprintln!("demo: wrong item: {mismatch}");
    }
    Ok(finished.rows == finished.published && mismatches.is_empty())
}

/// A run whose every URL has its row.
struct Finished {
    run: String,
    published: u64,
    rows: u64,
    elapsed: Duration,
    /// The peak memory of the largest worker, in bytes.
    peak_memory: u64,
}

impl Finished {
    async fn print_outcomes(&self, store: &Store) -> anyhow::Result<()> {
        let outcomes = store.run(&self.run, &Selection::Newest).await?.outcomes;
        let ok = outcomes.get("ok").copied().unwrap_or(0);
        let others: Vec<String> = outcomes
            .iter()
            .filter(|(outcome, _)| *outcome != "ok")
            .map(|(outcome, rows)| format!("{outcome} {rows}"))
            .collect();
        println!("run             {}", self.run);
        println!("ok              {} of {}", HumanCount(ok), HumanCount(self.published));
        println!("failed          {}  {}", HumanCount(self.rows - ok), others.join(", "));
        println!("rows            {} in the database", HumanCount(self.rows));
        Ok(())
    }

    async fn print_performance(&self, store: &Store, workers: u64) -> anyhow::Result<()> {
        let seconds = self.elapsed.as_secs_f64();
        println!("total time      {seconds:.1} s, from the first line to the last row");
        println!("rate            {:.0} URLs/s", self.rows as f64 / seconds);
        if let Some(times) = store.fetch_times(&self.run).await? {
            println!(
                "fetch time      p50 {} ms, p95 {} ms",
                times.p50.as_millis(),
                times.p95.as_millis()
            );
        }
        println!(
            "peak memory     {:.0} MiB, the largest of {workers} workers",
            self.peak_memory as f64 / f64::from(1 << 20)
        );
        Ok(())
    }
}

struct Demo {
    services: Services,
    logs: PathBuf,
}

impl Demo {
    fn fetchline(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let binary = std::env::current_exe()?.with_file_name("fetchline");
        ensure!(
            binary.exists(),
            "{} is missing: use `make run`, which builds it",
            binary.display()
        );
        let mut command = Command::new(binary);
        command
            .env("AMQP_URL", &self.services.amqp_url)
            .env("DATABASE_URL", &self.services.database_url);
        command.args(arguments);
        Ok(command)
    }

    /// Opens the shop on its last port, with new prices for a tenth of its products, so that there
    /// is a history.
    async fn shop(&self) -> anyhow::Result<(Shop, u64)> {
        let file = self.logs.join("shop");
        let saved = std::fs::read_to_string(&file).unwrap_or_default();
        let saved = saved.trim().split_once(' ').and_then(|(listen, revision)| {
            Some(shop::Options {
                listen: listen.parse().ok()?,
                revision: revision.parse::<u64>().ok()? + 1,
            })
        });
        let (shop, revision) = match saved {
            Some(options) => match Shop::start(options).await {
                Ok(shop) => (shop, options.revision),
                // Another process uses the port by now.
                Err(_) => (Shop::start(shop::Options::default()).await?, 0),
            },
            None => (Shop::start(shop::Options::default()).await?, 0),
        };
        std::fs::write(file, format!("{} {revision}\n", shop.addr()))?;
        Ok((shop, revision))
    }

    fn store(&self) -> anyhow::Result<Store> {
        let pool_timeout = Duration::from_secs(5);
        Ok(Store::open(StoreConfig {
            url: self.services.database_url.clone(),
            pool: 1,
            pool_timeout,
        })?)
    }

    /// Starts a worker. Only for the shop may it connect to a network that is blocked otherwise.
    fn worker(&self, number: u64, for_shop: bool) -> anyhow::Result<Running> {
        let pod = format!("worker-{number}");
        let mut command =
            self.fetchline(&["work", "--json", "--listen", "127.0.0.1:0", "--pod", &pod])?;
        if for_shop {
            command.args(["--allow-network", shop::NETWORK]);
        }
        Running::start(&mut command, &self.logs.join(format!("{pod}.log")))
    }

    /// Runs workers and a producer until every URL has its row.
    async fn fetch_all(
        &self,
        args: &Args,
        shop: Option<&Shop>,
        store: &Store,
    ) -> anyhow::Result<Finished> {
        let mut workers = Vec::new();
        for number in 1..=args.workers {
            workers.push(self.worker(number, shop.is_some())?);
        }
        for worker in &mut workers {
            worker.logs("consuming").await?;
        }
        let started = Instant::now();
        let produced = self.produce(args, shop).await?;
        let run = produced["run"].as_str().context("the output of produce has no run")?.to_owned();
        let published =
            produced["published"].as_u64().context("the output of produce has no count")?;
        let rows = self.watch(store, &run, published, started, &mut workers).await?;
        let elapsed = started.elapsed();
        let mut peak_memory = 0;
        for worker in workers {
            let output = worker.terminate().await?;
            ensure!(output.code == Some(0), "a worker failed:\n{}", tail(&output.stderr));
            let peak = output.json()?["peak_memory_bytes"].as_u64().unwrap_or(0);
            peak_memory = peak_memory.max(peak);
        }
        Ok(Finished { run, published, rows, elapsed, peak_memory })
    }

    /// Runs `produce`, which shows its own progress bar, and returns its summary.
    async fn produce(&self, args: &Args, shop: Option<&Shop>) -> anyhow::Result<serde_json::Value> {
        let file = match (&args.urls, shop) {
            (Some(file), _) => file.clone(),
            (None, Some(shop)) => {
                let urls: Vec<String> =
                    (0..args.count).map(|id| shop.url(&format!("/p/{id}"))).collect();
                let file = self.logs.join("urls.txt");
                std::fs::write(&file, urls.join("\n"))?;
                file
            }
            (None, None) => bail!("nothing to publish"),
        };
        let mut command = self.fetchline(&["produce", "--json"])?;
        let output = command.arg(&file).stderr(Stdio::inherit()).output().await?;
        // 3: published, but some lines were rejected; `produce` has named each.
        ensure!(matches!(output.status.code(), Some(0 | 3)), "produce failed ({})", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Shows progress until every URL has its row; returns the number of rows.
    async fn watch(
        &self,
        store: &Store,
        run: &str,
        published: u64,
        started: Instant,
        workers: &mut [Running],
    ) -> anyhow::Result<u64> {
        let bar = ProgressBar::new(published);
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} {pos}/{len} rows  {msg}  {eta} left",
        )?);
        loop {
            let rows = store.run(run, &Selection::Newest).await?.rows();
            bar.set_position(rows);
            bar.set_message(format!("{:.0}/s", rows as f64 / started.elapsed().as_secs_f64()));
            if rows >= published {
                bar.finish_and_clear();
                return Ok(rows);
            }
            for worker in &mut *workers {
                if let Some(status) = worker.ended()? {
                    bail!("a worker ended early ({status}); its log:\n{}", tail(&worker.log()?));
                }
            }
            tokio::time::sleep(COUNT_INTERVAL).await;
        }
    }

    fn print_locations(&self, run: &str) -> anyhow::Result<()> {
        let broker: reqwest::Url = self.services.amqp_url.parse()?;
        if let Some(console) = &self.services.management_url {
            println!("RabbitMQ console  {console} as user {}", broker.username());
        }
        let database: reqwest::Url = self.services.database_url.parse()?;
        let client = format!(
            "mysql -h {} -P {} -u {} {}",
            database.host_str().unwrap_or("127.0.0.1"),
            database.port().unwrap_or(3306),
            database.username(),
            database.path().trim_start_matches('/'),
        );
        println!(
            "the result        {client} -e \"SELECT url, status, body_bytes, elapsed_ms \
             FROM fetches WHERE run = '{run}' LIMIT 10\""
        );
        println!(
            "the prices        {client} -e \"SELECT name, price, currency, category \
             FROM items ORDER BY updated_at DESC LIMIT 10\""
        );
        println!("the logs          {}", self.logs.display());
        Ok(())
    }
}

/// Counts all price changes.
const PRICES: &str = "SELECT COUNT(*) FROM price_history";

async fn count(database: &MySqlPool, query: &'static str) -> anyhow::Result<u64> {
    Ok(sqlx::query_scalar::<_, i64>(query).fetch_one(database).await?.unsigned_abs())
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
