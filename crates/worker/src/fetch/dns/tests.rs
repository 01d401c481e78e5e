//! Lookups against name servers that are slow, silent, wrong or overloaded.

pub(super) mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::ResponseCode;

use self::server::{Answer, Kind, TestServer};
use super::*;
use crate::fetch::config::Config;
use crate::fetch::failure::Fault;
use crate::fetch::resolver::Unknown;

const MS: Duration = Duration::from_millis(1);
/// Far less than the time for name servers, and far more than a busy machine needs.
const SOON: Duration = Duration::from_secs(15);

fn names_of(config: &Config) -> KnownNames {
    KnownNames::new(config, Counters::none()).unwrap()
}

fn names(servers: &[&TestServer]) -> KnownNames {
    let dns_servers: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    names_of(&Config { dns_servers, dns_timeout: 30_000 * MS, ..with_ipv6() })
}

/// Wants IPv6 addresses on machines without a route for it, too: the network is that of loopback.
fn with_ipv6() -> Config {
    Config { allowed_networks: vec!["::1/128".parse().unwrap()], ..Config::default() }
}

fn found(resolution: &Resolution) -> Vec<String> {
    match resolution {
        Resolution::Addresses(addresses) => addresses.iter().map(ToString::to_string).collect(),
        other => panic!("not found: {other:?}"),
    }
}

fn is_absent(resolution: &Resolution) -> bool {
    matches!(resolution, Resolution::Absent(_))
}

fn why_unanswered(resolution: &Resolution) -> String {
    match resolution {
        Resolution::Unanswered(text)
        | Resolution::Outage(text)
        | Resolution::HostUnanswered(text) => text.to_string(),
        other => panic!("answered: {other:?}"),
    }
}

#[tokio::test]
async fn both_kinds_of_addresses_are_found() {
    let server = TestServer::start(|question| match question.kind {
        Kind::A => Answer::addresses(&["192.0.2.1", "192.0.2.2"]),
        Kind::Aaaa => Answer::addresses(&["::1"]),
    })
    .await;
    let names = names(&[&server]);
    let expected = ["192.0.2.1", "192.0.2.2", "::1"];
    assert_eq!(found(&names.look_up("shop.example").await), expected);
    assert_eq!(found(&names.look_up("shop.example").await), expected);
    assert_eq!(server.asked().len(), 2, "the second look-up is answered by the cache");
    assert_eq!(names.known_addresses("shop.example").await.unwrap().len(), 3);
    assert!(names.known_addresses("other.example").await.is_none());
}

