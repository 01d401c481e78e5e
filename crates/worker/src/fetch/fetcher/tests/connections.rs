//! Idle connections, and how many there are.

use std::net::SocketAddr;

use tokio::sync::Semaphore;

use super::*;

const MOST: usize = 20;
/// Connections that were made beside one that became idle meanwhile, or that are just closing.
const SPARE: usize = 5;

/// The URL of one of many hosts, all of which are this server.
fn url(address: SocketAddr, host: usize, path: &str) -> String {
    format!("http://127.0.{}.{}:{}{path}", host / 250, host % 250 + 1, address.port())
}

/// Waits until at most so many connections are open, for less than they would stay idle.
async fn wait_for_few(origin: &Origin, most: usize) {
    let few = async {
        while origin.open() > most {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let few = tokio::time::timeout(Duration::from_secs(8), few).await;
    assert!(few.is_ok(), "{} connections are open", origin.open());
}

async fn ask(fetcher: &Fetcher, origin: &Origin, host: usize) {
    assert_eq!(fetch(fetcher, &url(origin.address, host, "/")).await.outcome, Outcome::Ok);
}

#[tokio::test]
async fn the_idle_connections_of_the_hosts_that_were_used_last_are_kept() {
    const HOSTS: usize = 200;
    let origin = Origin::start("0.0.0.0", |_| Reply::of(200, &[], "page")).await;
    let fetcher = fetcher_of(MOST, |_, client| client);
    for host in 0..HOSTS {
        // One host is asked all the time.
        ask(&fetcher, &origin, 0).await;
        ask(&fetcher, &origin, host).await;
    }
    wait_for_few(&origin, MOST).await;
    let made = origin.accepted();
    assert!((HOSTS..=HOSTS + SPARE).contains(&made), "{made}: the busy host keeps its own");
    // The latest ones are reused, in whatever order.
    for host in (HOSTS + SPARE - MOST..HOSTS).rev() {
        ask(&fetcher, &origin, host).await;
    }
    assert_eq!(origin.accepted(), made);
    // An older one is made again.
    ask(&fetcher, &origin, HOSTS / 2).await;
    assert_eq!(origin.accepted(), made + 1);
}

#[tokio::test]
async fn many_idle_connections_of_one_host_count_like_those_of_many() {
    let origin = Origin::start("0.0.0.0", |_| Reply::of(200, &[], "page")).await;
    let fetcher = fetcher_of(MOST, |_, client| client);
    for host in 0..10 {
        let all =
            (0..10).map(|n| request(Method::GET, &url(origin.address, host, &format!("/{n}"))));
        fetch_all(&fetcher, all.collect(), 10).await;
    }
    wait_for_few(&origin, MOST).await;
}

#[tokio::test]
async fn connections_whose_bodies_are_slow_count() {
    let gate = Arc::new(Semaphore::new(0));
    let origin = Origin::start("0.0.0.0", {
        let gate = gate.clone();
        move |_| {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npa";
            Reply::Halves(head.into(), "ge".into(), gate.clone())
        }
    })
    .await;
    let fetcher = fetcher_of(MOST, |_, client| client);
    let (address, mut slow) = (origin.address, JoinSet::new());
    for host in 0..5 {
        for n in 0..10 {
            let fetcher = fetcher.clone();
            slow.spawn(async move { fetch(&fetcher, &url(address, host, &format!("/{n}"))).await });
            // The heads come one by one.
            while origin.open() < slow.len() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
    assert_eq!(origin.open(), 50);
    gate.close();
    while let Some(answer) = slow.join_next().await {
        assert_eq!(answer.unwrap().outcome, Outcome::Ok);
    }
    wait_for_few(&origin, MOST).await;
}

#[tokio::test]
async fn slow_requests_keep_no_idle_connections_of_others() {
    const HOSTS: usize = 200;
    let origin = Origin::start("0.0.0.0", |asked| match asked.path() {
        "/slow" => Reply::Silence,
        _ => Reply::of(200, &[], "page"),
    })
    .await;
    let fetcher = fetcher_of(MOST, |_, client| client);
    let (address, mut slow) = (origin.address, JoinSet::new());
    for host in 0..HOSTS {
        // Every tenth host does not answer.
        if host % 10 == 0 {
            let fetcher = fetcher.clone();
            slow.spawn(async move { fetch(&fetcher, &url(address, host, "/slow")).await });
        }
        ask(&fetcher, &origin, host).await;
        let most = MOST + slow.len() + SPARE;
        assert!(origin.open() <= 2 * most, "{} connections after {host} hosts", origin.open());
    }
    // A slow host has a connection of its own, and one that is idle.
    wait_for_few(&origin, MOST + 2 * slow.len()).await;
    let made = origin.accepted();
    assert!(made <= HOSTS + slow.len() + SPARE, "{made}");
}

#[tokio::test]
async fn without_sockets_all_idle_connections_are_closed() {
    let origin = Origin::start("0.0.0.0", |_| Reply::of(200, &[], "page")).await;
    let fetcher = fetcher_of(MOST, |_, client| client);
    for host in 0..10 {
        ask(&fetcher, &origin, host).await;
    }
    assert!(origin.open() >= 10);
    fetcher.clients.out_of_sockets();
    wait_for_few(&origin, 0).await;
}
