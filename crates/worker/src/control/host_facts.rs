//! What hosts do that is reported to the operator: they slow down, cool down, and recover.

use std::collections::HashMap;
use std::time::Duration;

use fetchline_store::HostLimit;
use tokio::time::Instant;

use super::news::Fact;

/// The most hosts that are reported within this time. A fleet may crawl ten thousand hosts, and the
/// operator reads a few messages.
const MAX_HOSTS: usize = 10;
const WINDOW: Duration = Duration::from_secs(600);

/// Turns changes of limits into facts.
#[derive(Default)]
pub(super) struct HostFacts {
    /// The reduced rate of each host that was reported, and when that was.
    reported: HashMap<String, (Option<f64>, Instant)>,
}

impl HostFacts {
    /// The fact to report about a changed limit; `None` if the operator caused the change, or if
    /// enough hosts were reported.
    pub(super) fn of(&mut self, limit: &HostLimit, now: Instant) -> Option<Fact> {
        self.reported.retain(|_, (_, at)| now - *at < WINDOW);
        let HostLimit { host, slowed, note, .. } = limit;
        let known = self.reported.get(host).copied();
        let why = note.as_deref().map(|note| note.strip_prefix("slowed: ").unwrap_or(note));
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        let cools = limit.cool_down.filter(|wait| !wait.is_zero());
        let (name, sentence) = match (cools, *slowed, known) {
            (Some(wait), _, None) => {
                let seconds = wait.as_secs_f64().ceil();
                ("cools", format!("{host} cools down for {seconds} s without a request{why}"))
            }
            (_, Some(rate), None) => ("slowed", format!("{host} is slowed to {rate}/s{why}")),
            (_, Some(rate), Some((Some(before), _))) if rate < before => {
                ("slowed", format!("{host} is slowed to {rate}/s{why}"))
            }
            (None, None, Some((Some(_), _))) => {
                ("recovered", format!("{host} has recovered: it is not slowed any more"))
            }
            _ => return None,
        };
        if known.is_none() && self.reported.len() >= MAX_HOSTS {
            return None;
        }
        self.reported.insert(host.clone(), (*slowed, now));
        let fact = Fact::new("host", format!("host {name} {host} {slowed:?}"), sentence);
        Some(fact.with("host", host.as_str()).with("slowed_to", *slowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slowed(host: &str, rate: Option<f64>) -> HostLimit {
        let note = Some("slowed: answered 429 5 times in a row".to_owned());
        HostLimit { host: host.to_owned(), slowed: rate, note, ..HostLimit::default() }
    }

    #[test]
    fn a_host_is_reported_when_it_slows_down_and_when_it_has_recovered() {
        let (mut facts, now) = (HostFacts::default(), Instant::now());
        let mut is_reported = |rate| facts.of(&slowed("a.example", rate), now).is_some();
        for (rate, expected) in
            [(Some(8.0), true), (Some(4.0), true), (Some(8.0), false), (None, true), (None, false)]
        {
            assert_eq!(is_reported(rate), expected, "{rate:?}");
        }
        let fact = HostFacts::default().of(&slowed("a.example", Some(1.9)), now).unwrap();
        let sentence = "a.example is slowed to 1.9/s (answered 429 5 times in a row)";
        assert_eq!(fact.sentence, sentence);
        let cools = HostLimit {
            host: "b.example".to_owned(),
            cool_down: Some(Duration::from_secs(90)),
            ..HostLimit::default()
        };
        assert!(facts.of(&cools, now).is_some() && facts.of(&cools, now).is_none());
    }

    #[test]
    fn what_the_operator_did_is_no_news_and_many_hosts_are_not_told_of() {
        let (mut facts, now) = (HostFacts::default(), Instant::now());
        let paused = HostLimit {
            host: "a.example".into(),
            paused: true,
            rate: Some(1.0),
            ..HostLimit::default()
        };
        assert!(facts.of(&paused, now).is_none());
        let mut reported = |from: usize, now| {
            let hosts = (from..from + 1000).map(|n| format!("{n}.example"));
            hosts.filter(|host| facts.of(&slowed(host, Some(1.0)), now).is_some()).count()
        };
        assert_eq!(reported(0, now), MAX_HOSTS);
        assert_eq!(reported(1000, now + WINDOW), MAX_HOSTS);
    }
}
