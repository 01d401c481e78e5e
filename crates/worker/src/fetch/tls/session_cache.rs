//! TLS sessions by host, bounded in bytes.
//!
//! When there are too many bytes, the spare sessions go first, those beyond the newest one of each
//! host, and then the hosts; both begin with the least recently used host. The hosts of one site,
//! which may be any number, have room of their own within that.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// How many sessions of one host are kept. Servers give two for each connection.
const MAX_SESSIONS: usize = 4;
/// The charge for a host, and for each session besides its own bytes.
const HOST_BYTES: usize = 512;
const SESSION_BYTES: usize = 256;
/// One site may use this part of the whole.
const SITE_SHARE: usize = 4;

/// The sessions of all hosts. `F` is what else is known of a host, `S` a session.
pub(super) struct SessionCache<F, S> {
    hosts: HashMap<Box<str>, Host<F, S>>,
    /// The hosts by their last use.
    by_use: BTreeMap<u64, Box<str>>,
    uses: u64,
    all: Group,
    sites: HashMap<Box<str>, Group>,
    max_bytes: usize,
}

struct Host<F, S> {
    last_use: u64,
    facts: F,
    /// With their sizes; the oldest one comes first.
    sessions: VecDeque<(S, usize)>,
    bytes: usize,
}

/// Hosts that share room: all of them, or those of one site. They are named by their last use.
#[derive(Default)]
struct Group {
    bytes: usize,
    hosts: BTreeSet<u64>,
    /// Those with more than one session.
    with_spares: BTreeSet<u64>,
}

impl<F: Default, S> SessionCache<F, S> {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            hosts: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            all: Group::default(),
            sites: HashMap::new(),
            max_bytes,
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.all.bytes
    }

    /// What is known of a host besides its sessions.
    pub(super) fn facts(&self, host: &str) -> Option<&F> {
        self.hosts.get(host).map(|entry| &entry.facts)
    }

    pub(super) fn edit_facts(&mut self, host: &str, change: impl FnOnce(&mut F)) {
        self.edit(host, |entry| change(&mut entry.facts));
        self.shrink(host);
    }

    /// Keeps a session of this size. The oldest one of the host goes if it has too many.
    pub(super) fn insert(&mut self, host: &str, session: S, bytes: usize) {
        self.edit(host, |entry| {
            if entry.sessions.len() == MAX_SESSIONS {
                entry.sessions.pop_front();
            }
            entry.sessions.push_back((session, bytes + SESSION_BYTES));
        });
        self.shrink(host);
    }

    /// The newest session of a host.
    pub(super) fn newest(&mut self, host: &str) -> Option<&S> {
        self.touch(host);
        self.hosts.get(host)?.sessions.back().map(|(session, _)| session)
    }

    /// Removes the newest session of a host.
    pub(super) fn take_newest(&mut self, host: &str) -> Option<S> {
        self.hosts.get(host)?;
        self.edit(host, |entry| entry.sessions.pop_back()).map(|(session, _)| session)
    }

    fn touch(&mut self, host: &str) {
        if self.hosts.contains_key(host) {
            self.edit(host, |_| {});
        }
    }

    /// Changes the entry of a host, and uses it.
    fn edit<T>(&mut self, host: &str, change: impl FnOnce(&mut Host<F, S>) -> T) -> T {
        let mut entry = self.remove(host).unwrap_or_default();
        let changed = change(&mut entry);
        self.uses += 1;
        entry.last_use = self.uses;
        self.add(host.into(), entry);
        changed
    }

    fn add(&mut self, host: Box<str>, mut entry: Host<F, S>) {
        let sessions: usize = entry.sessions.iter().map(|(_, bytes)| bytes).sum();
        entry.bytes = HOST_BYTES + sessions;
        let site = self.sites.entry(site(&host).into()).or_default();
        for group in [&mut self.all, site] {
            group.bytes += entry.bytes;
            group.hosts.insert(entry.last_use);
            if entry.sessions.len() > 1 {
                group.with_spares.insert(entry.last_use);
            }
        }
        self.by_use.insert(entry.last_use, host.clone());
        self.hosts.insert(host, entry);
    }

    fn remove(&mut self, host: &str) -> Option<Host<F, S>> {
        let entry = self.hosts.remove(host)?;
        self.by_use.remove(&entry.last_use);
        self.all.remove(&entry);
        let name = site(host);
        if let Some(site) = self.sites.get_mut(name) {
            site.remove(&entry);
            if site.hosts.is_empty() {
                self.sites.remove(name);
            }
        }
        Some(entry)
    }

    /// Makes room, first among the hosts of the site of this host.
    fn shrink(&mut self, host: &str) {
        let of_a_site = self.max_bytes / SITE_SHARE;
        while let Some(site) = self.sites.get(site(host)).filter(|it| it.bytes > of_a_site) {
            let Some(next) = site.next_to_shrink() else { break };
            self.shrink_host(next);
        }
        while self.all.bytes > self.max_bytes
            && let Some(next) = self.all.next_to_shrink()
        {
            self.shrink_host(next);
        }
    }

    /// Drops the spare sessions of a host, or the host if it has none. Its last use stays the same.
    fn shrink_host(&mut self, last_use: u64) {
        let Some(host) = self.by_use.get(&last_use).cloned() else { return };
        let Some(mut entry) = self.remove(&host) else { return };
        if entry.sessions.len() > 1 {
            entry.sessions.drain(..entry.sessions.len() - 1);
            self.add(host, entry);
        }
    }
}

impl<F: Default, S> Default for Host<F, S> {
    fn default() -> Self {
        Self { last_use: 0, facts: F::default(), sessions: VecDeque::new(), bytes: 0 }
    }
}

