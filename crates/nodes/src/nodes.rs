//! The order in which a process tries the nodes of a cluster.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::verdicts::Verdicts;
use crate::{Endpoint, Node};

/// How long the resolution of a name may take. A name that takes longer is tried unresolved.
const RESOLUTION: Duration = Duration::from_secs(5);

/// The nodes of a cluster. Each process has an order of its own, so that many processes spread over
/// all nodes. A node that has failed lately comes last; once it works again, it has its place back.
pub struct Nodes {
    endpoints: Vec<Endpoint>,
    /// Whether a name with several addresses is several nodes.
    resolves: bool,
    /// Makes the order of this process.
    seed: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    verdicts: Verdicts,
    /// The nodes of the last resolution, in the order of this process.
    known: Vec<Node>,
}

impl Nodes {
    /// The nodes of a URL. If a connection must use the name itself, `resolves` is `false`.
    pub fn new(endpoints: Vec<Endpoint>, resolves: bool) -> Self {
        Self { endpoints, resolves, seed: rand::random(), state: Mutex::default() }
    }

    /// What the URL names, for log lines.
    pub fn describe(&self) -> String {
        let endpoints: Vec<String> = self.endpoints.iter().map(ToString::to_string).collect();
        endpoints.join(",")
    }

    /// All nodes, in the order in which this process should try them.
    pub async fn candidates(&self) -> Vec<Node> {
        let resolving = self.endpoints.iter().enumerate().map(|(index, endpoint)| async move {
            let addresses = match self.resolves {
                true => resolve(endpoint).await,
                false => Vec::new(),
            };
            to_nodes(index, endpoint, &addresses)
        });
        let mut ranked: Vec<(usize, Node)> = join_all(resolving).await.concat();
        ranked.sort_by_cached_key(|(family, node)| (*family, self.rank(node)));
        let nodes: Vec<Node> = ranked.into_iter().map(|(_, node)| node).collect();
        let mut state = self.state();
        state.verdicts.keep(&nodes);
        state.known.clone_from(&nodes);
        let (avoided, mut candidates): (Vec<_>, Vec<_>) =
            nodes.into_iter().partition(|node| state.verdicts.avoids(node));
        candidates.extend(avoided);
        candidates
    }

    /// Records that a node does not take connections, or is of no use.
    pub fn failed(&self, node: &Node) {
        self.state().verdicts.failed(node);
    }

    /// Records that a node is of use.
    pub fn works(&self, node: &Node) {
        self.state().verdicts.works(node);
    }

    /// Whether another node should be used, because this one has failed, or because one comes
    /// before it in the order of this process. A single node is never left.
    pub fn prefers_another_to(&self, node: &Node) -> bool {
        let state = self.state();
        let best = state.known.iter().find(|known| !state.verdicts.avoids(known));
        best.is_some_and(|best| best != node)
    }

    /// Whether a node has failed and there is another one.
    pub fn has_given_up(&self, node: &Node) -> bool {
        let state = self.state();
        state.known.len() > 1 && state.verdicts.avoids(node)
    }

    /// Whether there was more than one node at the last look.
    pub fn are_several(&self) -> bool {
        self.endpoints.len() > 1 || self.state().known.len() > 1
    }

    /// Whether there are nodes that are not among these.
    pub fn has_other_than(&self, nodes: &[Node]) -> bool {
        self.state().known.iter().any(|known| !nodes.contains(known))
    }

    fn rank(&self, node: &Node) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, node).hash(&mut hasher);
        hasher.finish()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn resolve(endpoint: &Endpoint) -> Vec<SocketAddr> {
    if let Ok(address) = endpoint.host.parse::<IpAddr>() {
        return vec![SocketAddr::new(address, endpoint.port)];
    }
    let looking = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port));
    let mut found: Vec<SocketAddr> = match timeout(RESOLUTION, looking).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let mut seen = Vec::new();
    found.retain(|address| {
        let is_new = !seen.contains(address);
        seen.push(*address);
        is_new
    });
    found
}

/// The nodes of an endpoint, each with 0 if its address is of the family that the system prefers.
fn to_nodes(index: usize, endpoint: &Endpoint, addresses: &[SocketAddr]) -> Vec<(usize, Node)> {
    let node = |address| Node {
        endpoint: endpoint.clone(),
        index,
        address,
        is_one_of_many: addresses.len() > 1,
    };
    let Some(first) = addresses.first() else { return vec![(0, node(None))] };
    addresses
        .iter()
        .map(|address| (usize::from(address.is_ipv4() != first.is_ipv4()), node(Some(*address))))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn of(hosts: &[&str]) -> Nodes {
        let endpoint = |host: &&str| Endpoint { host: (*host).to_owned(), port: 5672 };
        Nodes::new(hosts.iter().map(endpoint).collect(), true)
    }

    const THREE: [&str; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];

    #[tokio::test]
    async fn processes_spread_over_the_nodes_and_each_keeps_its_order() {
        let mut firsts = HashSet::new();
        for _ in 0..100 {
            let nodes = of(&THREE);
            let order = nodes.candidates().await;
            assert_eq!((order.len(), &order), (3, &nodes.candidates().await));
            firsts.insert(order[0].to_string());
        }
        assert_eq!(firsts.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_fails_comes_last_for_longer_and_longer_and_returns() {
        let nodes = of(&THREE);
        let first = nodes.candidates().await[0].clone();
        assert!(!nodes.prefers_another_to(&first) && !nodes.has_given_up(&first));
        for seconds in [10, 20, 40] {
            nodes.failed(&first);
            nodes.failed(&first);
            assert_eq!(nodes.candidates().await[2], first);
            assert!(nodes.prefers_another_to(&first) && nodes.has_given_up(&first));
            tokio::time::sleep(Duration::from_secs(seconds - 1)).await;
            assert_eq!(nodes.candidates().await[2], first, "{seconds}");
            tokio::time::sleep(Duration::from_secs(1)).await;
            let order = nodes.candidates().await;
            assert_eq!(order[0], first, "{seconds}");
            // What is connected to another node comes back.
            assert!(nodes.prefers_another_to(&order[1]));
        }
        nodes.works(&first);
        nodes.failed(&first);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(nodes.candidates().await[0], first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_node_is_never_left() {
        let nodes = of(&["192.0.2.1"]);
        let only = nodes.candidates().await.remove(0);
        nodes.failed(&only);
        assert_eq!(nodes.candidates().await, std::slice::from_ref(&only));
        assert!(!nodes.prefers_another_to(&only) && !nodes.has_given_up(&only));
        assert!(!nodes.are_several());
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_a_node_and_an_address_shows_its_brackets() {
        let nodes = of(&["name.invalid", "fd00::5"]);
        let candidates = nodes.candidates().await;
        let mut names: Vec<_> = candidates.iter().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["[fd00::5]:5672", "name.invalid:5672"]);
        assert_eq!(nodes.describe(), "name.invalid:5672,[fd00::5]:5672");
    }

    #[test]
    fn each_address_of_a_name_is_a_node_and_those_of_the_preferred_family_come_first() {
        let endpoint = Endpoint { host: "rabbit".to_owned(), port: 5672 };
        let addresses = ["[fd00::1]:5672", "[fd00::2]:5672", "192.0.2.1:5672"];
        let nodes = to_nodes(0, &endpoint, &addresses.map(|address| address.parse().unwrap()));
        let families: Vec<_> = nodes.iter().map(|(family, _)| *family).collect();
        assert_eq!(families, [0, 0, 1]);
        assert_eq!(nodes[2].1.to_string(), "rabbit:5672 (192.0.2.1)");
    }
}
