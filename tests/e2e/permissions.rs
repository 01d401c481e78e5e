//! The broker as set up by `deploy/rabbitmq/definitions.json`: the topology is that of the program,
//! and every user has only the permissions it needs.

use anyhow::Context;
use fetchline_tests::console::Console;
use fetchline_tests::process::Output;
use fetchline_tests::services::project;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::options::{BasicConsumeOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};

const PASSWORD: &str = "not-a-secret-here";

/// A virtual host made from the definitions. Call [`Defined::remove`] at the end.
struct Defined<'a> {
    world: &'a World,
    console: Console,
    vhost: String,
    definitions: Value,
}

impl<'a> Defined<'a> {
    async fn new(world: &'a World) -> anyhow::Result<Self> {
        let console = Console::of(world)?;
        let (vhost, definitions) = (world.prefix.clone(), Value::Null);
        let defined = Self { world, console, vhost, definitions };
        // Users belong to the whole broker, so they get names of their own as well.
        let text = std::fs::read_to_string(project().join("deploy/rabbitmq/definitions.json"))?;
        let mut definitions: Value = serde_json::from_str(&text)?;
        let named =
            |name: &Value| json!(format!("{}-{}", world.prefix, name.as_str().unwrap_or_default()));
        for (_, list) in definitions.as_object_mut().context("the definitions are not an object")? {
            for item in list.as_array_mut().context("not a list")? {
                if item.get("vhost").is_some() {
                    item["vhost"] = json!(defined.vhost);
                }
                if item.get("password").is_some() {
                    anyhow::ensure!(
                        item["password"].as_str().is_some_and(|word| word.starts_with("${")),
                        "the definitions contain a password"
                    );
                    (item["password"], item["name"]) = (json!(PASSWORD), named(&item["name"]));
                }
                if item.get("user").is_some() {
                    item["user"] = named(&item["user"]);
                }
            }
        }
        definitions["vhosts"][0]["name"] = json!(defined.vhost);
        let defined = Self { definitions, ..defined };
        defined.import().await?;
        Ok(defined)
    }

    /// The AMQP URL of this user.
    fn amqp_url(&self, user: &str) -> anyhow::Result<String> {
        let mut url: reqwest::Url = self.world.amqp_url.parse()?;
        let named = url.set_username(&format!("{}-{user}", self.world.prefix));
        anyhow::ensure!(
            named.and(url.set_password(Some(PASSWORD))).is_ok(),
            "the URL names no host"
        );
        url.set_path(&format!("/{}", self.vhost));
        Ok(url.to_string())
    }

    /// The console, logged in as this user.
    fn console_of(&self, user: &str) -> anyhow::Result<Console> {
        self.console.logged_in(&self.amqp_url(user)?)
    }

    /// Imports the definitions.
    async fn import(&self) -> anyhow::Result<()> {
        let definitions = Some(self.definitions.clone());
        self.console.call(reqwest::Method::POST, "definitions", definitions).await.map(drop)
    }

    /// Grants the worker's user what earlier definitions did: to configure only retry queues.
    async fn limit_worker(&mut self) -> anyhow::Result<()> {
        self.definitions["permissions"][1]["configure"] = json!("^fetchline\\.retry\\..+$");
        self.import().await
    }

    /// Deletes a queue, and declares it again by hand with these arguments and its routing key.
    async fn remake(&self, key: &str, arguments: Value) -> anyhow::Result<()> {
        let path = format!("queues/{}/fetchline.{key}", self.vhost);
        self.console.call(reqwest::Method::DELETE, &path, None).await?;
        let queue = json!({ "durable": true, "arguments": arguments });
        self.console.call(reqwest::Method::PUT, &path, Some(queue)).await?;
        let binding = format!("bindings/{}/e/fetchline/q/fetchline.{key}", self.vhost);
        let body = Some(json!({ "routing_key": key }));
        self.console.call(reqwest::Method::POST, &binding, body).await.map(drop)
    }

