//! Idle connections, and how many there are.

use std::net::SocketAddr;

use super::*;

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

#[tokio::test]
async fn idle_connections_are_bounded_over_all_hosts() {
    const MOST: usize = 20;
    let origin = Origin::start("0.0.0.0", |_| Reply::of(200, &[], "page")).await;
    let fetcher = fetcher_of(MOST, |_, client| client);
    for host in 0..400 {
        // One host is asked all the time.
        for host in [0, host] {
            assert_eq!(fetch(&fetcher, &url(origin.address, host, "/")).await.outcome, Outcome::Ok);
        }
    }
    wait_for_few(&origin, 2 * MOST).await;
    let connections = origin.accepted();
    // Once per host, and the busy one once per generation.
    assert!((400..=400 + 2 * 400 / MOST).contains(&connections), "{connections}");
}

#[tokio::test]
async fn slow_requests_do_not_keep_the_idle_connections_of_others() {
    const MOST: usize = 20;
    const HOSTS: usize = 400;
    let origin = Origin::start("0.0.0.0", |asked| match asked.path() {
        "/slow" => Reply::Silence,
        _ => Reply::of(200, &[], "page"),
    })
    .await;
    let fetcher = fetcher_of(MOST, |_, client| client);
    let (address, mut slow) = (origin.address, JoinSet::new());
    for host in 0..HOSTS {
        // One request of each generation waits for its answer, and one host is asked all the time.
        if host % MOST == 0 {
            let fetcher = fetcher.clone();
            slow.spawn(async move { fetch(&fetcher, &url(address, host, "/slow")).await });
        }
        for host in [0, host] {
            assert_eq!(fetch(&fetcher, &url(address, host, "/")).await.outcome, Outcome::Ok);
        }
        let most = 2 * MOST + slow.len();
        assert!(origin.open() <= most + MOST, "{} connections after {host} hosts", origin.open());
    }
    wait_for_few(&origin, 2 * MOST + slow.len()).await;
    // The busy host keeps its connection.
    let connections = origin.accepted();
    assert!(connections <= HOSTS + slow.len() + 5, "{connections}");
    slow.abort_all();
    while slow.join_next().await.is_some() {}
    // Now connections are kept again.
    let before = origin.accepted();
    for _ in 0..5 {
        for host in HOSTS..HOSTS + MOST / 2 {
            fetch(&fetcher, &url(address, host, "/")).await;
        }
    }
    let connections = origin.accepted() - before;
    assert!(connections <= MOST + 5, "{connections}");
}
