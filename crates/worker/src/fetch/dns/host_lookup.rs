//! All that is known about a host: by the hosts file, else by the name servers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use hickory_resolver::Hosts;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::time::{Instant, timeout};

use super::Counters;
use super::name_servers::{NameServers, Others, Unanswered, has_route};
use super::reply::Reply;
use crate::fetch::config::Config;

/// How long the address of one kind waits for that of the other, once it is known: the resolution
/// delay of RFC 8305, section 3.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// How long an IPv6 address waits for an IPv4 address, which reaches more sites: one repetition of
/// the question included.
const IPV4_DELAY: Duration = Duration::from_millis(1_500);
/// For how long an IPv6 address is valid that came without the answer about IPv4.
const HALF_KNOWN_TTL: Duration = Duration::from_secs(5);
/// For how long entries of the hosts file are cached.
const HOSTS_TTL: Duration = Duration::from_secs(300);
/// A public address: where packets can be sent to it, there is a route for IPv6.
const PUBLIC_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888));

/// Whom to ask, and for which names.
pub(super) struct SystemNames {
    pub(super) servers: Vec<SocketAddr>,
    /// The suffixes that are tried for short names.
    search: Vec<Name>,
    /// A name with as many dots is tried as it is before it is tried with suffixes.
    ndots: usize,
}

impl SystemNames {
    /// Reads the system's configuration, unless the settings name the servers.
    pub(super) fn new(config: &Config) -> Result<Self, NetError> {
        if !config.dns_servers.is_empty() {
            return Ok(Self { servers: config.dns_servers.clone(), search: Vec::new(), ndots: 1 });
        }
        let (system, options) = read_system_conf()?;
        let servers = system.name_servers().iter().map(|it| SocketAddr::new(it.ip, 53));
        let search = system.search().to_vec();
        Ok(Self { servers: servers.collect(), search, ndots: options.ndots })
    }
}

/// Looks hosts up.
pub(super) struct HostLookup {
    hosts: Hosts,
    /// As in [`SystemNames`].
    search: Vec<Name>,
    ndots: usize,
    servers: NameServers,
    /// Where an IPv6 address may be useful.
    ipv6_targets: Vec<IpAddr>,
}

impl HostLookup {
    /// Reads the system's configuration, unless the settings name the servers.
    pub(super) fn new(config: &Config, counters: Counters) -> Result<Self, NetError> {
        let SystemNames { servers, search, ndots } = SystemNames::new(config)?;
        let (concurrency, limit) = (config.dns_concurrency, config.dns_timeout);
        let allowed = config.allowed_networks.iter().map(|network| network.addr());
        Ok(Self {
            hosts: Hosts::from_system().unwrap_or_default(),
            search,
            ndots,
            servers: NameServers::new(servers, concurrency, limit, counters),
            ipv6_targets: [PUBLIC_IPV6]
                .into_iter()
                .chain(allowed.filter(IpAddr::is_ipv6))
                .collect(),
        })
    }

    /// Asks for a host. Names are tried in the order of the system's resolver, and share the time.
    pub(super) async fn look_up(&self, host: &str) -> Result<Reply, Unanswered> {
        if let Some(addresses) = self.without_servers(host) {
            return Ok(reachable(Reply::Addresses(addresses, HOSTS_TTL)));
        }
        let Ok(host) = Name::from_ascii(host) else { return Ok(Reply::NoName(HOSTS_TTL)) };
        let as_it_is = absolute(host.clone());
        let with_ipv6 = has_route(&self.ipv6_targets);
        let (mut answer, names, end) = (None, self.candidates(host), self.servers.deadline());
        for (name, left) in names.iter().zip((1..=names.len() as u32).rev()) {
            let now = Instant::now();
            let deadline = now + end.saturating_duration_since(now) / left;
            let answered = self.addresses(name, with_ipv6, deadline).await;
            // A suffix may be a domain of the name servers' own, for which they need no others. A
            // loop of aliases consists of answers.
            if *name == as_it_is && matches!(answered, Ok(_) | Err(Unanswered::Aliases)) {
                self.servers.note_answered(name);
            }
            match answered {
                Ok(found @ Reply::Addresses(..)) => return Ok(reachable(found)),
                // Only if all names are absent, the host is.
                failed => answer = Some(more_certain_last(answer, failed)),
            }
        }
        answer.unwrap_or(Ok(Reply::NoName(HOSTS_TTL)))
    }

    /// Whether the name servers answer for other hosts, so that this one is an exception.
    pub(super) async fn others_than(&self, host: &str) -> Others {
        self.servers.others_than(host).await
    }

    /// Forgets that the name servers have answered lately.
    #[cfg(test)]
    pub(super) fn forget_answers(&self) {
        self.servers.forget_answers();
    }

