//! Every kind of address, in every spelling, against servers that must not be reached.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fetchline_queue::{Address, FetchRequest};
use fetchline_store::Outcome;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::fetch::answer::Answer;
use crate::fetch::config::Config;
use crate::fetch::fetcher::Fetcher;
use crate::fetch::proxy::Proxy;
use crate::fetch::resolver::GuardedResolver;
use crate::schedule::Place;

/// Spellings of blocked addresses, with a word of the error for each.
const BLOCKED_HOSTS: &[(&str, &str)] = &[
    // 127.0.0.1 in every spelling: short, decimal, octal, hex and mixed,
    ("127.0.0.1", "loopback"),
    ("127.0.0.1.", "loopback"),
    ("127.1", "loopback"),
    ("127.0.1", "loopback"),
    ("2130706433", "loopback"),
    ("2130706433.", "loopback"),
    ("017700000001", "loopback"),
    ("0177.0.0.1", "loopback"),
    ("0177.1", "loopback"),
    ("0000177.00.000.01", "loopback"),
    ("0x7f000001", "loopback"),
    ("0X7F000001", "loopback"),
    ("0x7f.0.0.1", "loopback"),
    ("0x7f.1", "loopback"),
    ("0x7f.0x0.0x0.0x1", "loopback"),
    ("0x000000007f.0.0.1", "loopback"),
    ("127.0x1", "loopback"),
    ("0177.0x0.0.1", "loopback"),
    ("127.0.0.0x1", "loopback"),
    // percent-encoded, with other digits and dots of Unicode,
    ("%31%32%37.0.0.1", "loopback"),
    ("127%2e0%2E0%2e1", "loopback"),
    ("１２７.０.０.１", "loopback"),
    ("①②⑦.⓪.⓪.①", "loopback"),
    ("127。0。0。1", "loopback"),
    ("0ｘ7ｆ.1", "loopback"),
    // behind credentials that look like a host.
    ("user:password@127.0.0.1", "loopback"),
    ("shop.example@127.0.0.1", "loopback"),
    ("shop.example:80@0x7f.1", "loopback"),
    // The rest of IPv4.
    ("127.0.0.2", "loopback"),
    ("127.255.255.254", "loopback"),
    ("0.0.0.0", "this host"),
    ("0", "this host"),
    ("0x0", "this host"),
    ("00.0", "this host"),
    ("0.255.255.255", "this host"),
    ("10.0.0.1", "private"),
    ("10.255.255.255", "private"),
    ("0xa.1", "private"),
    ("012.0.0.1", "private"),
    ("167772161", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("0xac100001", "private"),
    ("192.168.0.1", "private"),
    ("192.168.257", "private"),
    ("0300.0250.1", "private"),
    ("3232235521", "private"),
    ("100.64.0.1", "carrier-grade"),
    ("100.127.255.255", "carrier-grade"),
    ("169.254.0.1", "link-local"),
    ("169.254.170.2", "link-local"),
    ("169.254.169.254", "metadata"),
    ("169.254.43518", "metadata"),
    ("169.16689662", "metadata"),
    ("2852039166", "metadata"),
    ("0xa9fea9fe", "metadata"),
    ("0xa9.0xfe.0xa9.0xfe", "metadata"),
    ("0251.0376.0251.0376", "metadata"),
    ("025177524776", "metadata"),
    ("100.100.100.200", "metadata"),
    ("168.63.129.16", "metadata"),
    ("192.0.0.1", "reserved"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("192.88.99.1", "6to4"),
    ("198.18.0.1", "benchmarks"),
    ("198.19.255.255", "benchmarks"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("4294967295", "broadcast"),
    // IPv6.
    ("[::1]", "loopback"),
    ("[0:0:0:0:0:0:0:1]", "loopback"),
    ("[0000:0000:0000:0000:0000:0000:0000:0001]", "loopback"),
    ("[::0.0.0.1]", "loopback"),
    ("[::]", "unspecified"),
    ("[fd00:ec2::254]", "metadata"),
    ("[fc00::1]", "unique-local"),
    ("[fdff::1]", "unique-local"),
    ("[fe80::1]", "link-local"),
    ("[febf::1]", "link-local"),
    ("[fec0::1]", "site-local"),
    ("[ff02::1]", "multicast"),
    ("[ff0e::1]", "multicast"),
    ("[100::1]", "discard"),
    ("[2001:db8::1]", "documentation"),
    ("[3fff:fff::1]", "documentation"),
    ("[2001:2::1]", "benchmarks"),
    ("[2001:10::1]", "reserved"),
    ("[5f00::1]", "segment"),
    ("[1::]", "reserved"),
    ("[4000::1]", "reserved"),
    ("[e000::1]", "reserved"),
    // IPv4-embedded IPv6 addresses, of public addresses too.
    ("[::ffff:127.0.0.1]", "embedded IPv6 address (mapped)"),
    ("[::ffff:7f00:1]", "embedded IPv6 address (mapped)"),
    ("[0:0:0:0:0:ffff:a9fe:a9fe]", "embedded IPv6 address (mapped)"),
    ("[::ffff:8.8.8.8]", "embedded IPv6 address (mapped)"),
    ("[::ffff:0:127.0.0.1]", "embedded IPv6 address (translated)"),
    ("[::127.0.0.1]", "embedded IPv6 address (compatible)"),
    ("[64:ff9b::127.0.0.1]", "embedded IPv6 address (NAT64)"),
    ("[64:ff9b::a9fe:a9fe]", "embedded IPv6 address (NAT64)"),
    ("[64:ff9b:1::10.0.0.1]", "embedded IPv6 address (local NAT64)"),
    ("[2002:7f00:1::]", "embedded IPv6 address (6to4)"),
    ("[2002:a9fe:a9fe::1]", "embedded IPv6 address (6to4)"),
    ("[2001:0:7f00:1::]", "embedded IPv6 address (Teredo)"),
    ("[2001::1]", "embedded IPv6 address (Teredo)"),
];

/// Public addresses next to blocked networks.
const PUBLIC: &[&str] = &[
    "1.0.0.0",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.1.255",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2000::",
    "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:200::",
    "2001:4860:4860::8888",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db9::",
    "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2003::",
    "2400::1",
    "2600::1",
    "2606:4700:4700::1111",
    "2620:4f:8000::1",
    "2a00:1450::1",
    "2c00::1",
    "3000::",
    "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "3fff:1000::",
    "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    // Public addresses that only look like IPv4-embedded ones.
    "2001:1000::ffff:127.0.0.1",
    "2003:7f00:1::",
    "2a00::7f00:1",
    "2a00:64:ff9b::a00:1",
    "2a00:2002:a00:1::",
];

/// A server that counts its connections and gives each the same answer.
struct Server {
    address: SocketAddr,
    visits: Arc<AtomicUsize>,
    /// The header sections of the requests.
    requests: mpsc::UnboundedReceiver<String>,
}

impl Server {
    /// Listens at an address; `None` where this host does not have it.
    async fn at(address: &str, port: u16, answer: &str) -> Option<Self> {
        let listener = TcpListener::bind((address, port)).await.ok()?;
        let address = listener.local_addr().unwrap();
        let visits = Arc::new(AtomicUsize::new(0));
        let (received, requests) = mpsc::unbounded_channel();
        let (counter, answer) = (visits.clone(), answer.to_owned());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n")
                    && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0)
                {
                }
                _ = received.send(String::from_utf8(request).unwrap());
                _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Some(Self { address, visits, requests })
    }

    /// Listens at an IPv4 address that every host has.
    async fn start(address: &str, port: u16, answer: &str) -> Self {
        Self::at(address, port, answer).await.unwrap()
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }

    fn port(&self) -> u16 {
        self.address.port()
    }
}

const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\npage";

fn redirect(location: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nlocation: {location}\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n"
    )
}

/// A resolver with fixed answers, of which it repeats the last one.
struct FixedResolver {
    answers: Vec<Vec<IpAddr>>,
    lookups: AtomicUsize,
}

impl FixedResolver {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers =
            answers.iter().map(|ips| ips.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        Arc::new(Self { answers, lookups: AtomicUsize::new(0) })
    }

    fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

impl Resolve for FixedResolver {
    fn resolve(&self, _: Name) -> Resolving {
        let nth = self.lookups.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let answer: Vec<_> = self.answers[nth].iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
        Box::pin(async move { Ok(Box::new(answer.into_iter()) as Addrs) })
    }
}

fn guard(allowed: &[&str]) -> Guard {
    Guard::new(&networks(allowed))
}

fn networks(allowed: &[&str]) -> Vec<IpNet> {
    allowed.iter().map(|network| network.parse().unwrap()).collect()
}

fn fetcher(allowed: &[&str], resolver: Arc<dyn Resolve>) -> Fetcher {
    fetcher_with(&Config { allowed_networks: networks(allowed), ..Config::default() }, resolver)
}

fn fetcher_with(config: &Config, resolver: Arc<dyn Resolve>) -> Fetcher {
    Fetcher::new(config, 100, Duration::from_secs(600), resolver, None).unwrap()
}

async fn fetch(fetcher: &Fetcher, url: &str) -> Answer {
    let request = FetchRequest::get(Address::parse(url).unwrap());
    let mut place = Place::unlimited(request.address.host());
    fetcher.fetch(&request, "run", None, &mut place).await.unwrap()
}

#[test]
fn public_addresses_are_allowed_and_their_blocked_neighbours_are_not() {
    for ip in PUBLIC {
        assert_eq!(guard(&[]).check(ip.parse().unwrap()), Ok(()), "{ip}");
    }
    for network in BLOCKED_V4.map(|(network, _)| network) {
        for ip in [network.network(), network.broadcast()] {
            assert!(guard(&[]).check(ip.into()).is_err(), "{ip}");
        }
    }
    for network in BLOCKED_V6.map(|(network, _)| network) {
        for ip in [network.network(), network.broadcast()] {
            assert!(guard(&[]).check(ip.into()).is_err(), "{ip}");
        }
    }
}

#[test]
fn an_allowed_network_allows_nothing_else() {
    let allows = |allowed: &[&str], ip: &str| guard(allowed).check(ip.parse().unwrap()).is_ok();
    assert!(allows(&["10.1.0.0/16", "127.0.0.1/32"], "10.1.2.3"));
    assert!(allows(&["10.1.0.0/16", "127.0.0.1/32"], "127.0.0.1"));
    assert!(!allows(&["10.1.0.0/16", "127.0.0.1/32"], "10.2.0.0"));
    assert!(!allows(&["10.1.0.0/16", "127.0.0.1/32"], "127.0.0.2"));
    assert!(allows(&["168.63.129.16/32"], "168.63.129.16"));
    assert!(allows(&["fd00::/8"], "fd00::1") && !allows(&["fd00::/8"], "fc00::1"));
    for embedded in ["::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::"] {
        assert!(!allows(&["10.0.0.0/8", "0.0.0.0/0"], embedded), "{embedded}");
    }
    assert!(
        allows(&["::ffff:10.0.0.0/104"], "::ffff:10.0.0.1")
            && !allows(&["::ffff:10.0.0.0/104"], "10.0.0.1")
    );
    assert!(allows(&["64:ff9b::/96"], "64:ff9b::808:808"));
}

#[tokio::test]
async fn no_blocked_address_is_connected_to_in_any_spelling() {
    let server = Server::start("127.0.0.1", 0, PAGE).await;
    let server_v6 = Server::at("::1", server.port(), PAGE).await;
    let port = server.port();
    let blocking = fetcher(&[], FixedResolver::new(&[&[]]));
    for (host, kind) in BLOCKED_HOSTS {
        let answer = fetch(&blocking, &format!("http://{host}:{port}/")).await;
        let error = answer.error.unwrap_or_default();
        assert_eq!((answer.outcome, answer.status), (Outcome::Blocked, None), "{host}: {error}");
        assert!(error.contains(kind) && error.contains("--allow-network"), "{host}: {error}");
    }
    assert_eq!((server.visits(), server_v6.as_ref().map_or(0, Server::visits)), (0, 0));

    // Nothing but the guard was in the way.
    let loopback = BLOCKED_HOSTS.iter().filter(|(host, _)| {
        Address::parse(&format!("http://{host}/")).unwrap().ip()
            == Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    });
    let allowing = fetcher(&["127.0.0.1/32", "::1/128"], FixedResolver::new(&[&[]]));
    let mut expected = 0;
    for (host, _) in loopback {
        let answer = fetch(&allowing, &format!("http://{host}:{port}/")).await;
        assert_eq!(answer.outcome, Outcome::Ok, "{host}: {:?}", answer.error);
        expected += 1;
    }
    assert_eq!((server.visits(), expected), (28, 28));
    if let Some(server_v6) = server_v6 {
        assert_eq!(fetch(&allowing, &format!("http://[::1]:{port}/")).await.outcome, Outcome::Ok);
        assert_eq!(server_v6.visits(), 1);
    }
}

#[tokio::test]
async fn a_name_is_blocked_when_all_of_its_addresses_are() {
    let server = Server::start("127.0.0.1", 0, PAGE).await;
    for ips in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["0.0.0.0"],
        &["10.0.0.1", "127.0.0.1", "::1"],
    ] {
        let blocking = fetcher(&[], FixedResolver::new(&[ips]));
        for scheme in ["http", "https"] {
            let answer =
                fetch(&blocking, &format!("{scheme}://shop.example:{}/", server.port())).await;
            let error = answer.error.unwrap_or_default();
            assert_eq!(
                (answer.outcome, answer.status),
                (Outcome::Blocked, None),
                "{ips:?}: {error}"
            );
            assert!(
                error.starts_with(&format!("shop.example is not public: {} is ", ips[0])),
                "{error}"
            );
        }
    }
    assert_eq!(server.visits(), 0);

    // One address is allowed, so that one is used.
    let other = Server::start("127.0.0.2", server.port(), PAGE).await;
    let half_allowed =
        fetcher(&["127.0.0.2/32"], FixedResolver::new(&[&["127.0.0.1", "127.0.0.2", "::1"]]));
    let answer = fetch(&half_allowed, &format!("http://shop.example:{}/", server.port())).await;
    assert_eq!(answer.outcome, Outcome::Ok, "{:?}", answer.error);
    assert_eq!((server.visits(), other.visits()), (0, 1));
}

#[tokio::test]
async fn a_name_that_changes_from_a_public_to_a_private_address_gains_nothing() {
    let server = Server::start("127.0.0.1", 0, PAGE).await;
    let url = format!("http://shop.example:{}/", server.port());

    // The first lookup, to check the name, finds a public address; the next one, to connect, does
    // not.
    let rebinding = FixedResolver::new(&[&["93.184.215.14"], &["127.0.0.1"]]);
    let resolver = GuardedResolver::new(rebinding.clone(), guard(&[]), None);
    let addresses: Vec<_> =
        resolver.resolve("shop.example".parse().unwrap()).await.unwrap().collect();
    assert_eq!(addresses, [SocketAddr::from(([93, 184, 215, 14], 0))]);
    let answer = fetch(&fetcher(&[], rebinding.clone()), &url).await;
    assert_eq!((answer.outcome, rebinding.lookups()), (Outcome::Blocked, 2), "{:?}", answer.error);

    // A redirect of the site to itself is another lookup. 127.0.0.2 stands in for a public address.
    let public = Server::start("127.0.0.2", server.port(), &redirect("/secret")).await;
    let rebinding = FixedResolver::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let answer = fetch(&fetcher(&["127.0.0.2/32"], rebinding.clone()), &url).await;
    assert_eq!(
        (answer.outcome, answer.status),
        (Outcome::Blocked, Some(302)),
        "{:?}",
        answer.error
    );
    assert_eq!((public.visits(), rebinding.lookups()), (1, 2));

    assert_eq!(server.visits(), 0);
}

#[tokio::test]
async fn a_redirect_leads_to_no_blocked_address() {
    let server = Server::start("127.0.0.1", 0, PAGE).await;
    let port = server.port();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "user:password@127.1",
        "shop.example",
    ] {
        let allowed =
            Server::start("127.0.0.2", 0, &redirect(&format!("http://{host}:{port}/"))).await;
        let fetcher = fetcher(&["127.0.0.2/32"], FixedResolver::new(&[&["127.0.0.1"]]));
        let answer = fetch(&fetcher, &format!("http://{}/", allowed.address)).await;
        assert_eq!(
            (answer.outcome, answer.status),
            (Outcome::Blocked, Some(302)),
            "{host}: {:?}",
            answer.error
        );
        assert!(answer.redirected_to.is_some() && answer.body.is_none(), "{host}");
        assert_eq!(allowed.visits(), 1, "{host}");
    }
    assert_eq!(server.visits(), 0);
}

