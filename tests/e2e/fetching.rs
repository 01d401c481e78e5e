//! Fetches, their outcomes and their stored bodies.

use fetchline_tests::shop::{self, Product};
use fetchline_tests::world::World;
use sqlx::Row;

#[tokio::test]
async fn every_url_becomes_a_row() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut urls = world.pages(300);
    urls.extend((300..600).map(|id| world.shop.url(&format!("/p/{id}.json"))));
    world.produce("nightly", &urls).await?;
    let summary = world.work_until_empty(&[]).await?;

    assert_eq!(
        (&summary["ok"], &summary["failed"], &summary["rows"]),
        (&600.into(), &0.into(), &600.into())
    );
    assert_eq!(world.rows().await?, 600);
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 0));
    assert_eq!((world.shop.visits().total(), world.shop.visits().repeats()), (600, 0));

    let row = sqlx::query(
        "SELECT run, method, outcome, status, content_type, body_bytes, body_json, body_text, \
         attempts, worker, LOWER(HEX(id)) = message_id AS keyed, final_url, error, \
         ABS(TIMESTAMPDIFF(SECOND, fetched_at, UTC_TIMESTAMP())) AS age FROM fetches WHERE url = ?",
    )
    .bind(world.shop.url("/p/300.json"))
    .fetch_one(&world.database)
    .await?;
    assert_eq!(row.get::<String, _>("run"), "nightly");
    assert_eq!(row.get::<String, _>("method"), "GET");
    assert_eq!(row.get::<String, _>("outcome"), "ok");
    assert_eq!(row.get::<u16, _>("status"), 200);
    assert!(row.get::<String, _>("content_type").starts_with("application/json"));
    assert_eq!(row.get::<Option<String>, _>("body_text"), None);
    assert_eq!(row.get::<u32, _>("attempts"), 1);
    assert_eq!(row.get::<String, _>("worker"), "worker-1");
    assert_eq!(row.get::<i64, _>("keyed"), 1);
    assert_eq!(row.get::<Option<String>, _>("final_url"), None);
    assert_eq!(row.get::<Option<String>, _>("error"), None);
    assert!(row.get::<i64, _>("age") < 120, "the time is UTC");
    let body: serde_json::Value = row.try_get_unchecked::<String, _>("body_json")?.parse()?;
    assert_eq!(body["name"], Product::nth(300).name.as_str());

    let page: String = sqlx::query_scalar("SELECT body_text FROM fetches WHERE url = ?")
        .bind(world.shop.url("/p/7"))
        .fetch_one(&world.database)
        .await?;
    assert!(page.contains(&Product::nth(7).sku), "{page}");
    assert_eq!(
        world
            .count("SELECT COUNT(*) FROM fetches WHERE body_bytes = 0 OR body_sha256 IS NULL")
            .await?,
        0
    );
    Ok(())
}

/// Paths of the shop with the outcome and the status of their rows.
const OUTCOMES: [(&str, &str, Option<u16>); 46] = [
    ("/p/1", "ok", Some(200)),
    ("/slow/300/2", "ok", Some(200)),
    ("/empty/3", "ok", Some(200)),
    ("/no-content/4", "ok", Some(204)),
    ("/compressed/gzip/5", "ok", Some(200)),
    ("/compressed/br/6", "ok", Some(200)),
    ("/compressed/zstd/7", "ok", Some(200)),
    ("/compressed/deflate/8", "ok", Some(200)),
    ("/status/404/9", "http_error", Some(404)),
    ("/status/500/10", "http_error", Some(500)),
    ("/busy/1/99/11", "http_error", Some(429)),
    ("/redirect/3/12", "ok", Some(200)),
    ("/redirect-loop/13", "redirect", Some(302)),
    ("/redirect-endless/1/14", "redirect", Some(302)),
    ("/redirect-to?url=ftp://a.example/", "redirect", Some(302)),
    ("/huge/3/15", "too_large", Some(200)),
    ("/endless/16", "too_large", Some(200)),
    ("/bomb/gzip/17", "too_large", Some(200)),
    ("/bomb/zstd/33", "too_large", Some(200)),
    ("/bomb/br/34", "too_large", Some(200)),
    ("/headers/50/35", "ok", Some(200)),
    ("/headers/80/36", "too_large", Some(200)),
    ("/headers/200/37", "too_large", Some(200)),
    ("/redirect-long/9000/38", "redirect", Some(302)),
    ("/window/zstd/23/39", "ok", Some(200)),
    ("/window/zstd/24/40", "decode", Some(200)),
    ("/window/br/24/41", "ok", Some(200)),
    ("/compressed-cut/gzip/42", "decode", Some(200)),
    ("/compressed-cut/zstd/43", "decode", Some(200)),
    ("/compressed-twice/44", "ok", Some(200)),
    ("/compressed-unknown/45", "ok", Some(200)),
    ("/compressed-followed/46", "ok", Some(200)),
    ("/compressed-broken/29", "decode", Some(200)),
    ("/wrong-length/30", "ok", Some(200)),
    ("/charset-unknown/31", "ok", Some(200)),
    ("/charset-wrong/32", "ok", Some(200)),
    ("/hang/18", "timeout", None),
    ("/hang-body/19", "timeout", Some(200)),
    ("/drip/50/20", "timeout", Some(200)),
    ("/truncated/21", "protocol", Some(200)),
    ("/truncated-chunked/22", "protocol", Some(200)),
    ("/reset/23", "protocol", None),
    ("/garbage/24", "protocol", None),
    ("/image/25", "ok", Some(200)),
    ("/bad-json/26", "ok", Some(200)),
    ("/deep-json/500/27", "ok", Some(200)),
];

