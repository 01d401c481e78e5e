//! The broker as `deploy/rabbitmq/definitions.json` sets it up: its topology is the program's, and its users may do what they
//! have to, and no more.

use anyhow::Context;
use fetchline_tests::console::Console;
use fetchline_tests::process::Ended;
use fetchline_tests::services::project;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::options::{BasicConsumeOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};

const PASSWORD: &str = "not-a-secret-here";

/// A virtual host of its own with what the definitions say; it is removed in the end.
struct Defined<'a> {
    world: &'a World,
    console: Console,
    vhost: String,
}

impl<'a> Defined<'a> {
    async fn new(world: &'a World) -> anyhow::Result<Self> {
        let console = Console::of(world)?;
        let defined = Self { world, console, vhost: world.prefix.clone() };
        // Users belong to the broker as a whole, so these have names of their own as well.
        let text = std::fs::read_to_string(project().join("deploy/rabbitmq/definitions.json"))?;
        let mut definitions: Value = serde_json::from_str(&text)?;
        let named = |name: &Value| json!(format!("{}-{}", world.prefix, name.as_str().unwrap_or_default()));
        for (_, list) in definitions.as_object_mut().context("no object")? {
            for item in list.as_array_mut().context("no list")? {
                if item.get("vhost").is_some() {
                    item["vhost"] = json!(defined.vhost);
                }
                if item.get("password").is_some() {
                    anyhow::ensure!(item["password"].as_str().is_some_and(|word| word.starts_with("${")), "a password");
                    (item["password"], item["name"]) = (json!(PASSWORD), named(&item["name"]));
                }
                if item.get("user").is_some() {
                    item["user"] = named(&item["user"]);
                }
            }
        }
        definitions["vhosts"][0]["name"] = json!(defined.vhost);
        defined.console.call(reqwest::Method::POST, "definitions", Some(definitions)).await?;
        Ok(defined)
    }

    /// The broker as this user sees it.
    fn amqp_url(&self, user: &str) -> anyhow::Result<String> {
        let mut url: reqwest::Url = self.world.amqp_url.parse()?;
        let named = url.set_username(&format!("{}-{user}", self.world.prefix));
        anyhow::ensure!(named.and(url.set_password(Some(PASSWORD))).is_ok(), "the URL names no host");
        url.set_path(&format!("/{}", self.vhost));
        Ok(url.to_string())
    }

    /// Runs a command as this user.
    async fn run_as(&self, user: &str, arguments: &[&str], input: &str) -> anyhow::Result<Ended> {
        let url = self.amqp_url(user)?;
        self.world.run(&[&["--amqp-url", &url, "--prefix", "fetchline"], arguments].concat(), input).await
    }

    /// Exchanges, queues and bindings of a virtual host, as far as they are declared.
    async fn topology(&self, vhost: &str) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for (kind, fields) in [
            ("exchanges", &["name", "type", "durable", "auto_delete", "arguments"][..]),
            ("queues", &["name", "durable", "auto_delete", "arguments"]),
            ("bindings", &["source", "destination", "routing_key", "arguments"]),
        ] {
            let items = self.console.call(reqwest::Method::GET, &format!("{kind}/{vhost}"), None).await?;
            for item in items.as_array().context("no list")? {
                if item.to_string().contains("fetchline") {
                    let told: Vec<String> = fields.iter().map(|field| item[*field].to_string()).collect();
                    all.push(format!("{kind} {}", told.join(" ")));
                }
            }
        }
        all.sort();
        Ok(all)
    }

    async fn remove(self) -> anyhow::Result<()> {
        for user in ["producer", "worker", "operator", "scaler"] {
            let user = format!("{}-fetchline-{user}", self.world.prefix);
            self.console.call(reqwest::Method::DELETE, &format!("users/{user}"), None).await?;
        }
        self.console.call(reqwest::Method::DELETE, &format!("vhosts/{}", self.vhost), None).await?;
        Ok(())
    }
}

/// What somebody might want to do with a queue.
#[derive(Clone, Copy, Debug)]
enum What {
    Consume,
    Purge,
    Delete,
}

/// What the broker says to it.
async fn attempt(amqp_url: &str, queue: &str, what: What) -> anyhow::Result<String> {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let done = match what {
        What::Consume => {
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            channel.basic_consume(queue.into(), "attempt".into(), options, arguments).await.map(drop)
        }
        What::Purge => channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.map(drop),
        What::Delete => channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.map(drop),
    };
    Ok(done.map_or_else(|error| error.to_string(), |()| "it was done".to_owned()))
}

#[tokio::test]
async fn the_definitions_hold_what_the_program_declares() -> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    let imported = defined.topology(&defined.vhost).await?;
    // The program declares everything in an empty virtual host.
    let empty = format!("{}-empty", world.prefix);
    defined.console.call(reqwest::Method::PUT, &format!("vhosts/{empty}"), None).await?;
    let broker: reqwest::Url = world.amqp_url.parse()?;
    let rights = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    defined
        .console
        .call(reqwest::Method::PUT, &format!("permissions/{empty}/{}", broker.username()), Some(rights))
        .await?;
    let mut url = broker;
    url.set_path(&format!("/{empty}"));
    let worker = world.worker_on(url.as_str(), &["--prefix", "fetchline"])?;
    let declared = async || defined.topology(&empty).await;
    let declared = wait::until("the same topology", declared, |declared| declared.len() == imported.len()).await;
    worker.terminate().await?;
    defined.console.call(reqwest::Method::DELETE, &format!("vhosts/{empty}"), None).await?;
    defined.remove().await?;
    assert_eq!(declared?, imported);
    Ok(())
}