    /// Removes the binding of the queue of tasks, and waits until a worker has restored it.
    async fn unbind_and_wait(&self) -> anyhow::Result<()> {
        let binding = format!("bindings/{}/e/fetchline/q/fetchline.urls", self.vhost);
        let unbind = format!("{binding}/urls");
        self.console.call(reqwest::Method::DELETE, &unbind, None).await?;
        let bindings = async || self.console.call(reqwest::Method::GET, &binding, None).await;
        let is_bound = |bindings: &Value| {
            bindings.as_array().is_some_and(|all| all.iter().any(|it| it["routing_key"] == "urls"))
        };
        wait::until("the binding is restored", bindings, is_bound).await.map(drop)
    }

    /// The news of a kind whose sentence contains these words.
    async fn news(&self, kind: &str, words: &str) -> anyhow::Result<usize> {
        let news = self.console_of("fetchline-operator")?.news("fetchline").await?;
        let matches = |news: &&Value| {
            news["kind"] == kind && news["news"].as_str().is_some_and(|text| text.contains(words))
        };
        Ok(news.iter().filter(matches).count())
    }

    /// The statuses and texts of what `check` finds about the topology as this user.
    async fn check(&self, user: &str) -> anyhow::Result<String> {
        let output = self.run_as(user, &["check", "--json"], "").await?;
        let report = output.json()?;
        let found = report["checks"].as_array().context("no checks")?.iter();
        let found = found.filter(|it| it["check"] == "topology");
        Ok(found.map(|it| format!("{} {}\n", it["status"], it["text"])).collect())
    }

    /// Runs a command as this user.
    async fn run_as(&self, user: &str, arguments: &[&str], input: &str) -> anyhow::Result<Output> {
        let url = self.amqp_url(user)?;
        self.world
            .run(&[&["--amqp-url", &url, "--prefix", "fetchline"], arguments].concat(), input)
            .await
    }

