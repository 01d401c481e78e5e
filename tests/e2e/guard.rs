//! What a worker does not fetch from inside the network that it runs in.

use std::net::SocketAddr;

use fetchline_tests::process::Ended;
use fetchline_tests::shop::{Options, Shop};
use fetchline_tests::world::World;

/// A shop beside the world's own, on another address of this machine.
async fn other_shop() -> anyhow::Result<Shop> {
    Shop::start(Options { listen: SocketAddr::from(([127, 0, 0, 2], 0)), revision: 0 }).await
}

/// Runs a worker as users start it, to which no network was opened but by these flags.
async fn work(world: &World, flags: &[&str]) -> anyhow::Result<Ended> {
    let ended = world.run(&[&["work", "--until-empty", "--listen", "off", "--json"], flags].concat(), "").await?;
    anyhow::ensure!(ended.code == Some(0), "{ended:?}");
    Ok(ended)
}

#[tokio::test]
async fn by_default_nothing_inside_is_fetched_and_the_row_says_why() -> anyhow::Result<()> {
    let world = World::new().await?;
    let port = world.shop.addr().port();
    let reasons = [
        ("127.0.0.1", "127.0.0.1 is a loopback address"),
        ("0x7f.1", "127.0.0.1 is a loopback address"),
        ("localhost", "localhost is not public: "),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1 is an IPv4 address in IPv6 disguise (mapped)"),
        ("169.254.169.254", "169.254.169.254 is a cloud's metadata service"),
    ];
    let urls: Vec<_> = (0..).zip(reasons).map(|(n, (host, _))| format!("http://{host}:{port}/p/{n}")).collect();
    world.produce("inside", &urls).await?;
    let ended = work(&world, &[]).await?;
    assert_eq!(ended.json()?["outcomes"]["blocked"], 5, "{ended:?}");

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
    assert_eq!((world.ready("urls").await?, world.ready("retry.10s").await?, world.ready("dead").await?), (0, 0, 0));
    Ok(())
}

#[tokio::test]
async fn a_redirect_from_an_open_network_leads_into_no_closed_one() -> anyhow::Result<()> {
    let world = World::new().await?;
    let inside = other_shop().await?;
    let paths = [
        format!("/redirect-to?url={}", inside.url("/p/1")),
        format!("/redirect-to?url={}&status=307", inside.url("/p/2").replace("127.0.0.2", "0x7f.2")),
        format!("/redirect-to?url=//{}/p/3", inside.addr()),
    ];
    world.produce("redirects", &paths.map(|path| world.shop.url(&path))).await?;
    // A flag beats the variable that opens all of loopback.
    world.work_until_empty(&["--allow-network", "127.0.0.1/32"]).await?;

    let blocked = "SELECT COUNT(*) FROM fetches WHERE outcome = 'blocked' AND status IN (302, 307) \
                   AND final_url LIKE 'http://127.0.0.2:%' AND error LIKE '127.0.0.2 is a loopback address%'";
    assert_eq!(world.count(blocked).await?, 3);
    assert_eq!((world.shop.visits().total(), inside.visits().total()), (3, 0));
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 0));
    Ok(())
}

#[tokio::test]
async fn networks_that_are_opened_are_fetched_from() -> anyhow::Result<()> {
    let world = World::new().await?;
    let other = other_shop().await?;
    world.produce("opened", &[world.shop.url("/p/1"), other.url("/p/2")]).await?;
    let opened = ["--allow-network", "10.0.0.0/8,127.0.0.1/32", "--allow-network", "127.0.0.2/32"];
    assert_eq!(work(&world, &opened).await?.json()?["ok"], 2);
    assert_eq!((world.shop.visits().total(), other.visits().total()), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_network_or_a_proxy_that_is_none_is_wrong_usage() -> anyhow::Result<()> {
    let world = World::bare().await?;
    for (flags, expected) in [
        (["--allow-network", "10.1.2.3/8"], "10.0.0.0/8"),
        (["--allow-network", "10.1.2.3"], "10.1.2.3/32"),
        (["--allow-network", "intranet"], "10.0.0.0/8"),
        (["--proxy", "socks5://user:hunter2@127.0.0.1:9"], "http or https"),
        (["--proxy", "user:hunter2@127.0.0.1:9"], "http or https"),
        (["--proxy", "http://user:hunter2@127.0.0.1:9/path"], "after the port"),
        (["--proxy", "http://user:hunter2@127.0.0.1:nine"], "no proxy's URL"),
    ] {
        let ended = world.run(&[&["work", "--listen", "off"][..], &flags].concat(), "").await?;
        assert_eq!(ended.code, Some(2), "{flags:?}: {ended:?}");
        assert!(ended.stderr.contains(expected) && !ended.stderr.contains("hunter2"), "{flags:?}: {ended:?}");
    }
    Ok(())
}

#[tokio::test]
async fn through_a_proxy_only_the_proxy_is_reached_and_the_log_says_that_it_has_to_guard() -> anyhow::Result<()> {
    let world = World::new().await?;
    // The shop serves what it is asked for by a whole URL, too: all that a proxy is to plain HTTP.
    let proxy = world.shop.url("").replace("http://", "http://user:hunter2@");
    let urls = [
        "http://shop.invalid/p/1".to_owned(),
        "http://shop.invalid/redirect-to?url=http://169.254.169.254/keys".to_owned(),
        world.shop.url("/p/2"),
    ];
    world.produce("proxied", &urls).await?;
    let ended = work(&world, &["--proxy", &proxy]).await?;
    assert_eq!(ended.json()?["outcomes"], serde_json::json!({"ok": 1, "blocked": 2}), "{ended:?}");
    let visits = world.shop.visits();
    assert_eq!((visits.total(), visits.of("/p/2")), (2, 0));
    assert!(ended.stderr.contains("it has to refuse what is not public"), "{}", ended.stderr);
    assert!(ended.stderr.contains("http://***@127.0.0.1"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn the_environments_proxies_are_ignored() -> anyhow::Result<()> {
    let world = World::new().await?;
    let other = other_shop().await?;
    world.produce("direct", &[world.shop.url("/p/1")]).await?;
    let mut command =
        world.command(&["work", "--until-empty", "--listen", "off", "--allow-network", "127.0.0.1/32"])?;
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, other.url(""));
    }
    let ended = fetchline_tests::process::run(&mut command, "").await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((world.shop.visits().total(), other.visits().total()), (1, 0));
    Ok(())
}
