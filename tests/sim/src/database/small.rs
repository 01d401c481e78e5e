//! The statements about sessions, workers, facts, marks and items.

use super::session::{Ran, Session};
use super::statement::Statement;
use super::tables::{FactRow, Tables, WorkerRow};
use super::value::{Reply, Type, Value};

const SECOND_US: i64 = 1_000_000;
const MAX_PACKET: u64 = 16 << 20;
/// Newer than any migration.
const SCHEMA: i64 = 1_000_000;
/// A worker that was not seen for this long is lost.
const LOST_AFTER_US: i64 = 30 * SECOND_US;
const FACT_LEASE_US: i64 = 30 * SECOND_US;

pub(super) fn run(
    tables: &mut Tables,
    session: &Session,
    statement: &Statement<'_>,
) -> Option<Ran> {
    of_session(session, statement)
        .or_else(|| workers(tables, statement))
        .or_else(|| facts(tables, statement))
        .or_else(|| quarantine(tables, statement))
        .or_else(|| items(statement))
        .map(Ok)
}

fn of_session(session: &Session, statement: &Statement<'_>) -> Option<Reply> {
    Some(if statement.begins("SET ") {
        Reply::affected(0)
    } else if statement.begins("SELECT CAST(@@max_allowed_packet") {
        let row = vec![Value::UInt(MAX_PACKET), Value::Int(statement.is_read_only.into())];
        Reply::Rows(vec![Type::UInt, Type::Int], vec![row])
    } else if statement.begins("SELECT MAX(version) FROM _sqlx_migrations") {
        Reply::Rows(vec![Type::Int], vec![vec![Value::Int(SCHEMA)]])
    } else if statement.begins("SELECT CONCAT(@@hostname") {
        let row = vec!["database:3306:1".into(), Value::UInt(session.id)];
        Reply::Rows(vec![Type::Text, Type::UInt], vec![row])
    } else if statement.begins("SELECT UTC_TIMESTAMP(6)") {
        let row = vec![Value::Time(statement.now), Value::Int(statement.now)];
        Reply::Rows(vec![Type::Time, Type::Int], vec![row])
    } else if statement.begins("PREPARE fetchline_kill") || statement.begins("EXECUTE") {
        Reply::affected(0)
    } else {
        return None;
    })
}

fn workers(tables: &mut Tables, statement: &Statement<'_>) -> Option<Reply> {
    let (values, now) = (statement.values, statement.now);
    let key = || (values[0].text(), values[1].text());
    Some(if statement.begins("INSERT INTO workers") {
        let row =
            WorkerRow { started_at: values[2].int(), seen_at: now, rest: values[3..].to_vec() };
        let known = tables.workers.insert(key(), row);
        Reply::affected(if known.is_some() { 2 } else { 1 })
    } else if statement.begins("DELETE FROM workers WHERE prefix = ? AND pod = ?") {
        let started_at = values[2].int();
        let is_it = tables.workers.get(&key()).is_some_and(|row| row.started_at == started_at);
        if is_it {
            tables.workers.remove(&key());
        }
        Reply::affected(is_it.into())
    } else if statement.begins("SELECT pod, started_at") {
        let present = tables.workers.iter().filter(|(_, row)| row.seen_at > now - LOST_AFTER_US);
        let rows = present.map(|((_, pod), row)| {
            let first = [pod.as_str().into(), Value::Time(row.started_at)];
            first.into_iter().chain(row.rest.iter().cloned()).collect()
        });
        let (time, number) = (Type::Time, Type::UInt);
        let types = vec![Type::Text, time, time, number, number, number, Type::Text];
        Reply::Rows(types, rows.collect())
    } else if statement.begins("SELECT pod FROM workers") {
        let lost = tables.workers.iter().filter(|(_, row)| row.seen_at <= now - LOST_AFTER_US);
        let rows = lost.map(|((_, pod), _)| vec![pod.as_str().into()]);
        Reply::Rows(vec![Type::Text], rows.collect())
    } else if statement.begins("DELETE FROM workers WHERE prefix = ? AND seen_at") {
        let lost = tables.workers.get(&key()).is_some_and(|row| row.seen_at <= now - LOST_AFTER_US);
        if lost {
            tables.workers.remove(&key());
        }
        Reply::affected(lost.into())
    } else {
        return None;
    })
}

fn facts(tables: &mut Tables, statement: &Statement<'_>) -> Option<Reply> {
    let (values, now) = (statement.values, statement.now);
    Some(if statement.begins("INSERT INTO facts") {
        let new = FactRow { claim: values[1].key(), told: false, noted_at: now };
        let window = values[2].int().saturating_mul(SECOND_US);
        let row = tables.facts.entry(values[0].key()).or_insert_with(|| new.clone());
        if row.noted_at <= now - if row.told { window } else { FACT_LEASE_US } {
            *row = new;
        }
        Reply::affected(1)
    } else if statement.begins("SELECT claim FROM facts") {
        let row = tables.facts.get(&values[0].key::<32>());
        let rows = row.map(|row| vec![Value::Bytes(row.claim.to_vec())]);
        Reply::Rows(vec![Type::Bytes], rows.into_iter().collect())
    } else if statement.begins("UPDATE facts SET told") {
        let row = tables.facts.get_mut(&values[0].key::<32>());
        let own = row.filter(|row| row.claim == values[1].key());
        Reply::affected(own.map(|row| row.told = true).is_some().into())
    } else if statement.begins("DELETE FROM facts") {
        Reply::affected(0)
    } else {
        return None;
    })
}

fn quarantine(tables: &mut Tables, statement: &Statement<'_>) -> Option<Reply> {
    let values = statement.values;
    Some(if statement.begins("SELECT id, begun FROM quarantine") {
        let rows = values.iter().filter_map(|id| {
            let (begun, ..) = tables.quarantine.get(&id.key::<16>())?;
            Some(vec![id.clone(), Value::UInt(*begun)])
        });
        Reply::Rows(vec![Type::Bytes, Type::UInt], rows.collect())
    } else if statement.begins("INSERT INTO quarantine (id, begun, worker, begun_at) VALUES (?, 1")
    {
        let (worker, at) = (values[1].text(), values[2].int());
        let row = tables.quarantine.entry(values[0].key()).or_default();
        if (&row.1, row.2) != (&worker, at) {
            *row = (row.0 + 1, worker, at);
        }
        Reply::affected(1)
    } else if statement.begins("INSERT INTO quarantine") {
        // The probe of a commit, which deletes its row again.
        Reply::affected(1)
    } else if statement.begins("DELETE FROM quarantine WHERE id") {
        Reply::affected(tables.quarantine.remove(&values[0].key::<16>()).is_some().into())
    } else if statement.begins("DELETE FROM quarantine") {
        Reply::affected(0)
    } else {
        return None;
    })
}

/// No page of a world has a product.
fn items(statement: &Statement<'_>) -> Option<Reply> {
    statement
        .begins("SELECT source_sha256")
        .then(|| Reply::Rows(vec![Type::Bytes, Type::Time], Vec::new()))
}
