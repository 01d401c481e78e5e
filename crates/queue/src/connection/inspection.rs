//! Compares the exchange and the queues on the broker with those that would be declared.

use std::collections::BTreeMap;
use std::fmt;

use lapin::Connection;
use lapin::types::{AMQPValue, FieldTable};

use super::deadline::within;
use super::permissions::may_exist;
use super::topology::Topology;
use crate::Error;

/// Arguments of a delay queue without which tasks stay in it for ever, or come back elsewhere.
const DELAY_ARGUMENTS: [&str; 4] =
    ["x-queue-type", "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key"];
/// Arguments of a queue that hold its length, and what happens beyond it.
const LENGTH_ARGUMENTS: [&str; 3] = ["x-max-length", "x-max-length-bytes", "x-overflow"];
/// Properties of an exchange without which messages reach other queues, or none.
const EXCHANGE_ARGUMENTS: [&str; 3] = ["type", "internal", "alternate-exchange"];
/// A queue that drops a message after fewer redeliveries loses dead letters: listing them
/// redelivers them.
const MIN_DELIVERY_LIMIT: i64 = 1_000;
/// More differences of one queue than it has arguments.
const MAX_DIFFERENCES: usize = 24;

/// An exchange or a queue that is not as it would be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Such as `the queue fetchline.urls`.
    pub what: String,
    /// The broker's description of the difference.
    pub difference: String,
    /// What it does to a fleet.
    pub effect: Effect,
}

/// What a difference does to a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Messages would be multiplied, get stuck or be lost. No worker may start.
    Harm,
    /// Directives would be obeyed by nobody. A worker works, and is not ready.
    Deafness,
    /// Only safety is lost.
    LessSafety,
}

/// What the broker says about what exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// What is not as it would be declared.
    pub differences: Vec<Difference>,
    /// What may exist and differ: the user may not configure it, so the broker does not compare.
    pub uncompared: Vec<String>,
}

impl Inspection {
    fn add(&mut self, what: String, compared: Compared) {
        match compared {
            Compared::Refused => self.uncompared.push(what),
            Compared::Differences(found) => {
                self.differences.extend(found.into_iter().map(|(difference, effect)| Difference {
                    what: what.clone(),
                    difference,
                    effect,
                }));
            }
        }
    }

    /// Fails for a difference that multiplies messages, keeps them for ever or loses them.
    pub(super) fn without_harm(self) -> Result<Self, Error> {
        match self.differences.iter().find(|found| found.effect == Effect::Harm) {
            Some(fatal) => Err(Error::Topology(fatal.to_string())),
            None => Ok(self),
        }
    }

    /// That something could not be compared, and what to do.
    pub fn doubt(&self) -> Option<String> {
        (!self.uncompared.is_empty()).then(|| {
            format!(
                "it is not known whether {} are as a worker declares them: this user may not \
                 configure them. Import the definitions of deploy/rabbitmq again, or grant the \
                 user the permission `configure`",
                self.uncompared.join(", ")
            )
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, difference, .. } = self;
        write!(f, "{what} is not as a worker declares it: {difference}")
    }
}

/// The broker's answers to declarations of what exists.
enum Compared {
    /// The user may not configure it.
    Refused,
    /// Descriptions, and effects.
    Differences(Vec<(String, Effect)>),
}

impl Topology {
    /// Compares the existing exchange and queues with what [`Self::declare`] would create. The
    /// broker compares them, as far as the user may configure them.
    pub(crate) async fn inspect(&self, connection: &Connection) -> Result<Inspection, Error> {
        let comparing = async {
            let mut inspection = Inspection::default();
            if may_exist(self.declare_exchange(connection, true).await)? {
                let what = format!("the exchange {}", self.exchange());
                inspection.add(what, self.compare_exchange(connection).await?);
            }
            for (key, arguments) in self.compared() {
                if may_exist(self.declare_queue(connection, &key, None).await)? {
                    let what = format!("the queue {}", self.queue(&key));
                    inspection.add(what, self.compare_queue(connection, &key, arguments).await?);
                }
            }
            Ok(inspection)
        };
        within("comparing the topology", comparing).await
    }

    async fn compare_exchange(&self, connection: &Connection) -> Result<Compared, Error> {
        Ok(match answer(self.declare_exchange(connection, false).await)? {
            Answer::Same => Compared::Differences(Vec::new()),
            Answer::Refused => Compared::Refused,
            Answer::Differs(argument, text) => {
                let is_harm = EXCHANGE_ARGUMENTS.contains(&argument.as_str());
                let effect = if is_harm { Effect::Harm } else { Effect::LessSafety };
                Compared::Differences(vec![(text, effect)])
            }
        })
    }

