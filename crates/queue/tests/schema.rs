//! The documents for other programs say what the code does.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fetchline_queue::lapin::BasicProperties;
use fetchline_queue::{FetchRequest, Task, Tier, schema};
use serde_json::{Value, json};

/// Compares a document with the code, whatever the order of its keys.
fn check(name: &str, expected: &Value) -> anyhow::Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    let found: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    assert!(found == *expected, "docs/{name} is out of date: see CONTRIBUTING.md");
    Ok(())
}

#[test]
fn the_documents_are_those_of_the_code() -> anyhow::Result<()> {
    check("message.schema.json", &schema::message())?;
    let tiers = [10, 60, 600].map(|s| Tier::of(Duration::from_secs(s)).unwrap());
    check("asyncapi.json", &schema::async_api(tiers.to_vec()))
}

fn read(body: &Value) -> Result<Task, impl std::fmt::Display> {
    Task::read(&BasicProperties::default(), &Bytes::from(body.to_string()))
}

#[test]
fn the_schema_and_the_parser_agree() {
    let validator = jsonschema::validator_for(&schema::message()).unwrap();
    let with = |field: &str, value: Value| {
        let mut body = json!({ "url": "https://shop.example/p/1" });
        body[field] = value;
        body
    };
    let bodies = [
        json!({ "url": "https://shop.example/p/1" }),
        with("url", json!(" HTTP://shop.example ")),
        with("url", json!("ftp://shop.example/")),
        with("url", json!("shop.example")),
        with("url", json!(["https://shop.example/"])),
        with("url", json!(format!("https://shop.example/{}", "x".repeat(9000)))),
        json!({ "link": "https://shop.example/" }),
        json!({ "url": null }),
        with("method", json!("post")),
        with("method", json!("Patch")),
        with("method", json!("TRACE")),
        with("method", json!("GETS")),
        with("method", json!(null)),
        with("headers", json!({ "accept": "text/html", "x-a": "" })),
        with("headers", json!({ "Host": "shop.example" })),
        with("headers", json!({ "host2": "shop.example" })),
        with("headers", json!({ "content-LENGTH": "1" })),
        with("headers", json!({ "a b": "1" })),
        with("headers", json!({ "": "1" })),
        with("headers", json!({ "x": 1 })),
        with("headers", json!({ "x".repeat(201): "1" })),
        with("headers", json!("accept: text/html")),
        with("headers", json!(null)),
        with("body", json!({ "sku": [1, 2.5, null] })),
        with("body", json!("text")),
        with("category", json!("Tea")),
        with("category", json!(7)),
        with("not_before", json!(1_772_364_600)),
        with("not_before", json!("2026-03-01T11:30:00Z")),
        with("not_before", json!(true)),
        with("not_before", json!([1])),
        with("run", json!("nightly")),
        with("run", json!("")),
        with("run", json!("x".repeat(101))),
        with("secret_headers", json!(["cookie"])),
        with("secret_headers", json!("cookie")),
        with("secret_body", json!(true)),
        with("secret_body", json!("yes")),
        with("revalidate", json!(false)),
        with("revalidate", json!(null)),
        with("revalidate", json!(1)),
        with("metod", json!("POST")),
    ];
    for field in FetchRequest::FIELDS {
        assert!(schema::message()["properties"].get(field).is_some(), "{field}");
    }
    for body in bodies {
        let parsed = read(&body);
        let cause = parsed.as_ref().err().map(ToString::to_string);
        assert_eq!(validator.is_valid(&body), parsed.is_ok(), "{body:.200}: {cause:?}");
    }
}
