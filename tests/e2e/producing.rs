//! Producers: what they read, publish and reject.

use std::process::Stdio;

use anyhow::Context;
use axum::routing::get;
use fetchline_queue::Topology;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_bad_line_is_reported_and_does_not_affect_good_ones() -> anyhow::Result<()> {
    let world = World::new().await?;
    let file = std::env::temp_dir().join(format!("{}.txt", world.prefix));
    let good = [world.shop.url("/p/1"), world.shop.url("/p/2")];
    std::fs::write(
        &file,
        format!("# ours\n{}\nftp://a.example/x\n\nnonsense\r\n{}\n{}\n", good[0], good[1], good[0]),
    )?;
    let path = file.to_string_lossy().into_owned();
    let output = world.run(&["produce", "--run", "mixed", "--json", &path], "").await?;
    std::fs::remove_file(&file)?;

    assert_eq!(output.code, Some(3), "{output:?}");
    let summary = output.json()?;
    for (count, expected) in [
        ("published", 2),
        ("rejected", 2),
        ("duplicates", 1),
        ("not_sent", 0),
        ("blank", 1),
        ("comments", 1),
        ("lines", 7),
    ] {
        assert_eq!(summary[count], expected, "{count}: {summary}");
    }
    assert!(
        output.stderr.contains(&format!("{path}:3: ")) && output.stderr.contains("`ftp`"),
        "{output:?}"
    );
    assert!(output.stderr.contains(&format!("{path}:5: ")), "{output:?}");
    assert_eq!(world.ready("urls").await?, 2);
    Ok(())
}

#[tokio::test]
async fn duplicates_are_published_if_allowed() -> anyhow::Result<()> {
    let world = World::new().await?;
    let page = world.shop.url("/p/1");
    let output = world
        .run(&["produce", "--allow-duplicates", "-"], &format!("{page}\n{page}\n{page}"))
        .await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    world.work_until_empty(&[]).await?;
    assert_eq!((world.rows().await?, world.shop.visits().total()), (3, 3));
    Ok(())
}

#[tokio::test]
async fn messages_are_persistent_and_carry_their_metadata() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("nightly", &world.pages(1)).await?;
    let Some((properties, body)) = world.pop("urls").await? else { panic!("no message") };
    assert_eq!(body, world.pages(1)[0].as_bytes());
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(properties.app_id().as_ref().map(|id| id.as_str()), Some("fetchline"));
    assert_eq!(properties.content_type().as_ref().map(|text| text.as_str()), Some("text/plain"));
    assert_eq!(properties.message_id().as_ref().map(|id| id.as_str().len()), Some(32));
    assert!(properties.timestamp().is_some());
    let headers = properties.headers().clone().unwrap_or_default();
    assert_eq!(headers.inner().get("x-run"), Some(&AMQPValue::LongString("nightly".into())));
    assert!(headers.inner().contains_key("x-part") && headers.inner().contains_key("x-attempt"));
    Ok(())
}

#[tokio::test]
async fn a_binding_that_is_removed_meanwhile_is_restored() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut produce = world.command(&["produce", "--json", "-"])?;
    let mut child = produce
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = child.stdin.take().context("no standard input")?;
    let pages = world.pages(3);
    input.write_all(format!("{}\n", pages[0]).as_bytes()).await?;
    let ready = async || world.ready("urls").await;
    wait::until("the first line is published", ready, |ready| *ready == 1).await?;
    let channel = world.amqp.create_channel().await?;
    let (queue, exchange) =
        (world.broker()?.topology().queue(Topology::URLS), world.prefix.as_str());
    channel
        .queue_unbind(queue.into(), exchange.into(), Topology::URLS.into(), FieldTable::default())
        .await?;
    input.write_all(format!("{}\n", pages[1..].join("\n")).as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(world.ready("urls").await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_message_that_a_full_queue_refuses_counts_as_not_sent() -> anyhow::Result<()> {
    let world = World::new().await?;
    let channel = world.amqp.create_channel().await?;
    let queue = world.broker()?.topology().queue(Topology::URLS);
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(5));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, arguments).await?;
    world.broker()?.topology().restore_bindings(&world.amqp, &[]).await?;

    let output = world.run(&["produce", "--json"], &world.pages(500).join("\n")).await?;
    assert_eq!(output.code, Some(1), "{output:?}");
    let summary = output.json()?;
    let (published, not_sent) = (summary["published"].as_u64(), summary["not_sent"].as_u64());
    assert_eq!(
        published.zip(not_sent).map(|(published, not_sent)| published + not_sent),
        Some(500)
    );
    assert_eq!(
        published,
        Some(world.ready("urls").await?.into()),
        "every published message is in the queue"
    );
    assert!(not_sent > Some(0) && output.stderr.contains("the queue is full"), "{summary}");
    Ok(())
}

#[tokio::test]
async fn a_producer_may_be_the_first_program_to_run() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let produced = world.run(&["produce", "--json"], &world.pages(20).join("\n")).await?;
    assert_eq!(produced.code, Some(0), "{produced:?}");
    assert_eq!(produced.json()?["published"], 20);
    let migrated = world.run(&["migrate"], "").await?;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    world.work_until_empty(&[]).await?;
    assert_eq!(world.rows().await?, 20);
    Ok(())
}