    /// The declared exchanges, queues and bindings of a virtual host.
    async fn topology(&self, vhost: &str) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for (kind, fields) in [
            ("exchanges", &["name", "type", "durable", "auto_delete", "arguments"][..]),
            ("queues", &["name", "durable", "auto_delete", "arguments"]),
            ("bindings", &["source", "destination", "routing_key", "arguments"]),
        ] {
            let items =
                self.console.call(reqwest::Method::GET, &format!("{kind}/{vhost}"), None).await?;
            for item in items.as_array().context("not a list")? {
                if item.to_string().contains("fetchline") {
                    let values: Vec<String> =
                        fields.iter().map(|field| item[*field].to_string()).collect();
                    all.push(format!("{kind} {}", values.join(" ")));
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

/// An operation on a queue.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Consume,
    Purge,
    Delete,
}

/// Tries an operation on a queue and returns the broker's answer.
async fn try_operation(
    amqp_url: &str,
    queue: &str,
    operation: Operation,
) -> anyhow::Result<String> {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let done = match operation {
        Operation::Consume => {
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            channel
                .basic_consume(queue.into(), "attempt".into(), options, arguments)
                .await
                .map(drop)
        }
        Operation::Purge => {
            channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.map(drop)
        }
        Operation::Delete => {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.map(drop)
        }
    };
    Ok(done.map_or_else(|error| error.to_string(), |()| "done".to_owned()))
}

#[tokio::test]
async fn the_definitions_match_the_declarations_of_the_program() -> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    let imported = defined.topology(&defined.vhost).await?;
    // The program declares everything in an empty virtual host.
    let empty = format!("{}-empty", world.prefix);
    defined.console.call(reqwest::Method::PUT, &format!("vhosts/{empty}"), None).await?;
    let broker: reqwest::Url = world.amqp_url.parse()?;
    let permissions = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    defined
        .console
        .call(
            reqwest::Method::PUT,
            &format!("permissions/{empty}/{}", broker.username()),
            Some(permissions),
        )
        .await?;
    let mut url = broker;
    url.set_path(&format!("/{empty}"));
    let worker = world.worker_on(url.as_str(), &["--prefix", "fetchline"])?;
    let declared = async || defined.topology(&empty).await;
    let declared =
        wait::until("the same topology", declared, |declared| declared.len() == imported.len())
            .await;
    worker.terminate().await?;
    defined.console.call(reqwest::Method::DELETE, &format!("vhosts/{empty}"), None).await?;
    defined.remove().await?;
    assert_eq!(declared?, imported);
    Ok(())
}

#[tokio::test]
async fn a_worker_without_permissions_on_longer_delay_queues_still_defers_tasks()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    // Permissions from before there were longer delays than those of `--retry-delays`.
    let queues = "^fetchline\\.(runs|urls|dead|control|retry\\.[12]s)$";
    let with_exchange = format!("{queues}|^fetchline$");
    let permissions = json!({ "configure": queues, "write": with_exchange, "read": with_exchange });
    let user = format!("{}-fetchline-worker", world.prefix);
    let path = format!("permissions/{}/{user}", defined.vhost);
    defined.console.call(reqwest::Method::PUT, &path, Some(permissions)).await?;
    for delay in ["10s", "60s", "600s", "3600s"] {
        let queue = format!("queues/{}/fetchline.retry.{delay}", defined.vhost);
        // Only some of them are in the definitions.
        _ = defined.console.call(reqwest::Method::DELETE, &queue, None).await;
    }
    world.hosts(&["pause", &world.shop.addr().to_string()]).await?;
    let flags = ["--prefix", "fetchline", "--retry-delays", "1s,2s", "--max-attempts", "1"];
    let mut worker = world.worker_on(&defined.amqp_url("fetchline-worker")?, &flags)?;
    let produced =
        defined.run_as("fetchline-producer", &["produce"], &world.pages(3).join("\n")).await?;
    assert_eq!(produced.code, Some(0), "{produced:?}");
    let deferred = async || Ok(worker.metric("fetchline_parked_total").await? as u64);
    // From the third time on, a task of a paused host would wait for 10 s.
    wait::until("deferrals", deferred, |deferred| *deferred >= 12).await?;
    world.hosts(&["resume", &world.shop.addr().to_string()]).await?;
    wait::until("the rows", async || world.rows().await, |rows| *rows == 3).await?;
    worker.logs("a delay queue cannot be declared").await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    defined.remove().await
}

#[tokio::test]
async fn each_user_has_only_the_permissions_it_needs() -> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    let urls =
        [world.pages(30), vec![world.shop.url("/status/500/1"), world.shop.url("/flaky/1/1")]]
            .concat()
            .join("\n");
    let worker_url = defined.amqp_url("fetchline-worker")?;
    let worker = world.worker_on(
        &worker_url,
        &["--prefix", "fetchline", "--max-attempts", "2", "--retry-delays", "10s"],
    )?;
    let produced =
        defined.run_as("fetchline-producer", &["produce", "--run", "least"], &urls).await?;
    assert_eq!(produced.code, Some(0), "{produced:?}");
    let waited = world.run(&["status", "--run", "least", "--wait", "--for", "1m"], "").await?;
    assert_eq!(waited.code, Some(3), "{waited:?}");
    // One task is given up: it went through a retry queue to the dead letters.
    let dead = defined.run_as("fetchline-operator", &["dead", "list", "--json"], "").await?;
    assert_eq!(dead.json()?["matched"], 1, "{dead:?}");
    // A producer can neither consume, nor read queues, nor send directives.
    for forbidden in [&["control", "pause"][..], &["dead", "list"], &["dead", "purge"]] {
        let output = defined.run_as("fetchline-producer", forbidden, "").await?;
        assert_ne!(output.code, Some(0), "{forbidden:?} {output:?}");
    }
    for action in
        [&["control", "pause"][..], &["control", "resume"], &["status"], &["dead", "replay"]]
    {
        let output = defined.run_as("fetchline-operator", action, "").await?;
        assert_eq!(output.code, Some(0), "{action:?} {output:?}");
    }
    let control = defined.run_as("fetchline-worker", &["control", "pause"], "").await?;
    assert!(control.code == Some(2) && control.stderr.contains("refused"), "{control:?}");
    assert_eq!(worker.terminate().await?.code, Some(0));
    // The broker enforces this for any program: a producer cannot consume, and an operator cannot
    // delete a queue. A worker may, since the broker lets only those compare a queue with what it
    // should be, or declare it again, who may delete it.
    for (user, queue, operation) in [
        ("fetchline-producer", "fetchline.urls", Operation::Consume),
        ("fetchline-producer", "fetchline.control", Operation::Consume),
        ("fetchline-scaler", "fetchline.urls", Operation::Consume),
        ("fetchline-producer", "fetchline.dead", Operation::Purge),
        ("fetchline-producer", "fetchline.urls", Operation::Delete),
        ("fetchline-scaler", "fetchline.urls", Operation::Delete),
        ("fetchline-worker", "fetchline.news", Operation::Consume),
        ("fetchline-operator", "fetchline.urls", Operation::Delete),
        ("fetchline-operator", "fetchline.control", Operation::Delete),
        ("fetchline-operator", "fetchline.news", Operation::Delete),
    ] {
        let refused = try_operation(&defined.amqp_url(user)?, queue, operation).await?;
        assert!(refused.contains("ACCESS_REFUSED"), "{user} {queue} {operation:?}: {refused}");
    }
    let mut consumer =
        world.worker_on(&defined.amqp_url("fetchline-producer")?, &["--prefix", "fetchline"])?;
    consumer.logs("not consuming").await?;
    consumer.kill().await?;
    defined.remove().await
}

