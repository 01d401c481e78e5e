//! The broker and the database over TLS, with certificates of a private authority.

use std::sync::Arc;

use anyhow::Context;
use fetchline_tests::arena::Arena;
use fetchline_tests::authority::Authority;
use fetchline_tests::world::World;

/// A URL with another host and these query parameters.
fn at(url: &str, host: &str, query: Option<&str>) -> anyhow::Result<String> {
    let mut url: reqwest::Url = url.parse()?;
    url.set_host(Some(host))?;
    url.set_query(query);
    Ok(url.to_string())
}

/// Fails unless `migrate` is refused by the database at this host with these parameters.
async fn ensure_refused(
    world: &World,
    host: &str,
    query: &str,
    expected: &str,
) -> anyhow::Result<()> {
    let url = at(&world.database_url, host, Some(query))?;
    let output = world.run(&["migrate", "--database-url", &url], "").await?;
    assert!(output.code == Some(2) && output.stderr.contains(expected), "{url} {output:?}");
    Ok(())
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
    let (ours, another) =
        (world.file("ours.pem", &ours.pem())?, world.file("another.pem", &another.pem())?);
    let broker = at(&arena.amqps_url()?, "localhost", None)?;
    let verified = |authority: &str| format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}");
    let database = at(&world.database_url, "localhost", Some(&verified(&ours)))?;
    sqlx::query("SET GLOBAL require_secure_transport = ON").execute(&world.database).await?;
    world.database.close().await;

    let over_tls = ["--amqp-url", &broker, "--amqp-ca", &ours, "--database-url", &database];
    let run = async |arguments: &[&str], input: &str| {
        world.run(&[arguments, &over_tls].concat(), input).await
    };
    let worker = world.worker(&over_tls)?;
    let produced = run(&["produce", "--run", "tls"], &world.pages(20).join("\n")).await?;
    assert_eq!(produced.code, Some(0), "{produced:?}");
    let waited = run(&["status", "--run", "tls", "--wait", "--for", "1m", "--json"], "").await?;
    assert_eq!(
        (waited.code, &waited.json()?["run"]["outcomes"]["ok"]),
        (Some(0), &20.into()),
        "{waited:?}"
    );
    let connections =
        arena.rabbitmqctl(&["--quiet", "list_connections", "ssl", "client_properties"]).await?;
    let of_worker: Vec<&str> =
        connections.lines().filter(|line| line.contains("fetchline-consume@")).collect();
    assert!(
        !of_worker.is_empty() && of_worker.iter().all(|line| line.starts_with("true")),
        "{connections}"
    );
    assert_eq!(worker.terminate().await?.code, Some(0));

    // Every wrong configuration is refused. The certificates are for `localhost`.
    let elsewhere = at(&broker, "127.0.0.1", None)?;
    for wrong in [
        ["--amqp-url", &broker, "--amqp-ca", &another],
        ["--amqp-url", &elsewhere, "--amqp-ca", &ours],
    ] {
        let output =
            world.run(&[&["produce"], &wrong[..]].concat(), &world.pages(1).join("\n")).await?;
        assert!(
            output.code == Some(2) && output.stderr.contains("--amqp-ca"),
            "{wrong:?} {output:?}"
        );
    }
    let unknown =
        world.run(&["produce", "--amqp-url", &broker], &world.pages(1).join("\n")).await?;
    assert!(unknown.code == Some(2) && unknown.stderr.contains("--amqp-ca"), "{unknown:?}");
    let missing = world.run(&["produce", "--amqp-url", &broker, "--amqp-ca", "no.pem"], "").await?;
    assert!(missing.code == Some(2) && missing.stderr.contains("no.pem"), "{missing:?}");
    let without_tls = "ssl-mode=DISABLED";
    ensure_refused(&world, "localhost", &verified(&another), "certificate").await?;
    ensure_refused(&world, "127.0.0.1", &verified(&ours), "certificate").await?;
    ensure_refused(&world, "localhost", without_tls, "denied").await?;
    // A worker that does not trust the broker logs it and fetches nothing.
    let flags = ["--amqp-url", &broker, "--amqp-ca", &another, "--database-url", &database];
    let mut distrustful = world.worker(&flags)?;
    let line = distrustful.logs("not consuming").await?;
    assert!(line.contains("certificate"), "{line}");
    let answer = reqwest::get(format!("http://{}/readyz", distrustful.health().await?)).await?;
    assert_eq!(answer.status(), 503);
    distrustful.kill().await.context("the waiting worker has ended")?;
    Ok(())
}
