//! The broker: login, virtual host, permissions and topology.

use fetchline_queue::lapin::Connection;
use fetchline_queue::{Broker, Difference, Effect, Error, Topology};

use crate::exit::chain;
use crate::fleet::Management;

use super::finding::{Finding, Status};

const LOGIN: &str = "broker";
const CONNECTIONS: &str = "connections";
const PERMISSIONS: &str = "permissions";
const TOPOLOGY: &str = "topology";
const BINDINGS: &str = "bindings";

/// Checks the broker.
pub(super) async fn check(broker: &Broker, management: Option<&Management>) -> Vec<Finding> {
    let (user, _) = broker.credentials();
    let (connection, node) = match broker.connect_to_node(&[]).await {
        Ok(connected) => connected,
        Err(error) => {
            let skipped = [PERMISSIONS, TOPOLOGY].map(|check| Finding::skipped(check, LOGIN));
            return [unusable(LOGIN, &error)].into_iter().chain(skipped).collect();
        }
    };
    let mut findings =
        vec![Finding::ok(LOGIN, format!("{node} {} takes the user {user}", broker.virtual_host()))];
    // A limit that is reached is found only now: the broker counts connections.
    if let Err(error) = broker.connections_of_worker().await {
        findings.push(unusable(CONNECTIONS, &error));
    }
    findings.push(permissions(broker, &connection).await);
    findings.extend(topology(broker, &connection).await);
    if let Some(management) = management {
        findings.extend(bindings(broker, &connection, management).await);
    }
    findings
}

fn unusable(check: &'static str, error: &Error) -> Finding {
    let text = chain(error);
    match error.refusal() {
        Some(remedy) => Finding::bad(check, Status::Wrong, text, remedy),
        None if error.is_configuration() => Finding::bad(check, Status::Wrong, text, ""),
        None => Finding::bad(
            check,
            Status::Failed,
            text,
            "start the broker, or correct host and port of --amqp-url",
        ),
    }
}

async fn permissions(broker: &Broker, connection: &Connection) -> Finding {
    match broker.missing_permissions(connection).await {
        Ok(missing) if missing.is_empty() => Finding::ok(PERMISSIONS, "all that a worker needs"),
        Ok(missing) => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            Finding::bad(
                PERMISSIONS,
                Status::Wrong,
                format!("the user lacks: {}", missing.join("; ")),
                "grant them (rabbitmqctl set_permissions, or Admin > Users in the console)",
            )
        }
        Err(error) => unusable(PERMISSIONS, &error),
    }
}

async fn topology(broker: &Broker, connection: &Connection) -> Vec<Finding> {
    let mut missing = Vec::new();
    for key in broker.topology().keys() {
        match broker.topology().counts(connection, &key).await {
            Ok(Some(_)) => {}
            Ok(None) => missing.push(broker.topology().queue(&key)),
            Err(error) if error.is_answer() => {}
            Err(error) => return vec![unusable(TOPOLOGY, &error)],
        }
    }
    let inspection = match broker.compare(connection).await {
        Ok(inspection) => inspection,
        Err(error) => return vec![unusable(TOPOLOGY, &error)],
    };
    // All differences of a queue have the same remedy.
    let of_one = |a: &Difference, b: &Difference| a.what == b.what;
    let bad = inspection.differences.chunk_by(of_one).map(|differences| {
        let is_warning = differences.iter().all(|one| one.effect == Effect::LessSafety);
        let status = if is_warning { Status::Warning } else { Status::Wrong };
        let rest = differences.iter().skip(1).map(|one| one.difference.clone());
        let text: Vec<String> = [differences[0].to_string()].into_iter().chain(rest).collect();
        let remedy = "delete it when it is empty, or use another --prefix";
        Finding::bad(TOPOLOGY, status, text.join("; "), remedy)
    });
    let unknown = inspection.doubt().map(|text| Finding::bad(TOPOLOGY, Status::Warning, text, ""));
    let findings: Vec<Finding> = bad.chain(unknown).collect();
    if !findings.is_empty() {
        return findings;
    }
    let exchange = broker.topology().exchange();
    let text = match missing.len() {
        0 => format!("the exchange {exchange} and its queues are as a worker declares them"),
        _ if missing.contains(&broker.topology().queue(Topology::URLS)) => {
            format!("not declared yet: the first worker declares {}", missing.join(", "))
        }
        _ => format!("a worker will declare {}", missing.join(", ")),
    };
    vec![Finding::ok(TOPOLOGY, text)]
}

/// Whether the queues that exist are bound. The protocol of the broker does not say that.
async fn bindings(
    broker: &Broker,
    connection: &Connection,
    management: &Management,
) -> Option<Finding> {
    let topology = broker.topology();
    let mut existing = topology.keys();
    existing.push(Topology::NEWS.to_owned());
    for key in std::mem::take(&mut existing) {
        if topology.counts(connection, &key).await.is_ok_and(|counts| counts.is_some()) {
            existing.push(key);
        }
    }
    if existing.is_empty() {
        return None;
    }
    let bound = match management.bindings(broker).await {
        Ok(bound) => bound,
        Err(error) => {
            let text = chain(error.as_ref());
            let remedy = "correct --management-url, or give its user the tag `management`";
            return Some(Finding::bad(BINDINGS, Status::Warning, text, remedy));
        }
    };
    let missing = existing.iter().flat_map(|key| {
        let queue = topology.queue(key);
        let is_bound = |routing_key: &String| {
            bound.iter().any(|it| it.destination == queue && it.routing_key == *routing_key)
        };
        let keys = topology.routing_keys(key).into_iter().filter(|key| !is_bound(key));
        keys.map(|key| format!("{queue} by {key}")).collect::<Vec<_>>()
    });
    let missing: Vec<String> = missing.collect();
    Some(match missing.is_empty() {
        true => Finding::ok(BINDINGS, "every queue is bound as a worker binds it"),
        false => Finding::bad(
            BINDINGS,
            Status::Warning,
            format!("no message gets to {}", missing.join(", ")),
            "start a worker: the fleet binds its queues again within a minute",
        ),
    })
}
