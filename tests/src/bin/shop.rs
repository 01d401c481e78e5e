//! The sample shop as a process of its own.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;
use fetchline_tests::shop::{Options, Shop};
use tokio::signal::unix::{SignalKind, signal};

/// A web site with product pages and with every misbehaviour a fetcher has to take.
#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Writes the address that it listens on to this file
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// Begins with this price revision: above 0, every tenth product has another price
    #[arg(long, default_value_t = 0)]
    revision: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Each visitor takes a descriptor, and many shells allow 1,024.
    rlimit::increase_nofile_limit(u64::MAX).context("cannot raise the limit of open files")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let shop = Shop::start(Options { listen: args.listen, revision: args.revision }).await?;
    if let Some(file) = args.port_file {
        // Renamed, so that whoever waits for the file never reads half an address.
        let unfinished = file.with_extension("unfinished");
        fs::write(&unfinished, shop.addr().to_string())
            .and_then(|()| fs::rename(&unfinished, &file))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("shop: listening on http://{}", shop.addr());
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    shop.stop().await;
    Ok(())
}