#[tokio::test]
async fn an_operator_cannot_hurt_the_structure_by_accident() -> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    let (vhost, operator) = (&defined.vhost, defined.console_of("fetchline-operator")?);
    // One click on "Unbind" or "Delete".
    for path in [
        format!("bindings/{vhost}/e/fetchline/q/fetchline.urls/urls"),
        format!("bindings/{vhost}/e/fetchline/q/fetchline.dead/dead"),
        format!("queues/{vhost}/fetchline.control"),
        format!("queues/{vhost}/fetchline.retry.10s"),
        format!("exchanges/{vhost}/fetchline"),
    ] {
        let deleted = operator.call(reqwest::Method::DELETE, &path, None).await;
        let error = deleted.err().with_context(|| format!("{path} was deleted"))?;
        assert!(error.to_string().contains("refused"), "{path}: {error}");
    }

    // A policy for everything, with a maximum length: it does not drop dead letters.
    for number in 0..5 {
        defined
            .console_of("fetchline-operator")?
            .publish("fetchline", "dead", &format!("{number}"))
            .await?;
    }
    let policy =
        json!({ "pattern": ".*", "definition": { "max-length": 2 }, "apply-to": "queues" });
    let path = format!("policies/{vhost}/all");
    operator.call(reqwest::Method::PUT, &path, Some(policy)).await?;
    let queue = format!("queues/{vhost}/fetchline.dead");
    let state = async || operator.call(reqwest::Method::GET, &queue, None).await;
    let is_in_force = |queue: &Value| queue["policy"] == "all" && queue["messages"] == 5;
    wait::until("the policy is in force and the dead letters are there", state, is_in_force)
        .await?;
    let full = operator.publish("fetchline", "dead", "one more").await;
    assert!(full.is_err() || operator.peek("fetchline.dead").await?.len() >= 5);
    operator.call(reqwest::Method::DELETE, &path, None).await?;

    // The name of the queue in place of the routing key, and the reverse under "Move messages",
    // which makes the broker declare a queue.
    operator.publish("fetchline", "fetchline.urls", "https://shop.example/p/1").await?;
    assert_eq!(operator.peek("fetchline.urls").await?.len(), 1);
    let mistaken = format!("queues/{vhost}/urls");
    defined.console.call(reqwest::Method::PUT, &mistaken, Some(json!({ "durable": true }))).await?;
    operator.publish("amq.default", "urls", "https://shop.example/p/2").await?;
    assert_eq!(operator.peek("urls").await?.len(), 1, "what was moved there can be read");
    operator.call(reqwest::Method::DELETE, &mistaken, None).await?;
    defined.remove().await
}

