//! Clients without a server.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::dns::{Name, Resolve, Resolving};

use super::*;
use crate::fetch::config::Config;
use crate::fetch::tls;

/// Belongs to a client, and counts those that are dropped with and without the lock.
#[derive(Clone, Default)]
struct Dropped(Arc<DroppedInner>);

#[derive(Default)]
struct DroppedInner {
    clients: OnceLock<Clients>,
    with_lock: AtomicUsize,
    without_lock: AtomicUsize,
}

struct Probe(Dropped);

impl Resolve for Probe {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(async { Err("no names".into()) })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let Some(clients) = self.0.0.clients.get() else { return };
        let count = match clients.0.state.try_lock() {
            Ok(_) => &self.0.0.without_lock,
            Err(_) => &self.0.0.with_lock,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Clients, the counts of those that were built for a host, and those that were dropped.
fn clients(max_idle: usize) -> (Clients, Arc<Mutex<Vec<ConnectionCount>>>, Dropped) {
    let (made, dropped) = (Arc::<Mutex<Vec<ConnectionCount>>>::default(), Dropped::default());
    let Config { authorities, memory_budget, .. } = Config::default();
    let tls = tls::client_config(&authorities, memory_budget).unwrap();
    let build: Build = Box::new({
        let (made, dropped) = (made.clone(), dropped.clone());
        move |_, count| {
            if let Some(clients) = dropped.0.clients.get() {
                assert!(clients.0.state.try_lock().is_ok(), "built with the lock");
                made.lock().unwrap().push(count);
            }
            let probe = Arc::new(Probe(dropped.clone()));
            Ok(Client::builder().tls_backend_preconfigured(tls.clone()).dns_resolver(probe))
        }
    });
    let clients = Clients::new(max_idle, build).unwrap();
    _ = dropped.0.clients.set(clients.clone());
    (clients, made, dropped)
}

fn idle_connections(clients: &Clients) -> usize {
    clients.state().hosts.idle_connections()
}

#[tokio::test]
async fn clients_are_built_and_dropped_without_the_lock() {
    let (clients, made, dropped) = clients(3);
    for host in 0..10 {
        clients.for_host(&host.to_string());
    }
    assert_eq!((made.lock().unwrap().len(), idle_connections(&clients)), (10, 3));
    clients.out_of_sockets();
    clients.use_http1("1");
    clients.for_host("1");
    assert_eq!(idle_connections(&clients), 1);
    let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    assert_eq!((count(&dropped.0.with_lock), count(&dropped.0.without_lock)), (0, 10));
}

#[tokio::test]
async fn idle_connections_beside_a_slow_request_count() {
    let (clients, made, _) = clients(3);
    let other = clients.for_host("other");
    drop(other);
    let leases: Vec<_> = (0..4).map(|_| clients.for_host("slow")).collect();
    (0..4).for_each(|_| made.lock().unwrap()[1].add(true));
    assert_eq!(idle_connections(&clients), 1);
    let mut leases = leases.into_iter();
    let slow = leases.next();
    drop(leases);
    assert_eq!(idle_connections(&clients), 3, "the other one has made room");
    clients.for_host("other");
    assert_eq!((idle_connections(&clients), made.lock().unwrap().len()), (3, 3));
    drop(slow);
    assert_eq!(idle_connections(&clients), 0, "four are more than are allowed");
}

#[tokio::test]
async fn a_host_has_one_client_even_if_two_are_built_at_once() {
    let (clients, made, _) = clients(3);
    let add = || clients.add("host", Protocols::Any).unwrap();
    let (first, second) = (add(), add());
    assert_eq!(made.lock().unwrap().len(), 2);
    (0..2).for_each(|_| made.lock().unwrap()[0].add(true));
    for (client, used) in [first, second] {
        drop(Lease { client, used: Some((clients.clone(), used)) });
    }
    assert_eq!(idle_connections(&clients), 2);
}
