//! The flags that several commands share, and how values are written.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use fetchline_extract::Rules;
use fetchline_queue::{Broker, BrokerConfig, Role};
use fetchline_store::{Store, StoreConfig};
use ipnet::IpNet;

use crate::exit::Failure;

/// Flags of every command.
#[derive(Args)]
pub(crate) struct Everywhere {
    /// RabbitMQ; amqps:// for TLS. Also read from `AMQP_URL`; else `amqp://guest:guest@127.0.0.1:5672/%2f`
    #[arg(long, global = true, value_name = "URL", env = "FETCHLINE_AMQP_URL", hide_env_values = true)]
    #[arg(default_value_t = from_environment("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f"))]
    #[arg(hide_default_value = true)]
    pub(crate) amqp_url: String,

    /// A PEM file with the authority that signed the broker's certificate
    #[arg(long, global = true, value_name = "FILE", env = "FETCHLINE_AMQP_CA")]
    pub(crate) amqp_ca: Option<PathBuf>,

    /// MySQL or MariaDB; TLS as the URL says (`?ssl-mode=VERIFY_IDENTITY&ssl-ca=FILE`). Also read from `DATABASE_URL`;
    /// else `mysql://root@127.0.0.1:3306/fetchline`
    #[arg(long, global = true, value_name = "URL", env = "FETCHLINE_DATABASE_URL", hide_env_values = true)]
    #[arg(default_value_t = from_environment("DATABASE_URL", "mysql://root@127.0.0.1:3306/fetchline"))]
    #[arg(hide_default_value = true)]
    pub(crate) database_url: String,

    /// Begins the name of every exchange and queue, so that several fleets can share a broker
    #[arg(long, global = true, value_name = "NAME", env = "FETCHLINE_PREFIX", default_value = "fetchline")]
    #[arg(value_parser = prefix)]
    pub(crate) prefix: String,

    /// How log lines are written (to standard error)
    #[arg(long, global = true, value_name = "FORMAT", env = "FETCHLINE_LOG", default_value = "text")]
    pub(crate) log: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Everywhere {
    /// The broker, under the name that the console shows.
    pub(crate) fn broker(&self, role: Role, name: &str) -> Result<Broker, Failure> {
        let config = BrokerConfig { url: self.amqp_url.clone(), ca: self.amqp_ca.clone(), prefix: self.prefix.clone() };
        Broker::new(&config, role, name).map_err(Failure::usage)
    }

    /// The database, with this many connections at most.
    pub(crate) fn store(&self, pool: u32, pool_timeout: Duration) -> Result<Store, Failure> {
        Store::open(StoreConfig { url: self.database_url.clone(), pool, pool_timeout }).map_err(Failure::usage)
    }

    /// The database for one command that asks or changes something: one connection, and the schema is there.
    pub(crate) async fn migrated_store(&self) -> Result<Store, Failure> {
        let store = self.store(1, Duration::from_secs(5))?;
        store.check_schema().await.map_err(|error| match error.is_configuration() {
            true => Failure::usage(error),
            false => error.into(),
        })?;
        Ok(store)
    }
}

/// The delays before further tries, where nothing else is said.
pub(crate) const RETRY_DELAYS: &str = "10s,60s,600s";

/// The default of a flag whose variable has a name that other programs use, too.
fn from_environment(variable: &str, otherwise: &str) -> String {
    std::env::var(variable).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| otherwise.to_owned())
}

/// The name of this host: in a pod, the pod's.
pub(crate) fn host_name() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown-host".to_owned())
}

/// A name of the broker has at most 255 bytes; ours end in something of their own.
fn prefix(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 100 || !text.chars().all(allowed) {
        return Err("1 to 100 letters, digits, `-`, `_` and `.`".to_owned());
    }
    Ok(text.to_owned())
}

/// `250ms`, `30s`, `10m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error} (write it like 250ms, 30s, 10m)"))
}

/// `5/s`, `0.2/s`: how many per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").and_then(|number| number.trim().parse().ok());
    // Slower than once in ten days is a pause, and faster than this is no limit.
    let sensible = number.filter(|rate| (1e-6..=1e6).contains(rate));
    sensible.ok_or_else(|| "no number per second above 0 (write it like 5/s or 0.2/s)".to_owned())
}

/// `4MiB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let size: ByteSize = text.parse().map_err(|error| format!("{error} (write it like 512KiB, 4MiB)"))?;
    usize::try_from(size.as_u64()).map_err(|_| "too large".to_owned())
}

/// The extraction rules of a file; none without a file.
pub(crate) fn rules(file: Option<&Path>) -> Result<Rules, Failure> {
    let Some(file) = file else { return Ok(Rules::default()) };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read --rules {name}"));
    Rules::parse(&name, &text.map_err(Failure::usage)?).map_err(Failure::usage)
}

/// `10.0.0.0/8`. One with host bits is refused: it may stand for a network or for an address, and one is far larger.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Err(format!("an address is no network: write {} to open it alone", IpNet::from(address)));
    }
    let network: IpNet = text.parse().map_err(|_| "write it like 10.0.0.0/8 or fd00::/8".to_owned())?;
    if network != network.trunc() {
        let (whole, alone) = (network.trunc(), IpNet::from(network.addr()));
        return Err(format!("it has host bits: write {whole} for the network, {alone} for the address alone"));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_help_says() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(size("4MiB"), Ok(4 << 20));
        assert!(duration("soon").unwrap_err().contains("30s"));
        assert!(size("much").unwrap_err().contains("MiB"));
        assert!(prefix("team-a.prices").is_ok() && prefix("a b").is_err() && prefix("").is_err());
    }

    #[test]
    fn a_network_is_named_exactly_and_the_error_says_how() {
        assert_eq!(network(" 10.0.0.0/8 ").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("64:ff9b::/96").unwrap().to_string(), "64:ff9b::/96");
        let bits = network("10.1.2.3/8").unwrap_err();
        assert!(bits.contains("10.0.0.0/8") && bits.contains("10.1.2.3/32"), "{bits}");
        assert!(network("fd00::1").unwrap_err().contains("fd00::1/128"));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "intranet", "*"] {
            assert!(network(wrong).unwrap_err().contains("10.0.0.0/8"), "{wrong}");
        }
    }
}