/// Newer brokers do not even show what a user may not use.
#[tokio::test]
async fn what_a_user_may_not_use_does_not_pass_for_compared() -> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    let checked = defined.check("fetchline-producer").await?;
    for name in ["the exchange fetchline", "the queue fetchline.urls", "fetchline.news"] {
        assert!(checked.contains("it is not known") && checked.contains(name), "{name}: {checked}");
    }
    defined.remove().await
}

#[tokio::test]
async fn a_worker_restores_bindings_and_is_not_ready_without_its_exchange() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut defined = Defined::new(&world).await?;
    defined.limit_worker().await?;
    let defined = defined;
    let vhost = &defined.vhost;
    let flags = ["--prefix", "fetchline"];
    let mut worker = world.worker_on(&defined.amqp_url("fetchline-worker")?, &flags)?;
    // It cannot know what is of another kind, and says so.
    worker.logs("it is not known whether the exchange fetchline").await?;
    let checked = defined.check("fetchline-worker").await?;
    assert!(checked.starts_with("\"warning\" \"it is not known"), "{checked}");
    let health = worker.health().await?;
    let readyz = async || {
        let answer = reqwest::get(format!("http://{health}/readyz")).await?;
        let (status, body) = (answer.status().as_u16(), answer.bytes().await?);
        Ok((status, serde_json::from_slice::<Value>(&body)?))
    };
    wait::until("the worker is ready", readyz, |(status, _)| *status == 200).await?;

    defined.unbind_and_wait().await?;

    let dead = format!("queues/{vhost}/fetchline.dead");
    let control = format!("queues/{vhost}/fetchline.control");
    // What was missing, and is missing again a moment later, is news again.
    for path in [format!("exchanges/{vhost}/fetchline"), dead.clone(), control, dead] {
        defined.console.call(reqwest::Method::DELETE, &path, None).await?;
        let what = path.rsplit('/').next().unwrap_or_default();
        let is_missing = |(status, body): &(u16, Value)| {
            let error = body["topology"]["error"].as_str().unwrap_or_default();
            *status == 503 && error.contains(what) && error.contains("import the definitions")
        };
        wait::until("the worker is not ready and says why", readyz, is_missing).await?;
        defined.import().await?;
        wait::until("the worker is ready again", readyz, |(status, _)| *status == 200).await?;
    }
    for (kind, words, times) in [
        ("topology_missing", "the queue fetchline.dead", 2),
        ("topology_missing", "the queue fetchline.control", 1),
        ("topology_restored", "usable again", 4),
    ] {
        let news = async || defined.news(kind, words).await;
        wait::until(&format!("news of {kind}, {words}"), news, |news| *news == times).await?;
    }
    assert_eq!(worker.terminate().await?.code, Some(0));
    defined.remove().await
}

#[tokio::test]
async fn a_producer_that_may_not_declare_waits_for_a_worker_and_says_so() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let defined = Defined::new(&world).await?;
    let migrated = world.run(&["migrate"], "").await?;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    // A user who may publish to a fleet that does not exist yet.
    let console = &defined.console;
    let user = format!("{}-fetchline-producer", world.prefix);
    let rights = json!({ "configure": "^$", "write": "^new$", "read": "^$" });
    let path = format!("permissions/{}/{user}", defined.vhost);
    console.call(reqwest::Method::PUT, &path, Some(rights)).await?;
    let url = defined.amqp_url("fetchline-producer")?;
    let produce = ["produce", "--amqp-url", &url, "--prefix", "new", "--json"];
    let urls = world.file("urls.txt", &world.pages(5).join("\n"))?;
    let at_once = [&produce[..], &["--wait-for-topology", "0", &urls]].concat();
    let refused = world.run(&at_once, "").await?;
    assert!(refused.code == Some(2) && refused.stderr.contains("`new` does"), "{refused:?}");
    let mut stopped = world.start(&[&produce[..], &[&urls]].concat())?;
    stopped.logs("grant this user `configure` on new; waiting").await?;
    let stopped = stopped.terminate().await?;
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    assert_eq!(stopped.json()?["published"], 0);
    let mut waiting = world.start(&[&produce[..], &[&urls]].concat())?;
    waiting.logs("start a worker").await?;
    // A worker whose user may declare.
    let mut owner: reqwest::Url = world.amqp_url.parse()?;
    owner.set_path(&format!("/{}", defined.vhost));
    let admin = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    let path = format!("permissions/{}/{}", defined.vhost, owner.username());
    console.call(reqwest::Method::PUT, &path, Some(admin)).await?;
    let worker = world.worker_on(owner.as_str(), &["--prefix", "new"])?;
    let produced = waiting.end().await?;
    assert_eq!(produced.code, Some(0), "{produced:?}");
    wait::until("every row", async || world.rows().await, |rows| *rows == 5).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    defined.remove().await
}

