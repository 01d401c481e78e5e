//! The statements about parts of runs.

use std::collections::BTreeMap;

use super::session::{Ran, Session, Stop, Storage};
use super::statement::Statement;
use super::tables::{Lock, PartRow, Write};
use super::value::{Reply, Type, Value};

/// How long the messages of a cancelled run that belong to no part are cancelled is bound by the
/// statement, in seconds.
const SECOND_US: i64 = 1_000_000;

pub(super) fn run(
    storage: &mut Storage,
    session: &mut Session,
    statement: &Statement<'_>,
) -> Option<Ran> {
    Some(if statement.begins("INSERT INTO runs (run, part, created_at) VALUES (''") {
        Ok(Reply::affected(1))
    } else if statement.begins("INSERT INTO runs (run, part, created_at, cancelled_at)") {
        let key = (statement.values[0].text(), String::new());
        let row = storage.part(session, &key).unwrap_or_default();
        write(storage, session, key, PartRow { cancelled_at: Some(statement.now), ..row })
    } else if statement.begins("INSERT INTO runs ") {
        report(storage, session, statement)
    } else if statement.begins("UPDATE runs AS part JOIN runs AS cancelled") {
        cancel_late(storage, session, statement)
    } else if statement.begins("UPDATE runs SET cancelled_at") {
        cancel(storage, session, statement)
    } else if statement.begins("UPDATE runs SET completed_at") {
        let key = part_key(statement);
        let row = storage.part(session, &key).unwrap_or_default();
        write(storage, session, key, PartRow { completed_at: Some(statement.now), ..row })
    } else if statement.begins("SELECT run, part FROM runs WHERE cancelled_at") {
        Ok(cancelled(storage, statement))
    } else if statement.begins("SELECT candidate.run") {
        Ok(complete(storage))
    } else if statement.begins("SELECT run, part, planned, created_at") {
        Ok(parts(storage, statement))
    } else if statement.begins("SELECT part, outcome, product, CAST(SUM(tasks)") {
        Ok(sums(storage, statement))
    } else if statement.begins("SELECT planned FROM runs") {
        lock_planned(storage, session, statement)
    } else if statement.begins("SELECT outcome, product, slot, tasks FROM run_counts") {
        lock_counts(storage, session, statement)
    } else if statement.begins("DELETE FROM run_counts") {
        let [run, part, outcome, product] =
            [0, 1, 2, 3].map(|at: usize| statement.values[at].text());
        let key = (run, part, outcome, product, statement.values[4].int());
        storage.write(session, vec![Write::DeleteCount(key)]).map(|()| Reply::affected(1))
    } else {
        return None;
    })
}

fn part_key(statement: &Statement<'_>) -> (String, String) {
    let [run, part, ..] = statement.values else {
        unreachable!("{:?} name no part: {}", statement.values, statement.text);
    };
    (run.text(), part.text())
}

fn write(storage: &mut Storage, session: &mut Session, key: (String, String), row: PartRow) -> Ran {
    storage.write(session, vec![Write::Part(key, row)]).map(|()| Reply::affected(1))
}

/// A part began, or has ended.
fn report(storage: &mut Storage, session: &mut Session, statement: &Statement<'_>) -> Ran {
    let (key, values) = (part_key(statement), statement.values);
    let known = storage.part(session, &key);
    let (planned, created_at, closed_at) = match values {
        [_, _, created_at] => (None, created_at.int(), None),
        _ => (Some(values[2].int()), values[3].int(), Some(values[4].int())),
    };
    let row = match known {
        None => PartRow { planned, created_at, closed_at, ..PartRow::default() },
        Some(known) => {
            let is_later = closed_at.is_some() && known.closed_at <= closed_at;
            PartRow {
                planned: if is_later { planned } else { known.planned },
                created_at: known.created_at.min(created_at),
                closed_at: known.closed_at.max(closed_at),
                ..known
            }
        }
    };
    write(storage, session, key, row)
}

fn cancel_late(storage: &mut Storage, session: &mut Session, statement: &Statement<'_>) -> Ran {
    let key = part_key(statement);
    let whole = storage.part(session, &(key.0.clone(), String::new()));
    let cancelled_at = whole.and_then(|row| row.cancelled_at);
    match storage.part(session, &key).zip(cancelled_at) {
        Some((row, at)) if row.cancelled_at.is_none() && row.created_at <= at => {
            write(storage, session, key, PartRow { cancelled_at: Some(statement.now), ..row })
        }
        _ => Ok(Reply::affected(0)),
    }
}

