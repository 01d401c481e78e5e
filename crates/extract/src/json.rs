//! Whether a text is JSON that every supported database takes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How deep JSON may be nested. MariaDB 10.11 takes 31 levels and no more (tried), MySQL 100.
pub const MAX_JSON_DEPTH: usize = 31;

/// Why a text is not JSON that can be stored as such, with line and column.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JsonError(#[from] serde_json::Error);

/// Reads JSON through without building anything. Stricter than a syntax check: strings hold no half of a surrogate
/// pair, and numbers fit a double, since a database would refuse the row.
pub fn check(text: &str) -> Result<(), JsonError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Levels(MAX_JSON_DEPTH).deserialize(&mut deserializer)?;
    Ok(deserializer.end()?)
}

/// A value that may be nested this deep.
#[derive(Clone, Copy)]
struct Levels(usize);

impl Levels {
    fn enter<E: Error>(self) -> Result<Self, E> {
        match self.0.checked_sub(1) {
            Some(levels) => Ok(Self(levels)),
            None => Err(E::custom(format_args!("nested deeper than {MAX_JSON_DEPTH} levels"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.enter()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.enter()?;
        while map.next_key_seed(inner)?.is_some() {
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_databases_take_passes() {
        for text in ["null", " [1, -2.5e3, true, \"\\ud83c\\udf75\"] ", r#"{"a":{"b":[]},"a":1}"#] {
            assert!(check(text).is_ok(), "{text}");
        }
        let deep = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(check(&deep(MAX_JSON_DEPTH)).is_ok());
        assert!(check(&deep(MAX_JSON_DEPTH + 1)).is_err());
        assert!(check(&deep(1_000_000)).is_err());
    }

    #[test]
    fn what_databases_refuse_does_not() {
        for text in ["", "{", "[1,]", "{'a':1}", "1 2", "1e999", r#""\ud800""#, r#"{"\udc00":1}"#, "NaN", "\"\u{0}\""] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