#[tokio::test]
async fn a_missing_source_is_reported_before_anything_is_published() -> anyhow::Result<()> {
    let world = World::new().await?;
    let urls = world.file("urls.txt", &world.pages(3).join("\n"))?;
    let output = world.run(&["produce", &urls, "no-such-file.txt"], "").await?;
    assert!(output.code == Some(2) && output.stderr.contains("no-such-file.txt"), "{output:?}");
    assert_eq!(world.ready("urls").await?, 0);
    Ok(())
}

#[tokio::test]
async fn refused_credentials_are_not_retried() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut rejected: reqwest::Url = world.amqp_url.parse()?;
    anyhow::ensure!(
        rejected.set_password(Some("not-the-password")).is_ok(),
        "the URL names no host"
    );
    let output = world
        .run(&["--amqp-url", rejected.as_str(), "produce"], &world.pages(1).join("\n"))
        .await?;
    assert!(output.code == Some(2) && output.stderr.contains("refuses"), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn lists_are_read_in_every_supported_format() -> anyhow::Result<()> {
    let world = World::new().await?;
    let page = |id: u32| world.shop.url(&format!("/p/{id}"));
    let csv = format!(
        "\u{feff}SKU;Link;Category;Priority\r\n\"a; \"\"b\"\"\";{};Tea;7\r\n\r\n\
         c;{};;\r\nd;nowhere;;\r\n",
        page(1),
        page(2)
    );
    let jsonl = format!(
        "{{\"link\":\"{}\",\"method\":\"POST\",\"headers\":{{\"x-a\":\"1\"}},\
         \"body\":{{\"sku\":7}}}}\n{{\"link\":7}}\n",
        page(3)
    );
    let files = [
        world.file("list.csv", &csv)?,
        world.file("list.jsonl", &jsonl)?,
        world.compressed_file("list.txt.gz", &format!("# ours\n{}\n", page(4)))?,
        // A name without an extension.
        world.file("list", &format!("link\n{}\n", page(5)))?,
    ];
    let rejects = world.file("rejects", "from a previous run")?;
    let flags = [
        "produce",
        "--run",
        "formats",
        "--url-field",
        "link",
        "--category",
        "Other",
        "--rejects",
        &rejects,
        "--json",
    ];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let dry = world
        .run(&[&flags[..], &files, &["--dry-run", "--amqp-url", "amqp://127.0.0.1:9"]].concat(), "")
        .await?;
    let output = world.run(&[&flags[..], &files].concat(), "").await?;
    for output in [&dry, &output] {
        assert_eq!(output.code, Some(3), "{output:?}");
        let summary = output.json()?;
        assert_eq!(
            (&summary["published"], &summary["rejected"]),
            (&5.into(), &2.into()),
            "{summary}"
        );
        assert!(
            output.stderr.contains("list.csv:5: the URL is")
                && output.stderr.contains("list.jsonl:2: "),
            "{output:?}"
        );
    }
    assert_eq!(
        std::fs::read_to_string(&rejects)?,
        "SKU;Link;Category;Priority\nd;nowhere;;\n{\"link\":7}\n"
    );
    let expected = [
        ("/p/1", "Tea", Some(7)),
        ("/p/2", "Other", None),
        ("/p/3", "Other", None),
        ("/p/4", "Other", None),
        ("/p/5", "Other", None),
    ];
    assert_eq!(
        pop_lines(&world).await?,
        expected.map(|(url, category, priority)| (url.to_owned(), category.to_owned(), priority))
    );
    Ok(())
}

/// Removes all messages; returns the path, the category and the priority of each.
async fn pop_lines(world: &World) -> anyhow::Result<Vec<(String, String, Option<u8>)>> {
    let mut messages = Vec::new();
    while let Some((properties, body)) = world.pop("urls").await? {
        let body: serde_json::Value = serde_json::from_slice(&body)?;
        let text = |field: &str| body[field].as_str().unwrap_or_default();
        let path = text("url").replace(&world.shop.url(""), "");
        messages.push((path, text("category").to_owned(), *properties.priority()));
        if body["method"] == "POST" {
            assert_eq!(
                (&body["headers"]["x-a"], &body["body"]),
                (&"1".into(), &r#"{"sku":7}"#.into())
            );
        }
    }
    Ok(messages)
}

#[tokio::test]
async fn rejected_rows_of_a_table_can_be_corrected_and_published() -> anyhow::Result<()> {
    let world = World::new().await?;
    let rejects = world.file("rejects", "")?;
    let page = |id: u32| world.shop.url(&format!("/p/{id}"));
    let first = world.file(
        "first.csv",
        &format!("link,category\n{},Tea\nnowhere,Tea\nnowhere,Jam\n", page(1)),
    )?;
    let second = world.file("second.csv", "link,category\nnowhere,Oil\n")?;
    let flags = ["produce", "--run", "mended", "--url-field", "link"];
    let output =
        world.run(&[&flags[..], &["--rejects", &rejects, &first, &second]].concat(), "").await?;
    assert_eq!(output.code, Some(3), "{output:?}");
    let mut rejected = std::fs::read_to_string(&rejects)?;
    assert_eq!(rejected, "link,category\nnowhere,Tea\nnowhere,Jam\nnowhere,Oil\n");
    for id in 2..=4 {
        rejected = rejected.replacen("nowhere", &page(id), 1);
    }
    std::fs::write(&rejects, rejected)?;
    // The file of rejects is not truncated if it is also a source, or if the command cannot start.
    for (sources, reason) in
        [(&rejects, "is one of the sources"), (&"no-such.csv".to_owned(), "no-such.csv")]
    {
        let output =
            world.run(&[&flags[..], &["--rejects", &rejects, sources]].concat(), "").await?;
        assert!(output.code == Some(2) && output.stderr.contains(reason), "{output:?}");
    }
    let output = world.run(&[&flags[..], &[&rejects]].concat(), "").await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    // Nothing is rejected this time.
    let good = world.file("good.csv", &format!("link\n{}\n", page(5)))?;
    let output =
        world.run(&[&flags[..], &["--dry-run", "--rejects", &rejects, &good]].concat(), "").await?;
    assert_eq!(
        (output.code, std::fs::read_to_string(&rejects)?.as_str()),
        (Some(0), ""),
        "{output:?}"
    );
    let mut messages = Vec::new();
    while let Some((_, body)) = world.pop("urls").await? {
        let body: serde_json::Value = serde_json::from_slice(&body)?;
        messages
            .push((body["url"].as_str().unwrap_or_default().to_owned(), body["category"].clone()));
    }
    let expected = [(page(1), "Tea"), (page(2), "Tea"), (page(3), "Jam"), (page(4), "Oil")];
    assert_eq!(messages, expected.map(|(url, category)| (url, category.into())));
    Ok(())
}

#[tokio::test]
async fn lists_are_fetched_and_a_sitemap_index_is_followed() -> anyhow::Result<()> {
    let world = World::new().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let csv = "name,url\na,http://a.example/1\nb,http://a.example/2\n";
    let index = format!(
        "<sitemapindex><sitemap><loc>http://{address}/one.xml</loc></sitemap>\n\
         <sitemap><loc>http://127.0.0.1:1/other.xml</loc></sitemap></sitemapindex>"
    );
    let one =
        "<urlset><url><loc>http://a.example/3</loc></url>\n<url><loc>nowhere</loc></url></urlset>";
    let site = axum::Router::new()
        .route("/urls.csv", get(async move || csv))
        .route("/sitemap.xml", get(async move || index))
        .route("/one.xml", get(async move || one));
    tokio::spawn(async move { axum::serve(listener, site).await });
    let (csv, sitemap) =
        (format!("http://{address}/urls.csv"), format!("http://{address}/sitemap.xml"));
    let output = world.run(&["produce", "--json", &csv, &sitemap], "").await?;
    assert_eq!(output.code, Some(3), "{output:?}");
    assert_eq!(
        (&output.json()?["published"], &output.json()?["rejected"]),
        (&3.into(), &2.into()),
        "{output:?}"
    );
    assert!(
        output.stderr.contains(&format!(
            "{sitemap}:2: the sitemap http://127.0.0.1:1/other.xml is on another host"
        )),
        "{output:?}"
    );
    assert!(
        output.stderr.contains(&format!("http://{address}/one.xml:2: the URL is")),
        "{output:?}"
    );
    // A list that cannot be fetched is reported before anything is published.
    let output =
        world.run(&["produce", &csv, &format!("http://{address}/missing.csv")], "").await?;
    assert!(output.code == Some(2) && output.stderr.contains("404"), "{output:?}");
    assert_eq!(world.ready("urls").await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_broken_archive_is_reported_and_entries_before_the_break_are_published()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let urls: String = world.pages(20_000).iter().map(|url| format!("{url}\n")).collect();
    let file = world.compressed_file("urls.gz", &urls)?;
    let whole = std::fs::read(&file)?;
    std::fs::write(&file, &whole[..whole.len() / 2])?;
    let output = world.run(&["produce", "--json", &file], "").await?;
    let summary = output.json()?;
    assert!(
        output.code == Some(1) && output.stderr.contains("cannot be read further"),
        "{output:?}"
    );
    assert!(summary["published"].as_u64() > Some(0) && summary["complete"] == false, "{summary}");
    assert_eq!(u64::from(world.ready("urls").await?), summary["published"].as_u64().unwrap_or(0));
    Ok(())
}

#[tokio::test]
async fn publishing_keeps_its_rate() -> anyhow::Result<()> {
    let world = World::new().await?;
    let started = std::time::Instant::now();
    let output = world.run(&["produce", "--rate", "20/s"], &world.pages(41).join("\n")).await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(started.elapsed().as_secs_f64() >= 2.0, "{:?}", started.elapsed());
    assert_eq!(world.ready("urls").await?, 41);
    Ok(())
}
