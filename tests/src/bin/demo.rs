//! `make run`: shop, producer and workers together, with one progress bar and one summary.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use fetchline_store::{Store, StoreConfig};
use fetchline_tests::items;
use fetchline_tests::process::Running;
use fetchline_tests::services::{Services, project};
use fetchline_tests::shop::{self, Shop};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use sqlx::mysql::MySqlPool;
use tokio::process::Command;

/// How often the rows are counted.
const COUNT_EVERY: Duration = Duration::from_millis(250);

/// Publishes URLs, works them off, and shows what came of it. Exits with 0 only if every URL has its row
#[derive(Parser)]
struct Args {
    /// A file with a URL a line; without it, the pages of a sample shop
    #[arg(long, value_name = "FILE")]
    urls: Option<PathBuf>,
    /// Pages of the sample shop
    #[arg(long, value_name = "N", default_value_t = 5000)]
    count: u64,
    /// Worker processes
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
    ensure!(migrated.success(), "the database could not be migrated");

    let shop = match &args.urls {
        Some(_) => None,
        None => Some(demo.shop().await?),
    };
    let database = MySqlPool::connect_lazy(&demo.services.database_url)?;
    let prices_before = count(&database, PRICES).await?;
    let known = match &shop {
        // As they were at the revision before.
        Some((shop, revision)) => {
            let changed = items::wrong(&database, shop, args.count, revision.saturating_sub(1)).await?;
            args.count - changed.len() as u64
        }
        None => 0,
    };
    let mut workers = Vec::new();
    for number in 1..=args.workers {
        workers.push(demo.worker(number, shop.is_some())?);
    }
    for worker in &mut workers {
        worker.logs("consuming").await?;
    }
    let store = Arc::new(demo.store()?);
    let started = Instant::now();
    let produced = demo.produce(&args, shop.as_ref().map(|(shop, _)| shop)).await?;
    let run = produced["run"].as_str().context("produce names no run")?.to_owned();
    let published = produced["published"].as_u64().context("produce counts nothing")?;
    let rows = demo.watch(&store, &run, published, started, &mut workers).await?;
    let elapsed = started.elapsed();

    let mut peak = 0;
    for worker in workers {
        let ended = worker.terminate().await?;
        ensure!(ended.code == Some(0), "a worker failed:\n{}", tail(&ended.stderr));
        peak = peak.max(ended.json()?["peak_memory_bytes"].as_u64().unwrap_or(0));
    }
    let outcomes = store.run(&run).await?.outcomes;
    let ok = outcomes.get("ok").copied().unwrap_or(0);
    let others: Vec<String> = outcomes
        .iter()
        .filter(|(outcome, _)| *outcome != "ok")
        .map(|(outcome, rows)| format!("{outcome} {rows}"))
        .collect();
    println!();
    println!("run             {run}");
    println!("ok              {} of {}", HumanCount(ok), HumanCount(published));
    println!("failed          {}  {}", HumanCount(rows - ok), others.join(", "));
    println!("rows            {} in the database", HumanCount(rows));
    let new_prices = count(&database, PRICES).await?.saturating_sub(prices_before);
    let mut wrong = Vec::new();
    match &shop {
        Some((shop, revision)) => {
            wrong = items::wrong(&database, shop, args.count, *revision).await?;
            let right = args.count - wrong.len() as u64;
            println!("items           {} of {} as the shop sells them", HumanCount(right), HumanCount(args.count));
            // When all of them were there before, a tenth has another price now.
            if known == args.count && *revision > 0 && new_prices != args.count.div_ceil(10) {
                wrong.push(format!("{new_prices} new prices, and the shop has changed {}", args.count.div_ceil(10)));
            }
        }
        None => {
            let found = sqlx::query_scalar("SELECT COUNT(*) FROM fetches WHERE run = ? AND product = 'found'");
            let found: i64 = found.bind(&run).fetch_one(&database).await?;
            println!("products        {} with a price", HumanCount(found.unsigned_abs()));
        }
    }
    println!("prices          {} new ones in the history", HumanCount(new_prices));
    println!("total time      {:.1} s, from the first line read to the last row", elapsed.as_secs_f64());
    println!("rate            {:.0} URLs/s", rows as f64 / elapsed.as_secs_f64());
    if let Some(times) = store.fetch_times(&run).await? {
        println!("fetch time      p50 {} ms, p95 {} ms", times.p50.as_millis(), times.p95.as_millis());
    }
    println!("peak memory     {:.0} MiB, the larger of {} workers", peak as f64 / f64::from(1 << 20), args.workers);
    println!();
    demo.say_where(&run)?;
    for wrong in wrong.iter().take(10) {
        eprintln!("demo: wrong item: {wrong}");
    }
    Ok(rows == published && wrong.is_empty())
}

