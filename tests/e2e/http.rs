//! HTTP as flags and rows show it. The crate of the worker tests the rest on sockets of its own.

use fetchline_tests::origin::{Origin, Reply};
use fetchline_tests::process;
use fetchline_tests::shop;
use fetchline_tests::world::World;
use hyper::header::{COOKIE, LOCATION, SET_COOKIE};
use tokio::process::Command;

/// A page with a product.
const PRODUCT: &str = r#"<script type="application/ld+json">{"@context": "https://schema.org",
    "@type": "Product", "name": "Tea", "offers": {"@type": "Offer", "price": "19.99",
    "priceCurrency": "EUR"}}</script>"#;

/// A worker that may open only so many files.
async fn work_with_files(world: &World, files: u32, flags: &[&str]) -> anyhow::Result<()> {
    let worker = world.command(&[&["work", "--until-empty", "--listen", "off"], flags].concat())?;
    let worker = worker.as_std();
    let mut limited = Command::new("sh");
    limited
        .args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")])
        .arg(worker.get_program())
        .args(worker.get_args())
        .envs(worker.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("FETCHLINE_ALLOW_NETWORK", shop::NETWORK);
    let output = process::run(&mut limited, "").await?;
    anyhow::ensure!(output.code == Some(0), "{output:?}");
    anyhow::ensure!(output.stderr.contains("ulimit -n"), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn running_out_of_sockets_is_charged_to_no_site() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("sockets", &world.numbered("/slow/300/", 150)).await?;
    let flags = ["--per-host", "100", "--retry-delays", "1s", "--max-attempts", "1"];
    work_with_files(&world, 70, &flags).await?;
    let ok = "SELECT COUNT(*) FROM fetches WHERE outcome = 'ok' AND attempts = 1";
    assert_eq!(world.count(ok).await?, 150);
    assert_eq!(world.ready("dead").await?, 0);
    Ok(())
}

#[tokio::test]
async fn extract_fetches_a_page_as_work_does() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let site = Origin::start(|asked| match asked.header(COOKIE) {
        "seen=1" => Reply::new(200, PRODUCT),
        _ => Reply::new(302, "").with(SET_COOKIE, "seen=1; Path=/").with(LOCATION, "/p"),
    })
    .await?;
    let extracted = world.run(&["extract", &site.url("/p"), "--json"], "").await?;
    assert_eq!(extracted.code, Some(0), "{extracted:?}");
    assert_eq!(extracted.json()?["price"]["value"], "19.99");
    // As in a row, the error says what is wrong.
    let loops = world.run(&["extract", &world.shop.url("/redirect-loop/1")], "").await?;
    assert!(loops.code == Some(1) && loops.stderr.contains("lead back to"), "{loops:?}");
    let missing = world.run(&["extract", &world.shop.url("/status/404/1")], "").await?;
    assert!(missing.code == Some(1) && missing.stderr.contains("404 Not Found"), "{missing:?}");
    Ok(())
}

#[tokio::test]
async fn a_fleet_looks_the_way_its_flags_say() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("looks", &[world.shop.url("/echo/1")]).await?;
    let flags = [
        "--user-agent",
        "Shop/1.0",
        "--accept-language",
        "de",
        "--header",
        "DNT: 1",
        "--header",
        "X-Shop: tea",
        "--cookies",
        "run",
    ];
    assert_eq!(world.work_until_empty(&flags).await?["ok"], 1);
    let body: String = sqlx::query_scalar("SELECT CAST(body_json AS CHAR) FROM fetches")
        .fetch_one(&world.database)
        .await?;
    let echo: serde_json::Value = body.parse()?;
    for (name, value) in
        [("user-agent", "Shop/1.0"), ("accept-language", "de"), ("dnt", "1"), ("x-shop", "tea")]
    {
        assert_eq!(echo["headers"][name], value, "{echo}");
    }
    Ok(())
}