#[tokio::test]
async fn an_ipv4_address_does_not_wait_for_ipv6() {
    let late = [
        Answer::Silence,
        Answer::addresses(&["::1"]).after(20_000 * MS),
        Answer::Code(ResponseCode::ServFail),
        Answer::Code(ResponseCode::Refused).after(100 * MS),
        Answer::Code(ResponseCode::NXDomain),
        Answer::NoData,
    ];
    for answer in late {
        let about_ipv6 = answer.clone();
        let server = TestServer::start(move |question| match question.kind {
            Kind::A => Answer::addresses(&["192.0.2.1"]),
            Kind::Aaaa => about_ipv6.clone(),
        })
        .await;
        let started = Instant::now();
        assert_eq!(found(&names(&[&server]).look_up("shop.example").await), ["192.0.2.1"]);
        assert!(started.elapsed() < SOON, "{answer:?}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn an_ipv6_address_alone_is_enough() {
    for about_ipv4 in [Answer::NoData, Answer::Silence, Answer::Code(ResponseCode::ServFail)] {
        let server = TestServer::start(move |question| match question.kind {
            Kind::A => about_ipv4.clone(),
            Kind::Aaaa => Answer::addresses(&["::1"]),
        })
        .await;
        assert_eq!(found(&names(&[&server]).look_up("shop.example").await), ["::1"]);
    }
}

#[tokio::test]
async fn an_absent_name_is_known_to_be_absent_with_and_without_a_soa() {
    for answer in [
        Answer::Code(ResponseCode::NXDomain),
        Answer::NoData,
        Answer::Soa { code: ResponseCode::NXDomain, minimum: 60 },
        Answer::Soa { code: ResponseCode::NoError, minimum: 0 },
        Answer::NameServers { authoritative: false, with_soa: true },
        Answer::NameServers { authoritative: true, with_soa: false },
    ] {
        let about_all = answer.clone();
        let server = TestServer::start(move |_| about_all.clone()).await;
        let names = names(&[&server]);
        assert!(is_absent(&names.look_up("gone.example").await), "{answer:?}");
        let asked = server.asked().len();
        assert!(is_absent(&names.look_up("gone.example").await));
        assert_eq!(server.asked().len(), asked, "{answer:?} is cached");
    }
}

#[tokio::test]
async fn a_name_is_absent_only_if_a_server_says_so_about_all_kinds() {
    // Nothing is known about IPv6.
    let server = TestServer::start(|question| match question.kind {
        Kind::A => Answer::NoData,
        Kind::Aaaa => Answer::Code(ResponseCode::ServFail),
    })
    .await;
    let text = why_unanswered(&names(&[&server]).look_up("half.example").await);
    assert!(text.contains("Server Failure"), "{text}");
}

#[tokio::test]
async fn a_lost_query_is_repeated_after_a_second() {
    let server = TestServer::start(|question| match (question.kind, question.nth) {
        (Kind::A, 0) => Answer::Silence,
        (Kind::A, _) => Answer::addresses(&["192.0.2.1"]),
        (Kind::Aaaa, _) => Answer::NoData,
    })
    .await;
    let started = Instant::now();
    assert_eq!(found(&names(&[&server]).look_up("shop.example").await), ["192.0.2.1"]);
    let took = started.elapsed();
    assert!((900 * MS..SOON).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_slow_answer_is_taken_although_the_query_was_repeated() {
    let server = TestServer::start(|question| match (question.kind, question.nth) {
        (Kind::A, 0) => Answer::addresses(&["192.0.2.1"]).after(2_500 * MS),
        (Kind::A, _) => Answer::Silence,
        (Kind::Aaaa, _) => Answer::NoData,
    })
    .await;
    assert_eq!(found(&names(&[&server]).look_up("shop.example").await), ["192.0.2.1"]);
}

#[tokio::test]
async fn another_server_is_asked_where_one_is_silent_or_refuses() {
    for bad in [
        Answer::Silence,
        Answer::Code(ResponseCode::ServFail),
        Answer::Code(ResponseCode::Refused),
        Answer::NameServers { authoritative: false, with_soa: false },
        Answer::Garbage,
    ] {
        let name = format!("{bad:?}");
        let first = TestServer::start(move |_| bad.clone()).await;
        let second = TestServer::start(|question| match question.kind {
            Kind::A => Answer::addresses(&["192.0.2.1"]),
            Kind::Aaaa => Answer::NoData,
        })
        .await;
        let names = names(&[&first, &second]);
        let started = Instant::now();
        assert_eq!(found(&names.look_up("shop.example").await), ["192.0.2.1"], "{name}");
        assert!(started.elapsed() < SOON, "{name}: {:?}", started.elapsed());
        // The one that answers is now asked first.
        let asked = first.asked().len();
        assert_eq!(found(&names.look_up("other.example").await), ["192.0.2.1"], "{name}");
        assert_eq!(first.asked().len(), asked, "{name}");
    }
}

#[tokio::test]
async fn a_name_that_nobody_answers_for_is_unknown_and_says_why() {
    let silent = TestServer::start(|_| Answer::Silence).await;
    let dns_servers = vec![silent.address];
    let names = names_of(&Config { dns_servers, dns_timeout: 1_200 * MS, ..with_ipv6() });
    let text = why_unanswered(&names.look_up("shop.example").await);
    assert!(text.contains("answered within 1.2 s (--dns-timeout)"), "{text}");

    let broken = TestServer::start(|_| Answer::Code(ResponseCode::ServFail)).await;
    let text = why_unanswered(&self::names(&[&broken]).look_up("shop.example").await);
    assert!(text.contains(&format!("{} answered Server Failure", broken.address)), "{text}");

    let lame = Answer::NameServers { authoritative: false, with_soa: false };
    let lame = TestServer::start(move |_| lame.clone()).await;
    let text = why_unanswered(&self::names(&[&lame]).look_up("shop.example").await);
    assert!(text.contains(&format!("{} answered with a referral", lame.address)), "{text}");
}

#[tokio::test]
async fn the_time_for_name_servers_is_that_of_a_whole_look_up() {
    // Each answer comes in time, and leads to another name.
    let server = TestServer::start(|question| match question.name.split_once('.') {
        Some((label, _)) => {
            let next = format!("{}.example", label.parse::<u32>().unwrap_or(0) + 1);
            Answer::alias(&next, &[]).after(500 * MS)
        }
        None => Answer::NoData,
    })
    .await;
    let dns_servers = vec![server.address];
    let names = names_of(&Config { dns_servers, dns_timeout: 1_200 * MS, ..with_ipv6() });
    let text = why_unanswered(&names.look_up("0.example").await);
    assert!(text.contains("answered within 1.2 s (--dns-timeout)"), "{text}");
    // The third question was under way when the time was over.
    let asked = server.asked().into_iter().filter(|(_, kind)| *kind == Kind::A).count();
    assert!(asked <= 3, "{asked}");
}

#[tokio::test]
async fn an_ipv6_address_is_found_within_the_shortest_time_for_name_servers() {
    let server = TestServer::start(|question| match question.kind {
        Kind::A => Answer::Silence,
        Kind::Aaaa => Answer::addresses(&["::1"]),
    })
    .await;
    let dns_servers = vec![server.address];
    let names = names_of(&Config { dns_servers, dns_timeout: 1_000 * MS, ..with_ipv6() });
    assert_eq!(found(&names.look_up("shop.example").await), ["::1"]);
}

#[tokio::test]
async fn answers_to_other_questions_are_ignored() {
    for lie in [Answer::WrongId, Answer::WrongQuestion, Answer::OtherName] {
        let name = format!("{lie:?}");
        let is_about_another_name = matches!(lie, Answer::OtherName);
        let server = TestServer::start(move |question| match (question.kind, question.nth) {
            (Kind::A, 0) => lie.clone(),
            (Kind::A, _) => Answer::addresses(&["192.0.2.1"]),
            (Kind::Aaaa, _) => Answer::NoData,
        })
        .await;
        let resolution = names(&[&server]).look_up("shop.example").await;
        if is_about_another_name {
            assert!(is_absent(&resolution), "{name}: {resolution:?}");
        } else {
            assert_eq!(found(&resolution), ["192.0.2.1"], "{name}");
        }
    }
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let many: Vec<String> = (0..100).map(|n| format!("192.0.2.{n}")).collect();
    let server = TestServer::start(move |question| match question.kind {
        Kind::A => Answer::Truncated(many.clone()),
        Kind::Aaaa => Answer::NoData,
    })
    .await;
    let addresses = found(&names(&[&server]).look_up("shop.example").await);
    // A name may have any number; some are enough.
    assert_eq!(addresses.len(), 32);
    assert_eq!(server.asked_over_tcp(), 1);
}

#[tokio::test]
async fn aliases_are_followed_within_and_across_answers() {
    let server = TestServer::start(|question| match (question.kind, question.name.as_str()) {
        (Kind::A, "www.example") => Answer::alias("cdn.example", &["192.0.2.1"]),
        (Kind::A, "far.example") => Answer::alias("www.example", &[]),
        (Kind::A, "loop.example") => Answer::alias("loop.example", &[]),
        _ => Answer::NoData,
    })
    .await;
    let names = names(&[&server]);
    assert_eq!(found(&names.look_up("www.example").await), ["192.0.2.1"]);
    assert_eq!(found(&names.look_up("far.example").await), ["192.0.2.1"]);
    assert!(matches!(
        names.look_up("loop.example").await,
        Resolution::Absent(_) | Resolution::HostUnanswered(_)
    ));
}

#[tokio::test]
async fn look_ups_of_one_name_are_one() {
    let server = TestServer::start(|question| match question.kind {
        Kind::A => Answer::addresses(&["192.0.2.1"]).after(200 * MS),
        Kind::Aaaa => Answer::NoData.after(200 * MS),
    })
    .await;
    let names = names(&[&server]);
    let looking_up: Vec<_> = (0..100)
        .map(|_| {
            let names = names.clone();
            tokio::spawn(async move { names.look_up("shop.example").await })
        })
        .collect();
    for look_up in looking_up {
        assert_eq!(found(&look_up.await.unwrap()), ["192.0.2.1"]);
    }
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn no_more_queries_than_allowed_are_under_way() {
    let server = TestServer::start(|question| match question.kind {
        Kind::A => Answer::addresses(&["192.0.2.1"]).after(30 * MS),
        Kind::Aaaa => Answer::NoData.after(30 * MS),
    })
    .await;
    let dns_servers = vec![server.address];
    let names = Arc::new(names_of(&Config { dns_servers, dns_concurrency: 8, ..with_ipv6() }));
    let looking_up: Vec<_> = (0..60)
        .map(|n| {
            let names = names.clone();
            tokio::spawn(async move { names.look_up(&format!("shop-{n}.example")).await })
        })
        .collect();
    for look_up in looking_up {
        assert_eq!(found(&look_up.await.unwrap()), ["192.0.2.1"]);
    }
    assert!(server.most_under_way() <= 8, "{}", server.most_under_way());
}

#[tokio::test]
async fn older_addresses_are_used_while_no_server_answers() {
    for failure in [Answer::Silence, Answer::Code(ResponseCode::ServFail)] {
        let name = format!("{failure:?}");
        let server = TestServer::start(move |question| match (question.kind, question.nth) {
            (Kind::A, 0) => Answer::addresses(&["192.0.2.1"]),
            (Kind::Aaaa, 0) => Answer::NoData,
            _ => failure.clone(),
        })
        .await;
        let names = names(&[&server]);
        assert_eq!(found(&names.look_up("shop.example").await), ["192.0.2.1"]);
        names.forget_validity("shop.example").await;
        let started = Instant::now();
        assert_eq!(found(&names.look_up("shop.example").await), ["192.0.2.1"], "{name}");
        assert!(started.elapsed() < SOON, "{name}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn older_addresses_are_not_used_once_the_name_is_gone() {
    let server = TestServer::start(|question| match (question.kind, question.nth) {
        (Kind::A, 0) => Answer::addresses(&["192.0.2.1"]),
        (Kind::Aaaa, 0) => Answer::NoData,
        _ => Answer::Code(ResponseCode::NXDomain),
    })
    .await;
    let names = names(&[&server]);
    assert_eq!(found(&names.look_up("shop.example").await), ["192.0.2.1"]);
    names.forget_validity("shop.example").await;
    assert!(is_absent(&names.look_up("shop.example").await));
}

#[tokio::test]
async fn local_names_and_impossible_ones_need_no_server() {
    let server = TestServer::start(|_| Answer::Silence).await;
    let names = names(&[&server]);
    for local in ["localhost", "shop.localhost", "localhost."] {
        assert!(found(&names.look_up(local).await).contains(&"127.0.0.1".to_owned()), "{local}");
    }
    let long = format!("{}.example", "a".repeat(64));
    assert!(is_absent(&names.look_up(&long).await));
    assert_eq!(server.asked().len(), 0);
}

#[tokio::test]
async fn that_one_host_is_unanswered_is_told_from_an_outage_of_the_name_servers() {
    let is_outage = Arc::new(AtomicBool::new(false));
    let outage = is_outage.clone();
    let server = TestServer::start(move |question| match question.name.as_str() {
        "found.example" if !outage.load(SeqCst) => Answer::addresses(&["192.0.2.1"]),
        "absent.example" if !outage.load(SeqCst) => Answer::Code(ResponseCode::NXDomain),
        _ => Answer::Code(ResponseCode::ServFail),
    })
    .await;
    for answered in ["found.example", "absent.example"] {
        is_outage.store(false, SeqCst);
        let names = names(&[&server]);
        let before = names.look_up("dead.example").await;
        assert!(matches!(before, Resolution::Unanswered(_)), "{before:?}");
        let second = names.look_up("dead-too.example").await;
        assert!(matches!(second, Resolution::Outage(_)), "{second:?}");
        names.look_up(answered).await;
        let after = names.look_up("lame.example").await;
        assert!(matches!(after, Resolution::HostUnanswered(_)), "{answered}: {after:?}");
        // Later, the name that was answered for is asked again.
        names.forget_answers();
        let asked = server.asked().len();
        let later = names.look_up("lame-too.example").await;
        assert!(matches!(later, Resolution::HostUnanswered(_)), "{answered}: {later:?}");
        assert_eq!(server.asked().last().unwrap().0, answered);
        names.forget_answers();
        is_outage.store(true, SeqCst);
        let during = names.look_up("lame-three.example").await;
        assert!(matches!(during, Resolution::Outage(_)), "{answered}: {during:?}");
        assert!(server.asked().len() > asked + 2);
    }
}

#[tokio::test]
async fn a_proxy_without_an_address_is_no_outage_of_the_name_servers() {
    let server = TestServer::start(|_| Answer::Code(ResponseCode::NXDomain)).await;
    let names = names(&[&server]);
    let fault = async |site| {
        let unknown = Unknown { host: "proxy.example".to_owned(), names: names.clone() };
        unknown.look_up(Some(site)).await.unwrap_err().fault
    };
    assert_eq!(fault("shop.example").await, Fault::Proxy);
    assert_eq!(fault("proxy.example").await, Fault::Site);
}
