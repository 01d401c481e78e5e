//! Simulates worlds by their seeds: `make sim`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use clap::Parser;
use fetchline_sim::{Fault, Report, Settings, run};

/// Simulates workers in worlds that follow from seeds.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Only this seed, with all its events
    #[arg(long)]
    seed: Option<u64>,
    /// Tasks of each world
    #[arg(long, default_value_t = 200)]
    tasks: usize,
    /// Worlds without trouble
    #[arg(long)]
    calm: bool,
    /// A fault that is planted in the workers
    #[arg(long)]
    planted: Option<String>,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Shows what the workers log
    #[arg(long)]
    logs: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.logs {
        tracing_subscriber::fmt().with_ansi(false).without_time().init();
    }
    let planted = match args.planted.as_deref().map(Fault::of).transpose() {
        Ok(planted) => planted,
        Err(names) => {
            eprintln!("there is no such fault; there are {names}");
            return ExitCode::from(2);
        }
    };
    let settings = |seed| Settings {
        seed,
        tasks: args.tasks,
        trouble: !args.calm,
        planted,
        verbose: args.seed.is_some(),
    };
    if let Some(seed) = args.seed {
        let report = run(settings(seed));
        println!("seed {seed}: {} events, hash {:016x}", report.events, report.hash);
        report.violations.iter().for_each(|violation| println!("  {violation}"));
        return if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    all(&args, settings)
}

fn all(args: &Args, settings: impl Fn(u64) -> Settings + Sync) -> ExitCode {
    let (next, events, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= args.seeds {
                        return;
                    }
                    let seed = args.first + at;
                    let report = run(settings(seed));
                    events.fetch_add(report.events, Ordering::Relaxed);
                    if !report.violations.is_empty() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        print(seed, &report);
                    }
                }
            });
        }
    });
    let (failed, seconds) = (failed.into_inner(), began.elapsed().as_secs_f64());
    println!(
        "{} seeds from {} with {} tasks each: {failed} failed, {} events, {:.1} s, {:.1} seeds/s",
        args.seeds,
        args.first,
        args.tasks,
        events.into_inner(),
        seconds,
        args.seeds as f64 / seconds
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(seed: u64, report: &Report) {
    println!(
        "seed {seed} fails after {:.1} s (SEED={seed} repeats it):",
        report.time.as_secs_f64()
    );
    report.violations.iter().for_each(|violation| println!("  {violation}"));
}
