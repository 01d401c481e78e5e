//! Values, rows and replies.

/// A value.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(super) enum Value {
    Null,
    Int(i64),
    UInt(u64),
    Float(f64),
    Bytes(Vec<u8>),
    /// Microseconds since 1970.
    Time(i64),
}

impl Value {
    pub(super) fn int(&self) -> i64 {
        match self {
            Self::Int(number) | Self::Time(number) => *number,
            Self::UInt(number) => i64::try_from(*number).unwrap_or(i64::MAX),
            Self::Float(number) => *number as i64,
            Self::Null | Self::Bytes(_) => 0,
        }
    }

    pub(super) fn float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Null => None,
            other => Some(other.int() as f64),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    pub(super) fn optional_text(&self) -> Option<String> {
        (*self != Self::Null).then(|| self.text())
    }

    pub(super) fn key<const BYTES: usize>(&self) -> [u8; BYTES] {
        let mut key = [0; BYTES];
        if let Self::Bytes(bytes) = self {
            key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        }
        key
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bytes(text.into())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::UInt(number)
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Bytes,
    Int,
    UInt,
    Float,
    Bool,
    Time,
}

/// The reply to a statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    Done { affected: u64, last_insert_id: u64 },
    Rows(Vec<Type>, Vec<Vec<Value>>),
}

impl Reply {
    pub(super) fn affected(affected: usize) -> Self {
        Self::Done { affected: affected as u64, last_insert_id: 0 }
    }
}

/// An error of the server: its number and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) u16, pub(super) &'static str);

pub(super) const DEADLOCK: Refusal = Refusal(1213, "Deadlock found when trying to get lock");
pub(super) const LOCK_WAIT: Refusal = Refusal(1205, "Lock wait timeout exceeded");
pub(super) const READ_ONLY: Refusal =
    Refusal(1290, "The server is running with the --read-only option");
pub(super) const TOO_LONG: Refusal = Refusal(1406, "Data too long for column 'url' at row 1");
