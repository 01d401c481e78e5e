//! The hosts that want HTTP/1.1.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::by_protocol::Protocols;

/// How long it is known that a host wants HTTP/1.1.
const KNOWN_FOR: Duration = Duration::from_secs(3_600);
/// How many hosts are known; then those that are known longest make room.
const MAX_HOSTS: usize = 10_000;

/// The hosts that have lately asked for HTTP/1.1, and when.
#[derive(Default)]
pub(super) struct Http1Hosts(HashMap<Box<str>, Instant>);

impl Http1Hosts {
    pub(super) fn protocols(&self, host: &str) -> Protocols {
        match self.0.get(host) {
            Some(at) if at.elapsed() < KNOWN_FOR => Protocols::Http1,
            _ => Protocols::Any,
        }
    }

    pub(super) fn insert(&mut self, host: &str) {
        if self.0.len() >= MAX_HOSTS {
            let mut known: Vec<Instant> = self.0.values().copied().collect();
            let (_, median, _) = known.select_nth_unstable(MAX_HOSTS / 2);
            self.0.retain(|_, at| *at > *median);
        }
        self.0.insert(host.into(), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn hosts_are_known_for_an_hour_and_their_number_is_bounded() {
        let mut hosts = Http1Hosts::default();
        for host in 0..2 * MAX_HOSTS {
            hosts.insert(&format!("host-{host}"));
            tokio::time::advance(Duration::from_millis(10)).await;
            assert!(hosts.0.len() <= MAX_HOSTS);
        }
        let newest = format!("host-{}", 2 * MAX_HOSTS - 1);
        assert_eq!(hosts.protocols(&newest), Protocols::Http1);
        assert_eq!(hosts.protocols("host-0"), Protocols::Any);
        tokio::time::advance(KNOWN_FOR).await;
        assert_eq!(hosts.protocols(&newest), Protocols::Any);
    }
}