    /// The broker names only the first difference. So the queue is declared again with what exists
    /// in its place, until nothing differs any more.
    async fn compare_queue(
        &self,
        connection: &Connection,
        key: &str,
        mut arguments: FieldTable,
    ) -> Result<Compared, Error> {
        let (mut found, mut is_known) = (Vec::new(), true);
        loop {
            let declared = self.declare_queue(connection, key, Some(arguments.clone())).await;
            match answer(declared)? {
                Answer::Same => break,
                Answer::Refused => return Ok(Compared::Refused),
                Answer::Differs(argument, text) => {
                    is_known =
                        adopt(&mut arguments, &argument, &text) && found.len() < MAX_DIFFERENCES;
                    found.push((argument, text));
                    if !is_known {
                        break;
                    }
                }
            }
        }
        let effect = |(argument, text): (String, String)| {
            // What else differs is not known. No task may wait for ever because of it.
            let effect = match is_known || !self.is_delay(key) {
                true => self.effect(key, &argument, &text, &arguments),
                false => Effect::Harm,
            };
            (text, effect)
        };
        Ok(Compared::Differences(found.into_iter().map(effect).collect()))
    }

    /// The effect of one difference of a queue with these arguments.
    fn effect(&self, key: &str, argument: &str, text: &str, existing: &FieldTable) -> Effect {
        let is_argument = argument.starts_with("x-");
        if key == Self::CONTROL {
            // The broker names no argument beside another property, such as `durable`.
            return match argument {
                "x-queue-type" => Effect::Deafness,
                _ if !is_argument => Effect::Deafness,
                _ => Effect::LessSafety,
            };
        }
        // Messages of a stream are never removed, so each one would be consumed again.
        let is_stream = current(text) == Some(Current::Value("stream"));
        // What such a queue drops becomes a dead letter.
        let is_dead_lettered = key != Self::DEAD && self.leads_to_dead(existing);
        let is_harm = match argument {
            // The queue of news drops the oldest ones by itself.
            _ if key == Self::NEWS => is_stream,
            // A property such as `auto_delete`: the broker deletes the queue.
            _ if !is_argument => true,
            _ if self.is_delay(key) && DELAY_ARGUMENTS.contains(&argument) => true,
            _ if LENGTH_ARGUMENTS.contains(&argument) => {
                drops_beyond_its_length(existing) && !is_dead_lettered
            }
            "x-message-ttl" => !is_dead_lettered,
            "x-expires" => true,
            "x-delivery-limit" => key == Self::DEAD && has_low_delivery_limit(existing),
            _ => is_stream,
        };
        if is_harm { Effect::Harm } else { Effect::LessSafety }
    }

    /// Whether a queue with these arguments passes what it drops on to the dead letters.
    fn leads_to_dead(&self, arguments: &FieldTable) -> bool {
        text_of(arguments, "x-dead-letter-exchange") == Some(self.exchange().as_bytes())
            && text_of(arguments, "x-dead-letter-routing-key") == Some(Self::DEAD.as_bytes())
    }
}

fn text_of<'a>(arguments: &'a FieldTable, name: &str) -> Option<&'a [u8]> {
    match arguments.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.as_bytes()),
        _ => None,
    }
}

/// Whether a queue with these arguments drops messages instead of refusing them. Quorum queues
/// take `reject-publish-dlx` for `drop-head`, and in a classic one each refused message is a dead
/// letter and is published again.
fn drops_beyond_its_length(arguments: &FieldTable) -> bool {
    let refuses = text_of(arguments, "x-overflow") == Some(b"reject-publish");
    let has = |argument| arguments.contains_key(argument);
    !refuses && (has("x-max-length") || has("x-max-length-bytes"))
}

fn has_low_delivery_limit(arguments: &FieldTable) -> bool {
    let limit = arguments.inner().get("x-delivery-limit");
    let is_low =
        matches!(limit, Some(AMQPValue::LongLongInt(limit)) if *limit < MIN_DELIVERY_LIMIT);
    is_low && text_of(arguments, "x-queue-type") == Some(b"quorum")
}

/// The broker's answer to a declaration of what exists.
enum Answer {
    Same,
    Refused,
    /// The argument, and the description.
    Differs(String, String),
}

