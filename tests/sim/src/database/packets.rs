//! The packets of the protocol.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use super::value::{Refusal, Reply, Type, Value};

/// More results follow.
pub(super) const MORE_RESULTS: u16 = 8;

/// LONG_PASSWORD, FOUND_ROWS, LONG_FLAG, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS,
/// SECURE_CONNECTION, MULTI_STATEMENTS, MULTI_RESULTS, PS_MULTI_RESULTS, PLUGIN_AUTH.
const CAPABILITIES: u32 =
    1 | 2 | 4 | 8 | 512 | 8192 | 32768 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19;
const UTF8MB4: u16 = 45;
const BINARY: u16 = 63;
const UNSIGNED: u16 = 32;

/// Bytes of one or more packets.
#[derive(Debug, Default)]
pub(super) struct Packets {
    pub(super) bytes: Vec<u8>,
    sequence: u8,
}

impl Packets {
    /// Packets that answer one with this sequence number.
    pub(super) fn after(sequence: u8) -> Self {
        Self { bytes: Vec::new(), sequence: sequence.wrapping_add(1) }
    }

    fn push(&mut self, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.bytes.extend(&length.to_le_bytes()[..3]);
        self.bytes.push(self.sequence);
        self.bytes.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
    }

    pub(super) fn handshake(connection: u32) -> Self {
        let mut payload = vec![10];
        payload.extend(b"10.11.6-MariaDB\0");
        payload.extend(connection.to_le_bytes());
        payload.extend(b"abcdefgh\0");
        payload.extend(&CAPABILITIES.to_le_bytes()[..2]);
        payload.push(UTF8MB4 as u8);
        payload.extend(2_u16.to_le_bytes());
        payload.extend(&CAPABILITIES.to_le_bytes()[2..]);
        payload.push(21);
        payload.extend([0; 10]);
        payload.extend(b"ijklmnopqrst\0mysql_native_password\0");
        let mut packets = Self::default();
        packets.push(&payload);
        packets
    }

    pub(super) fn done(&mut self, affected: u64, last_insert_id: u64, status: u16) {
        let mut payload = vec![0];
        put_length(&mut payload, affected);
        put_length(&mut payload, last_insert_id);
        payload.extend((2 | status).to_le_bytes());
        payload.extend([0; 2]);
        self.push(&payload);
    }

    pub(super) fn refused(&mut self, Refusal(number, text): Refusal) {
        let mut payload = vec![0xff];
        payload.extend(number.to_le_bytes());
        payload.extend(b"#HY000");
        payload.extend(text.as_bytes());
        self.push(&payload);
    }

    pub(super) fn prepared(&mut self, statement: u32, parameters: u16) {
        let mut payload = vec![0];
        payload.extend(statement.to_le_bytes());
        // The columns follow with the rows.
        payload.extend(0_u16.to_le_bytes());
        payload.extend(parameters.to_le_bytes());
        payload.extend([0; 3]);
        self.push(&payload);
        for _ in 0..parameters {
            self.column(Type::Bytes, "?");
        }
        if parameters > 0 {
            self.end_of_rows(0);
        }
    }

    /// The reply to a statement, whose text has the names of the columns.
    pub(super) fn reply(&mut self, reply: &Reply, text: &str, is_binary: bool, status: u16) {
        match reply {
            Reply::Done { affected, last_insert_id } => {
                self.done(*affected, *last_insert_id, status)
            }
            Reply::Rows(types, rows) => {
                let mut payload = Vec::new();
                put_length(&mut payload, types.len() as u64);
                self.push(&payload);
                let mut names = column_names(text).into_iter();
                types.iter().for_each(|kind| self.column(*kind, names.next().unwrap_or_default()));
                self.end_of_rows(status);
                for row in rows {
                    let row = if is_binary { binary_row(types, row) } else { text_row(row) };
                    self.push(&row);
                }
                self.end_of_rows(status);
            }
        }
    }

    fn end_of_rows(&mut self, status: u16) {
        let [low, high] = (2 | status).to_le_bytes();
        self.push(&[0xfe, 0, 0, low, high]);
    }

    fn column(&mut self, kind: Type, name: &str) {
        let (code, charset, flags): (u8, u16, u16) = match kind {
            Type::Text => (0xfd, UTF8MB4, 0),
            Type::Bytes => (0xfc, BINARY, 128),
            Type::Int => (8, BINARY, 0),
            Type::UInt => (8, BINARY, UNSIGNED),
            Type::Float => (5, BINARY, 0),
            Type::Bool => (1, BINARY, 0),
            Type::Time => (12, BINARY, 128),
        };
        let mut payload = Vec::new();
        for text in ["def", "", "", "", name, name] {
            put_bytes(&mut payload, text.as_bytes());
        }
        payload.push(0x0c);
        payload.extend(charset.to_le_bytes());
        payload.extend(255_u32.to_le_bytes());
        payload.push(code);
        payload.extend(flags.to_le_bytes());
        payload.extend([0; 3]);
        self.push(&payload);
    }
}

/// The names of the columns that a SELECT returns.
fn column_names(text: &str) -> Vec<&str> {
    let list = text.strip_prefix("SELECT ").unwrap_or_default();
    let (mut names, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    for (at, c) in list.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                names.push(&list[from..at]);
                from = at + 1;
            }
            'F' if depth == 0 && list[at..].starts_with("FROM ") => {
                names.push(&list[from..at]);
                break;
            }
            _ => {}
        }
    }
    names.into_iter().map(|name| name.rsplit(" AS ").next().unwrap_or(name).trim()).collect()
}

