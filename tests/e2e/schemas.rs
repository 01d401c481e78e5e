//! What the program prints as JSON, beside its schemas. The harness compares all that other tests
//! make it print as well; here, each command is seen to print what its schema describes.

use std::collections::BTreeMap;

use fetchline_tests::process::{self, Output};
use fetchline_tests::recorder::Recorder;
use fetchline_tests::schemas::{commands, of_command, validate};
use fetchline_tests::shop;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use serde_json::{Value, json};

const PAGE: &str = "<title>Tea</title><link rel=canonical href=http://shop.example/p/1>\
    <meta property=og:type content=product><h1>Tea</h1><b class=p>9,95 €</b>";

/// What was printed, by the command as docs/json-output.md names it.
#[derive(Default)]
struct Printed(BTreeMap<String, Value>);

impl Printed {
    /// Runs a command that prints JSON. `name` is the command in docs/json-output.md.
    async fn run(
        &mut self,
        world: &World,
        name: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Value> {
        let output = world.run(arguments, "").await?;
        self.add(name, &output)
    }

    fn add(&mut self, name: &str, output: &Output) -> anyhow::Result<Value> {
        let document = output.json()?;
        let words: Vec<&str> = name.split(' ').collect();
        let schema = of_command(&words).ok_or_else(|| anyhow::anyhow!("no schema of {name}"))?;
        validate(schema, &document)?;
        let is_empty = document.as_array().is_some_and(Vec::is_empty);
        anyhow::ensure!(!is_empty, "{name} has printed an empty list, which fits any schema");
        self.0.insert(name.to_owned(), document.clone());
        Ok(document)
    }
}

#[tokio::test]
async fn every_command_that_prints_json_prints_what_its_schema_says() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let mut printed = Printed::default();
    printed.run(&world, "migrate", &["migrate", "--json"]).await?;
    fleet(&world, &mut printed).await?;
    runs_and_items(&world, &mut printed).await?;
    dead_letters(&world, &mut printed).await?;
    without_services(&world, &mut printed).await?;

    for (name, arguments) in [
        ("hosts set", &["hosts", "set", "a.example", "--rate", "5/s", "--json"][..]),
        ("hosts pause", &["hosts", "pause", "a.example", "--json"]),
        ("hosts resume", &["hosts", "resume", "a.example", "--json"]),
        ("hosts list", &["hosts", "list", "--json"]),
    ] {
        printed.run(&world, name, arguments).await?;
    }
    for directive in [
        &["pause"][..],
        &["resume"],
        &["concurrency", "5"],
        &["host", "a.example", "5/s"],
        &["cancel", "nobody"],
        &["drain", "nobody"],
        &["replay", "all"],
    ] {
        let arguments = [&["control"], directive, &["--json"]].concat();
        printed.run(&world, "control", &arguments).await?;
    }

    let listed = commands().into_values().flatten();
    let missing: Vec<_> = listed.filter(|command| !printed.0.contains_key(command)).collect();
    assert!(missing.is_empty(), "not seen to print JSON: {missing:?}");
    Ok(())
}

/// A worker, what it says of itself, and what the broker says of it.
async fn fleet(world: &World, printed: &mut Printed) -> anyhow::Result<()> {
    let pages = world.pages(3);
    // A host that does not exist.
    let urls = [&pages[..], &["http://nowhere.invalid/".to_owned()]].concat().join("\n");
    let output = world.run(&["produce", "--run", "night", "--json"], &urls).await?;
    printed.add("produce", &output)?;
    let mut worker = world.worker(&["--max-attempts", "1"])?;
    let address = worker.health().await?;
    let url = format!("http://{address}/readyz");
    let ready = async || world.run(&["health", &url], "").await;
    let ready = wait::until("the worker is ready", ready, |it| it.code == Some(0)).await?;
    printed.add("health", &ready)?;
    let wait = ["status", "--run", "night", "--wait", "--for", "1m", "--hosts", "--json"];
    printed.run(world, "status", &wait).await?;
    let status = ["status", "--run", "night", "--json"];
    let listed = async || world.run(&status, "").await?.json();
    let with_worker = |status: &Value| status["workers"].as_array().is_some_and(|it| it.len() == 1);
    wait::until("the worker is in the roster", listed, with_worker).await?;
    printed.run(world, "status", &status).await?;
    let server = fetchline_tests::name_server::NameServer::start(
        fetchline_tests::name_server::Behaviour::Answer,
    )
    .await?;
    let check = ["check", "--json", "--dns-server", &server.address(), "--url", &pages[0]];
    // It fails: the network of the shop is blocked.
    let findings = printed.run(world, "check", &check).await?;
    assert!(findings.to_string().contains("remedy"), "{findings}");
    printed.add("work", &worker.terminate().await?)?;
    Ok(())
}