#[tokio::test]
async fn a_message_that_no_queue_takes_counts_as_not_sent() -> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    let binding = format!("bindings/{}/e/fetchline/q/fetchline.urls/urls", defined.vhost);
    defined.console.call(reqwest::Method::DELETE, &binding, None).await?;
    // This user may not restore the binding.
    let produce = ["produce", "--json", "--run", "lost"];
    let output = defined.run_as("fetchline-producer", &produce, &world.pages(2).join("\n")).await?;
    assert_eq!(output.code, Some(1), "{output:?}");
    let summary = output.json()?;
    assert_eq!((&summary["published"], &summary["not_sent"]), (&0.into(), &2.into()));
    assert!(output.stderr.contains("no queue takes it"), "{output:?}");
    defined.remove().await
}

#[tokio::test]
async fn a_worker_remakes_what_was_deleted_and_tells_the_operator() -> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    let vhost = &defined.vhost;
    let flags = ["--prefix", "fetchline"];
    let mut worker = world.worker_on(&defined.amqp_url("fetchline-worker")?, &flags)?;
    worker.logs("consuming").await?;
    let joined = async || defined.news("worker_joined", "").await;
    wait::until("the worker reports", joined, |news| *news == 1).await?;
    // Only the bindings of the news.
    for key in ["news", "fetchline.news"] {
        let path = format!("bindings/{vhost}/e/fetchline/q/fetchline.news/{key}");
        defined.console.call(reqwest::Method::DELETE, &path, None).await?;
    }
    let before = async || {
        let path = format!("bindings/{vhost}/e/fetchline/q/fetchline.news");
        let bindings = defined.console.call(reqwest::Method::GET, &path, None).await?;
        Ok(bindings.as_array().map_or(0, Vec::len))
    };
    wait::until("the news are bound again", before, |bindings| *bindings == 2).await?;
    for name in ["news", "control", "dead", "dead"] {
        let path = format!("queues/{vhost}/fetchline.{name}");
        let known = defined.news("topology_restored", &format!("fetchline.{name} was")).await?;
        defined.console.call(reqwest::Method::DELETE, &path, None).await?;
        let known = if name == "news" { 0 } else { known };
        let news = async || {
            defined.news("topology_restored", &format!("fetchline.{name} was missing")).await
        };
        wait::until(&format!("{name} is reported as remade"), news, |news| *news > known).await?;
    }
    assert_eq!(worker.terminate().await?.code, Some(0));
    let checked = defined.check("fetchline-worker").await?;
    assert!(checked.starts_with("\"ok\""), "{checked}");
    defined.remove().await
}