struct Demo {
    services: Services,
    logs: PathBuf,
}

impl Demo {
    fn fetchline(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let binary = std::env::current_exe()?.with_file_name("fetchline");
        ensure!(binary.exists(), "{} is missing: use `make run`, which builds it", binary.display());
        let mut command = Command::new(binary);
        command.env("AMQP_URL", &self.services.amqp_url).env("DATABASE_URL", &self.services.database_url);
        command.args(arguments);
        Ok(command)
    }

    /// Opens the shop where it was the last time, with other prices for a tenth of its products: so there is a history.
    async fn shop(&self) -> anyhow::Result<(Shop, u64)> {
        let file = self.logs.join("shop");
        let last = std::fs::read_to_string(&file).unwrap_or_default();
        let last = last.trim().split_once(' ').and_then(|(listen, revision)| {
            Some(shop::Options { listen: listen.parse().ok()?, revision: revision.parse::<u64>().ok()? + 1 })
        });
        let (shop, revision) = match last {
            Some(options) => match Shop::start(options).await {
                Ok(shop) => (shop, options.revision),
                // The port is somebody else's by now.
                Err(_) => (Shop::start(shop::Options::default()).await?, 0),
            },
            None => (Shop::start(shop::Options::default()).await?, 0),
        };
        std::fs::write(file, format!("{} {revision}\n", shop.addr()))?;
        Ok((shop, revision))
    }

    fn store(&self) -> anyhow::Result<Store> {
        let pool_timeout = Duration::from_secs(5);
        Ok(Store::open(StoreConfig { url: self.services.database_url.clone(), pool: 1, pool_timeout })?)
    }

    /// Starts a worker. Only for the shop is it let into a network that is closed otherwise.
    fn worker(&self, number: u64, for_shop: bool) -> anyhow::Result<Running> {
        let pod = format!("worker-{number}");
        let mut command = self.fetchline(&["work", "--json", "--listen", "127.0.0.1:0", "--pod", &pod])?;
        if for_shop {
            command.args(["--allow-network", shop::NETWORK]);
        }
        Running::start(&mut command, &self.logs.join(format!("{pod}.log")))
    }

    /// Publishes with its own progress bar; its summary.
    async fn produce(&self, args: &Args, shop: Option<&Shop>) -> anyhow::Result<serde_json::Value> {
        let file = match (&args.urls, shop) {
            (Some(file), _) => file.clone(),
            (None, Some(shop)) => {
                let urls: Vec<String> = (0..args.count).map(|id| shop.url(&format!("/p/{id}"))).collect();
                let file = self.logs.join("urls.txt");
                std::fs::write(&file, urls.join("\n"))?;
                file
            }
            (None, None) => bail!("nothing to publish"),
        };
        let mut command = self.fetchline(&["produce", "--json"])?;
        let output = command.arg(&file).stderr(Stdio::inherit()).output().await?;
        // 3: published, but some lines were refused; each was named.
        ensure!(matches!(output.status.code(), Some(0 | 3)), "nothing more was published ({})", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Shows progress until every URL has its row; returns how many have.
    async fn watch(
        &self,
        store: &Store,
        run: &str,
        published: u64,
        started: Instant,
        workers: &mut [Running],
    ) -> anyhow::Result<u64> {
        let bar = ProgressBar::new(published);
        bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} rows  {msg}  {eta} left")?);
        loop {
            let rows = store.run(run).await?.rows();
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
            tokio::time::sleep(COUNT_EVERY).await;
        }
    }

    fn say_where(&self, run: &str) -> anyhow::Result<()> {
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
            "the result        {client} -e \"SELECT url, status, body_bytes, elapsed_ms FROM fetches WHERE run = '{run}' LIMIT 10\""
        );
        println!(
            "the prices        {client} -e \"SELECT name, price, currency, category FROM items ORDER BY updated_at DESC LIMIT 10\""
        );
        println!("the logs          {}", self.logs.display());
        Ok(())
    }
}

/// Every price that was ever new.
const PRICES: &str = "SELECT COUNT(*) FROM price_history";

async fn count(database: &MySqlPool, query: &'static str) -> anyhow::Result<u64> {
    Ok(sqlx::query_scalar::<_, i64>(query).fetch_one(database).await?.unsigned_abs())
}

/// The end of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
