//! `fetchline work`.

mod otlp_endpoint;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fetchline_queue::Role;
use fetchline_store::Outcome;
use fetchline_worker::{
    CompressBodies, ConsumeConfig, Cookies, Error, ExecuteConfig, FetchConfig, ObserveConfig,
    Proxy, RevalidateConfig, RobotsPolicy, ScheduleConfig, SignatureAgent, Signing, StoreBody,
    Visitor, Worker, WorkerConfig, WriteConfig,
};
use ipnet::IpNet;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::args::{self, GlobalArgs, Listen};
use crate::exit::{self, Done, Failure, Result};
use crate::schema::shape::{count, described, field, map, nullable, number, object, word};
use crate::secret::Secret;
use crate::stop;

/// Fetch tasks until stopped, then print a summary. On SIGTERM, SIGHUP or Ctrl-C: take no more
/// tasks, and finish what has begun
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The most fetches under way at the same time
    #[arg(long, value_name = "N", env = "FETCHLINE_CONCURRENCY", default_value_t = 100)]
    concurrency: usize,

    /// The most messages that the worker holds unacked. Messages use at most an eighth of
    /// --memory-budget, so the worker holds fewer while they are large [default: the larger of 4 x
    /// concurrency and concurrency + 2 x batch-rows; less if slow fetches could hold a message for
    /// longer than the broker allows]
    #[arg(long, value_name = "N", env = "FETCHLINE_PREFETCH")]
    prefetch: Option<usize>,

    /// The most fetches from one host under way at the same time, in this worker. `fetchline hosts
    /// set` limits all workers together
    #[arg(long, value_name = "N", env = "FETCHLINE_PER_HOST", default_value_t = 30)]
    per_host: usize,

    /// Commit a batch when it has this many rows
    #[arg(long, value_name = "N", env = "FETCHLINE_BATCH_ROWS", default_value_t = 500)]
    batch_rows: usize,

    /// Commit a batch when its first row is this old
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_BATCH_AGE", default_value = "250ms")]
    #[arg(value_parser = args::duration)]
    batch_age: Duration,

    /// Commit a batch when its rows have this size
    #[arg(long, value_name = "SIZE", env = "FETCHLINE_BATCH_BYTES", default_value = "4MiB")]
    #[arg(value_parser = args::size)]
    batch_bytes: usize,

    /// The time for a whole fetch, redirects and body included
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_TIMEOUT", default_value = "30s")]
    #[arg(value_parser = args::duration)]
    timeout: Duration,

    /// The time for connecting, TLS included
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_CONNECT_TIMEOUT", default_value = "5s")]
    #[arg(value_parser = args::duration)]
    connect_timeout: Duration,

    /// How long name servers may take to answer. It counts towards no other timeout
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_DNS_TIMEOUT", default_value = "10s")]
    #[arg(value_parser = args::duration)]
    dns_timeout: Duration,

    /// The most queries to name servers under way at the same time
    #[arg(long, value_name = "N", env = "FETCHLINE_DNS_CONCURRENCY", default_value_t = 64)]
    dns_concurrency: usize,

    /// A name server, such as `10.0.0.53` or `127.0.0.1:5353`. Can be repeated, or be a list with
    /// commas [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "ADDRESS", env = "FETCHLINE_DNS_SERVER")]
    #[arg(value_parser = args::name_server, value_delimiter = ',')]
    dns_server: Vec<SocketAddr>,

    /// How long a site may be silent, before its response or within the body [default: the same as
    /// --timeout]
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_READ_TIMEOUT")]
    #[arg(value_parser = args::duration)]
    read_timeout: Option<Duration>,

    /// The largest body, after decompression
    #[arg(long, value_name = "SIZE", env = "FETCHLINE_MAX_BODY", default_value = "10MiB")]
    #[arg(value_parser = args::size)]
    max_body: usize,

    /// Memory for held messages, and for bodies until their rows are committed. A fetch waits for
    /// memory rather than exceed the budget
    #[arg(long, value_name = "SIZE", env = "FETCHLINE_MEMORY_BUDGET", default_value = "256MiB")]
    #[arg(value_parser = args::size)]
    memory_budget: usize,

    /// Which bodies are stored. Size and hash are always stored
    #[arg(long, value_name = "WHICH", env = "FETCHLINE_STORE_BODY", default_value = "text")]
    store_body: StoreBody,

    /// Store bodies compressed, in the column `body_zstd`, where that makes them smaller.
    /// `fetchline body` prints them
    #[arg(long, value_name = "HOW", env = "FETCHLINE_COMPRESS_BODIES", default_value = "none")]
    compress_bodies: CompressBodies,

    /// Fetch pages only if they have changed since their last fetch: a page whose site says so, or
    /// that is the same, becomes a row with the outcome `unchanged` and without a body. Applies to
    /// GET requests only. The field `revalidate` of a message takes precedence
    #[arg(long, env = "FETCHLINE_REVALIDATE")]
    revalidate: bool,

    /// With revalidation, every n-th fetch of a page that its site calls unchanged gets the whole
    /// page. Each time the page is indeed unchanged, n doubles, at most twice
    #[arg(long, value_name = "N", env = "FETCHLINE_REVALIDATE_FULL_EVERY", default_value_t = 7)]
    revalidate_full_every: u32,

    /// A TOML file with extraction rules by host, for pages without machine-readable products
    #[arg(long, value_name = "FILE", env = "FETCHLINE_RULES")]
    rules: Option<PathBuf>,

    /// A PEM file with certificate authorities for sites, trusted in addition to the system's
    #[arg(long, value_name = "FILE", env = "FETCHLINE_CA")]
    ca: Option<PathBuf>,

    /// The header User-Agent
    #[arg(long, value_name = "TEXT", env = "FETCHLINE_USER_AGENT")]
    #[arg(default_value_t = FetchConfig::default().user_agent)]
    user_agent: String,

    /// The header Accept-Language, such as `de-DE,de;q=0.9` [default: none]
    #[arg(long, value_name = "TEXT", env = "FETCHLINE_ACCEPT_LANGUAGE")]
    accept_language: Option<HeaderValue>,

    /// A header of every request, to all sites, such as `DNT: 1`. A task's header of the same name
    /// replaces it. Can be repeated, or be a list with line breaks
    #[arg(long, value_name = "NAME: VALUE", env = "FETCHLINE_HEADER")]
    #[arg(value_delimiter = '\n')]
    header: Vec<Secret>,

    /// A PEM file with an Ed25519 key: every request, including those for robots.txt and after
    /// redirects, is signed with it (Web Bot Auth). `fetchline bot-keys` prints what sites need to
    /// check that [default: no signatures]
    #[arg(long, value_name = "FILE", env = "FETCHLINE_SIGN_REQUESTS")]
    sign_requests: Option<PathBuf>,

    /// Where sites find the keys of --sign-requests, such as `https://bot.example` [default: none]
    #[arg(long, value_name = "URL", env = "FETCHLINE_SIGNATURE_AGENT")]
    #[arg(value_parser = SignatureAgent::parse, requires = "sign_requests")]
    signature_agent: Option<SignatureAgent>,

    /// How long cookies live
    #[arg(long, value_name = "SPAN", env = "FETCHLINE_COOKIES", default_value = "fetch")]
    cookies: Cookies,

    /// A network that may be fetched from although it is not public. Can be repeated, or be a list
    /// with commas. An IPv4 network does not allow IPv4-embedded IPv6 addresses such as
    /// `::ffff:10.0.0.1`
    #[arg(long, value_name = "CIDR", env = "FETCHLINE_ALLOW_NETWORK")]
    #[arg(value_parser = args::network, value_delimiter = ',')]
    allow_network: Vec<IpNet>,

    /// An HTTP proxy for every fetch, such as `http://user:password@proxy.example:3128`. It
    /// resolves the names, so it has to refuse addresses that are not public: the worker checks
    /// only URLs whose host is an IP address. Variables such as `HTTPS_PROXY` are ignored
    #[arg(long, value_name = "URL", env = "FETCHLINE_PROXY")]
    proxy: Option<Secret>,

    /// Whether to obey robots.txt
    #[arg(long, value_name = "WHICH", env = "FETCHLINE_ROBOTS", default_value = "ignore")]
    robots: RobotsPolicy,

    /// The name by which robots.txt addresses this crawler, its product token: letters, `-` and `_`
    /// [default: the one that --user-agent names]
    #[arg(long, value_name = "NAME", env = "FETCHLINE_ROBOTS_TOKEN")]
    robots_token: Option<String>,

    /// The most MySQL connections to use. If there are at least two, one is reserved for commits
    #[arg(long, value_name = "N", env = "FETCHLINE_POOL", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pool: u32,

    /// How long to wait for a free MySQL connection
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_POOL_TIMEOUT", default_value = "5s")]
    #[arg(value_parser = args::duration)]
    pool_timeout: Duration,

    /// The delays between attempts: the n-th delay follows attempt n, and the last one repeats.
    /// Each delay has its own queue. Deferred tasks wait in these queues too, and in queues with
    /// longer delays of up to an hour
    #[arg(long, value_name = "DURATIONS", env = "FETCHLINE_RETRY_DELAYS")]
    #[arg(default_value = args::RETRY_DELAYS, value_parser = args::duration, value_delimiter = ',')]
    retry_delays: Vec<Duration>,

    /// The most attempts per task, the first one included
    #[arg(long, value_name = "N", env = "FETCHLINE_MAX_ATTEMPTS", default_value_t = 4)]
    max_attempts: u32,

    /// How long the worker holds results that the database does not accept. After that, it requeues
    /// their messages
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_HOLD", default_value = "10m")]
    #[arg(value_parser = args::duration)]
    hold: Duration,

    /// How long a stopping worker continues with what it has begun. Must be longer than --timeout
    #[arg(long, value_name = "DURATION", env = "FETCHLINE_GRACE", default_value = "35s")]
    #[arg(value_parser = args::duration)]
    grace: Duration,

    /// The address of /livez, /readyz and /metrics. Port 0 means any free port; `off` disables them
    #[arg(long, value_name = "ADDRESS", env = "FETCHLINE_LISTEN")]
    #[arg(default_value = "127.0.0.1:9464", value_parser = args::listen)]
    listen: Listen,

    /// Where traces go by OTLP over HTTP, such as `http://collector:4318`; `/v1/traces` is added.
    /// OTEL_TRACES_SAMPLER sets which share of traces is kept [default:
    /// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT, else no traces]
    #[arg(long, value_name = "URL", env = "FETCHLINE_OTLP_ENDPOINT")]
    otlp_endpoint: Option<Secret>,

    /// End with exit code 0 when nothing is left to do: two checks, 2 s apart, find the queues and
    /// the delay queues empty, and the worker holds no message. It waits for tasks of a paused host
    #[arg(long, env = "FETCHLINE_UNTIL_EMPTY")]
    until_empty: bool,

    /// The name of this worker in the console and in the rows [default: the name of the host, which
    /// in Kubernetes is that of the pod]
    #[arg(long, value_name = "NAME", env = "FETCHLINE_POD", value_parser = args::name)]
    pub(crate) pod: Option<String>,

    /// Print the summary as JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    pub(crate) json: bool,
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    let pod = args.pod.clone().unwrap_or_else(args::host_name);
    let broker = global.broker(Role::Consume, &pod)?;
    let store = global.store(args.pool, args.pool_timeout)?;
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    stop::on_signal(move || signalled.cancel()).context("cannot listen for signals")?;
    let json = args.json;
    let config = args.into_config(pod)?;
    tracing::info!(?config, broker = broker.location(), database = store.location(), "starting");
    if let Some(proxy) = &config.fetch.proxy {
        tracing::warn!(
            %proxy,
            "fetching through a proxy: it resolves the names, and it has to refuse what is not \
             public"
        );
    }
    let mut worker = Worker::start(config, broker, store).await.map_err(usage)?;
    let handle = worker.stop_handle();
    tokio::spawn(async move {
        stop.cancelled().await;
        handle.stop();
    });
    let (summary, result) = match worker.wait().await {
        Ok(summary) => (summary, Ok(Done::Whole)),
        Err(Error::GraceOver(summary)) => (*summary.clone(), Err(Error::GraceOver(summary).into())),
        Err(error) => return Err(usage(error)),
    };
    if json {
        exit::print(serde_json::to_string(&summary)?);
    } else {
        exit::print(&summary);
    }
    result
}