async fn runs_and_items(world: &World, printed: &mut Printed) -> anyhow::Result<()> {
    let page = &world.pages(1)[0];
    for (name, arguments) in [
        ("runs list", &["runs", "list", "--json"][..]),
        ("runs cancel", &["runs", "cancel", "night", "--json"]),
        ("runs prune", &["runs", "prune", "--older-than", "30d", "--dry-run", "--json"]),
        ("items list", &["items", "list", "--json"]),
        ("items set-price", &["items", "set-price", page, "4321.99", "--json"]),
        ("items show", &["items", "show", page, "--json"]),
        ("items changes", &["items", "changes", "--json"]),
    ] {
        printed.run(world, name, arguments).await?;
    }
    let history = &printed.0["items show"]["history"];
    assert!(history.to_string().contains("manual"), "{history}");
    Ok(())
}

async fn dead_letters(world: &World, printed: &mut Printed) -> anyhow::Result<()> {
    world.type_message("no task").await?;
    world.work_until_empty(&["--max-attempts", "1"]).await?;
    let letters = printed.run(world, "dead list", &["dead", "list", "--json"]).await?;
    assert_eq!(letters["letters"].as_array().map(Vec::len), Some(2), "{letters}");
    for (name, arguments) in [
        ("dead replay --dry-run", &["dead", "replay", "--dry-run", "--json"][..]),
        ("dead purge --dry-run", &["dead", "purge", "--dry-run", "--json"]),
        ("dead replay", &["dead", "replay", "--limit", "1", "--json"]),
        ("dead purge", &["dead", "purge", "--json"]),
    ] {
        printed.run(world, name, arguments).await?;
    }
    Ok(())
}

async fn without_services(world: &World, printed: &mut Printed) -> anyhow::Result<()> {
    let page = world.file("page.html", PAGE)?;
    let key = world.file("bot.pem", Recorder::KEY)?;
    let found = printed.run(world, "extract", &["extract", &page, "--explain", "--json"]).await?;
    assert_eq!(found["product"], "found", "{found}");
    let nothing = world.file("empty.html", "<p>Nothing</p>")?;
    let nothing = printed.run(world, "extract", &["extract", &nothing, "--json"]).await?;
    assert_eq!(nothing["product"], "none", "{nothing}");
    let sample = format!("{page}=9.95");
    printed.run(world, "extract --learn", &["extract", "--json", "--learn", &sample]).await?;
    printed.run(world, "bot-keys", &["bot-keys", &key]).await?;

    let file = world.file("fetchline.toml", "[work]\nretry-delays = [\"1s\"]\n")?;
    let mut command = world.command(&["config", "--json", "--config", &file, "work"])?;
    command.args(["--per-host", "007", "--pool=9", "--user-agent", "bot/1"]);
    command.env("FETCHLINE_ALLOW_NETWORK", shop::NETWORK);
    let output = process::run(&mut command, "").await?;
    let settings = printed.add("config", &output)?["settings"].clone();
    for (flag, expected) in [
        ("pool", json!({ "value": 9, "source": "command_line" })),
        ("per-host", json!({ "value": "007", "source": "command_line" })),
        ("retry-delays", json!({ "value": ["1s"], "source": "file" })),
        ("hold", json!({ "value": "10m", "source": "default" })),
        ("ca", json!({ "value": null, "source": "default" })),
        (
            "amqp-url",
            json!({
                "value": null, "secret": true, "source": "variable", "variable": "AMQP_URL",
            }),
        ),
        (
            "allow-network",
            json!({
                "value": [shop::NETWORK], "source": "variable",
                "variable": "FETCHLINE_ALLOW_NETWORK",
            }),
        ),
    ] {
        assert_eq!(settings[flag], expected, "{flag}");
    }
    Ok(())
}

#[test]
fn a_field_that_no_schema_has_is_found() -> anyhow::Result<()> {
    validate("control", &json!({ "sent": "pause" }))?;
    assert!(validate("control", &json!({ "sent": "pause", "by": "me" })).is_err());
    assert!(validate("control", &json!({})).is_err());
    assert!(validate("runs-cancel", &json!({ "run": "a", "known": 1, "parts": 0 })).is_err());
    for (line, schema) in [
        ("--log json produce --json", Some("produce")),
        ("produce --run status --json", Some("produce")),
        ("dead replay --reason timeout --dry-run --json", Some("dead-list")),
        ("dead replay --json", Some("dead-replay")),
        ("extract --json --learn a.html=1", Some("extract-learn")),
        ("completions bash", None),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(of_command(&words), schema, "{line}");
    }
    Ok(())
}
