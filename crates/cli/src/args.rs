//! Flags that several commands share, and the syntax of their values.

use std::env::VarError;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytesize::ByteSize;
use clap::Args;
use fetchline_extract::{MAX_CATEGORY, Rules};
use fetchline_queue::{Broker, BrokerConfig, MAX_NAME_BYTES, Role, is_name};
use fetchline_store::{Store, StoreConfig};
use fetchline_worker::{Authorities, BotKey};
use ipnet::IpNet;

use crate::exit::Failure;
use crate::log::LogFormat;
use crate::secret::Secret;

/// Flags of every command.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// The URL of RabbitMQ
    ///
    /// Use amqps:// for TLS. Several nodes of a cluster are listed with commas, as in
    /// amqp://user:password@rabbit1:5672,rabbit2:5672/%2f. The default is the value of AMQP_URL,
    /// else amqp://guest:guest@127.0.0.1:5672/%2f
    #[arg(long, global = true, value_name = "URL", env = "FETCHLINE_AMQP_URL")]
    #[arg(default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    pub(crate) amqp_url: Secret,

    /// A PEM file with the certificate authority of the broker
    ///
    /// It is trusted in addition to those of the system.
    #[arg(long, global = true, value_name = "FILE", env = "FETCHLINE_AMQP_CA")]
    pub(crate) amqp_ca: Option<PathBuf>,

    /// The URL of MySQL or MariaDB
    ///
    /// For TLS append ?ssl-mode=VERIFY_IDENTITY&ssl-ca=FILE. Several nodes of a cluster are listed
    /// with commas, as in mysql://user@galera1,galera2/fetchline. The default is the value of
    /// DATABASE_URL, else mysql://root@127.0.0.1:3306/fetchline
    #[arg(long, global = true, value_name = "URL", env = "FETCHLINE_DATABASE_URL")]
    #[arg(default_value = "mysql://root@127.0.0.1:3306/fetchline")]
    pub(crate) database_url: Secret,

    /// The first part of all exchange and queue names
    ///
    /// With different prefixes, several fleets can share a broker.
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "FETCHLINE_PREFIX",
        default_value = "fetchline"
    )]
    #[arg(value_parser = prefix)]
    pub(crate) prefix: String,

    /// A configuration file: TOML with the names of flags
    ///
    /// A flag or its variable takes precedence. A table such as `work` is for one command. Without
    /// this flag, /etc/fetchline.toml is read if it exists.
    #[arg(long, global = true, value_name = "FILE", env = "FETCHLINE_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// The format of log lines, which go to standard error
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "FETCHLINE_LOG",
        default_value = "text"
    )]
    pub(crate) log: LogFormat,
}

impl GlobalArgs {
    /// The broker. Its management UI shows the connection under `name`.
    pub(crate) fn broker(&self, role: Role, name: &str) -> Result<Broker, Failure> {
        let config = BrokerConfig {
            url: self.amqp_url.expose().to_owned(),
            ca: self.amqp_ca.clone(),
            prefix: self.prefix.clone(),
        };
        Broker::new(&config, role, name).map_err(Failure::usage)
    }

    /// The database, with at most `pool` connections.
    pub(crate) fn store(&self, pool: u32, pool_timeout: Duration) -> Result<Store, Failure> {
        let url = self.database_url.expose().to_owned();
        Store::open(StoreConfig { url, pool, pool_timeout }).map_err(Failure::usage)
    }

    /// The database for one short command: one connection, and a checked schema.
    pub(crate) async fn migrated_store(&self) -> Result<Store, Failure> {
        let store = self.store(1, Duration::from_secs(5))?;
        store.check_schema().await?;
        Ok(store)
    }
}

/// The default delays before further attempts.
pub(crate) const RETRY_DELAYS: &str = "10s,60s,600s";

/// A variable that no flag reads. One that is empty counts as unset, one that is not UTF-8 does
/// not.
pub(crate) fn variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.trim().is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            Err(Failure::usage(anyhow!("the variable {name} is not UTF-8")))
        }
    }
}

/// The name of this host, which in Kubernetes is that of the pod.
pub(crate) fn host_name() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown-host".to_owned())
}

/// Names in AMQP have at most 255 bytes, and each queue has a suffix of its own.
fn prefix(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 100 || !text.chars().all(allowed) {
        return Err("use 1 to 100 letters, digits, `-`, `_` or `.`".to_owned());
    }
    Ok(text.to_owned())
}

/// The name of a run or a part.
pub(crate) fn name(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("use 1 to {MAX_NAME_BYTES} bytes without control characters")),
    }
}