/// The shape of the summary.
pub(crate) fn schema() -> Value {
    let outcome = word("An outcome.", Outcome::ALL.map(Outcome::as_str));
    let outcomes = map(outcome, count("Rows with this outcome."));
    let memory = "The peak resident memory of the process; `null` if the system does not say.";
    object([
        field("ok", count("Rows with the outcome `ok`.")),
        field("unchanged", count("Rows with the outcome `unchanged`.")),
        field("failed", count("Rows with any other outcome.")),
        field("outcomes", described("Rows by outcome.", outcomes)),
        field("rows", count("Rows that were committed.")),
        field("retried", count("Failed attempts that were retried.")),
        field("parked", count("Deferrals. A task may be deferred several times.")),
        field("dead", count("Messages that are not tasks and became dead letters.")),
        field("seconds", number("From the first delivery to the last commit.")),
        field("urls_per_second", number("Rows per second.")),
        field("fetch_p50_ms", number("The median duration of fetches, in milliseconds.")),
        field("fetch_p95_ms", number("The 95th percentile of the same.")),
        field("peak_memory_bytes", nullable(count(memory))),
    ])
}

/// An error of the worker, with the names of flags. Most of them are errors of configuration.
fn usage(error: Error) -> Failure {
    match error {
        Error::Config(_) | Error::Listen(..) | Error::Traces(_) => {
            let text = format!("{:#}", anyhow::Error::from(error));
            Failure::usage(anyhow::anyhow!(args::with_flags(&text)))
        }
        Error::Store(cause) => cause.into(),
        Error::Broker(_) => Failure::usage(error),
        Error::Runtime
        | Error::Resolver(_)
        | Error::Client(_)
        | Error::Panic(_)
        | Error::GraceOver(_) => error.into(),
    }
}

