//! Finds objects in JSON of any length by the names of their members.

use std::{borrow::Cow, fmt};

use jsonc_parser::{JsonValue, Map};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::lenient;

/// Levels of nested objects and lists that are searched.
const MAX_LEVELS: usize = 60;

/// Bytes of a member that is read.
const MAX_MEMBER: usize = 32 * 1024;

/// Bytes of all members that are read.
const MAX_BYTES: usize = 128 * 1024;

/// The name of a member and the text of its value.
pub(crate) type Member<'a> = (String, &'a str);

/// Which objects are searched for.
pub(crate) struct Wanted<'w> {
    /// The names of the members that are read.
    pub(crate) is_read: &'w dyn Fn(&str) -> bool,
    /// Whether an object with these members, each with the text of its value, is wanted.
    pub(crate) is_wanted: &'w dyn Fn(&[Member<'_>]) -> bool,
}

/// Returns the objects that are wanted, with the members that are read. What was read before an
/// error in the JSON, or before a level that is too deep, is kept.
pub(crate) fn objects<'a>(text: &'a str, wanted: &Wanted<'_>) -> Vec<JsonValue<'a>> {
    let mut found = Found { objects: Vec::new(), room: MAX_BYTES };
    search(text, wanted, &mut found, MAX_LEVELS);
    found.objects
}

struct Found<'a> {
    objects: Vec<JsonValue<'a>>,
    room: usize,
}

fn search<'a>(text: &'a str, wanted: &Wanted<'_>, found: &mut Found<'a>, levels: usize) {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let _ = Search { wanted, found, levels }.deserialize(&mut deserializer);
}

struct Search<'s, 'w, 'a> {
    wanted: &'s Wanted<'w>,
    found: &'s mut Found<'a>,
    levels: usize,
}

impl<'a> Search<'_, '_, 'a> {
    fn inner(&mut self) -> Search<'_, '_, 'a> {
        let levels = self.levels.saturating_sub(1);
        Search { wanted: self.wanted, found: self.found, levels }
    }

    /// Adds an object if it is wanted.
    fn add(&mut self, members: &[Member<'a>]) {
        if !(self.wanted.is_wanted)(members) {
            return;
        }
        let mut object = Map::new();
        for (name, text) in members {
            let Some(room) = self.found.room.checked_sub(text.len() + name.len()) else { continue };
            if let Some(value) = lenient::parse(text) {
                self.found.room = room;
                object.insert(Cow::Owned(name.clone()), value);
            }
        }
        self.found.objects.push(JsonValue::Object(object.into()));
    }
}

impl<'a> DeserializeSeed<'a> for Search<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.levels {
            0 => Err(serde::de::Error::custom("too many levels")),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'a> Visitor<'a> for Search<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut members: Vec<Member<'a>> = Vec::new();
        while let Some(name) = map.next_key::<Cow<'a, str>>()? {
            if !(self.wanted.is_read)(&name) {
                map.next_value_seed(self.inner())?;
                continue;
            }
            let text = map.next_value::<&'a RawValue>()?.get();
            if text.starts_with(['{', '[']) {
                let levels = self.levels.saturating_sub(1);
                search(text, self.wanted, self.found, levels);
            }
            if text.len() <= MAX_MEMBER && !members.iter().any(|(known, _)| *known == name) {
                members.push((name.into_owned(), text));
            }
        }
        self.add(&members);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self.inner())?.is_some() {}
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

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_at_any_depth() {
        let wanted = Wanted {
            is_read: &|name| matches!(name, "name" | "price" | "product"),
            is_wanted: &|members| {
                members.iter().any(|(name, text)| name == "name" && *text == "\"a\"")
            },
        };
        let read = |text: &str| format!("{:?}", objects(text, &wanted));
        let one = read(r#"[{"name":"a","price":1.10}]"#);
        assert!(one.contains(r#"Number("1.10")"#), "{one}");
        for text in [
            r#"{"x":[[{"y":{"z":1,"name":"a","price":1.10,"w":"q"}}],{"name":"b"}]}"#,
            r#"{"product":{"name":"a","price":1.10},"name":"b"}"#,
            r#"[{"name":"a","price":1.10},"#,
        ] {
            assert_eq!(read(text), one, "{text}");
        }
        assert_eq!(read(r#"{"name":"b"}"#), "[]");
    }

    #[test]
    fn depth_and_size_are_limited() {
        let wanted = Wanted { is_read: &|name| name == "name", is_wanted: &|_| true };
        let deep = format!("{}{{\"name\":1}}{}", "[".repeat(MAX_LEVELS), "]".repeat(MAX_LEVELS));
        assert_eq!(objects(&deep, &wanted).len(), 0);
        let nested = r#"{"name":"#.repeat(100_000);
        assert_eq!(objects(&nested, &wanted).len(), 0);
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(MAX_MEMBER));
        assert_eq!(format!("{:?}", objects(&long, &wanted)), "[Object(JsonObject({}))]");
    }
}