#[tokio::test]
async fn a_user_without_rights_on_the_longer_delay_queues_defers_and_gives_up_all_the_same() -> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    // As an operator may have written it before there were longer delays than those of `--retry-delays`.
    let queues = "^fetchline\\.(runs|urls|dead|control|retry\\.[12]s)$";
    let rights = json!({ "configure": queues, "write": format!("{queues}|^fetchline$"), "read": format!("{queues}|^fetchline$") });
    let user = format!("{}-fetchline-worker", world.prefix);
    let path = format!("permissions/{}/{user}", defined.vhost);
    defined.console.call(reqwest::Method::PUT, &path, Some(rights)).await?;
    for delay in ["10s", "60s", "600s", "3600s"] {
        let queue = format!("queues/{}/fetchline.retry.{delay}", defined.vhost);
        // Some of them are in the definitions.
        _ = defined.console.call(reqwest::Method::DELETE, &queue, None).await;
    }
    world.hosts(&["pause", &world.shop.addr().to_string()]).await?;
    let flags = ["--prefix", "fetchline", "--retry-delays", "1s,2s", "--max-attempts", "1"];
    let mut worker = world.worker_on(&defined.amqp_url("fetchline-worker")?, &flags)?;
    let produced = defined.run_as("fetchline-producer", &["produce"], &world.pages(3).join("\n")).await?;
    assert_eq!(produced.code, Some(0), "{produced:?}");
    let deferred = async || Ok(worker.metric("fetchline_parked_total").await? as u64);
    // After the second time a task of a paused host would wait for 10 s.
    wait::until("deferrals", deferred, |deferred| *deferred >= 12).await?;
    world.hosts(&["resume", &world.shop.addr().to_string()]).await?;
    wait::until("the rows", async || world.rows().await, |rows| *rows == 3).await?;
    worker.logs("a delay queue cannot be declared").await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    defined.remove().await
}

#[tokio::test]
async fn each_user_may_do_what_it_has_to_and_no_more() -> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    let urls =
        [world.pages(30), vec![world.shop.url("/status/500/1"), world.shop.url("/flaky/1/1")]].concat().join("\n");
    let worker_url = defined.amqp_url("fetchline-worker")?;
    let worker =
        world.worker_on(&worker_url, &["--prefix", "fetchline", "--max-attempts", "2", "--retry-delays", "10s"])?;
    let produced = defined.run_as("fetchline-producer", &["produce", "--run", "least"], &urls).await?;
    assert_eq!(produced.code, Some(0), "{produced:?}");
    let waited = world.run(&["status", "--run", "least", "--wait", "--for", "1m"], "").await?;
    assert_eq!(waited.code, Some(3), "{waited:?}");
    // One is given up: it went through a retry queue, and to the dead letters.
    let dead = defined.run_as("fetchline-operator", &["dead", "list", "--json"], "").await?;
    assert_eq!(dead.json()?["matched"], 1, "{dead:?}");
    // A producer can neither consume, nor look into queues, nor tell workers anything.
    for forbidden in [&["control", "pause"][..], &["dead", "list"], &["dead", "purge"]] {
        let ended = defined.run_as("fetchline-producer", forbidden, "").await?;
        assert_ne!(ended.code, Some(0), "{forbidden:?} {ended:?}");
    }
    for told in [&["control", "pause"][..], &["control", "resume"], &["status"], &["dead", "replay"]] {
        let ended = defined.run_as("fetchline-operator", told, "").await?;
        assert_eq!(ended.code, Some(0), "{told:?} {ended:?}");
    }
    let control = defined.run_as("fetchline-worker", &["control", "pause"], "").await?;
    assert!(control.code == Some(1) && control.stderr.contains("refused"), "{control:?}");
    assert_eq!(worker.terminate().await?.code, Some(0));
    // Whatever a program asks for: a producer cannot consume, a worker cannot empty the dead letters nor delete what others said.
    for (user, queue, what) in [
        ("fetchline-producer", "fetchline.urls", What::Consume),
        ("fetchline-producer", "fetchline.control", What::Consume),
        ("fetchline-scaler", "fetchline.urls", What::Consume),
        ("fetchline-worker", "fetchline.dead", What::Consume),
        ("fetchline-worker", "fetchline.dead", What::Purge),
        ("fetchline-worker", "fetchline.control", What::Delete),
        ("fetchline-worker", "fetchline.urls", What::Delete),
        ("fetchline-operator", "fetchline.urls", What::Delete),
    ] {
        let refused = attempt(&defined.amqp_url(user)?, queue, what).await?;
        assert!(refused.contains("ACCESS_REFUSED"), "{user} {queue} {what:?}: {refused}");
    }
    let mut consumer = world.worker_on(&defined.amqp_url("fetchline-producer")?, &["--prefix", "fetchline"])?;
    consumer.logs("not consuming").await?;
    consumer.kill().await?;
    defined.remove().await
}
