//! Where lists come from, and how much of them is published when something breaks off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use axum::routing::get;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The tasks that a checkpoint counts as confirmed.
fn confirmed(checkpoint: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(checkpoint)?;
    let state: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(state["confirmed"]["tasks"].as_u64().unwrap_or(0))
}

#[tokio::test]
async fn a_sitemap_that_breaks_off_keeps_its_part_open_until_it_is_read() -> anyhow::Result<()> {
    let world = World::new().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let sitemap = |ids: std::ops::Range<u64>| {
        let urls = ids.map(|id| world.shop.url(&format!("/empty/{id}")));
        let urls: String = urls.map(|url| format!("<url><loc>{url}</loc></url>")).collect();
        format!("<urlset>{urls}</urlset>")
    };
    let names: String = ["one", "two", "three"]
        .map(|name| format!("<sitemap><loc>http://{address}/{name}.xml</loc></sitemap>"))
        .concat();
    let (one, two, three) = (sitemap(0..30), sitemap(30..60), sitemap(60..90));
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let site = axum::Router::new()
        .route("/", get(async move || format!("<sitemapindex>{names}</sitemapindex>")))
        .route("/one.xml", get(async move || one))
        .route(
            "/two.xml",
            get(async move || match down.load(Ordering::Relaxed) {
                true => Err(StatusCode::BAD_GATEWAY),
                false => Ok(two),
            }),
        )
        .route("/three.xml", get(async move || three));
    tokio::spawn(async move { axum::serve(listener, site).await });

    let checkpoint = world.file("checkpoint.json", "")?;
    let index = format!("http://{address}/");
    let arguments = ["produce", "--run", "map", "--json", "--checkpoint", &checkpoint, &index];
    let output = world.run(&arguments, "").await?;
    assert_eq!(output.code, Some(1), "{output:?}");
    let summary = output.json()?;
    assert_eq!((&summary["published"], &summary["complete"]), (&60.into(), &false.into()));
    assert!(
        summary["problem"]
            .as_str()
            .is_some_and(|problem| problem.contains("/two.xml") && problem.contains("502")),
        "{summary}"
    );
    assert!(output.stderr.contains("an index of sitemaps"), "{output:?}");
    assert_eq!(confirmed(&checkpoint)?, 60);
    world.work_until_empty(&[]).await?;
    let open = "SELECT COUNT(*) FROM runs WHERE planned IS NULL";
    assert_eq!((world.count(open).await?, world.rows().await?), (1, 60));

    is_down.store(false, Ordering::Relaxed);
    let output = world.run(&arguments, "").await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let summary = output.json()?;
    assert_eq!((&summary["resumed"], &summary["published"]), (&60.into(), &30.into()));
    assert!(!std::path::Path::new(&checkpoint).exists());
    world.work_until_empty(&[]).await?;
    let closed = "SELECT COUNT(*) FROM runs WHERE planned = 90";
    assert_eq!((world.count(closed).await?, world.rows().await?), (1, 90));
    assert_eq!(world.shop.visits().total(), 90, "no page is fetched twice");
    Ok(())
}

#[tokio::test]
async fn a_checkpoint_has_one_user_and_lags_by_about_a_second() -> anyhow::Result<()> {
    let world = World::new().await?;
    let file = world.file("urls.txt", &world.pages(2_000).join("\n"))?;
    let checkpoint = world.file("checkpoint.json", "")?;
    let arguments = ["produce", "--json", "--checkpoint", &checkpoint, "--rate", "40/s", &file];
    let producer = world.start(&arguments)?;
    let ready = async || world.ready("urls").await;
    wait::until("some messages", ready, |ready| *ready > 0).await?;
    let second = world.run(&arguments, "").await?;
    assert!(
        second.code == Some(2) && second.stderr.contains("another `fetchline produce` is using it"),
        "{second:?}"
    );
    wait::until("the messages of some seconds", ready, |ready| *ready > 160).await?;
    producer.kill().await?;
    let (sent, confirmed) = (u64::from(world.ready("urls").await?), confirmed(&checkpoint)?);
    assert!(
        confirmed <= sent && sent - confirmed <= 80,
        "{sent} tasks are sent, and {confirmed} need not be sent again"
    );
    // The lock has gone with its process.
    let output = world.run(&["produce", "--json", "--checkpoint", &checkpoint, &file], "").await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(output.json()?["resumed"], confirmed);
    Ok(())
}

