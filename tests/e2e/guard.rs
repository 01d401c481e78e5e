//! SSRF protection: what a worker does not fetch from its own network.

use std::net::SocketAddr;

use fetchline_tests::process::Output;
use fetchline_tests::shop::{Options, Shop};
use fetchline_tests::world::World;

/// A second shop, on another address of this machine.
async fn other_shop() -> anyhow::Result<Shop> {
    Shop::start(Options { listen: SocketAddr::from(([127, 0, 0, 2], 0)), revision: 0 }).await
}

/// Runs a worker as users start it, with no allowed network except those of the flags.
async fn work(world: &World, flags: &[&str]) -> anyhow::Result<Output> {
    let output = world
        .run(&[&["work", "--until-empty", "--listen", "off", "--json"], flags].concat(), "")
        .await?;
    anyhow::ensure!(output.code == Some(0), "{output:?}");
    Ok(output)
}

#[tokio::test]
async fn by_default_nothing_is_fetched_from_blocked_networks_and_the_row_says_why()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let port = world.shop.addr().port();
    let reasons = [
        ("127.0.0.1", "127.0.0.1 is a loopback address"),
        ("0x7f.1", "127.0.0.1 is a loopback address"),
        ("localhost", "localhost is not public: "),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1 is an IPv4-embedded IPv6 address (mapped)"),
        ("169.254.169.254", "169.254.169.254 is a cloud's metadata service"),
    ];
    let urls: Vec<_> =
        (0..).zip(reasons).map(|(n, (host, _))| format!("http://{host}:{port}/p/{n}")).collect();
    world.produce("inside", &urls).await?;
    let output = work(&world, &[]).await?;
    assert_eq!(output.json()?["outcomes"]["blocked"], 5, "{output:?}");

    for (n, (host, reason)) in (0..).zip(reasons) {
        let (outcome, status, error, attempts): (String, Option<u16>, String, u32) =
            sqlx::query_as("SELECT outcome, status, error, attempts FROM fetches WHERE url LIKE ?")
                .bind(format!("%/p/{n}"))
                .fetch_one(&world.database)
                .await?;
        assert_eq!((outcome.as_str(), status, attempts), ("blocked", None, 1), "{host}: {error}");
        assert!(error.starts_with(reason) && error.contains("--allow-network"), "{host}: {error}");
    }
    assert_eq!(world.shop.visits().total(), 0);
    assert_eq!(
        (world.ready("urls").await?, world.ready("retry.10s").await?, world.ready("dead").await?),
        (0, 0, 0)
    );
    Ok(())
}

#[tokio::test]
async fn a_redirect_from_an_allowed_network_into_a_blocked_one_is_not_followed()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let inside = other_shop().await?;
    let paths = [
        format!("/redirect-to?url={}", inside.url("/p/1")),
        format!(
            "/redirect-to?url={}&status=307",
            inside.url("/p/2").replace("127.0.0.2", "0x7f.2")
        ),
        format!("/redirect-to?url=//{}/p/3", inside.addr()),
    ];
    world.produce("redirects", &paths.map(|path| world.shop.url(&path))).await?;
    // A flag overrides the variable that allows all of loopback.
    world.work_until_empty(&["--allow-network", "127.0.0.1/32"]).await?;

    let blocked = "SELECT COUNT(*) FROM fetches WHERE outcome = 'blocked' AND status IN (302, 307) \
                   AND final_url LIKE 'http://127.0.0.2:%' \
                   AND error LIKE '127.0.0.2 is a loopback address%'";
    assert_eq!(world.count(blocked).await?, 3);
    assert_eq!((world.shop.visits().total(), inside.visits().total()), (3, 0));
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 0));
    Ok(())
}

#[tokio::test]
async fn allowed_networks_are_fetched_from() -> anyhow::Result<()> {
    let world = World::new().await?;
    let other = other_shop().await?;
    world.produce("allowed", &[world.shop.url("/p/1"), other.url("/p/2")]).await?;
    let allowed = ["--allow-network", "10.0.0.0/8,127.0.0.1/32", "--allow-network", "127.0.0.2/32"];
    assert_eq!(work(&world, &allowed).await?.json()?["ok"], 2);
    assert_eq!((world.shop.visits().total(), other.visits().total()), (1, 1));
    Ok(())
}

#[tokio::test]
async fn an_invalid_network_or_proxy_is_a_usage_error() -> anyhow::Result<()> {
    let world = World::bare().await?;
    for (flags, expected) in [
        (["--allow-network", "10.1.2.3/8"], "10.0.0.0/8"),
        (["--allow-network", "10.1.2.3"], "10.1.2.3/32"),
        (["--allow-network", "intranet"], "10.0.0.0/8"),
        (["--proxy", "socks5://user:hunter2@127.0.0.1:9"], "http or https"),
        (["--proxy", "user:hunter2@127.0.0.1:9"], "http or https"),
        (["--proxy", "http://user:hunter2@127.0.0.1:9/path"], "after the port"),
        (["--proxy", "http://user:hunter2@127.0.0.1:nine"], "not the URL of a proxy"),
    ] {
        let output = world.run(&[&["work", "--listen", "off"][..], &flags].concat(), "").await?;
        assert_eq!(output.code, Some(2), "{flags:?}: {output:?}");
        assert!(
            output.stderr.contains(expected) && !output.stderr.contains("hunter2"),
            "{flags:?}: {output:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn with_a_proxy_only_the_proxy_is_reached_and_the_log_warns_that_it_must_guard()
-> anyhow::Result<()> {
    let world = World::new().await?;
    // The shop also serves requests for an absolute URL, which is all that a proxy does for plain
    // HTTP.
    let proxy = world.shop.url("").replace("http://", "http://user:hunter2@");
    let urls = [
        "http://shop.invalid/p/1".to_owned(),
        "http://shop.invalid/redirect-to?url=http://169.254.169.254/keys".to_owned(),
        world.shop.url("/p/2"),
    ];
    world.produce("proxied", &urls).await?;
    let output = work(&world, &["--proxy", &proxy]).await?;
    assert_eq!(
        output.json()?["outcomes"],
        serde_json::json!({"ok": 1, "blocked": 2}),
        "{output:?}"
    );
    let visits = world.shop.visits();
    assert_eq!((visits.total(), visits.of("/p/2")), (2, 0));
    assert!(output.stderr.contains("it has to refuse what is not public"), "{}", output.stderr);
    assert!(output.stderr.contains("http://***@127.0.0.1"), "{}", output.stderr);
    assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    Ok(())
}

#[tokio::test]
async fn proxies_of_the_environment_are_ignored() -> anyhow::Result<()> {
    let world = World::new().await?;
    let other = other_shop().await?;
    world.produce("direct", &[world.shop.url("/p/1")]).await?;
    let mut command = world.command(&[
        "work",
        "--until-empty",
        "--listen",
        "off",
        "--allow-network",
        "127.0.0.1/32",
    ])?;
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, other.url(""));
    }
    let output = fetchline_tests::process::run(&mut command, "").await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!((world.shop.visits().total(), other.visits().total()), (1, 0));
    Ok(())
}