/// Parses headers written like `Name: value`. An error does not repeat a value, which may be a
/// secret.
fn headers(lines: &[Secret]) -> std::result::Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let lines = lines.iter().map(Secret::expose);
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let parsed = line.split_once(':').and_then(|(name, value)| {
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.to_str().ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_str(name.trim()).ok()?, value))
        });
        let Some((name, value)) = parsed else {
            let text = "--header: a header is not written like `Name: value`, in ASCII";
            return Err(Failure::usage(anyhow::anyhow!(text)));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

impl Args {
    pub(crate) fn into_config(self, pod: String) -> std::result::Result<WorkerConfig, Failure> {
        // clap does not parse the proxy, since it would repeat a wrong URL with its password.
        let proxy = self.proxy.as_ref().map(|url| Proxy::parse(url.expose())).transpose();
        let proxy = proxy.map_err(|error| Failure::usage(anyhow::anyhow!("--proxy: {error}")))?;
        let signing = match &self.sign_requests {
            Some(file) => Some(Signing::new(args::bot_key(file)?, self.signature_agent)),
            None => None,
        };
        Ok(WorkerConfig {
            pod,
            hold: self.hold,
            grace: self.grace,
            consume: ConsumeConfig { prefetch: self.prefetch, until_empty: self.until_empty },
            schedule: ScheduleConfig { concurrency: self.concurrency, per_host: self.per_host },
            fetch: FetchConfig {
                timeout: self.timeout,
                connect_timeout: self.connect_timeout,
                dns_timeout: self.dns_timeout,
                dns_concurrency: self.dns_concurrency,
                dns_servers: self.dns_server,
                read_timeout: self.read_timeout,
                max_body: self.max_body,
                memory_budget: self.memory_budget,
                authorities: args::authorities(self.ca.as_deref())?,
                user_agent: self.user_agent,
                robots: self.robots,
                robots_token: self.robots_token,
                allowed_networks: self.allow_network,
                proxy,
                visitor: Visitor {
                    cookies: self.cookies,
                    accept_language: self.accept_language,
                    signing,
                    headers: headers(&self.header)?,
                },
            },
            execute: ExecuteConfig {
                retry_delays: self.retry_delays,
                max_attempts: self.max_attempts,
                store_body: self.store_body,
                compress_bodies: self.compress_bodies,
                rules: Arc::new(args::rules(self.rules.as_deref())?),
            },
            revalidate: RevalidateConfig {
                revalidate: self.revalidate,
                revalidate_full_every: self.revalidate_full_every,
            },
            write: WriteConfig {
                batch_rows: self.batch_rows,
                batch_age: self.batch_age,
                batch_bytes: self.batch_bytes,
            },
            observe: ObserveConfig {
                listen: self.listen.0,
                otlp_endpoint: otlp_endpoint::read(
                    self.otlp_endpoint.as_ref().map(Secret::expose),
                )?,
            },
        })
    }
}

#[cfg(test)]
mod tests;
