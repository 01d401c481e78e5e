//! The sample shop as a separate process.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;
use fetchline_tests::shop::{Options, Shop};
use tokio::signal::unix::{SignalKind, signal};

/// A web site with product pages and with every misbehaviour that a fetcher must handle.
#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Writes its address to this file once it listens
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// The first price revision: above 0, every tenth product has another price
    #[arg(long, default_value_t = 0)]
    revision: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Each visitor takes a file descriptor, and many shells allow 1,024.
    rlimit::increase_nofile_limit(u64::MAX).context("cannot raise the limit of open files")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let shop = Shop::start(Options { listen: args.listen, revision: args.revision }).await?;
    if let Some(file) = args.port_file {
        // Renamed, so that nobody who waits for the file reads half an address.
        let partial = file.with_extension("partial");
        fs::write(&partial, shop.addr().to_string())
            .and_then(|()| fs::rename(&partial, &file))
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