/// A category. That of a page is cut to this length.
pub(crate) fn category(text: &str) -> Result<String, String> {
    match text.chars().count() <= MAX_CATEGORY {
        true => Ok(text.to_owned()),
        false => Err(format!("use at most {MAX_CATEGORY} characters")),
    }
}

/// Parses `250ms`, `30s`, `10m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error} (write it like 250ms, 30s, 10m)"))
}

/// Parses `5/s`, `0.2/s`: a number per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    fetchline_queue::control::parse_rate(text)
}

/// Parses `4MiB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let size: ByteSize =
        text.parse().map_err(|error| format!("{error} (write it like 512KiB, 4MiB)"))?;
    usize::try_from(size.as_u64()).map_err(|_| "too large".to_owned())
}

/// The text of a library with settings such as `` `max_body` `` replaced by flags.
pub(crate) fn with_flags(text: &str) -> String {
    let is_setting = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    // Every second piece is in backticks.
    let pieces = text.split('`').enumerate().map(|(index, piece)| match index % 2 {
        1 if is_setting(piece) => format!("--{}", piece.replace('_', "-")),
        1 => format!("`{piece}`"),
        _ => piece.to_owned(),
    });
    pieces.collect()
}

/// Reads the extraction rules of a file; no rules without a file.
pub(crate) fn rules(file: Option<&Path>) -> Result<Rules, Failure> {
    let Some(file) = file else { return Ok(Rules::default()) };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read --rules {name}"));
    Rules::parse(&name, &text.map_err(Failure::usage)?).map_err(Failure::usage)
}

/// Reads certificate authorities; none without a file.
pub(crate) fn authorities(file: Option<&Path>) -> Result<Authorities, Failure> {
    let Some(file) = file else { return Ok(Authorities::default()) };
    let read =
        Authorities::read(file).with_context(|| format!("cannot use --ca {}", file.display()));
    read.map_err(Failure::usage)
}

/// Reads the key that requests are signed with.
pub(crate) fn bot_key(file: &Path) -> Result<BotKey, Failure> {
    let read = BotKey::read(file)
        .with_context(|| format!("cannot use the key {} (--sign-requests)", file.display()));
    read.map_err(Failure::usage)
}

/// Parses the address of a name server. Its port is 53 unless it names another one.
pub(crate) fn name_server(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let address = text.parse().or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, 53)));
    address.map_err(|_| "write it like 10.0.0.53, 127.0.0.1:5353 or [fd00::53]:53".to_owned())
}

/// Parses `10.0.0.0/8`. A network with host bits is an error: it may mean the network or the
/// address, and the network is far larger.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Err(format!(
            "an address is not a network: write {} to allow it alone",
            IpNet::from(address)
        ));
    }
    let network: IpNet =
        text.parse().map_err(|_| "write it like 10.0.0.0/8 or fd00::/8".to_owned())?;
    if network != network.trunc() {
        let (network, address) = (network.trunc(), IpNet::from(network.addr()));
        return Err(format!(
            "the network has host bits: write {network} for all of it, or {address} for the address"
        ));
    }
    Ok(network)
}

/// The value of `--listen`.
#[derive(Clone, Copy)]
pub(crate) struct Listen(pub(crate) Option<SocketAddr>);

pub(crate) fn listen(text: &str) -> std::result::Result<Listen, String> {
    match text {
        "off" => Ok(Listen(None)),
        text => text
            .parse()
            .map(|address| Listen(Some(address)))
            .map_err(|_| "write it like 127.0.0.1:9464, or `off`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_name_server_is_53_unless_another_one_is_named() {
        for (text, expected) in [
            ("10.0.0.53", "10.0.0.53:53"),
            (" 127.0.0.1:5353", "127.0.0.1:5353"),
            ("fd00::53", "[fd00::53]:53"),
            ("[fd00::53]:5353", "[fd00::53]:5353"),
        ] {
            assert_eq!(name_server(text).unwrap().to_string(), expected);
        }
        for wrong in ["", "dns.example", "10.0.0", "10.0.0.53:x"] {
            assert!(name_server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_have_the_syntax_that_the_help_shows() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(size("4MiB"), Ok(4 << 20));
        assert!(duration("soon").unwrap_err().contains("30s"));
        assert!(size("much").unwrap_err().contains("MiB"));
        assert!(prefix("team-a.prices").is_ok() && prefix("a b").is_err() && prefix("").is_err());
    }

    #[test]
    fn a_network_is_exact_and_the_error_shows_how_to_write_it() {
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