#[tokio::test]
async fn through_a_proxy_names_stay_unresolved_and_blocked_addresses_stay_blocked() {
    let mut proxy = Server::start("127.0.0.1", 0, PAGE).await;
    // Only the proxy's own name is resolved, and its address need not be public.
    let resolver = FixedResolver::new(&[&["127.0.0.1"]]);
    let url = format!("http://user:hunter2@proxy.example:{}", proxy.port());
    let through_proxy = Config { proxy: Some(Proxy::parse(&url).unwrap()), ..Config::default() };
    assert!(!format!("{through_proxy:?}").contains("hunter2"), "{through_proxy:?}");
    let fetcher = fetcher_with(&through_proxy, resolver.clone());

    let answer = fetch(&fetcher, "http://shop.example/p/1").await;
    assert_eq!(answer.outcome, Outcome::Ok, "{:?}", answer.error);
    let request = proxy.requests.recv().await.unwrap().to_lowercase();
    assert!(request.starts_with("get http://shop.example/p/1 http/1.1\r\n"), "{request}");
    assert!(request.contains("proxy-authorization: basic dxnlcjpodw50zxiy\r\n"), "{request}");

    // https needs a tunnel, which this proxy refuses.
    let answer = fetch(&fetcher, "https://shop.example/p/1").await;
    assert_ne!(answer.outcome, Outcome::Ok);
    assert!(!answer.error.unwrap_or_default().contains("hunter2"));
    assert!(
        proxy.requests.recv().await.unwrap().starts_with("CONNECT shop.example:443 HTTP/1.1\r\n")
    );

    for host in ["127.0.0.1", "0x7f.1", "169.254.169.254", "[::ffff:10.0.0.1]"] {
        for scheme in ["http", "https"] {
            assert_eq!(
                fetch(&fetcher, &format!("{scheme}://{host}/")).await.outcome,
                Outcome::Blocked,
                "{host}"
            );
        }
    }
    assert_eq!((proxy.visits(), resolver.lookups()), (2, 2));

    // If another name were ever resolved, it would be checked.
    let resolver = GuardedResolver::new(resolver, guard(&[]), Some("proxy.example".to_owned()));
    assert!(resolver.resolve("proxy.example".parse().unwrap()).await.is_ok());
    assert!(resolver.resolve("shop.example".parse().unwrap()).await.is_err());
}
