//! Which nodes have failed lately.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::Node;

/// How long a node is tried last after its first failure; twice as long after each further one.
const FIRST_AVOIDANCE: Duration = Duration::from_secs(10);
const LONGEST_AVOIDANCE: Duration = Duration::from_secs(300);

/// The failures of nodes. A node that works is not in it.
#[derive(Default)]
pub(crate) struct Verdicts(HashMap<Node, Verdict>);

struct Verdict {
    failures: u32,
    avoided_until: Instant,
}

impl Verdicts {
    /// Whether the node has failed a short while ago.
    pub(crate) fn avoids(&self, node: &Node) -> bool {
        self.0.get(node).is_some_and(|verdict| verdict.avoided_until > Instant::now())
    }

    /// Records a failure. Failures of the same moment count once, since many users of one
    /// connection meet them.
    pub(crate) fn failed(&mut self, node: &Node) {
        if self.avoids(node) {
            return;
        }
        let failures = self.0.get(node).map_or(0, |verdict| verdict.failures);
        let avoidance = FIRST_AVOIDANCE * 2_u32.saturating_pow(failures.min(10));
        let avoided_until = Instant::now() + avoidance.min(LONGEST_AVOIDANCE);
        self.0.insert(node.clone(), Verdict { failures: failures + 1, avoided_until });
    }

    /// Records that a node works.
    pub(crate) fn works(&mut self, node: &Node) {
        self.0.remove(node);
    }

    /// Forgets all nodes but these: the addresses of a name may change for ever.
    pub(crate) fn keep(&mut self, nodes: &[Node]) {
        self.0.retain(|node, _| nodes.contains(node));
    }
}
