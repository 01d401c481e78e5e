//! What operators type into the control stream is obeyed and answered, a message a fact.

use fetchline_tests::console::Console;
use fetchline_tests::process::Running;
use fetchline_tests::proxy::Proxy;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use reqwest::Method;
use serde_json::Value;

/// A world with its console.
struct Fleet {
    world: World,
    console: Console,
}

impl Fleet {
    async fn new() -> anyhow::Result<Self> {
        let world = World::new().await?;
        let console = Console::of(&world)?;
        Ok(Self { world, console })
    }

    async fn direct(&self, text: &str) -> anyhow::Result<()> {
        self.console.direct(&self.world.prefix, text).await
    }

    /// Waits for news of a kind whose sentence contains a text.
    async fn hears(&self, kind: &str, text: &str) -> anyhow::Result<Value> {
        let matching = async || {
            let news = self.console.news(&self.world.prefix).await?;
            let is_meant = |news: &&Value| {
                news["kind"] == kind && news["news"].as_str().is_some_and(|it| it.contains(text))
            };
            Ok((news.iter().find(is_meant).cloned(), news))
        };
        let what = format!("news of the kind {kind} with {text:?}");
        let (found, _) = wait::until(&what, matching, |(found, _)| found.is_some()).await?;
        Ok(found.unwrap_or_default())
    }

    /// How many answers there are to what was typed.
    async fn answers(&self, typed: &str) -> anyhow::Result<usize> {
        let news = self.console.news(&self.world.prefix).await?;
        Ok(news.iter().filter(|news| news["typed"] == typed).count())
    }

    /// Waits until a worker is in the roster.
    async fn joins(&self, worker: &mut Running, pod: &str) -> anyhow::Result<()> {
        worker.logs("consum").await?;
        self.hears("worker_joined", pod).await.map(drop)
    }

    /// The tags of the consumers of a queue.
    async fn tags(&self, key: &str) -> anyhow::Result<Vec<String>> {
        let path = format!("queues/%2f/{}.{key}", self.world.prefix);
        let queue = self.console.call(Method::GET, &path, None).await?;
        let consumers = queue["consumer_details"].as_array().cloned().unwrap_or_default();
        let tag = |consumer: &Value| consumer["consumer_tag"].as_str().map(str::to_owned);
        Ok(consumers.iter().filter_map(tag).collect())
    }
}

#[tokio::test]
async fn a_word_that_no_worker_knows_is_refused_once_with_what_to_type() -> anyhow::Result<()> {
    let fleet = Fleet::new().await?;
    let mut workers = [fleet.world.worker(&[])?, fleet.world.worker(&[])?];
    for (worker, pod) in workers.iter_mut().zip(["worker-1", "worker-2"]) {
        fleet.joins(worker, pod).await?;
    }
    for (typed, expected) in [
        ("puase", "did you mean `pause`?"),
        ("{\"pause\": true}", "is JSON"),
        ("pause\nconcurrency 5", "has 2 lines"),
        ("concurrency 0", "1 to 65535"),
        ("host shop.example fast", "`host NAME N/s|pause|resume|clear`"),
        ("replay hots=shop.example", "`hots` is not a filter"),
        ("pause blue-7", "no worker is called blue-7; the workers are worker-1 and worker-2"),
        ("drain blue-7", "no worker is called blue-7"),
        ("cancel adhoc", "`adhoc` is the run of all messages"),
    ] {
        fleet.direct(typed).await?;
        let shown = typed.replace('\n', " ");
        let news = fleet.hears("refused", &format!("`{shown}` is refused")).await?;
        assert!(news["news"].as_str().is_some_and(|text| text.contains(expected)), "{news}");
        assert_eq!(news["typed"], shown, "{news}");
        assert_eq!((&news["by"], &news["accepted"]), (&"the console".into(), &false.into()));
        assert!(news.to_string().starts_with("{\"") && news["at"].is_string(), "{news}");
    }
    // Both workers have read all of them, and each was answered once.
    assert_eq!(fleet.answers("puase").await?, 1);
    assert_eq!(fleet.answers("drain blue-7").await?, 1);
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    fleet.hears("worker_ended", "worker-1").await?;
    fleet.hears("worker_ended", "worker-2").await?;
    Ok(())
}

