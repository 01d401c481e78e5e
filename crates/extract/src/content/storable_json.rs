//! Whether a text is JSON that every supported database stores.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Levels of nested JSON. MariaDB 10.11 takes 31 levels at most (measured), MySQL 100.
const MAX_DEPTH: usize = 31;

/// Checks JSON without building a tree.
///
/// The check is stricter than one of syntax, since a database would refuse the row otherwise:
/// strings hold no lone surrogates, numbers fit a double, and nesting is at most [`MAX_DEPTH`].
pub(crate) fn is_storable(text: &str) -> bool {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Levels(MAX_DEPTH).deserialize(&mut deserializer).and_then(|()| deserializer.end()).is_ok()
}

/// A value with at most this many levels below it.
#[derive(Clone, Copy)]
struct Levels(usize);

impl Levels {
    fn descend<E: Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("nested too deeply"))
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
        let inner = self.descend()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.descend()?;
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
    fn json_that_databases_take_passes() {
        for text in ["null", " [1, -2.5e3, true, \"\\ud83c\\udf75\"] ", r#"{"a":{"b":[]},"a":1}"#] {
            assert!(is_storable(text), "{text}");
        }
        let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(is_storable(&nested(MAX_DEPTH)));
        assert!(!is_storable(&nested(MAX_DEPTH + 1)));
        assert!(!is_storable(&nested(1_000_000)));
    }

    #[test]
    fn json_that_databases_refuse_does_not_pass() {
        for text in [
            "",
            "{",
            "[1,]",
            "{'a':1}",
            "1 2",
            "1e999",
            r#""\ud800""#,
            r#"{"\udc00":1}"#,
            "NaN",
            "\"\u{0}\"",
        ] {
            assert!(!is_storable(text), "{text}");
        }
    }
}