#[tokio::test]
async fn a_failure_is_an_outcome_and_never_delays_others() -> anyhow::Result<()> {
    let world = World::new().await?;
    let elsewhere = [
        ("http://no-such-host.invalid/".to_owned(), "dns"),
        ("http://127.0.0.1:9/".to_owned(), "connect"),
        (world.shop.url("/p/28").replace("http://", "https://"), "tls"),
    ];
    let mut urls: Vec<String> = OUTCOMES.iter().map(|(path, ..)| world.shop.url(path)).collect();
    urls.extend(elsewhere.iter().map(|(url, _)| url.clone()));
    world.produce("outcomes", &urls).await?;
    let flags =
        ["--timeout", "3s", "--connect-timeout", "2s", "--max-body", "2MiB", "--max-attempts", "1"];
    let summary = world.work_until_empty(&flags).await?;
    assert_eq!(summary["rows"], urls.len());

    let mut mismatches = Vec::new();
    let elsewhere = elsewhere.iter().map(|(url, outcome)| (url.clone(), *outcome, None));
    let here =
        OUTCOMES.iter().map(|(path, outcome, status)| (world.shop.url(path), *outcome, *status));
    for (url, outcome, status) in here.chain(elsewhere) {
        let row: (String, Option<u16>, Option<String>) =
            sqlx::query_as("SELECT outcome, status, error FROM fetches WHERE url = ?")
                .bind(&url)
                .fetch_one(&world.database)
                .await?;
        if (row.0.as_str(), row.1) != (outcome, status) || (outcome != "ok") != row.2.is_some() {
            mismatches.push(format!("{url}: {row:?}, expected {outcome} {status:?}"));
        }
    }
    assert!(mismatches.is_empty(), "{mismatches:#?}");
    assert_eq!(world.ready("urls").await?, 0);
    Ok(())
}

#[tokio::test]
async fn bodies_are_stored_by_their_type() -> anyhow::Result<()> {
    let world = World::new().await?;
    let charsets =
        ["utf-8", "iso-8859-1", "windows-1252", "shift_jis", "gbk", "koi8-r", "utf-16le"];
    let mut urls: Vec<String> =
        charsets.iter().map(|name| world.shop.url(&format!("/charset/{name}/1"))).collect();
    urls.extend(charsets.iter().map(|name| world.shop.url(&format!("/charset-meta/{name}/1"))));
    let others = [
        "/image/1",
        "/bad-json/1",
        "/deep-json/31/1",
        "/deep-json/32/1",
        "/empty/1",
        "/redirect/2/1",
    ];
    urls.extend(others.iter().map(|path| world.shop.url(path)));
    world.produce("bodies", &urls).await?;
    world.work_until_empty(&[]).await?;

    for name in charsets {
        let sample = shop::charset_sample(name).unwrap_or_default();
        for path in [format!("/charset/{name}/1"), format!("/charset-meta/{name}/1")] {
            let text: String = sqlx::query_scalar("SELECT body_text FROM fetches WHERE url = ?")
                .bind(world.shop.url(&path))
                .fetch_one(&world.database)
                .await?;
            assert!(text.contains(sample), "{path}: {sample:?} is not in {text}");
        }
    }
    // Whether the body is stored as JSON, as text and as bytes, whether it has any bytes, and
    // `final_url`.
    let stored = async |path: &str| -> anyhow::Result<(i64, i64, i64, bool, Option<String>)> {
        Ok(sqlx::query_as(
            "SELECT body_json IS NOT NULL, body_text IS NOT NULL, body IS NOT NULL, \
             body_bytes > 0, final_url FROM fetches WHERE url = ?",
        )
        .bind(world.shop.url(path))
        .fetch_one(&world.database)
        .await?)
    };
    assert_eq!(stored("/image/1").await?, (0, 0, 0, true, None));
    assert_eq!(stored("/bad-json/1").await?, (0, 1, 0, true, None));
    assert_eq!(stored("/deep-json/31/1").await?, (1, 0, 0, true, None));
    assert_eq!(stored("/deep-json/32/1").await?, (0, 1, 0, true, None));
    assert_eq!(stored("/empty/1").await?, (0, 0, 0, false, None));
    assert_eq!(stored("/redirect/2/1").await?, (0, 1, 0, true, Some(world.shop.url("/p/1"))));
    Ok(())
}

