//! The cost of finding the product of a page, compared with that of fetching the page: processor
//! time of this process, both in one run, each page read as soon as it arrives. The shop runs in
//! another process, so that serving pages does not count. Pages are only received, so that a
//! worker's own work around a fetch does not count either.
//!
//!     make bench-extraction

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use cpu_time::{ProcessTime, ThreadTime};
use fetchline_extract::{Extraction, Rules};
use fetchline_tests::services::project;
use fetchline_tests::wait;
use futures_util::StreamExt;
use futures_util::stream;

const ROUNDS: usize = 10;
const PAGES: u64 = 1_000;
const CONCURRENCY: usize = 30;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let folder = project().join(".local/run");
    std::fs::create_dir_all(&folder)?;
    let port_file = folder.join("bench-shop");
    _ = std::fs::remove_file(&port_file);
    let shop =
        std::env::current_exe()?.ancestors().nth(2).context("no target folder")?.join("shop");
    ensure!(
        shop.exists(),
        "{} is missing: cargo build --release --package fetchline-tests --bin shop",
        shop.display()
    );
    let mut shop =
        Command::new(shop).arg("--port-file").arg(&port_file).stdout(Stdio::null()).spawn()?;
    let measured = measure(&port_file).await;
    shop.kill()?;
    shop.wait()?;
    measured
}

async fn measure(port_file: &std::path::Path) -> anyhow::Result<()> {
    let address = async || Ok(std::fs::read_to_string(port_file).unwrap_or_default());
    let address = wait::until("the shop is open", address, |address| !address.is_empty()).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    println!("processor time per page, {PAGES} pages per round, median of {ROUNDS} rounds");
    for path in ["p", "big"] {
        let url = format!("http://{address}/{path}/1").parse()?;
        let (mut fetching, mut extracting, mut size) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            let began = ProcessTime::now();
            let (mut extraction, mut bytes) = (Duration::ZERO, 0);
            let pages = stream::iter(0..PAGES).map(|id| {
                let request = client.get(format!("http://{address}/{path}/{id}")).send();
                async move { anyhow::Ok(request.await?.bytes().await?.to_vec()) }
            });
            let mut pages = pages.buffer_unordered(CONCURRENCY);
            while let Some(page) = pages.next().await {
                let page = page?;
                bytes += page.len();
                let began = ThreadTime::now();
                let content = fetchline_extract::read(Some("text/html; charset=utf-8"), page);
                let found = fetchline_extract::product(&content, &url, &Rules::default(), None);
                ensure!(matches!(found, Extraction::Found(_)), "a page without a product");
                drop((content, found));
                extraction += began.elapsed();
            }
            extracting.push(extraction);
            fetching.push(began.elapsed().saturating_sub(extraction));
            size = bytes / usize::try_from(PAGES)?;
        }
        let (fetching, extracting) = (median(fetching), median(extracting));
        println!(
            "{:>6.1} kB   fetch {:>6.1} us   extract {:>6.1} us   extract / fetch {:.2}",
            size as f64 / 1000.0,
            fetching * 1e6 / PAGES as f64,
            extracting * 1e6 / PAGES as f64,
            extracting / fetching
        );
    }
    Ok(())
}

/// The median, in seconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}
