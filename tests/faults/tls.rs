//! Broker and database over TLS, with certificates of a private authority.

use std::sync::Arc;

use anyhow::Context;
use fetchline_tests::arena::Arena;
use fetchline_tests::authority::Authority;
use fetchline_tests::world::World;

/// The same URL, with another host and maybe with parameters.
fn at(url: &str, host: &str, query: Option<&str>) -> anyhow::Result<String> {
    let mut url: reqwest::Url = url.parse()?;
    url.set_host(Some(host))?;
    url.set_query(query);
    Ok(url.to_string())
}

#[tokio::test]
async fn over_tls_everything_works_and_a_wrong_authority_is_refused() -> anyhow::Result<()> {
    let (ours, another) = (Authority::new("ours")?, Authority::new("another")?);
    let arena = tokio::task::spawn_blocking({
        let ours = Arc::new(ours);
        move || Arena::secured(&ours).map(|arena| (arena, ours))
    });
    let (arena, ours) = arena.await??;
    let world = World::on(arena.services()?).await?;
    let (ours, another) = (world.file("ours.pem", &ours.pem())?, world.file("another.pem", &another.pem())?);
    let broker = at(&arena.amqps_url()?, "localhost", None)?;
    let verified = |authority: &str| format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}");
    let database = at(&world.database_url, "localhost", Some(&verified(&ours)))?;
    sqlx::query("SET GLOBAL require_secure_transport = ON").execute(&world.database).await?;
    world.database.close().await;

    let over_tls = ["--amqp-url", &broker, "--amqp-ca", &ours, "--database-url", &database];
    let run = async |arguments: &[&str], input: &str| world.run(&[arguments, &over_tls].concat(), input).await;
    let worker = world.worker(&over_tls)?;
    let produced = run(&["produce", "--run", "tls"], &world.pages(20).join("\n")).await?;
    assert_eq!(produced.code, Some(0), "{produced:?}");
    let waited = run(&["status", "--run", "tls", "--wait", "--for", "1m", "--json"], "").await?;
    assert_eq!((waited.code, &waited.json()?["run"]["outcomes"]["ok"]), (Some(0), &20.into()), "{waited:?}");
    let connections = arena.rabbitmqctl(&["--quiet", "list_connections", "ssl", "client_properties"]).await?;
    let of_worker: Vec<&str> = connections.lines().filter(|line| line.contains("fetchline-work@")).collect();
    assert!(!of_worker.is_empty() && of_worker.iter().all(|line| line.starts_with("true")), "{connections}");
    assert_eq!(worker.terminate().await?.code, Some(0));

    // What each wrong way is told. The certificates are for `localhost`.
    let elsewhere = at(&broker, "127.0.0.1", None)?;
    for wrong in [["--amqp-url", &broker, "--amqp-ca", &another], ["--amqp-url", &elsewhere, "--amqp-ca", &ours]] {
        let ended = world.run(&[&["produce"], &wrong[..]].concat(), &world.pages(1).join("\n")).await?;
        assert!(ended.code == Some(2) && ended.stderr.contains("--amqp-ca"), "{wrong:?} {ended:?}");
    }
    let unknown = world.run(&["produce", "--amqp-url", &broker], &world.pages(1).join("\n")).await?;
    assert!(unknown.code == Some(2) && unknown.stderr.contains("--amqp-ca"), "{unknown:?}");
    let missing = world.run(&["produce", "--amqp-url", &broker, "--amqp-ca", "no.pem"], "").await?;
    assert!(missing.code == Some(2) && missing.stderr.contains("no.pem"), "{missing:?}");
    for (host, query, told) in [
        ("localhost", Some(verified(&another)), "certificate"),
        ("127.0.0.1", Some(verified(&ours)), "certificate"),
        ("localhost", Some("ssl-mode=DISABLED".to_owned()), "denied"),
    ] {
        let url = at(&world.database_url, host, query.as_deref())?;
        let ended = world.run(&["migrate", "--database-url", &url], "").await?;
        assert!(ended.code == Some(1) && ended.stderr.contains(told), "{url} {ended:?}");
    }
    // A worker that may not trust them says so and fetches nothing.
    let flags = ["--amqp-url", &broker, "--amqp-ca", &another, "--database-url", &database];
    let mut distrustful = world.worker(&flags)?;
    let line = distrustful.logs("not consuming").await?;
    assert!(line.contains("certificate"), "{line}");
    let answer = reqwest::get(format!("http://{}/readyz", distrustful.health().await?)).await?;
    assert_eq!(answer.status(), 503);
    distrustful.kill().await.context("a worker that waits")?;
    Ok(())
}