#[tokio::test]
async fn all_bodies_are_stored_on_request() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("images", &[world.shop.url("/image/1")]).await?;
    world.work_until_empty(&["--store-body", "all"]).await?;
    assert_eq!(
        world.count("SELECT LENGTH(body) = body_bytes AND body_bytes > 0 FROM fetches").await?,
        1
    );
    assert_eq!(
        world.count("SELECT SHA2(body, 256) = LOWER(HEX(body_sha256)) FROM fetches").await?,
        1
    );
    Ok(())
}

#[tokio::test]
async fn compressed_bodies_are_stored_once_and_printed_as_they_were() -> anyhow::Result<()> {
    let world = World::new().await?;
    let paths =
        ["/p/1", "/big/1", "/charset/shift_jis/1", "/deep-json/31/1", "/huge/1/1", "/empty/1"];
    let produce = async |run| world.produce(run, &paths.map(|path| world.shop.url(path))).await;
    produce("plain").await?;
    world.work_until_empty(&["--store-body", "all"]).await?;
    produce("compressed").await?;
    world.work_until_empty(&["--store-body", "all", "--compress-bodies", "zstd"]).await?;

    let body = async |run: &str, path: &str| {
        let select = "SELECT LOWER(HEX(id)) FROM fetches WHERE run = ? AND url = ?";
        let id: String = sqlx::query_scalar(select)
            .bind(run)
            .bind(world.shop.url(path))
            .fetch_one(&world.database)
            .await?;
        world.run(&["body", &id], "").await
    };
    for path in paths {
        let (plain, compressed) = (body("plain", path).await?, body("compressed", path).await?);
        assert_eq!((plain.code, &plain.stdout), (compressed.code, &compressed.stdout), "{path}");
        let expected = if path.starts_with("/empty") { Some(1) } else { Some(0) };
        assert_eq!(compressed.code, expected, "{path}: {compressed:?}");
    }
    let count = async |condition: &str| {
        world
            .count(&format!(
                "SELECT COUNT(*) FROM fetches WHERE run = 'compressed' AND {condition}"
            ))
            .await
    };
    // The small JSON would not become smaller.
    assert_eq!(count("body_zstd IS NOT NULL").await?, 4);
    assert_eq!(count("COALESCE(body_text, body) IS NOT NULL").await?, 0);
    assert_eq!(count("body_json IS NOT NULL AND body_zstd IS NULL").await?, 1);
    assert_eq!(count("LENGTH(body_zstd) < body_bytes").await?, 4);
    for (id, code, why) in [
        ("00".repeat(16), 1, "no row has the id 0000"),
        ("12".to_owned(), 2, "32 hexadecimal digits"),
    ] {
        let output = world.run(&["body", &id], "").await?;
        assert!(output.code == Some(code) && output.stderr.contains(why), "{output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn readyz_reports_whether_the_worker_is_ready() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut worker = world.worker(&[])?;
    let address = worker.health().await?;
    let status =
        async || Ok(reqwest::get(format!("http://{address}/readyz")).await?.status().as_u16());
    fetchline_tests::wait::until("readiness", status, |status| *status == 200).await?;
    assert_eq!(reqwest::get(format!("http://{address}/livez")).await?.status(), 200);
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}
