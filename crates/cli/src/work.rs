//! `fetchline work`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use fetchline_queue::Role;
use fetchline_worker::pipeline::Error;
use fetchline_worker::{Deps, MAX_PREFETCH, Proxy, RobotsPolicy, Stop, StoreBody, WorkConfig};
use ipnet::IpNet;
use url::Url;

use crate::args::{self, Everywhere};
use crate::exit::{self, Done, Failure, Result};
use crate::stop;

/// Consumes until it is stopped, then prints the summary. SIGTERM or Ctrl-C: takes no more, finishes what was begun
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fetches at once
    #[arg(long, value_name = "N", env = "FETCHLINE_CONCURRENCY", default_value_t = 100)]
    concurrency: usize,

    /// Messages held unacked, at most (default: max(4 x concurrency, concurrency + 2 x batch-rows),
    /// less where slow fetches could hold a message for longer than the broker allows). Fewer while
    /// messages are large: together they take an eighth of --memory-budget at most
    #[arg(long, value_name = "N", env = "FETCHLINE_PREFETCH")]
    prefetch: Option<usize>,

    /// Fetches at once at one host, in this worker. What all workers together may ask of a host: `fetchline hosts set`
    #[arg(long, value_name = "N", env = "FETCHLINE_PER_HOST", default_value_t = 30)]
    per_host: usize,

    /// A batch is written when it has this many rows
    #[arg(long, value_name = "N", env = "FETCHLINE_BATCH_ROWS", default_value_t = 500)]
    batch_rows: usize,

    /// ... or is this old
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_BATCH_AGE", default_value = "250ms")]
    #[arg(value_parser = args::duration)]
    batch_age: Duration,

    /// ... or this large
    #[arg(long, value_name = "SIZE", env = "FETCHLINE_BATCH_BYTES", default_value = "4MiB", value_parser = args::size)]
    batch_bytes: usize,

    /// The whole of a fetch, redirects and body included
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_TIMEOUT", default_value = "30s")]
    #[arg(value_parser = args::duration)]
    timeout: Duration,

    /// Connecting, TLS included
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_CONNECT_TIMEOUT", default_value = "5s")]
    #[arg(value_parser = args::duration)]
    connect_timeout: Duration,

    /// Silence between two reads of an answer (default: as long as --timeout)
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_READ_TIMEOUT", value_parser = args::duration)]
    read_timeout: Option<Duration>,

    /// The largest body, after decompression
    #[arg(long, value_name = "SIZE", env = "FETCHLINE_MAX_BODY", default_value = "10MiB", value_parser = args::size)]
    max_body: usize,

    /// All bodies that are being read or wait for their commit, and all messages that are held,
    /// together; a fetch waits for room rather than exceed it
    #[arg(long, value_name = "SIZE", env = "FETCHLINE_MEMORY_BUDGET", default_value = "256MiB")]
    #[arg(value_parser = args::size)]
    memory_budget: usize,

    /// Which bodies are stored; size and hash are kept always
    #[arg(long, value_name = "WHICH", env = "FETCHLINE_STORE_BODY", default_value = "text")]
    store_body: Keep,

    /// A TOML file that says, by host, where products are found in pages that do not tell them in a form of their own
    #[arg(long, value_name = "FILE", env = "FETCHLINE_RULES")]
    rules: Option<PathBuf>,

    /// The User-Agent header
    #[arg(long, value_name = "TEXT", env = "FETCHLINE_USER_AGENT")]
    #[arg(default_value = concat!("fetchline/", env!("CARGO_PKG_VERSION")))]
    user_agent: String,

    /// Opens a network; by default only public addresses are fetched. Repeatable, or with commas. What is IPv4 in IPv6
    /// disguise (such as `::ffff:10.0.0.1`) is opened only by an IPv6 network
    #[arg(long, value_name = "CIDR", env = "FETCHLINE_ALLOW_NETWORK")]
    #[arg(value_parser = args::network, value_delimiter = ',')]
    allow_network: Vec<IpNet>,

    /// Fetches everything through an HTTP proxy (`http://user:password@proxy.example:3128`). It resolves the names, so
    /// it has to refuse what is not public: here, only URLs that hold an address are checked. Variables such as
    /// `HTTPS_PROXY` are ignored
    #[arg(long, value_name = "URL", env = "FETCHLINE_PROXY", hide_env_values = true)]
    proxy: Option<String>,

    /// What is done about robots.txt
    #[arg(long, value_name = "WHICH", env = "FETCHLINE_ROBOTS", default_value = "ignore")]
    robots: AboutRobots,

    /// MySQL connections, at most. Where there are several, one is kept for commits
    #[arg(long, value_name = "N", env = "FETCHLINE_POOL", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pool: u32,

    /// How long to wait for a MySQL connection
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_POOL_TIMEOUT", default_value = "5s")]
    #[arg(value_parser = args::duration)]
    pool_timeout: Duration,

    /// Attempt n waits the n-th delay before the next; the last one repeats. Each is a queue of its
    /// own. Tasks of hosts that are paused or slow wait there, too, and in queues of longer delays,
    /// up to an hour
    #[arg(long, value_name = "DURATIONS", env = "FETCHLINE_RETRY_DELAYS", default_value = args::RETRY_DELAYS)]
    #[arg(value_parser = args::duration, value_delimiter = ',')]
    retry_delays: Vec<Duration>,

    /// Tries of a task, the first included
    #[arg(long, value_name = "N", env = "FETCHLINE_MAX_ATTEMPTS", default_value_t = 4)]
    max_attempts: u32,

    /// How long results are held while the database does not take them; then their messages are
    /// requeued
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_HOLD", default_value = "10m", value_parser = args::duration)]
    hold: Duration,

    /// How long a stopping worker goes on with what it has begun; must be above --timeout
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_GRACE", default_value = "35s", value_parser = args::duration)]
    grace: Duration,

    /// Where /livez, /readyz and /metrics are served; port 0 takes a free one, `off` serves nothing
    #[arg(long, value_name = "ADDRESS", env = "FETCHLINE_LISTEN", default_value = "127.0.0.1:9464")]
    #[arg(value_parser = listen)]
    listen: Listen,

    /// Traces go here by OTLP over HTTP (`http://collector:4318`; `/v1/traces` is added). Else to where
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT` say, and nowhere without these. How many are
    /// kept: `OTEL_TRACES_SAMPLER`
    #[arg(long, value_name = "URL", env = "FETCHLINE_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,

    /// End with 0 when `urls` and the delay queues were seen empty twice, 2 s apart, and this
    /// worker holds nothing. Tasks of a paused host are waited for
    #[arg(long, env = "FETCHLINE_UNTIL_EMPTY")]
    until_empty: bool,

    /// The name of this worker in the console and in the rows (default: the host's name, in a pod the pod's)
    #[arg(long, value_name = "NAME", env = "FETCHLINE_POD")]
    pod: Option<String>,

    /// Print the summary as JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

/// What is done about robots.txt.
#[derive(Clone, Copy, ValueEnum)]
enum AboutRobots {
    /// Nothing: the list of URLs is your own
    Ignore,
    /// It is asked for once a day by one worker for all, and what it forbids is not fetched
    Obey,
}

/// Which bodies are stored.
#[derive(Clone, Copy, ValueEnum)]
enum Keep {
    /// JSON as JSON, other text as text
    Text,
    /// Only JSON
    Json,
    /// Other bodies too, as bytes
    All,
    /// None
    None,
}

/// Where health is served.
#[derive(Clone, Copy)]
struct Listen(Option<SocketAddr>);

fn listen(text: &str) -> std::result::Result<Listen, String> {
    match text {
        "off" => Ok(Listen(None)),
        text => text.parse().map(|address| Listen(Some(address))).map_err(|_| "IP:PORT, or `off`".to_owned()),
    }
}

pub(crate) async fn run(everywhere: Everywhere, args: Args) -> Result {
    let pod = args.pod.clone().unwrap_or_else(args::host_name);
    if pod.is_empty() || pod.len() > 100 {
        return Err(Failure::usage(anyhow::anyhow!("--pod has 1 to 100 bytes")));
    }
    let broker = everywhere.broker(Role::Work, &pod)?;
    let store = Arc::new(everywhere.store(args.pool, args.pool_timeout)?.with_batch_rows(args.batch_rows));
    let stop = Stop::default();
    let signalled = stop.clone();
    stop::on_signal(move || signalled.stop()).context("cannot listen for signals")?;
    let json = args.json;
    let config = args.into_config(pod)?;
    tracing::info!(?config, broker = broker.location(), database = store.location(), "starting");
    if let Some(proxy) = &config.proxy {
        tracing::warn!(%proxy, "fetching through a proxy: it resolves the names, and it has to refuse what is not public");
    }
    let (summary, result) = match fetchline_worker::run(config, Deps { broker, store }, stop).await {
        Ok(summary) => (summary, Ok(Done::Whole)),
        Err(Error::GraceOver(summary)) => {
            let summary: fetchline_worker::Summary = *summary;
            (summary.clone(), Err(Error::GraceOver(Box::new(summary)).into()))
        }
        Err(error @ (Error::Config(_) | Error::Listen(..) | Error::Traces(_))) => return Err(Failure::usage(error)),
        Err(error) => return Err(error.into()),
    };
    if json {
        exit::print(serde_json::to_string(&summary)?);
    } else {
        exit::print(&summary);
    }
    result
}

impl Args {
    /// Where traces go: what the standard variables say is read as OpenTelemetry wants it.
    fn traces_to(&self) -> std::result::Result<Option<Url>, Failure> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let of_base = |base: String| format!("{}/v1/traces", base.trim_end_matches('/').trim_end_matches("/v1/traces"));
        let (flag, whole, base) =
            ("--otlp-endpoint", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
        let given = (self.otlp_endpoint.clone().filter(|url| !url.is_empty()).map(|url| (flag, of_base(url))))
            .or_else(|| variable(whole).map(|url| (whole, url)))
            .or_else(|| variable(base).map(|url| (base, of_base(url))));
        let Some((name, text)) = given else { return Ok(None) };
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        match url {
            Some(url) if url.username().is_empty() && url.password().is_none() => Ok(Some(url)),
            Some(_) => Err(Failure::usage(anyhow::anyhow!(
                "{name}: credentials do not belong into the URL; OTEL_EXPORTER_OTLP_HEADERS holds them"
            ))),
            None => Err(Failure::usage(anyhow::anyhow!("{name} is no URL like http://collector:4318"))),
        }
    }

    fn into_config(self, pod: String) -> std::result::Result<WorkConfig, Failure> {
        // Not read by clap, which would repeat it, password and all, where it is wrong.
        let proxy = self.proxy.as_deref().map(Proxy::parse).transpose();
        let proxy = proxy.map_err(|error| Failure::usage(anyhow::anyhow!("--proxy: {error}")))?;
        let traces_to = self.traces_to()?;
        let rules = args::rules(self.rules.as_deref())?;
        let default_prefetch = WorkConfig::default_prefetch(self.concurrency, self.batch_rows, self.timeout, self.hold);
        Ok(WorkConfig {
            pod,
            concurrency: self.concurrency,
            prefetch: self.prefetch.unwrap_or(default_prefetch).min(MAX_PREFETCH + 1),
            per_host: self.per_host,
            batch_rows: self.batch_rows,
            batch_age: self.batch_age,
            batch_bytes: self.batch_bytes,
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            read_timeout: self.read_timeout.unwrap_or(self.timeout),
            max_body: self.max_body,
            memory_budget: self.memory_budget,
            store_body: match self.store_body {
                Keep::Text => StoreBody::Text,
                Keep::Json => StoreBody::Json,
                Keep::All => StoreBody::All,
                Keep::None => StoreBody::None,
            },
            rules: Arc::new(rules),
            user_agent: self.user_agent,
            robots: match self.robots {
                AboutRobots::Ignore => RobotsPolicy::Ignore,
                AboutRobots::Obey => RobotsPolicy::Obey,
            },
            allow_network: self.allow_network,
            proxy,
            retry_delays: self.retry_delays,
            max_attempts: self.max_attempts,
            hold: self.hold,
            grace: self.grace,
            listen: self.listen.0,
            traces_to,
            until_empty: self.until_empty,
        })
    }
}