#[tokio::test]
async fn a_worker_of_the_definitions_refuses_what_would_multiply_or_keep_messages()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let mut defined = Defined::new(&world).await?;
    let url = defined.amqp_url("fetchline-worker")?;
    let refused = async |defined: &Defined<'_>, words: &str| {
        let output = world.worker_on(&url, &["--prefix", "fetchline"])?.end().await?;
        let is_named = output.stderr.contains(words);
        anyhow::ensure!(output.code == Some(2) && is_named, "{words}: {output:?}");
        let checked = defined.check("fetchline-worker").await?;
        anyhow::ensure!(checked.contains("\"wrong\"") && checked.contains(words), "{checked}");
        Ok(())
    };
    // Other differences of the queue come first.
    let target = json!({
        "x-queue-type": "quorum", "x-dead-letter-exchange": "fetchline",
        "x-dead-letter-routing-key": "urls",
    });
    let mut late = target.clone();
    late["x-message-ttl"] = json!(86_400_000);
    for arguments in [target, late] {
        defined.remake("retry.10s", arguments).await?;
        refused(&defined, "inequivalent arg 'x-message-ttl' for queue 'fetchline.retry.10s'")
            .await?;
    }
    let retry = format!("queues/{}/fetchline.retry.10s", defined.vhost);
    defined.console.call(reqwest::Method::DELETE, &retry, None).await?;
    let exchange = format!("exchanges/{}/fetchline", defined.vhost);
    defined.console.call(reqwest::Method::DELETE, &exchange, None).await?;
    defined.definitions["exchanges"][0]["type"] = json!("fanout");
    defined.import().await?;
    refused(&defined, "inequivalent arg 'type' for exchange 'fetchline'").await?;
    let operator = defined.console_of("fetchline-operator")?;
    assert_eq!(operator.peek("fetchline.dead").await?.len(), 0);
    defined.remove().await
}

#[tokio::test]
async fn a_control_stream_that_is_no_stream_is_reported() -> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    let vhost = &defined.vhost;
    defined.remake("control", json!({})).await?;
    let checked = defined.check("fetchline-worker").await?;
    assert!(checked.contains("\"wrong\"") && checked.contains("fetchline.control"), "{checked}");
    let flags = ["--prefix", "fetchline"];
    let mut worker = world.worker_on(&defined.amqp_url("fetchline-worker")?, &flags)?;
    worker.logs("consuming").await?;
    let health = worker.health().await?;
    let readyz = async || {
        let answer = reqwest::get(format!("http://{health}/readyz")).await?;
        let (status, body) = (answer.status().as_u16(), answer.bytes().await?);
        Ok((status, serde_json::from_slice::<Value>(&body)?))
    };
    wait::until("the worker is not ready and says why", readyz, |(status, body)| {
        let error = body["topology"]["error"].as_str().unwrap_or_default();
        *status == 503 && error.contains("fetchline.control is not a stream")
    })
    .await?;
    let news = async || defined.news("topology_differs", "fetchline.control").await;
    wait::until("news of it", news, |news| *news > 0).await?;
    // Bindings are checked nevertheless.
    defined.unbind_and_wait().await?;
    // Without the queue, the worker declares the stream.
    let control = format!("queues/{vhost}/fetchline.control");
    defined.console.call(reqwest::Method::DELETE, &control, None).await?;
    wait::until("the worker is ready", readyz, |(status, _)| *status == 200).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    defined.remove().await
}

#[tokio::test]
async fn dead_letters_that_waited_for_room_go_out_when_the_limit_is_lifted() -> anyhow::Result<()> {
    let world = World::new().await?;
    let defined = Defined::new(&world).await?;
    let operator = defined.console_of("fetchline-operator")?;
    for number in 0..3 {
        operator.publish("fetchline", "dead", &format!("{number}")).await?;
    }
    let policy = json!({
        "pattern": "^fetchline\\.dead$", "definition": { "max-length": 2 }, "apply-to": "queues",
    });
    let path = format!("policies/{}/short", defined.vhost);
    operator.call(reqwest::Method::PUT, &path, Some(policy)).await?;
    let queue = format!("queues/{}/fetchline.dead", defined.vhost);
    let state = async || operator.call(reqwest::Method::GET, &queue, None).await;
    wait::until("the policy is in force", state, |queue| queue["policy"] == "short").await?;
    let flags = ["--prefix", "fetchline"];
    let mut worker = world.worker_on(&defined.amqp_url("fetchline-worker")?, &flags)?;
    worker.logs("consuming").await?;
    // The queue refuses a message only after it has grown beyond its length.
    operator.publish("fetchline", "urls", "no task").await?;
    operator.publish("fetchline", "urls", "no task either").await?;
    worker.logs("the queue is full").await?;
    operator.call(reqwest::Method::DELETE, &path, None).await?;
    let letters = async || Ok(operator.peek("fetchline.dead").await?.len());
    wait::until("every letter", letters, |letters| *letters == 5).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    defined.remove().await
}