#[tokio::test]
async fn a_server_is_not_kept_waiting_by_a_slow_publisher() -> anyhow::Result<()> {
    let world = World::new().await?;
    // More than sockets buffer. A task comes first, so that publishing is slow from the start.
    let list = world.pages(500).join("\n") + &"\n# a comment that nobody reads".repeat(1 << 20);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/urls.txt", listener.local_addr()?);
    let is_sent = Arc::new(AtomicBool::new(false));
    let sent = is_sent.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        _ = stream.read(&mut [0; 4096]).await?;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", list.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(list.as_bytes()).await?;
        sent.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    });
    let mut producer = world.start(&["produce", "--rate", "5/s", &url])?;
    let is_sent = async || Ok(is_sent.load(Ordering::Relaxed));
    wait::until("the whole list", is_sent, |is_sent| *is_sent).await?;
    assert!(producer.ended()?.is_none() && world.ready("urls").await? < 500);
    let output = producer.terminate().await?;
    assert!(output.code == Some(1) && output.stderr.contains("interrupted"), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn publishing_waits_while_the_queue_is_long() -> anyhow::Result<()> {
    let world = World::new().await?;
    let urls = world.numbered("/empty/", 500);
    let file = world.file("urls.txt", &urls.join("\n"))?;
    let mut producer = world.start(&["produce", "--json", "--max-queued", "40", &file])?;
    producer.logs("40 tasks are queued").await?;
    assert_eq!(world.ready("urls").await?, 40);
    let worker = world.worker(&[])?;
    let output = producer.end().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 500).await?;
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn a_task_is_not_fetched_before_its_time_and_waiting_costs_no_attempt() -> anyhow::Result<()>
{
    let world = World::new().await?;
    let page = |id: u32| world.shop.url(&format!("/empty/{id}"));
    let worker = world.worker(&["--retry-delays", "1s,2s"])?;
    let now: i64 = world.count("SELECT UNIX_TIMESTAMP()").await?;
    // A line's own time goes before the flag.
    let lines = format!(
        "{{\"url\":\"{}\",\"not_before\":{}}}\n{{\"url\":\"{}\",\"not_before\":\"{}\"}}\n\
         {{\"url\":\"{}\"}}\n{{\"url\":\"{}\",\"not_before\":1772364600000}}\n",
        page(1),
        now - 10,
        page(2),
        now + 6,
        page(3),
        page(4),
    );
    let output = world.run(&["produce", "--json", "--delay", "3s", "-"], &lines).await?;
    assert!(output.code == Some(3) && output.stderr.contains("`not_before`"), "{output:?}");
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 3).await?;
    let fetched: Vec<(String, i64, u32)> = sqlx::query_as(
        "SELECT url, CAST(FLOOR(UNIX_TIMESTAMP(fetched_at)) AS SIGNED), attempts FROM fetches \
         ORDER BY url",
    )
    .fetch_all(&world.database)
    .await?;
    let (first, second, third) = (fetched[0].1, fetched[1].1, fetched[2].1);
    assert!(second >= now + 6 && third >= now + 3 && first < second, "{now}: {fetched:?}");
    assert!(fetched.iter().all(|(.., attempts)| *attempts == 1), "{fetched:?}");
    assert_eq!(world.shop.visits().total(), 3);
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn feeds_and_old_pages_are_told_apart() -> anyhow::Result<()> {
    let world = World::new().await?;
    let feed = "<rss version=\"2.0\"><channel><link>https://shop.example/</link>\
        <item><link>https://shop.example/p/1</link><pubDate>Sun, 01 Mar 2020 11:30:00 GMT</pubDate>\
        </item>\n<item><link>https://shop.example/p/2</link></item>\n<item><link>/p/3</link></item>\
        </channel></rss>";
    let file = world.file("products.rss.xml", feed)?;
    let arguments = ["produce", "--dry-run", "--json", "--modified-since", "2d", &file];
    let output = world.run(&arguments, "").await?;
    assert_eq!(output.code, Some(3), "{output:?}");
    let summary = output.json()?;
    for (count, expected) in [("published", 1), ("skipped", 1), ("rejected", 1)] {
        assert_eq!(summary[count], expected, "{count}: {summary}");
    }
    assert!(
        output.stderr.contains("products.rss.xml: an RSS feed, UTF-8")
            && output.stderr.contains("products.rss.xml:3: the URL `/p/3` is relative"),
        "{output:?}"
    );
    Ok(())
}