    /// The addresses of a host that no name server is asked for. The hosts file is complete: a host
    /// with an IPv4 address there has no other.
    fn without_servers(&self, host: &str) -> Option<Vec<IpAddr>> {
        let name = Name::from_ascii(host).ok()?;
        let in_file: Vec<IpAddr> = [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)))
            .flat_map(|found| {
                found.answers().iter().filter_map(|it| it.data.ip_addr()).collect::<Vec<_>>()
            })
            .collect();
        if !in_file.is_empty() {
            return Some(in_file);
        }
        let bare = host.trim_end_matches('.');
        let is_local = bare == "localhost" || bare.ends_with(".localhost");
        // RFC 6761, section 6.3.
        is_local.then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
    }

    /// The names that a host may mean.
    fn candidates(&self, host: Name) -> Vec<Name> {
        let as_it_is = absolute(host.clone());
        if host.is_fqdn() {
            return vec![as_it_is];
        }
        let with_suffix = self
            .search
            .iter()
            .filter_map(|suffix| Some(absolute(host.clone().append_domain(suffix).ok()?)));
        let dots = usize::from(host.num_labels()).saturating_sub(1);
        let mut names: Vec<Name> = with_suffix.collect();
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, as_it_is);
        names
    }

    /// The addresses of one name. One kind alone is enough, if the other one is late.
    async fn addresses(
        &self,
        name: &Name,
        with_ipv6: bool,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        let _permits = self.servers.permits(1 + u32::from(with_ipv6), deadline).await?;
        if !with_ipv6 {
            return self.servers.ask(name, RecordType::A, deadline).await;
        }
        let mut ipv4 = pin!(self.servers.ask(name, RecordType::A, deadline));
        let mut ipv6 = pin!(self.servers.ask(name, RecordType::AAAA, deadline));
        tokio::select! {
            first = &mut ipv4 => match first {
                Ok(Reply::Addresses(..)) => {
                    let second = timeout(RESOLUTION_DELAY, ipv6).await;
                    second.map_or_else(|_| first.clone(), |second| both(first.clone(), second))
                }
                // This is true of all kinds of records.
                Ok(Reply::NoName(_)) => first,
                first => both(first, ipv6.await),
            },
            first = &mut ipv6 => match first {
                Ok(Reply::Addresses(ref found, _)) => {
                    let alone = Reply::Addresses(found.clone(), HALF_KNOWN_TTL);
                    match timeout(IPV4_DELAY, ipv4).await {
                        Ok(Ok(second)) => both(Ok(second), first),
                        Ok(Err(_)) | Err(_) => Ok(alone),
                    }
                }
                first => both(ipv4.await, first),
            },
        }
    }
}

/// The name without a search for suffixes.
fn absolute(mut name: Name) -> Name {
    name.set_fqdn(true);
    name
}

/// An answer without the IPv6 addresses that no packet can be sent to. A connection to one of them
/// fails with an error that otherwise means a shortage of ports.
fn reachable(reply: Reply) -> Reply {
    let Reply::Addresses(mut addresses, ttl) = reply else { return reply };
    addresses.retain(|address| address.is_ipv4() || has_route(&[*address]));
    if addresses.is_empty() { Reply::NoData(ttl) } else { Reply::Addresses(addresses, ttl) }
}

/// What two answers say together. Some servers answer that a name does not exist when they are
/// asked for AAAA, so only the answer to A shows that.
fn both(
    ipv4: Result<Reply, Unanswered>,
    ipv6: Result<Reply, Unanswered>,
) -> Result<Reply, Unanswered> {
    match (ipv4, ipv6) {
        (Ok(Reply::Addresses(mut all, ttl)), Ok(Reply::Addresses(more, other_ttl))) => {
            all.extend(more);
            Ok(Reply::Addresses(all, ttl.min(other_ttl)))
        }
        (found @ Ok(Reply::Addresses(..)), _) | (_, found @ Ok(Reply::Addresses(..))) => found,
        (ipv4 @ (Ok(Reply::NoName(_)) | Err(_)), _) => ipv4,
        (Ok(Reply::NoData(_)), Err(unanswered)) => Err(unanswered),
        (no_data @ Ok(Reply::NoData(_)), Ok(_)) => no_data,
    }
}