fn put_length(payload: &mut Vec<u8>, length: u64) {
    match length {
        ..251 => payload.push(length as u8),
        251..0x1_0000 => {
            payload.push(0xfc);
            payload.extend(&length.to_le_bytes()[..2]);
        }
        0x1_0000..0x100_0000 => {
            payload.push(0xfd);
            payload.extend(&length.to_le_bytes()[..3]);
        }
        _ => {
            payload.push(0xfe);
            payload.extend(length.to_le_bytes());
        }
    }
}

fn put_bytes(payload: &mut Vec<u8>, bytes: &[u8]) {
    put_length(payload, bytes.len() as u64);
    payload.extend(bytes);
}

fn text_row(row: &[Value]) -> Vec<u8> {
    let mut payload = Vec::new();
    for value in row {
        match value {
            Value::Null => payload.push(0xfb),
            Value::Bytes(bytes) => put_bytes(&mut payload, bytes),
            Value::Float(number) => put_bytes(&mut payload, number.to_string().as_bytes()),
            other => put_bytes(&mut payload, other.int().to_string().as_bytes()),
        }
    }
    payload
}

fn binary_row(types: &[Type], row: &[Value]) -> Vec<u8> {
    let mut payload = vec![0; 1 + (row.len() + 9) / 8];
    for (at, (kind, value)) in types.iter().zip(row).enumerate() {
        match (kind, value) {
            (_, Value::Null) => payload[1 + (at + 2) / 8] |= 1 << ((at + 2) % 8),
            (_, Value::Bytes(bytes)) => put_bytes(&mut payload, bytes),
            (Type::Float, value) => {
                payload.extend(value.float().unwrap_or_default().to_le_bytes());
            }
            (Type::Bool, value) => payload.push(u8::from(value.int() != 0)),
            (Type::Time, value) => put_time(&mut payload, value.int()),
            (_, value) => payload.extend(value.int().to_le_bytes()),
        }
    }
    payload
}

fn put_time(payload: &mut Vec<u8>, us: i64) {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    payload.push(11);
    payload.extend(u16::try_from(at.year()).unwrap_or_default().to_le_bytes());
    payload.extend([u8::from(at.month()), at.day(), at.hour(), at.minute(), at.second()]);
    payload.extend(at.microsecond().to_le_bytes());
}

/// Reads the values of an execution: the bytes after the number of iterations.
pub(super) fn parameters(bytes: &[u8], count: usize) -> Vec<Value> {
    let nulls = count.div_ceil(8);
    let mut reader = Reader { bytes, at: nulls + 1 };
    let types: Vec<(u8, u8)> = (0..count).map(|_| (reader.u8(), reader.u8())).collect();
    let is_null = |at: usize| bytes[at / 8] & 1 << (at % 8) != 0;
    (0..count).map(|at| if is_null(at) { Value::Null } else { reader.value(types[at]) }).collect()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const BYTES: usize>(&mut self) -> [u8; BYTES] {
        let mut taken = [0; BYTES];
        taken.copy_from_slice(&self.bytes[self.at..self.at + BYTES]);
        self.at += BYTES;
        taken
    }

    fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    fn length(&mut self) -> usize {
        match self.u8() {
            0xfc => u16::from_le_bytes(self.take()).into(),
            0xfd => {
                let [a, b, c] = self.take();
                u32::from_le_bytes([a, b, c, 0]) as usize
            }
            0xfe => usize::try_from(u64::from_le_bytes(self.take())).unwrap_or(usize::MAX),
            length => length.into(),
        }
    }

    fn value(&mut self, (kind, flags): (u8, u8)) -> Value {
        let is_unsigned = flags & 0x80 != 0;
        match kind {
            1 if is_unsigned => Value::UInt(self.u8().into()),
            1 => Value::Int(i8::from_le_bytes(self.take()).into()),
            2 if is_unsigned => Value::UInt(u16::from_le_bytes(self.take()).into()),
            2 => Value::Int(i16::from_le_bytes(self.take()).into()),
            3 if is_unsigned => Value::UInt(u32::from_le_bytes(self.take()).into()),
            3 => Value::Int(i32::from_le_bytes(self.take()).into()),
            8 if is_unsigned => Value::UInt(u64::from_le_bytes(self.take())),
            8 => Value::Int(i64::from_le_bytes(self.take())),
            4 => Value::Float(f32::from_le_bytes(self.take()).into()),
            5 => Value::Float(f64::from_le_bytes(self.take())),
            7 | 10 | 12 => self.time(),
            _ => {
                let length = self.length();
                let bytes = self.bytes[self.at..self.at + length].to_vec();
                self.at += length;
                Value::Bytes(bytes)
            }
        }
    }

    fn time(&mut self) -> Value {
        let length = self.u8();
        if length == 0 {
            return Value::Time(0);
        }
        let year = u16::from_le_bytes(self.take());
        let [month, day] = self.take();
        let [hour, minute, second] = if length > 4 { self.take() } else { [0; 3] };
        let us = if length > 7 { u32::from_le_bytes(self.take()) } else { 0 };
        let month = Month::try_from(month).unwrap_or(Month::January);
        let date = Date::from_calendar_date(year.into(), month, day).unwrap_or(Date::MIN);
        let time = Time::from_hms_micro(hour, minute, second, us).unwrap_or(Time::MIDNIGHT);
        let at = PrimitiveDateTime::new(date, time).assume_utc();
        Value::Time(i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or_default())
    }
}