fn cancel(storage: &mut Storage, session: &mut Session, statement: &Statement<'_>) -> Ran {
    let run = statement.values[0].text();
    let parts = storage.tables.runs.iter();
    let waiting = parts.filter(|((of, part), row)| {
        let rows: i64 = storage.counts(of, part).iter().map(|(_, tasks)| tasks).sum();
        *of == run
            && !part.is_empty()
            && row.cancelled_at.is_none()
            && row.completed_at.is_none()
            && row.planned.is_none_or(|planned| planned > rows)
    });
    let now = Some(statement.now);
    let writes: Vec<_> = waiting
        .map(|(key, row)| Write::Part(key.clone(), PartRow { cancelled_at: now, ..row.clone() }))
        .collect();
    let affected = writes.len();
    storage.write(session, writes).map(|()| Reply::affected(affected))
}

fn cancelled(storage: &Storage, statement: &Statement<'_>) -> Reply {
    let rows = storage.tables.runs.iter().filter(|((_, part), row)| {
        let Some(at) = row.cancelled_at else { return false };
        match &statement.values[0] {
            Value::Time(after) => at > *after,
            seconds => !part.is_empty() || at > statement.now - seconds.int() * SECOND_US,
        }
    });
    let rows = rows.map(|((run, part), _)| vec![run.as_str().into(), part.as_str().into()]);
    Reply::Rows(vec![Type::Text, Type::Text], rows.collect())
}

fn complete(storage: &Storage) -> Reply {
    let rows = storage.tables.runs.iter().filter(|((run, part), row)| {
        let counts = storage.counts(run, part);
        row.completed_at.is_none()
            && row.closed_at.is_some()
            && !part.is_empty()
            && row
                .planned
                .is_some_and(|planned| planned <= counts.iter().map(|(_, tasks)| tasks).sum())
    });
    let rows = rows.map(|((run, part), _)| vec![run.as_str().into(), part.as_str().into()]);
    Reply::Rows(vec![Type::Text, Type::Text], rows.collect())
}

/// The parts of a run, the newest first.
fn parts(storage: &Storage, statement: &Statement<'_>) -> Reply {
    let run = statement.values[0].text();
    let mut parts: Vec<_> = storage.tables.runs.iter().collect();
    parts.retain(|((of, part), _)| *of == run && !part.is_empty());
    parts.sort_by_key(|((_, part), row)| std::cmp::Reverse((row.created_at, part.clone())));
    let time = |time: Option<i64>| time.map_or(Value::Null, Value::Time);
    let rows = parts.into_iter().map(|((run, part), row)| {
        vec![
            run.as_str().into(),
            part.as_str().into(),
            row.planned.map(i64::unsigned_abs).into(),
            Value::Time(row.created_at),
            time(row.closed_at),
            time(row.cancelled_at),
            time(row.completed_at),
        ]
    });
    let types =
        vec![Type::Text, Type::Text, Type::UInt, Type::Time, Type::Time, Type::Time, Type::Time];
    Reply::Rows(types, rows.collect())
}

/// The counts of a part, or of all parts of a run, over all slots.
fn sums(storage: &Storage, statement: &Statement<'_>) -> Reply {
    let run = statement.values[0].text();
    let parts: Vec<String> = match statement.values {
        [_, part] => vec![part.text()],
        _ => {
            let of_run = storage.tables.runs.keys().filter(|(name, _)| *name == run);
            of_run.map(|(_, part)| part.clone()).collect()
        }
    };
    let mut sums: BTreeMap<(String, String, String), i64> = BTreeMap::new();
    for part in parts {
        for ((_, _, outcome, product, _), tasks) in storage.counts(&run, &part) {
            *sums.entry((part.clone(), outcome, product)).or_default() += tasks;
        }
    }
    let rows = sums.into_iter().map(|((part, outcome, product), tasks)| {
        [part, outcome, product]
            .iter()
            .map(|text| text.as_str().into())
            .chain([Value::Int(tasks)])
            .collect()
    });
    let types = vec![Type::Text, Type::Text, Type::Text, Type::Int];
    Reply::Rows(types, rows.collect())
}

fn lock_planned(storage: &mut Storage, session: &Session, statement: &Statement<'_>) -> Ran {
    let key = part_key(statement);
    storage.lock(session, vec![Lock::Part(key.clone())])?;
    let row = storage.part(session, &key).filter(|row| row.completed_at.is_none());
    let rows = row.map(|row| vec![row.planned.map(i64::unsigned_abs).into()]);
    Ok(Reply::Rows(vec![Type::UInt], rows.into_iter().collect()))
}

fn lock_counts(storage: &mut Storage, session: &Session, statement: &Statement<'_>) -> Ran {
    let (run, part) = part_key(statement);
    let counts = storage.counts(&run, &part);
    let locks = counts.iter().map(|(key, _)| Lock::Count(key.clone())).collect();
    storage.lock(session, locks)?;
    let rows = counts.into_iter().map(|((_, _, outcome, product, slot), tasks)| {
        vec![
            outcome.as_str().into(),
            product.as_str().into(),
            Value::UInt(slot.unsigned_abs()),
            Value::Int(tasks),
        ]
    });
    let types = vec![Type::Text, Type::Text, Type::UInt, Type::Int];
    Ok::<_, Stop>(Reply::Rows(types, rows.collect()))
}
