//! The statements about rows of tasks and their counts, and which function carries out which
//! statement.

use fetchline_sim_net::server_us;

use super::session::{Ran, Session, Storage};
use super::statement::Statement;
use super::tables::{FetchRow, Lock, Write};
use super::value::{READ_ONLY, Reply, TOO_LONG, Type, Value};
use super::{hosts, runs, small};
use crate::witness::hex;

/// The same of `run_counts`.
const COUNT_COLUMNS: usize = 6;

/// Carries out a statement.
pub(super) fn run(
    storage: &mut Storage,
    session: &mut Session,
    (text, values): (&str, &[Value]),
    is_read_only: bool,
) -> Ran {
    let statement = Statement { text: text.trim(), values, now: server_us(), is_read_only };
    if is_read_only && statement.is_write() {
        return Err(READ_ONLY.into());
    }
    match statement.text {
        "START TRANSACTION" | "BEGIN" => {
            storage.begin(session);
            return Ok(Reply::affected(0));
        }
        "COMMIT" => {
            storage.commit(session);
            return Ok(Reply::affected(0));
        }
        "ROLLBACK" => {
            storage.roll_back(session);
            return Ok(Reply::affected(0));
        }
        _ => {}
    }
    let ran = fetches(storage, session, &statement)
        .or_else(|| runs::run(storage, session, &statement))
        .or_else(|| hosts::run(&mut storage.tables, &statement))
        .or_else(|| small::run(&mut storage.tables, session, &statement));
    ran.unwrap_or_else(|| unreachable!("the simulated database does not know: {text}"))
}

fn fetches(storage: &mut Storage, session: &mut Session, statement: &Statement<'_>) -> Option<Ran> {
    Some(if statement.begins("INSERT INTO fetches ") {
        upsert(storage, session, statement)
    } else if statement.begins("SELECT id, run, part, outcome, product, fetched_at FROM fetches") {
        lock_existing(storage, session, statement)
    } else if statement.begins("SELECT id, outcome, status, attempts, fetched_at FROM fetches") {
        Ok(look_up(storage, statement))
    } else if statement.begins("INSERT INTO run_counts ") {
        count(storage, session, statement)
    } else if statement.begins("UPDATE fetches SET attempts = attempts WHERE id = ''") {
        Ok(Reply::affected(0))
    } else {
        return None;
    })
}

fn upsert(storage: &mut Storage, session: &mut Session, statement: &Statement<'_>) -> Ran {
    let (mut writes, mut affected) = (Vec::new(), 0);
    let columns: Vec<&str> = statement.text["INSERT INTO fetches (".len()..]
        .split(')')
        .next()
        .map(|columns| columns.split(", ").collect())
        .unwrap_or_default();
    for values in statement.values.chunks(columns.len()) {
        let of = |name: &str| {
            let at = columns.iter().position(|column| *column == name);
            &values[at.unwrap_or_else(|| unreachable!("a row without {name}"))]
        };
        let (key, status): ([u8; 16], _) = (of("id").key(), of("status"));
        let row = FetchRow {
            run: of("run").text(),
            part: of("part").text(),
            outcome: of("outcome").text(),
            status: (*status != Value::Null).then(|| status.int().unsigned_abs()),
            product: of("product").optional_text(),
            attempts: of("attempts").int().unsigned_abs(),
            worker: of("worker").text(),
            fetched_at: of("fetched_at").int(),
        };
        let is_refused = storage.plan().task(&hex(&key)).is_some_and(|task| task.is_refused);
        if is_refused && row.outcome != "refused" {
            return Err(TOO_LONG.into());
        }
        let of_statement = writes.iter().rev().find_map(|write| match write {
            Write::Fetch(other, row) if *other == key => Some(row),
            _ => None,
        });
        let existing = of_statement.or_else(|| storage.fetch(session, &key));
        affected += if existing.is_some() { 2 } else { 1 };
        let row = match existing {
            Some(newer) if newer.fetched_at > row.fetched_at => newer.clone(),
            _ => row,
        };
        writes.push(Write::Fetch(key, row));
    }
    storage.write(session, writes)?;
    Ok(Reply::affected(affected))
}

fn lock_existing(storage: &mut Storage, session: &Session, statement: &Statement<'_>) -> Ran {
    let keys: Vec<[u8; 16]> = statement.values.iter().map(Value::key).collect();
    storage.lock(session, keys.iter().map(|key| Lock::Fetch(*key)).collect())?;
    let rows = keys.iter().filter_map(|key| {
        let row = storage.fetch(session, key)?;
        Some(vec![
            Value::Bytes(key.to_vec()),
            row.run.as_str().into(),
            row.part.as_str().into(),
            row.outcome.as_str().into(),
            row.product.as_deref().into(),
            Value::Time(row.fetched_at),
        ])
    });
    let types = vec![Type::Bytes, Type::Text, Type::Text, Type::Text, Type::Text, Type::Time];
    Ok(Reply::Rows(types, rows.collect()))
}

/// Reads committed rows, as every statement without a lock.
fn look_up(storage: &Storage, statement: &Statement<'_>) -> Reply {
    let rows = statement.values.iter().filter_map(|key| {
        let row = storage.tables.fetches.get(&key.key())?;
        Some(vec![
            key.clone(),
            row.outcome.as_str().into(),
            row.status.into(),
            row.attempts.into(),
            Value::Time(row.fetched_at),
        ])
    });
    let types = vec![Type::Bytes, Type::Text, Type::UInt, Type::UInt, Type::Time];
    Reply::Rows(types, rows.collect())
}

fn count(storage: &mut Storage, session: &mut Session, statement: &Statement<'_>) -> Ran {
    let mut writes = Vec::new();
    for values in statement.values.chunks(COUNT_COLUMNS) {
        let [run, part, outcome, product] = [0, 1, 2, 3].map(|at: usize| values[at].text());
        writes.push(Write::Count((run, part, outcome, product, values[4].int()), values[5].int()));
    }
    let affected = writes.len();
    storage.write(session, writes)?;
    Ok(Reply::affected(affected))
}
