//! RabbitMQ's console: messages that are typed there, and what it shows.

use fetchline_tests::console::Console;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_message_typed_into_the_console_becomes_a_row_or_a_dead_letter_with_a_reason()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let console = Console::of(&world)?;
    let page = |path: &str| world.shop.url(path);
    let posted = json!({
        "url": page("/echo"), "method": "POST", "body": { "sku": 17 },
        "run": "typed", "category": "Tea",
    });
    for payload in [
        page("/p/1"),
        format!("  {}\n", page("/p/2")),
        posted.to_string(),
        json!({ "url": page("/p/3") }).to_string(),
        page("/status/500/1"),
        "htp:/shop.example".to_owned(),
        "{\"url\": \"https://shop.example\", }".to_owned(),
        json!({ "link": page("/p/4") }).to_string(),
    ] {
        console.publish(&world.prefix, "urls", &payload).await?;
    }
    let worker = world.worker(&["--max-attempts", "1"])?;
    let rows = async || world.rows().await;
    wait::until("a row for each task", rows, |rows| *rows == 5).await?;
    let dead = async || world.ready("dead").await;
    wait::until("dead letters for the others and for the failure", dead, |dead| *dead == 4).await?;
    let ok: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT run, method, url FROM fetches WHERE outcome = 'ok' ORDER BY url, run",
    )
    .fetch_all(&world.database)
    .await?;
    let row = |run: &str, method: &str, path: &str| (run.to_owned(), method.to_owned(), page(path));
    let expected = [
        row("typed", "POST", "/echo"),
        row("adhoc", "GET", "/p/1"),
        row("adhoc", "GET", "/p/2"),
        row("adhoc", "GET", "/p/3"),
    ];
    assert_eq!(ok, expected);

    // The console shows the reasons.
    let letters = console.peek(&format!("{}.dead", world.prefix)).await?;
    let headers_of = |payload: &str| {
        let letter = letters
            .iter()
            .find(|letter| letter["payload"].as_str().is_some_and(|text| text.contains(payload)));
        letter.map(|letter| letter["properties"]["headers"].clone()).unwrap_or_default()
    };
    for (payload, reason, error) in [
        ("htp:/", "not_a_task", "the URL is not usable"),
        ("shop.example\", }", "not_a_task", "its syntax is wrong (line 1, column"),
        ("\"link\"", "not_a_task", "unknown field `link`"),
        ("/status/500/1", "http_error", "500"),
    ] {
        let headers = headers_of(payload);
        assert_eq!(headers["x-reason"], reason, "{payload}: {headers}");
        assert!(
            headers["x-error"].as_str().is_some_and(|text| text.contains(error)),
            "{payload}: {headers}"
        );
        assert_eq!(headers["x-worker"], "worker-1");
        assert!(
            headers["x-failed-at"].as_str().is_some_and(|time| time.ends_with('Z')),
            "{headers}"
        );
    }
    let failed = headers_of("/status/500/1");
    assert_eq!((&failed["x-status"], &failed["x-attempts"]), (&500.into(), &1.into()), "{failed}");
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn connections_and_consumers_name_their_worker() -> anyhow::Result<()> {
    let world = World::new().await?;
    let console = Console::of(&world)?;
    let worker = world.worker(&[])?;
    let queue = format!("queues/%2f/{}.urls", world.prefix);
    let consumers =
        async || Ok(console.call(Method::GET, &queue, None).await?["consumer_details"].clone());
    let is_named = |details: &Value| details[0]["channel_details"]["connection_name"].is_string();
    let consumers = wait::until("the consumer and its connection", consumers, is_named).await?;
    let consumer = &consumers[0];
    assert_eq!(
        (&consumer["consumer_tag"], &consumer["prefetch_count"]),
        (&"worker-1".into(), &1100.into()),
        "{consumer}"
    );
    let name = consumer["channel_details"]["connection_name"].as_str().unwrap_or_default();
    let path = format!("connections/{}", name.replace(' ', "%20").replace('>', "%3E"));
    let client = console.call(Method::GET, &path, None).await?["client_properties"].clone();
    for (property, expected) in [
        ("connection_name", "fetchline-consume@worker-1"),
        ("product", "fetchline"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("role", "consume"),
        ("pod", "worker-1"),
    ] {
        assert_eq!(client[property], Value::from(expected), "{client}");
    }
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn a_pasted_list_becomes_tasks_and_its_bad_lines_become_dead_letters() -> anyhow::Result<()> {
    let world = World::new().await?;
    let console = Console::of(&world)?;
    let worker = world.worker(&[])?;
    let page = |path: &str| world.shop.url(path);
    let list = [
        "# shops",
        &page("/p/1"),
        &format!("  \"{}\",", page("/p/2")),
        &format!("<{}>\r", page("/p/3")),
        &json!({ "url": page("/p/4"), "run": "pasted" }).to_string(),
        "",
        "www.shop.example/p/5",
        &json!({ "url": page("/p/6"), "metod": "POST" }).to_string(),
    ]
    .join("\n");
    console.publish(&world.prefix, "list", &list).await?;
    // The same list under the key of tasks is one message that says what to do.
    console.publish(&world.prefix, "urls", &list).await?;
    wait::until("a row for each task", async || world.rows().await, |rows| *rows == 4).await?;
    let dead = async || world.ready("dead").await;
    wait::until("the bad lines", dead, |dead| *dead == 3).await?;
    let letters = console.peek(&format!("{}.dead", world.prefix)).await?;
    let mut errors: Vec<_> = letters
        .iter()
        .map(|letter| letter["properties"]["headers"]["x-error"].as_str().unwrap_or_default())
        .collect();
    errors.sort_unstable();
    for (error, expected) in
        errors.iter().zip(["https://", "`list`, a task a line", "unknown field `metod`"])
    {
        assert!(error.contains(expected), "{error}");
    }
    let unacked = async || world.ready("urls").await;
    wait::until("nothing is left", unacked, |ready| *ready == 0).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    assert_eq!((world.ready("urls").await?, world.rows().await?), (0, 4));
    Ok(())
}
