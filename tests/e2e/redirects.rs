//! Redirects: the headers and credentials that they carry along, and a target that is paused.

use fetchline_tests::shop::{Options, Shop};
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::types::AMQPValue;
use serde_json::{Value, json};

/// A path of a shop that redirects to a URL.
fn redirect_to(url: &str, status: u16) -> String {
    format!(
        "/redirect-to?status={status}&url={}",
        url.replace('%', "%25").replace('?', "%3F").replace('&', "%26")
    )
}

/// The request at the end of a redirect, for the task whose URL ends like this.
async fn echo(world: &World, end_of_url: &str) -> anyhow::Result<Value> {
    let body: String =
        sqlx::query_scalar("SELECT CAST(body_json AS CHAR) FROM fetches WHERE url LIKE ?")
            .bind(format!("%{end_of_url}"))
            .fetch_one(&world.database)
            .await?;
    Ok(body.parse()?)
}

#[tokio::test]
async fn secret_headers_of_a_task_are_sent_only_to_its_origin_and_never_again_after_leaving_it()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let other = Shop::start(Options::default()).await?;
    // To the other origin, back, and on within the task's own origin.
    let back = redirect_to(&world.shop.url(&redirect_to("/echo/back", 302)), 302);
    for path in [
        redirect_to("/echo/here", 302),
        redirect_to(&other.url("/echo/there"), 302),
        redirect_to(&other.url("/echo/kept"), 307),
        redirect_to(&other.url(&back), 302),
    ] {
        let headers = json!({
            "authorization": "Bearer secret", "cookie": "id=secret", "x-api-key": "secret",
            "content-type": "text/x-order", "user-agent": "a browser",
        });
        let task = json!({
            "url": world.shop.url(&path), "method": "PUT", "headers": headers, "body": "order",
        });
        world.type_message(&task.to_string()).await?;
    }
    assert_eq!(world.work_until_empty(&[]).await?["ok"], 4);

    let here = echo(&world, "/echo/here").await?;
    assert_eq!(here["headers"]["authorization"], "Bearer secret");
    assert_eq!(here["headers"]["x-api-key"], "secret");
    for end in ["/echo/there", "/echo/kept", "/echo/back"] {
        let there = echo(&world, end).await?;
        assert!(!there["headers"].to_string().contains("secret"), "{end}: {there}");
        assert_eq!(there["headers"]["user-agent"], "a browser", "{end}: {there}");
    }
    let kept = echo(&world, "/echo/kept").await?;
    assert_eq!((&kept["method"], &kept["body"]), (&"PUT".into(), &"order".into()));
    assert_eq!(kept["headers"]["content-type"], "text/x-order");
    Ok(())
}

#[tokio::test]
async fn credentials_in_a_url_are_sent_only_to_its_origin_and_never_again_after_leaving_it()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let other = Shop::start(Options::default()).await?;
    let back = redirect_to(&world.shop.url("/echo/back"), 302);
    let there = redirect_to(&format!("//{}/echo/there", other.addr()), 302);
    let paths = [redirect_to("/echo/here", 302), there, redirect_to(&other.url(&back), 302)];
    let with_password =
        |path: String| world.shop.url(&path).replacen("http://", "http://user:hunter2@", 1);
    world.produce("credentials", &paths.map(with_password)).await?;
    assert_eq!(world.work_until_empty(&[]).await?["ok"], 3);

    assert_eq!(
        echo(&world, "/echo/here").await?["headers"]["authorization"],
        "Basic dXNlcjpodW50ZXIy"
    );
    for end in ["/echo/there", "/echo/back"] {
        let there = echo(&world, end).await?;
        assert_eq!(there["headers"]["authorization"], Value::Null, "{end}: {there}");
    }
    assert_eq!(
        world.count("SELECT COUNT(*) FROM fetches WHERE final_url LIKE '%hunter2%'").await?,
        0
    );
    Ok(())
}

#[tokio::test]
async fn credentials_in_a_redirect_are_masked() -> anyhow::Result<()> {
    let world = World::new().await?;
    let location = world.shop.url("/echo/1").replace("http://", "http://user:hunter2@");
    world.produce("masked", &[world.shop.url(&redirect_to(&location, 302))]).await?;
    let output = world.worker(&["--until-empty"])?.end().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(
        echo(&world, "/echo/1").await?["headers"]["authorization"],
        "Basic dXNlcjpodW50ZXIy"
    );
    let final_url: String =
        sqlx::query_scalar("SELECT final_url FROM fetches").fetch_one(&world.database).await?;
    assert_eq!(final_url, world.shop.url("/echo/1").replace("http://", "http://***@"));
    Ok(())
}

#[tokio::test]
async fn a_redirect_to_a_paused_host_waits_for_the_end_of_the_pause() -> anyhow::Result<()> {
    let world = World::new().await?;
    let other = Shop::start(Options::default()).await?;
    let paused = world.run(&["hosts", "pause", &other.addr().to_string()], "").await?;
    assert_eq!(paused.code, Some(0), "{paused:?}");
    let path = redirect_to(&other.url("/echo/there"), 302);
    world.produce("paused", &[world.shop.url(&path)]).await?;
    let worker = world.worker(&[])?;
    let deferred = async || Ok(world.pop("retry.600s").await.unwrap_or_default());
    let message = wait::until("the deferred task", deferred, Option::is_some).await?;
    let headers = message.and_then(|(properties, _)| properties.headers().clone());
    let counts = headers.and_then(|headers| headers.inner().get("x-parked-for").cloned());
    assert_eq!(counts, Some(AMQPValue::LongString("pause 1".into())));
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}