fn answer<T>(declared: Result<T, Error>) -> Result<Answer, Error> {
    match declared {
        Ok(_) => Ok(Answer::Same),
        Err(error) if error.is_access_refused() => Ok(Answer::Refused),
        Err(error) => match error.inequivalent_argument() {
            None => Err(error),
            Some((argument, text)) => Ok(Answer::Differs(argument, text)),
        },
    }
}

/// What exists, in the words of the broker: `but current is none`, `but current is 'classic'`, or
/// `but current is the value '5' of type 'signedint'`.
#[derive(Debug, PartialEq, Eq)]
enum Current<'a> {
    Nothing,
    Value(&'a str),
}

fn current(text: &str) -> Option<Current<'_>> {
    let (_, current) = text.rsplit_once("but current is ")?;
    if current.starts_with("none") {
        return Some(Current::Nothing);
    }
    let value = current.strip_prefix("the value ").unwrap_or(current).strip_prefix('\'')?;
    let end = value.find("' of type '").or_else(|| value.rfind('\''))?;
    Some(Current::Value(&value[..end]))
}

/// Takes what exists for what is declared; `false` if it cannot be taken.
fn adopt(arguments: &mut FieldTable, argument: &str, text: &str) -> bool {
    let value = match current(text) {
        // A property of a queue and no argument, such as `durable`.
        _ if !argument.starts_with("x-") => return false,
        None => return false,
        Some(Current::Nothing) => {
            let is_declared = arguments.contains_key(argument);
            let kept = arguments.inner().clone().into_iter();
            let kept: BTreeMap<_, _> = kept.filter(|(name, _)| name.as_str() != argument).collect();
            *arguments = kept.into();
            return is_declared;
        }
        Some(Current::Value(value)) => match value {
            "true" | "false" => AMQPValue::Boolean(value == "true"),
            _ if text.ends_with("of type 'longstr'") => AMQPValue::LongString(value.into()),
            _ => value
                .parse()
                .map_or_else(|_| AMQPValue::LongString(value.into()), AMQPValue::LongLongInt),
        },
    };
    arguments.insert(argument.into(), value);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_broker_say_what_exists() {
        let text = |rest: &str| {
            format!("inequivalent arg 'x' for queue 'q' in vhost 'v': received none but {rest}")
        };
        for (rest, expected) in [
            ("current is none", Some(Current::Nothing)),
            ("current is 'stream'", Some(Current::Value("stream"))),
            ("current is the value '5' of type 'signedint'", Some(Current::Value("5"))),
            ("current is the value 'a b' of type 'longstr'", Some(Current::Value("a b"))),
            ("nothing else", None),
        ] {
            assert_eq!(current(&text(rest)), expected, "{rest}");
        }
    }

    #[test]
    fn a_queue_drops_messages_beyond_a_length_unless_it_refuses_them() {
        let length = ("x-max-length", AMQPValue::LongLongInt(9));
        let bytes = ("x-max-length-bytes", AMQPValue::LongLongInt(9));
        let overflow = |text: &str| ("x-overflow", AMQPValue::LongString(text.into()));
        for (arguments, expected) in [
            (vec![], false),
            (vec![overflow("drop-head")], false),
            (vec![length.clone()], true),
            (vec![bytes.clone()], true),
            (vec![length.clone(), overflow("drop-head")], true),
            (vec![length, overflow("reject-publish")], false),
            (vec![bytes, overflow("reject-publish-dlx")], true),
        ] {
            let mut table = FieldTable::default();
            for (name, value) in &arguments {
                table.insert((*name).into(), value.clone());
            }
            assert_eq!(drops_beyond_its_length(&table), expected, "{arguments:?}");
        }
    }

    #[test]
    fn what_exists_takes_the_place_of_what_is_declared() {
        let mut arguments = FieldTable::default();
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(10_000));
        assert!(adopt(&mut arguments, "x-message-ttl", "but current is none"));
        assert!(!arguments.contains_key("x-message-ttl"));
        assert!(!adopt(&mut arguments, "x-message-ttl", "but current is none"));
        assert!(adopt(
            &mut arguments,
            "x-max-length",
            "but current is the value '7' of type 'long'"
        ));
        assert_eq!(arguments.inner().get("x-max-length"), Some(&AMQPValue::LongLongInt(7)));
        let digits = "but current is the value '5' of type 'longstr'";
        assert!(adopt(&mut arguments, "x-dead-letter-routing-key", digits));
        assert_eq!(text_of(&arguments, "x-dead-letter-routing-key"), Some(&b"5"[..]));
        assert!(!adopt(&mut arguments, "durable", "but current is 'false'"));
    }
}