#[tokio::test]
async fn a_pause_shows_in_the_console_and_is_answered_by_the_names_of_the_workers()
-> anyhow::Result<()> {
    let fleet = Fleet::new().await?;
    let mut workers = [fleet.world.worker(&[])?, fleet.world.worker(&[])?];
    for (worker, pod) in workers.iter_mut().zip(["worker-1", "worker-2"]) {
        fleet.joins(worker, pod).await?;
    }
    fleet.direct(" \"Pause\"\n").await?;
    // On a busy machine, the answer may name a worker that has not obeyed yet; both do below.
    let news = fleet.hears("paused", "worker-1").await?;
    assert_eq!(news["directive"], "pause", "{news}");
    let said = news["news"].as_str().unwrap_or_default();
    assert!(said.contains("worker-2") && said.contains("take no tasks"), "{news}");
    let tags = async || {
        fleet.tags("runs").await.map(|mut tags| {
            tags.sort();
            tags
        })
    };
    let paused = ["worker-1 paused", "worker-2 paused"];
    wait::until("the consumers of part reports show the pause", tags, |tags| *tags == paused)
        .await?;

    // A run that is published during the pause is known.
    fleet.world.produce("nightly", &fleet.world.pages(3)).await?;
    fleet.hears("run_begun", "the run nightly begins").await?;
    let status = fleet.world.run(&["status", "--run", "nightly", "--json"], "").await?.json()?;
    assert_eq!((&status["run"]["planned"], &status["run"]["rows"]), (&3.into(), &0.into()));
    assert!(status["paused"]["since"].is_string(), "{status}");
    assert_eq!(status["workers"][0]["pod"], "worker-1", "{status}");
    let text = fleet.world.run(&["status"], "").await?.stdout;
    assert!(text.contains("all workers are paused since") && text.contains("worker-2"), "{text}");

    fleet.direct("resume worker-2").await?;
    fleet.hears("resumed", "worker-2 take tasks again").await?;
    fleet.hears("run_complete", "the run nightly is complete: 3 tasks, 3 ok").await?;
    let control = fleet.world.run(&["control", "concurrency", "5"], "").await?;
    assert_eq!(control.code, Some(0), "{control:?}");
    let news = fleet.hears("concurrency", "make up to 5 fetches").await?;
    assert_ne!(news["by"], "the console", "{news}");
    let tags = async || fleet.tags("urls").await;
    wait::until("the consumer shows the concurrency", tags, |tags| {
        *tags == ["worker-2 concurrency=5"]
    })
    .await?;
    fleet.direct("concurrency default").await?;
    fleet.hears("concurrency", "as many fetches as --concurrency says").await?;
    wait::until("the consumer has its old name", tags, |tags| {
        tags.len() == 1 && tags[0].starts_with("worker-2") && !tags[0].contains('=')
    })
    .await?;
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_worker_and_hosts_that_slow_the_fleet_down_are_news() -> anyhow::Result<()> {
    let fleet = Fleet::new().await?;
    let world = &fleet.world;
    let mut workers = [world.worker(&[])?, world.worker(&[])?];
    for (worker, pod) in workers.iter_mut().zip(["worker-1", "worker-2"]) {
        fleet.joins(worker, pod).await?;
    }
    let [killed, survivor] = workers;
    killed.kill().await?;
    // By two names, the shop is two hosts.
    let port = world.shop.addr().port();
    let pages = [world.shop.url("/busy/120/1/once")]
        .into_iter()
        .chain((0..6).map(|n| format!("http://localhost:{port}/status/429/{n}")));
    world.produce("nightly", &pages.collect::<Vec<_>>()).await?;
    let news = fleet.hears("host", "cools down for").await?;
    assert_eq!(news["host"], world.shop.addr().to_string(), "{news}");
    assert!(news["news"].as_str().is_some_and(|text| text.contains("429")), "{news}");
    let news = fleet.hears("host", "is slowed to").await?;
    assert_eq!(news["host"], format!("localhost:{port}"), "{news}");
    let hundredths = news["slowed_to"].as_f64().unwrap_or_default() * 100.0;
    assert!(hundredths > 0.0 && (hundredths - hundredths.round()).abs() < 1e-6, "{news}");
    let news = fleet.hears("worker_lost", "worker-1 is lost").await?;
    assert_eq!((&news["pod"], &news["reported_by"]), (&"worker-1".into(), &"worker-2".into()));
    let lost = fleet.console.news(&world.prefix).await?;
    let lost = lost.iter().filter(|news| news["kind"] == "worker_lost");
    assert_eq!(lost.count(), 1, "the survivor was seen all the time");
    survivor.kill().await?;
    Ok(())
}

#[tokio::test]
async fn what_an_operator_types_is_carried_out_once_without_a_shell() -> anyhow::Result<()> {
    let fleet = Fleet::new().await?;
    let (world, host) = (&fleet.world, fleet.world.shop.addr().to_string());
    let mut worker = world.worker(&["--max-attempts", "1"])?;
    fleet.joins(&mut worker, "worker-1").await?;
    let failing = ["/status/500/1", "/status/500/2", "/status/404/3"].map(|it| world.shop.url(it));
    world.produce("Night 7", &failing).await?;
    let dead = async || world.ready("dead").await;
    wait::until("the dead letters", dead, |dead| *dead == 2).await?;
    let without_port = host.split(':').next().unwrap_or_default();
    fleet.direct(&format!("replay host={without_port} status=404")).await?;
    fleet.hears("replayed", "0 of 2 dead letters are replayed").await?;
    fleet.direct("replay run=\"Night 7\" status=500 limit=1").await?;
    fleet.hears("replayed", "1 of 2 dead letters are replayed").await?;
    let rewrites = async || world.count("SELECT COUNT(*) FROM fetches WHERE rewrites = 1").await;
    wait::until("another fetch", rewrites, |rewrites| *rewrites == 1).await?;

    let limit = async || anyhow::Ok(world.hosts(&["list"]).await?[0].clone());
    for (change, answer) in [
        ("5/s", "gets at most 5 requests per second"),
        ("pause", "gets no requests until"),
        ("resume", "gets requests again"),
        ("clear", "has no limit any more"),
    ] {
        fleet.direct(&format!("host {host} {change}")).await?;
        fleet.hears("host", answer).await?;
        let limit = limit().await?;
        assert_eq!(limit["rate"].is_number(), matches!(change, "5/s" | "pause" | "resume"));
        assert_eq!(limit["paused"], change == "pause", "{change}: {limit}");
    }

    fleet.direct("cancel nightly").await?;
    let news = fleet.hears("run_cancelled", "no worker has reported a run of this name").await?;
    assert_eq!(news["directive"], "cancel nightly", "{news}");
    let cancelled = "SELECT COUNT(*) FROM runs WHERE run = 'nightly' AND cancelled_at IS NOT NULL";
    assert_eq!(world.count(cancelled).await?, 1);

    // A worker that starts later does none of this again.
    world.run(&["hosts", "set", &host, "--rate", "7/s"], "").await?;
    let mut second = world.worker(&[])?;
    fleet.joins(&mut second, "worker-2").await?;
    fleet.direct("host other.example 3/s").await?;
    fleet.hears("host", "other.example gets at most 3").await?;
    assert_eq!(limit().await?["rate"], 7.0);

    // The worker that is drained ends. What was typed before a worker started is for another one.
    fleet.direct("drain worker-3").await?;
    fleet.hears("refused", "no worker is called worker-3").await?;
    fleet.direct("drain worker-1").await?;
    let ended = worker.end().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    fleet.hears("draining", "worker-1 finishes what it has begun").await?;
    fleet.hears("worker_ended", "worker-1 has ended").await?;
    let mut third = world.worker(&[])?;
    fleet.joins(&mut third, "worker-3").await?;
    world.produce("after", &world.pages(2)).await?;
    let rows = async || world.count("SELECT COUNT(*) FROM fetches WHERE run = 'after'").await;
    wait::until("the rows", rows, |rows| *rows == 2).await?;
    for worker in [second, third] {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

/// The broker counts the messages of a stream some seconds late.
#[tokio::test]
async fn a_worker_that_starts_right_after_a_drain_of_its_name_stays() -> anyhow::Result<()> {
    let fleet = Fleet::new().await?;
    let mut first = fleet.world.worker(&[])?;
    fleet.joins(&mut first, "worker-1").await?;
    fleet.direct("drain worker-2").await?;
    let mut second = fleet.world.worker(&[])?;
    fleet.joins(&mut second, "worker-2").await?;
    fleet.direct("pause worker-2").await?;
    fleet.hears("paused", "worker-2").await?;
    let ended = second.terminate().await?;
    assert!(!ended.stderr.contains("an operator drains this worker"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn while_the_database_is_away_the_operator_hears_of_it_once_and_gets_answers()
-> anyhow::Result<()> {
    let fleet = Fleet::new().await?;
    let world = &fleet.world;
    let (proxy, through_proxy) = Proxy::before(&world.database_url).await?;
    let mut workers = Vec::new();
    for pod in ["worker-1", "worker-2"] {
        let mut worker = world.worker_between(&world.amqp_url, &through_proxy, &[])?;
        fleet.joins(&mut worker, pod).await?;
        workers.push(worker);
    }
    // Until then, the second one does not know that it is not the only one.
    let seen = "SELECT COUNT(*) FROM workers WHERE seen_at > started_at + INTERVAL 6 SECOND";
    wait::until("both know the roster", async || world.count(seen).await, |seen| *seen == 2)
        .await?;
    proxy.refuse(true);
    proxy.cut();
    let away = fleet.hears("database_away", "nothing is lost").await?;
    assert_eq!(away["reported_by"], "worker-1", "{away}");

    fleet.direct("puase").await?;
    let refused = fleet.hears("refused", "did you mean `pause`?").await?;
    assert_eq!(refused["accepted"], false, "{refused}");
    fleet.direct("host shop.example pause").await?;
    let waiting = fleet.hears("waiting", "`host shop.example pause` waits").await?;
    assert_eq!((&waiting["accepted"], &waiting["typed"]), (&true.into(), &waiting["directive"]));
    fleet.direct("cancel nightly").await?;
    fleet.hears("waiting", "`cancel nightly` waits").await?;
    fleet.direct("pause worker-2").await?;
    fleet.hears("waiting", "`pause worker-2` is obeyed").await?;
    let is_paused = |tags: &Vec<String>| tags.contains(&"worker-2 paused".to_owned());
    wait::until("the pause", async || fleet.tags("runs").await, is_paused).await?;
    fleet.direct("drain worker-2").await?;
    fleet.hears("waiting", "`drain worker-2` is obeyed").await?;
    let drained = workers.remove(1).end().await?;
    assert_eq!(drained.code, Some(0), "{drained:?}");

    proxy.refuse(false);
    fleet.hears("database_back", "tasks are fetched again").await?;
    fleet.hears("draining", "worker-2 finishes what it has begun").await?;
    // What has waited is carried out once, and answered by its workers.
    fleet.hears("host", "shop.example gets no requests").await?;
    fleet.hears("run_cancelled", "nightly").await?;
    let limits = world.hosts(&["list"]).await?;
    assert_eq!(
        (&limits[0]["host"], &limits[0]["paused"]),
        (&"shop.example".into(), &true.into()),
        "{limits}"
    );
    let news = fleet.console.news(&world.prefix).await?;
    for kind in ["database_away", "database_back"] {
        assert_eq!(news.iter().filter(|fact| fact["kind"] == kind).count(), 1, "{news:?}");
    }
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn the_tasks_of_a_resumed_host_are_freed_by_moving_them() -> anyhow::Result<()> {
    let fleet = Fleet::new().await?;
    let (world, host) = (&fleet.world, fleet.world.shop.addr().to_string());
    let mut worker = world.worker(&["--retry-delays", "600s"])?;
    fleet.joins(&mut worker, "worker-1").await?;
    world.hosts(&["pause", &host]).await?;
    worker.logs("a host limit has changed").await?;
    world.produce("paused", &world.pages(5)).await?;
    let waiting = async || world.ready("retry.600s").await;
    wait::until("the tasks wait", waiting, |waiting| *waiting == 5).await?;
    fleet.direct(&format!("host {host} resume")).await?;
    let work_queue = format!("move the messages of these queues to {}.urls", world.prefix);
    fleet.hears("host", &work_queue).await?;
    worker.logs("\"paused\":false").await?;
    // What "Move messages" does.
    let (from, to) = (format!("{}.retry.600s", world.prefix), format!("{}.urls", world.prefix));
    fleet.console.move_messages(&from, &to).await?;
    wait::until("the rows", async || world.rows().await, |rows| *rows == 5).await?;
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE attempts = 1").await?, 5);
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}
