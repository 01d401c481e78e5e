//! Descriptions of the contract for other programs: messages as JSON Schema, exchange and queues as
//! AsyncAPI. They are generated from what the code itself uses.

use http::{HeaderName, Method};
use lapin::types::AMQPValue;
use serde_json::{Map, Value, json};

use crate::connection::{Tier, Topology};
use crate::message::header;
use crate::message::{MAX_NAME_BYTES, MAX_URL_BYTES, METHODS, RESERVED_HEADERS};

/// The JSON Schema of a message body that is a JSON object.
#[must_use]
pub fn message() -> Value {
    let text =
        |description: &str| json!({ "type": ["string", "null"], "description": description });
    let any_case = |words: Vec<&str>| {
        let words: Vec<_> = words.into_iter().map(either_case).collect();
        format!("^(?:{})$", words.join("|"))
    };
    let methods = METHODS.iter().map(Method::as_str).collect();
    let reserved = RESERVED_HEADERS.iter().map(HeaderName::as_str).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "message.schema.json",
        "title": "A task of fetchline",
        "description": "The body of a message to the routing key urls. A bare URL is a task, too.",
        "type": "object",
        "required": ["url"],
        "properties": {
            "url": {
                "type": "string",
                "description": "What to fetch. White space around it is ignored.",
                "pattern": "^\\s*[Hh][Tt][Tt][Pp][Ss]?:",
                "maxLength": MAX_URL_BYTES,
            },
            "method": {
                "type": ["string", "null"],
                "description": "The method of the request, in upper or lower case.",
                "pattern": any_case(methods),
                "default": "GET",
            },
            "headers": {
                "type": ["object", "null"],
                "description": "Headers of the request. The worker sets those of the connection.",
                "propertyNames": {
                    "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$",
                    "not": { "pattern": any_case(reserved) },
                },
                "additionalProperties": { "type": "string" },
            },
            "body": {
                "description": "The body of the request: a string as it is, other JSON as JSON.",
            },
            "category": text("The category of the product on the page."),
            "not_before": {
                "type": ["string", "number", "null"],
                "description": "The task is not fetched earlier: RFC 3339, or seconds since 1970.",
            },
            "run": {
                "type": ["string", "null"],
                "description": "The run, if there is no header x-run.",
                "minLength": 1,
                "maxLength": MAX_NAME_BYTES,
            },
            "secret_headers": {
                "type": "array",
                "description": "Names of headers that no other site may see.",
                "items": { "type": "string" },
            },
            "secret_body": {
                "type": "boolean",
                "description": "Whether no other site may see the body.",
            },
            "revalidate": {
                "type": ["boolean", "null"],
                "description": "Whether the page is fetched only if it has changed.",
            },
        },
        "additionalProperties": false,
    })
}

/// The JSON Schema of a part report.
#[must_use]
pub fn part_report() -> Value {
    let name = json!({ "type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES });
    json!({
        "type": "object",
        "required": ["run", "part", "at"],
        "properties": {
            "run": name,
            "part": name,
            "planned": {
                "type": ["integer", "null"],
                "minimum": 0,
                "description": "Missing or null: the part begins. A number: it ends with that many \
                                tasks.",
            },
            "at": { "type": "string", "format": "date-time" },
        },
    })
}

/// The exchange, its queues and their messages as AsyncAPI 3, with these delay queues.
#[must_use]
pub fn async_api(tiers: Vec<Tier>) -> Value {
    let topology = Topology::new("fetchline").with_tiers(tiers);
    let mut channels = Map::new();
    for (key, arguments) in topology.queues() {
        let arguments: Map<_, _> = arguments
            .inner()
            .iter()
            .map(|(name, value)| (name.to_string(), argument(value)))
            .collect();
        let message = if key == Topology::RUNS { "partReport" } else { "task" };
        channels.insert(
            key.clone(),
            json!({
                "address": key,
                "description": purpose(&key),
                "messages": { message: { "$ref": format!("#/components/messages/{message}") } },
                "bindings": { "amqp": {
                    "is": "routingKey",
                    "exchange": {
                        "name": topology.exchange(), "type": "direct", "durable": true,
                        "autoDelete": false,
                    },
                    "queue": {
                        "name": topology.queue(&key), "durable": true, "exclusive": false,
                        "autoDelete": false,
                    },
                } },
                "x-arguments": arguments,
            }),
        );
    }
    let publish = |channel: &str| {
        json!({
            "action": "receive",
            "channel": { "$ref": format!("#/channels/{channel}") },
            "bindings": { "amqp": { "deliveryMode": 2, "mandatory": true } },
        })
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "fetchline",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What other programs may publish, and the queues that it goes through. \
                            The names begin with the prefix of the fleet.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            "fetch": publish(Topology::URLS),
            "reportPart": publish(Topology::RUNS),
        },
        "components": { "messages": {
            "task": {
                "title": "A task: a bare URL, or a JSON object",
                "headers": headers(),
                "payload": { "oneOf": [
                    { "type": "string", "description": "A bare URL" },
                    { "$ref": "message.schema.json" },
                ] },
            },
            "partReport": {
                "title": "A part of a run begins or ends; the property `type` is `part`",
                "payload": part_report(),
            },
        } },
    })
}

fn headers() -> Value {
    let name = |description: &str| {
        json!({
            "type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES,
            "description": description,
        })
    };
    json!({
        "type": "object",
        "properties": {
            header::RUN: name("The run of the task"),
            header::PART: name("The part of the run"),
            header::TRACEPARENT: { "type": "string", "description": "W3C Trace Context" },
        },
    })
}

fn purpose(key: &str) -> &'static str {
    match key {
        Topology::URLS => "Tasks",
        Topology::RUNS => "Part reports",
        Topology::DEAD => "Messages that were given up, for a person to look at",
        _ => "Retries and deferred tasks, until their delay is over. Only workers publish here.",
    }
}

fn argument(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::LongString(text) => text.to_string().into(),
        AMQPValue::LongLongInt(number) => (*number).into(),
        other => format!("{other:?}").into(),
    }
}

/// A pattern for a word in upper or lower case.
fn either_case(word: &str) -> String {
    let both = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
        false => c.to_string(),
    };
    word.chars().map(both).collect()
}
