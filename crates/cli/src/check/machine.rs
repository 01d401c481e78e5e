//! This machine: certificate authorities, name servers, open files, and the connection to a site.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use fetchline_queue::Address;
use fetchline_store::Outcome;
use fetchline_worker::{WorkerConfig, ask_name_servers, check_authorities, trial_fetch};
use tokio::net::TcpListener;

use crate::exit::chain;
use crate::health;

use super::finding::{Finding, Status};

const AUTHORITIES: &str = "authorities";
const NAMES: &str = "name servers";
const FILES: &str = "open files";
const LISTEN: &str = "listen";
const EGRESS: &str = "egress";

/// The host that name servers are asked for unless a URL names another one.
const KNOWN_HOST: &str = "example.com";
/// Files of a worker besides connections to sites.
const OTHER_FILES: u64 = 100;
/// Files without which a worker cannot work: those of the runtime, and its connections to broker
/// and database.
const LEAST_FILES: u64 = 32;
/// A slow answer of a name server.
const SLOW: Duration = Duration::from_secs(1);

/// Checks this machine, and fetches `address` if there is one.
pub(super) async fn check(config: &WorkerConfig, address: Option<&Address>) -> Vec<Finding> {
    let mut findings = vec![open_files(config), authorities(config)];
    if let Some(address) = config.observe.listen {
        findings.push(listen(address).await);
    }
    // A proxy resolves the names.
    if config.fetch.proxy.is_none() {
        let host = address.and_then(|address| address.as_url().domain()).unwrap_or(KNOWN_HOST);
        findings.extend(name_servers(config, host).await);
    }
    if let Some(address) = address {
        findings.push(egress(config, address).await);
    }
    findings
}

/// Each fetch has a connection, and as many may be idle.
fn open_files(config: &WorkerConfig) -> Finding {
    let needed = 2 * config.schedule.concurrency as u64 + OTHER_FILES;
    match rlimit::getrlimit(rlimit::Resource::NOFILE) {
        Ok((limit, _)) if limit >= needed => {
            Finding::ok(FILES, format!("{limit} may be open, and a worker needs {needed}"))
        }
        Ok((limit, _)) => Finding::bad(
            FILES,
            if limit < LEAST_FILES { Status::Wrong } else { Status::Warning },
            format!("only {limit} may be open, and a worker may need {needed}"),
            "raise the hard limit (ulimit -Hn, LimitNOFILE=), or lower --concurrency",
        ),
        Err(error) => {
            let text = format!("the limit cannot be read: {error}");
            Finding::bad(FILES, Status::Warning, text, "")
        }
    }
}

fn authorities(config: &WorkerConfig) -> Finding {
    match check_authorities(&config.fetch) {
        Ok(found) if found.problems.is_empty() && found.count > 0 => {
            Finding::ok(AUTHORITIES, format!("the system trusts {}", found.count))
        }
        Ok(found) => Finding::bad(
            AUTHORITIES,
            Status::Warning,
            format!("the system trusts {}: {}", found.count, found.problems.join("; ")),
            "correct SSL_CERT_FILE and SSL_CERT_DIR, or install the package ca-certificates",
        ),
        Err(error) => Finding::bad(
            AUTHORITIES,
            Status::Wrong,
            chain(&error),
            "install the package ca-certificates, or name a file by --ca or SSL_CERT_FILE",
        ),
    }
}

/// Whether a worker could listen here, or does so already.
async fn listen(address: SocketAddr) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => Finding::ok(LISTEN, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if health::is_worker(address).await {
                return Finding::ok(LISTEN, format!("a worker listens on {address} already"));
            }
            let remedy = "end the other program, or choose another address by --listen";
            let text = format!("{address} is in use, and not by a worker");
            Finding::bad(LISTEN, Status::Wrong, text, remedy)
        }
        Err(error) => {
            let text = format!("cannot listen on {address}: {error}");
            Finding::bad(LISTEN, Status::Wrong, text, "choose another address by --listen")
        }
    }
}

async fn name_servers(config: &WorkerConfig, host: &str) -> Vec<Finding> {
    let asked = match ask_name_servers(&config.fetch, host).await {
        Ok(asked) => asked,
        Err(error) => return vec![Finding::bad(NAMES, Status::Wrong, chain(&error), "")],
    };
    if asked.is_empty() {
        let text = "there is none: /etc/resolv.conf names no name server";
        return vec![Finding::bad(NAMES, Status::Wrong, text, "name one by --dns-server")];
    }
    let some_answer = asked.iter().any(|(_, answer)| answer.is_ok());
    let finding = |(server, answer): &(_, Result<Duration, String>)| match answer {
        Ok(time) if *time < SLOW => {
            Finding::ok(NAMES, format!("{server} answers in {} ms", time.as_millis()))
        }
        Ok(time) => {
            let text = format!("{server} took {:.1} s for {host}", time.as_secs_f64());
            Finding::bad(NAMES, Status::Warning, text, "use a name server that is nearer")
        }
        Err(error) => {
            // The others are asked after a pause, for every name.
            let status = if some_answer { Status::Warning } else { Status::Failed };
            let remedy = "correct /etc/resolv.conf or --dns-server, and check that port 53 is open";
            Finding::bad(NAMES, status, format!("{error} ({host})"), remedy)
        }
    };
    asked.iter().map(finding).collect()
}

async fn egress(config: &WorkerConfig, address: &Address) -> Finding {
    let masked = address.masked();
    let fetched = match trial_fetch(config, address).await {
        Ok(fetched) => fetched,
        Err(error) => return Finding::bad(EGRESS, Status::Wrong, chain(&error), ""),
    };
    let elapsed = format!("{} ms", fetched.elapsed.as_millis());
    if let (Some(status), Outcome::Ok | Outcome::HttpError) = (fetched.status, fetched.outcome) {
        let bytes = fetched.body.map_or(0, |body| body.len());
        return Finding::ok(
            EGRESS,
            format!("{masked} answered {status} with {bytes} bytes in {elapsed}"),
        );
    }
    let remedy = match fetched.outcome {
        Outcome::Blocked => "--allow-network opens a network that is not public",
        Outcome::Dns => "see the check of the name servers",
        Outcome::Connect | Outcome::Timeout => {
            "check that a firewall lets this machine out, or name a --proxy"
        }
        Outcome::Tls => "a proxy that opens TLS needs its authority in --ca",
        _ => "",
    };
    let error = fetched.error.unwrap_or_default();
    let text = format!("{masked} ended as {} after {elapsed}: {error}", fetched.outcome.as_str());
    // No repetition opens a network.
    let is_blocked = fetched.outcome == Outcome::Blocked;
    let status = if is_blocked { Status::Wrong } else { Status::Failed };
    Finding::bad(EGRESS, status, text, remedy)
}
