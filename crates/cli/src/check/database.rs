//! The database: login, schema, rights, and settings of the server.

use std::time::Duration;

use fetchline_store::{Class, Error, ServerFacts, Store};

use crate::exit::chain;

use super::finding::{Finding, Status};

const LOGIN: &str = "database";
const SCHEMA: &str = "schema";
const RIGHTS: &str = "rights";
const WRITES: &str = "writes";
const CONNECTIONS: &str = "connections";
const PACKET: &str = "packet size";
const CLOCK: &str = "clock";

/// What a packet contains besides the largest row.
const PACKET_RESERVE: u64 = 1 << 20;
/// A difference of clocks that is no accident.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(30);

/// Checks the database for a worker that stores bodies of up to `max_body` bytes, and uses `pool`
/// connections.
pub(super) async fn check(store: &Store, max_body: usize, pool: u32) -> Vec<Finding> {
    let facts = match store.server_facts().await {
        Ok(facts) => facts,
        // A missing database is a missing schema.
        Err(error) => {
            let rest = [SCHEMA, RIGHTS, WRITES, CONNECTIONS, PACKET, CLOCK];
            let rest = rest.map(|check| Finding::skipped(check, LOGIN));
            return [unusable(LOGIN, &error)].into_iter().chain(rest).collect();
        }
    };
    let mut findings = vec![login(store, &facts)];
    match store.check_tables().await {
        Ok(()) => {
            findings.push(schema());
            findings.push(rights(store, &facts).await);
            findings.push(match store.ping().await {
                Ok(()) => Finding::ok(WRITES, "the server takes rows"),
                Err(error) => unusable(WRITES, &error),
            });
        }
        Err(error) => {
            findings.push(unusable(SCHEMA, &error));
            findings.extend([RIGHTS, WRITES].map(|check| Finding::skipped(check, SCHEMA)));
        }
    }
    findings.push(connections(&facts, pool));
    findings.push(packet(&facts, max_body));
    findings.push(clock(&facts));
    findings
}

fn login(store: &Store, facts: &ServerFacts) -> Finding {
    let tls = facts
        .cipher
        .as_ref()
        .map_or_else(|| "without TLS".to_owned(), |cipher| format!("over TLS ({cipher})"));
    let ServerFacts { version, account, .. } = facts;
    let node = store.node().unwrap_or_default();
    let database = store.database();
    let text = format!("{node} {database} ({version}) takes the account {account}, {tls}");
    Finding::ok(LOGIN, text)
}

fn unusable(check: &'static str, error: &Error) -> Finding {
    let text = chain(error);
    let (status, remedy) = match (error.refusal(), error.number()) {
        (Some(remedy), _) => (Status::Wrong, remedy),
        (_, Some(1290 | 1792 | 1836 | 1874 | 3989)) => {
            (Status::Wrong, "the server is read-only: name the primary in --database-url")
        }
        (_, Some(1040 | 1203 | 1226)) => {
            (Status::Failed, "raise the limit of connections, or lower --pool")
        }
        _ if error.class() == Class::Away && error.number().is_none() => {
            (Status::Failed, "start the database, or correct host and port of --database-url")
        }
        _ => (Status::Failed, ""),
    };
    Finding::bad(check, status, text, remedy)
}

fn schema() -> Finding {
    Finding::ok(SCHEMA, format!("version {} or later", Store::schema_needed()))
}

async fn rights(store: &Store, facts: &ServerFacts) -> Finding {
    match store.missing_rights().await {
        Ok(missing) if missing.is_empty() => {
            Finding::ok(RIGHTS, "SELECT, INSERT, UPDATE and DELETE on all tables")
        }
        Ok(missing) => Finding::bad(
            RIGHTS,
            Status::Wrong,
            format!("the account {} lacks: {}", facts.account, missing.join(", ")),
            "GRANT SELECT, INSERT, UPDATE, DELETE on all tables of the database",
        ),
        Err(error) => unusable(RIGHTS, &error),
    }
}

/// A worker has a connection besides its pool for what takes long.
fn connections(facts: &ServerFacts, pool: u32) -> Finding {
    let needed = pool.saturating_add(1);
    match facts.max_connections {
        Some(limit) if limit < needed => Finding::bad(
            CONNECTIONS,
            Status::Warning,
            format!("the server takes {limit} from this account, and a worker uses {needed}"),
            "raise max_connections or max_user_connections, or lower --pool",
        ),
        _ => Finding::ok(CONNECTIONS, format!("the server takes the {needed} of a worker")),
    }
}

fn packet(facts: &ServerFacts, max_body: usize) -> Finding {
    let needed = max_body as u64 + PACKET_RESERVE;
    let mib = |bytes: u64| format!("{:.0} MiB", (bytes as f64 / f64::from(1 << 20)).ceil());
    let has = mib(facts.max_packet);
    if facts.max_packet >= needed {
        return Finding::ok(PACKET, format!("max_allowed_packet is {has}"));
    }
    Finding::bad(
        PACKET,
        Status::Warning,
        format!("max_allowed_packet is {has}: larger bodies cannot be stored"),
        format!("raise it to {} or more, or lower --max-body", mib(needed)),
    )
}

fn clock(facts: &ServerFacts) -> Finding {
    let seconds = facts.clock_difference.as_secs_f64();
    if facts.clock_difference <= MAX_CLOCK_DIFFERENCE {
        return Finding::ok(CLOCK, "the clocks of the database and of this machine agree");
    }
    Finding::bad(
        CLOCK,
        Status::Warning,
        format!("the clocks of the database and of this machine differ by {seconds:.0} s"),
        "synchronise both by NTP: certificates and times of rows depend on them",
    )
}