/// Of two failed lookups, the one to report: that something is unknown outweighs that it is
/// absent.
fn more_certain_last(
    before: Option<Result<Reply, Unanswered>>,
    now: Result<Reply, Unanswered>,
) -> Result<Reply, Unanswered> {
    match before {
        Some(Err(unanswered)) => Err(unanswered),
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::ResponseCode;

    use super::super::tests::server::{Answer, Kind, TestServer};
    use super::*;

    fn lookup(hosts: &str, search: &[&str], ndots: usize, server: SocketAddr) -> HostLookup {
        let mut file = Hosts::default();
        file.read_hosts_conf(hosts.as_bytes()).unwrap();
        let search = search.iter().map(|suffix| Name::from_ascii(suffix).unwrap()).collect();
        let limit = Duration::from_secs(30);
        HostLookup {
            hosts: file,
            search,
            ndots,
            servers: NameServers::new(vec![server], 64, limit, Counters::none()),
            ipv6_targets: vec![Ipv6Addr::LOCALHOST.into()],
        }
    }

    fn addresses(reply: Result<Reply, Unanswered>) -> Vec<String> {
        match reply {
            Ok(Reply::Addresses(found, _)) => found.iter().map(ToString::to_string).collect(),
            other => panic!("not found: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_name_in_the_hosts_file_is_complete_as_it_stands_there() {
        let server = TestServer::start(|_| Answer::addresses(&["192.0.2.9"])).await;
        let hosts = "10.0.0.1 inner.example inner # ours\n::1 six.example\n\
                     10.0.0.2 both.example\n::1 both.example\n";
        let lookup = lookup(hosts, &["example"], 1, server.address);
        for (host, expected) in [
            ("inner.example", vec!["10.0.0.1"]),
            ("inner", vec!["10.0.0.1"]),
            ("six.example", vec!["::1"]),
            ("both.example", vec!["10.0.0.2", "::1"]),
        ] {
            assert_eq!(addresses(lookup.look_up(host).await), expected);
        }
        assert_eq!(server.asked(), Vec::new());
    }

    #[tokio::test]
    async fn short_names_are_tried_with_suffixes() {
        let server = TestServer::start(|question| match (question.kind, question.name.as_str()) {
            (Kind::A, "shop.prod.example" | "api.shop") => Answer::addresses(&["192.0.2.1"]),
            _ => Answer::NoData,
        })
        .await;
        let names = async |ndots, host| {
            let before = server.asked().len();
            let lookup = lookup("", &["test.example", "prod.example"], ndots, server.address);
            let found =
                lookup.look_up(host).await.is_ok_and(|it| matches!(it, Reply::Addresses(..)));
            let mut asked: Vec<String> =
                server.asked().into_iter().skip(before).map(|(name, _)| name).collect();
            asked.dedup();
            (found, asked.join(" "))
        };
        let expected = |found, asked: &str| (found, asked.to_owned());
        assert_eq!(names(1, "shop").await, expected(true, "shop.test.example shop.prod.example"));
        assert_eq!(names(1, "api.shop").await, expected(true, "api.shop"));
        assert_eq!(
            names(5, "api.shop").await,
            expected(true, "api.shop.test.example api.shop.prod.example api.shop")
        );
        assert_eq!(names(1, "shop.").await, expected(false, "shop"));
    }

    #[tokio::test]
    async fn an_answer_about_a_suffix_does_not_show_that_other_hosts_are_answered_for() {
        let server = TestServer::start(|question| match question.name.as_str() {
            "up.example" | "shop.example.cluster.local" => Answer::Code(ResponseCode::NXDomain),
            "web.cluster.local" => Answer::addresses(&["192.0.2.1"]),
            _ => Answer::Code(ResponseCode::ServFail),
        })
        .await;
        let lookup = lookup("", &["cluster.local"], 5, server.address);
        assert_eq!(addresses(lookup.look_up("web").await), ["192.0.2.1"]);
        assert!(lookup.look_up("shop.example").await.is_err());
        assert_eq!(lookup.others_than("shop.example").await, Others::Unknown);
        assert_eq!(lookup.others_than("tea.example").await, Others::Unanswered);
        assert!(lookup.look_up("up.example").await.is_err(), "with the suffix");
        assert_eq!(lookup.others_than("shop.example").await, Others::Answered);
    }

    #[tokio::test]
    async fn the_names_that_a_host_may_mean_share_the_time() {
        let server = TestServer::start(|question| match question.name.as_str() {
            "shop.third.example" => Answer::addresses(&["192.0.2.1"]),
            _ => Answer::Silence,
        })
        .await;
        let mut lookup =
            lookup("", &["first.example", "second.example", "third.example"], 1, server.address);
        let limit = Duration::from_secs(2);
        lookup.servers = NameServers::new(vec![server.address], 64, limit, Counters::none());
        assert_eq!(addresses(lookup.look_up("shop").await), ["192.0.2.1"]);
        // Less than the time after which a question is repeated.
        let first = server.asked().iter().filter(|it| it.0 == "shop.first.example").count();
        assert_eq!(first, 2, "A and AAAA once each");
    }

    #[tokio::test]
    async fn a_look_up_that_finds_no_room_says_so() {
        let server = TestServer::start(|_| Answer::addresses(&["192.0.2.1"])).await;
        let mut lookup = lookup("", &[], 1, server.address);
        let limit = Duration::from_millis(20);
        lookup.servers = NameServers::new(vec![server.address], 2, limit, Counters::none());
        let taken = lookup.servers.permits(2, lookup.servers.deadline()).await;
        assert!(matches!(lookup.look_up("shop.example").await, Err(Unanswered::Crowded(..))));
        drop(taken);
        assert_eq!(server.asked(), Vec::new());
    }

    #[test]
    fn addresses_without_a_route_are_left_out() {
        let local: Vec<IpAddr> = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        let found = Reply::Addresses(local, HOSTS_TTL);
        assert_eq!(reachable(found.clone()), found);
        // The machine has a route to it, or has none.
        let documentation: IpAddr = "2001:db8::1".parse().unwrap();
        let found = Reply::Addresses(vec![documentation], HOSTS_TTL);
        let expected =
            if has_route(&[documentation]) { found.clone() } else { Reply::NoData(HOSTS_TTL) };
        assert_eq!(reachable(found), expected);
    }
}
