//! Says what a change of a host's limits has changed, and what it has not.

use std::collections::BTreeSet;

use fetchline_queue::control::{HostChange, covers, split_port};
use fetchline_store::HostLimit;

use super::news::listing;

/// How many names an answer lists.
const MAX_NAMES: usize = 5;

/// What is known about hosts once a change is made.
pub(super) struct KnownHosts<'a> {
    /// All limits.
    pub(super) limits: &'a [HostLimit],
    /// The hosts that workers have fetched from lately, or that had a limit before.
    pub(super) seen: &'a BTreeSet<String>,
    /// The full name of the work queue.
    pub(super) urls: &'a str,
}

impl KnownHosts<'_> {
    /// The answer to a change.
    pub(super) fn answer(&self, pattern: &str, change: HostChange) -> String {
        let paused = |limit: &&HostLimit| limit.paused;
        let wider = || {
            let others = self.limits.iter().filter(|limit| limit.host != pattern);
            others.filter(|limit| covers(&limit.host, pattern))
        };
        let wide_pause = wider().find(paused);
        let mut answer = match (change, wide_pause) {
            (HostChange::Rate(rate), _) => {
                format!("{pattern} gets at most {rate} requests per second from all workers")
            }
            (HostChange::Pause, _) => {
                format!("{pattern} gets no requests until `host {pattern} resume`")
            }
            (HostChange::Resume, Some(_)) => format!("{pattern} is not paused by itself any more"),
            (HostChange::Resume, None) => format!(
                "{pattern} gets requests again; its tasks in the retry queues come back when \
                 their delay ends. To free them now, move the messages of these queues to {}",
                self.urls
            ),
            (HostChange::Clear, _) => format!("{pattern} has no limit any more"),
        };
        let own = self.limits.iter().find(|limit| limit.host == pattern);
        if matches!(change, HostChange::Rate(_)) && own.is_some_and(|limit| limit.paused) {
            answer += &format!("; it stays paused until `host {pattern} resume`");
        }
        if change != HostChange::Pause
            && let Some(HostLimit { host, .. }) = wide_pause
        {
            answer += &format!("; but it gets no requests until `host {host} resume`");
        }
        if change == HostChange::Clear {
            let limiting = wider().filter(|limit| !limit.paused && limit.interval().is_some());
            let limiting: Vec<String> = limiting.map(|limit| limit.host.clone()).collect();
            if !limiting.is_empty() {
                answer += &format!("; it still has those of {}", names(limiting));
            }
        }
        if matches!(change, HostChange::Resume | HostChange::Clear) {
            let narrower = self.limits.iter().filter(|limit| limit.host != pattern);
            let narrower = narrower.filter(|limit| covers(pattern, &limit.host)).filter(paused);
            let narrower: Vec<String> = narrower.map(|limit| limit.host.clone()).collect();
            if !narrower.is_empty() {
                answer += &format!("; paused by their own names: {}", names(narrower));
            }
        }
        answer + &self.hint(pattern, change)
    }

    /// What may be wrong with the name.
    fn hint(&self, pattern: &str, change: HostChange) -> String {
        if pattern.starts_with('*') || split_port(pattern).1.is_some() {
            return match change {
                HostChange::Resume | HostChange::Clear if !self.has_seen(pattern) => unknown(),
                _ => String::new(),
            };
        }
        let ports = "; this is the port 80 of http and 443 of https";
        let others = self.seen.iter().filter(|host| {
            let (name, port) = split_port(host);
            name == pattern && port.is_some()
        });
        let others: Vec<String> = others.cloned().collect();
        match change {
            _ if !others.is_empty() => format!(
                "{ports} and not {}, which workers have seen: a host with another port has limits \
                 of its own",
                names(others)
            ),
            HostChange::Resume | HostChange::Clear if !self.has_seen(pattern) => unknown(),
            HostChange::Pause => format!("{ports}; other ports need a directive of their own"),
            _ => String::new(),
        }
    }

    fn has_seen(&self, pattern: &str) -> bool {
        pattern == "*" || self.seen.iter().any(|host| covers(pattern, host))
    }
}

fn unknown() -> String {
    "; but workers have not seen such a host lately, and it had no limit: check the name".to_owned()
}

fn names(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    match more {
        0 => listing(&names),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(limits: &[(&str, Option<f64>, bool)], seen: &[&str], change: HostChange) -> String {
        let limits: Vec<HostLimit> = limits
            .iter()
            .map(|&(host, rate, paused)| HostLimit {
                host: host.to_owned(),
                rate,
                paused,
                ..HostLimit::default()
            })
            .collect();
        let seen = seen.iter().map(|host| (*host).to_owned()).collect();
        KnownHosts { limits: &limits, seen: &seen, urls: "fetchline.urls" }
            .answer("shop.example", change)
    }

    #[test]
    fn an_answer_says_which_ports_a_host_without_a_port_has() {
        let seen = ["shop.example:43915", "other.example:81"];
        let text = answer(&[("shop.example", None, true)], &seen, HostChange::Pause);
        assert!(text.contains("80 of http and 443 of https and not shop.example:43915"), "{text}");
        assert!(!text.contains("other.example"), "{text}");
        let text = answer(&[("shop.example", None, true)], &["shop.example"], HostChange::Pause);
        assert!(text.contains("other ports need a directive"), "{text}");
    }

    #[test]
    fn a_rate_does_not_end_a_pause_and_its_answer_says_so() {
        let change = HostChange::Rate(10.0);
        let text = answer(&[("shop.example", Some(10.0), true)], &["shop.example"], change);
        assert!(text.contains("stays paused until `host shop.example resume`"), "{text}");
        let text = answer(&[("shop.example", Some(10.0), false)], &["shop.example"], change);
        assert!(!text.contains("paused"), "{text}");
    }

    #[test]
    fn a_host_that_a_pattern_pauses_does_not_get_requests_again() {
        for pattern in ["*", "*.example"] {
            let limits = [(pattern, None, true), ("shop.example", None, false)];
            for change in [HostChange::Resume, HostChange::Clear, HostChange::Rate(1.0)] {
                let text = answer(&limits, &["shop.example"], change);
                let until = format!("gets no requests until `host {pattern} resume`");
                assert!(text.contains(&until) && !text.contains("again"), "{text}");
            }
        }
        let limits = [("*", Some(5.0), false), ("shop.example", None, false)];
        let text = answer(&limits, &["shop.example"], HostChange::Clear);
        assert!(text.contains("still has those of *"), "{text}");
        let text = answer(&limits, &["shop.example"], HostChange::Resume);
        assert!(text.contains("gets requests again") && !text.contains("until"), "{text}");
    }

    #[test]
    fn to_resume_a_host_that_nobody_has_seen_hints_at_its_name() {
        for change in [HostChange::Resume, HostChange::Clear] {
            let limits = [("shop.example", None, false)];
            let text = answer(&limits, &["shop2.example"], change);
            assert!(text.contains("check the name"), "{text}");
            let text = answer(&limits, &["shop.example"], change);
            assert!(!text.contains("check the name"), "{text}");
        }
    }
}
