//! The statements about rows of tasks and their counts, and which function carries out which
//! statement.

use fetchline_sim_net::server_us;

use super::session::{Ran, Session, Storage};
use super::statement::Statement;
use super::tables::{FetchRow, Lock, Write};
use super::value::{READ_ONLY, Reply, TOO_LONG, Type, Value};
use super::{hosts, runs, small};
use crate::witness::hex;

/// The columns of `fetches` that a statement binds for each row.
const FETCH_COLUMNS: usize = 22;
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
    for values in statement.values.chunks(FETCH_COLUMNS) {
        let key: [u8; 16] = values[0].key();
        let row = FetchRow {
            run: values[1].text(),
            part: values[2].text(),
            outcome: values[7].text(),
            status: (values[8] != Value::Null).then(|| values[8].int().unsigned_abs()),
            product: values[15].optional_text(),
            attempts: values[17].int().unsigned_abs(),
            worker: values[19].text(),
            fetched_at: values[21].int(),
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
