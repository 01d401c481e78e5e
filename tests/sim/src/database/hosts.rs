//! The statements about host limits.

use super::session::Ran;
use super::statement::Statement;
use super::tables::{HostRow, Tables};
use super::value::{Reply, Type, Value};

const SLOW_INTERVAL_US: i64 = 10_000_000;
const RECOVERY_INTERVAL_US: i64 = 60_000_000;
const MIN_SLOWED: f64 = 0.1;
const RECOVERED: f64 = 100.0;

pub(super) fn run(tables: &mut Tables, statement: &Statement<'_>) -> Option<Ran> {
    let (values, now) = (statement.values, statement.now);
    let reply = if statement.begins("UPDATE hosts SET next_us = LAST_INSERT_ID") {
        reserve(tables, statement)
    } else if statement.begins("SELECT next_us - ") {
        let row = tables.hosts.get(&values[0].text());
        let rows = row.map(|row| vec![Value::Int(row.next_us - now), flag(row.paused)]);
        Reply::Rows(vec![Type::Int, Type::Bool], rows.into_iter().collect())
    } else if statement.begins("INSERT INTO hosts (host, cool_down_until") {
        let (until, row) =
            (now + values[1].int(), tables.hosts.entry(values[0].text()).or_default());
        if Some(until) > row.cool_down_until {
            row.note = values[3].optional_text();
        }
        row.cool_down_until = row.cool_down_until.max(Some(until));
        row.next_us = row.next_us.max(until);
        row.changed_at = now;
        Reply::affected(1)
    } else if statement.begins("INSERT INTO hosts (host, slowed") {
        slow(tables, statement);
        Reply::affected(1)
    } else if statement.begins("INSERT INTO hosts (host, changed_at)") {
        tables
            .hosts
            .entry(values[0].text())
            .or_insert_with(|| HostRow { changed_at: now, ..HostRow::default() });
        Reply::affected(1)
    } else if statement.begins("UPDATE hosts SET slowed = IF") {
        recover(tables, now);
        Reply::affected(0)
    } else if statement.begins("SELECT host, rate, paused") {
        limits(tables, statement)
    } else {
        return None;
    };
    Some(Ok(reply))
}

fn flag(value: bool) -> Value {
    Value::Int(value.into())
}

fn reserve(tables: &mut Tables, statement: &Statement<'_>) -> Reply {
    let [lead, span, host, patience] = statement.values else {
        return Reply::affected(0);
    };
    let now = statement.now;
    let row = tables.hosts.get_mut(&host.text());
    let free = row.filter(|row| !row.paused && row.next_us <= now + patience.int());
    let Some(row) = free else { return Reply::affected(0) };
    let first = row.next_us.max(now + lead.int());
    row.next_us = first + span.int();
    Reply::Done { affected: 1, last_insert_id: first.unsigned_abs() }
}

fn slow(tables: &mut Tables, statement: &Statement<'_>) {
    let (values, now) = (statement.values, statement.now);
    let wanted = values[1].float().unwrap_or(MIN_SLOWED).max(MIN_SLOWED);
    let row = tables.hosts.entry(values[0].text()).or_default();
    if row.slowed_at.unwrap_or(0) > now - SLOW_INTERVAL_US {
        return;
    }
    let halved = row.slowed.map_or(wanted, |slowed| slowed / 2.0);
    row.slowed = Some(halved.min(wanted).max(MIN_SLOWED));
    row.note = values[2].optional_text();
    (row.slowed_at, row.changed_at) = (Some(now), now);
}

fn recover(tables: &mut Tables, now: i64) {
    for row in tables.hosts.values_mut() {
        let Some(slowed) = row.slowed else { continue };
        if row.slowed_at.unwrap_or(0) > now - RECOVERY_INTERVAL_US {
            continue;
        }
        let goal = row.rate.unwrap_or(RECOVERED).min(RECOVERED);
        row.slowed = Some(slowed * 2.0).filter(|doubled| *doubled < goal);
        (row.slowed_at, row.changed_at) = (Some(now), now);
    }
}

fn limits(tables: &Tables, statement: &Statement<'_>) -> Reply {
    let now = statement.now;
    let is_asked = |row: &HostRow| match statement.values {
        [Value::Time(after)] => row.changed_at > *after,
        _ => {
            row.rate.is_some()
                || row.paused
                || row.slowed.is_some()
                || row.cool_down_until.is_some_and(|until| until > now)
        }
    };
    let rows = tables.hosts.iter().filter(|(_, row)| is_asked(row)).map(|(host, row)| {
        vec![
            host.as_str().into(),
            row.rate.into(),
            flag(row.paused),
            row.cool_down_until.map_or(Value::Null, |until| Value::Int(until - now)),
            row.slowed.into(),
            Value::Null,
            row.note.as_deref().into(),
        ]
    });
    let types =
        vec![Type::Text, Type::Float, Type::Bool, Type::Int, Type::Float, Type::Float, Type::Text];
    Reply::Rows(types, rows.collect())
}
