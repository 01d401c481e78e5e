//! Each name server on its own: whether it answers, and how fast.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RecordType};

use super::Counters;
use super::host_lookup::SystemNames;
use super::name_servers::NameServers;
use crate::fetch::config::Config;

/// Asks each server for the IPv4 addresses of a host. An answer that there is none is an answer.
pub(crate) async fn ask_each(
    config: &Config,
    host: &str,
    counters: Counters,
) -> Result<Vec<(SocketAddr, Result<Duration, String>)>, NetError> {
    let mut name = Name::from_ascii(host)?;
    name.set_fqdn(true);
    let mut asked = Vec::new();
    for address in SystemNames::new(config)?.servers {
        let server = NameServers::new(vec![address], 1, config.dns_timeout, counters.clone());
        let began = Instant::now();
        let answer = server.ask(&name, RecordType::A, server.deadline()).await;
        let answer = answer.map(|_| began.elapsed()).map_err(|error| error.to_string());
        asked.push((address, answer));
    }
    Ok(asked)
}