impl Group {
    fn remove<F, S>(&mut self, entry: &Host<F, S>) {
        self.bytes -= entry.bytes;
        self.hosts.remove(&entry.last_use);
        self.with_spares.remove(&entry.last_use);
    }

    fn next_to_shrink(&self) -> Option<u64> {
        self.with_spares.first().or_else(|| self.hosts.first()).copied()
    }
}

/// The registrable domain of a host; an address is its own.
fn site(host: &str) -> &str {
    psl::domain_str(host).filter(|_| host.parse::<std::net::IpAddr>().is_err()).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB: usize = 1024;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(String, usize),
        Take(String),
        Newest(String),
        Edit(String),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let host = prop_oneof![
            (0..40).prop_map(|n| format!("h{n}.big.example")),
            (0..20).prop_map(|n| format!("shop-{n}.example")),
            (0..5).prop_map(|n| format!("192.0.2.{n}")),
        ];
        let step = prop_oneof![
            4 => (host.clone(), 0..4 * KIB).prop_map(|(host, bytes)| Step::Insert(host, bytes)),
            1 => host.clone().prop_map(Step::Take),
            1 => host.clone().prop_map(Step::Newest),
            1 => host.prop_map(Step::Edit),
        ];
        proptest::collection::vec(step, 0..300)
    }

    /// The bytes of all hosts, and of each site, counted again.
    fn counted(cache: &SessionCache<u8, usize>) -> (usize, HashMap<String, usize>) {
        let mut sites = HashMap::new();
        let mut all = 0;
        for (host, entry) in &cache.hosts {
            assert!(entry.sessions.len() <= MAX_SESSIONS);
            let bytes: usize = entry.sessions.iter().map(|(own, _)| own + SESSION_BYTES).sum();
            all += HOST_BYTES + bytes;
            *sites.entry(site(host).to_owned()).or_default() += HOST_BYTES + bytes;
        }
        (all, sites)
    }

    proptest! {
        #[test]
        fn whatever_happens_the_bytes_are_bounded_and_the_newest_session_comes_first(
            steps in steps(),
            max_bytes in 8 * KIB..128 * KIB,
        ) {
            let mut cache = SessionCache::<u8, usize>::new(max_bytes);
            // The sessions of each host if there were no bounds.
            let mut given: HashMap<String, Vec<usize>> = HashMap::new();
            for step in steps {
                match step {
                    Step::Insert(host, bytes) => {
                        cache.insert(&host, bytes, bytes);
                        given.entry(host).or_default().push(bytes);
                    }
                    Step::Take(host) => {
                        let taken = cache.take_newest(&host);
                        let newest = given.get_mut(&host).and_then(Vec::pop);
                        prop_assert!(taken.is_none() || taken == newest);
                    }
                    Step::Newest(host) => {
                        let newest = given.get(&host).and_then(|all| all.last());
                        let found = cache.newest(&host);
                        prop_assert!(found.is_none() || found == newest);
                    }
                    Step::Edit(host) => cache.edit_facts(&host, |facts| *facts += 1),
                }
                let (all, sites) = counted(&cache);
                prop_assert_eq!(all, cache.all.bytes);
                prop_assert!(all <= max_bytes);
                prop_assert_eq!(sites.len(), cache.sites.len());
                for (name, bytes) in sites {
                    prop_assert_eq!(bytes, cache.sites[&*name].bytes);
                    prop_assert!(bytes <= max_bytes / SITE_SHARE, "{}: {}", name, bytes);
                }
                prop_assert_eq!(cache.by_use.len(), cache.hosts.len());
            }
        }
    }

    fn with_sessions(cache: &SessionCache<u8, usize>) -> Vec<usize> {
        let mut counts: Vec<_> = cache.hosts.values().map(|it| it.sessions.len()).collect();
        counts.sort_unstable();
        counts
    }

    #[test]
    fn spare_sessions_go_before_the_last_ones() {
        // Room for ten hosts with one session, or for five with four.
        let one = HOST_BYTES + SESSION_BYTES + 4 * KIB;
        let mut cache = SessionCache::<u8, usize>::new(10 * one);
        for host in 0..10 {
            for _ in 0..4 {
                cache.insert(&format!("192.0.2.{host}"), 0, 4 * KIB);
            }
        }
        assert_eq!(with_sessions(&cache), [1; 10]);
        // The one that was used longest ago goes.
        cache.newest("192.0.2.0");
        cache.insert("192.0.2.99", 0, 4 * KIB);
        assert_eq!(with_sessions(&cache), [1; 10]);
        assert!(cache.newest("192.0.2.1").is_none());
        assert!(cache.newest("192.0.2.0").is_some());
    }

    #[test]
    fn one_site_with_thousands_of_names_leaves_the_others_alone() {
        let mut cache = SessionCache::<u8, usize>::new(1024 * KIB);
        let others: Vec<_> = (0..100).map(|n| format!("shop-{n}.example")).collect();
        for host in &others {
            cache.insert(host, 0, 4 * KIB);
        }
        for n in 0..10_000 {
            cache.insert(&format!("n{n}.tracker.example"), 0, 4 * KIB);
        }
        assert!(others.iter().all(|host| cache.newest(host).is_some()));
        assert!(cache.newest("n9999.tracker.example").is_some());
        // Hosts of different owners below one public suffix are different sites.
        assert_eq!(site("a.myshopify.com"), "a.myshopify.com");
        assert_eq!(
            (site("a.b.co.uk"), site("192.0.2.7"), site("inner")),
            ("b.co.uk", "192.0.2.7", "inner")
        );
    }
}
