//! Messages that wait in a retry queue say why, and until when.

use fetchline_tests::console::Console;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The headers of the message in a queue whose payload ends with a text.
async fn headers(console: &Console, queue: &str, payload: &str) -> anyhow::Result<Value> {
    let message = async || {
        let messages = console.peek(queue).await?;
        let is_meant = |message: &&Value| {
            message["payload"].as_str().is_some_and(|text| text.ends_with(payload))
        };
        Ok(messages.iter().find(is_meant).cloned())
    };
    let message = wait::until("the message waits", message, Option::is_some).await?;
    Ok(message.map(|message| message["properties"]["headers"].clone()).unwrap_or_default())
}

fn seconds_until(headers: &Value) -> anyhow::Result<i64> {
    let until = OffsetDateTime::parse(headers["x-until"].as_str().unwrap_or_default(), &Rfc3339)?;
    Ok((until - OffsetDateTime::now_utc()).whole_seconds())
}

#[tokio::test]
async fn a_waiting_message_says_why_until_when_and_who_let_it_wait() -> anyhow::Result<()> {
    let world = World::new().await?;
    let console = Console::of(&world)?;
    let mut worker =
        world.worker(&["--retry-delays", "600s", "--timeout", "1s", "--connect-timeout", "1s"])?;
    worker.logs("consuming").await?;
    let queue = format!("{}.retry.600s", world.prefix);
    world
        .produce("waiting", &[world.shop.url("/status/503/1"), world.shop.url("/slow/5000/2")])
        .await?;
    for (page, reason, status) in
        [("/status/503/1", "http_error", 503), ("/slow/5000/2", "timeout", 0)]
    {
        let headers = headers(&console, &queue, page).await?;
        assert_eq!(headers["x-reason"], reason, "{headers}");
        assert_eq!(headers["x-status"].as_i64().unwrap_or_default(), status, "{headers}");
        assert_eq!((&headers["x-worker"], &headers["x-attempt"]), (&"worker-1".into(), &2.into()));
        assert!(headers["x-error"].as_str().is_some_and(|error| error.len() > 5), "{headers}");
        let seconds = seconds_until(&headers)?;
        assert!((500..=600).contains(&seconds), "{seconds}: {headers}");
    }

    world.hosts(&["pause", &world.shop.addr().to_string()]).await?;
    worker.logs("a host limit has changed").await?;
    world.produce("paused", &[world.shop.url("/p/3")]).await?;
    let paused = headers(&console, &queue, "/p/3").await?;
    assert_eq!(
        (&paused["x-reason"], &paused["x-error"]),
        (&"pause".into(), &"its host is paused".into())
    );
    assert!(paused.get("x-status").is_none(), "{paused}");
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_has_one_count_of_attempts_and_shows_error_and_worker() -> anyhow::Result<()>
{
    let world = World::new().await?;
    let console = Console::of(&world)?;
    let worker = world.worker(&["--retry-delays", "1s", "--max-attempts", "2"])?;
    world.produce("failing", &[world.shop.url("/status/500/1")]).await?;
    let dead = format!("{}.dead", world.prefix);
    let headers = headers(&console, &dead, "/status/500/1").await?;
    assert_eq!(headers["x-attempts"], 2, "{headers}");
    assert!(headers.get("x-attempt").is_none() && headers.get("x-until").is_none(), "{headers}");
    // The console has just returned the message to the queue, which takes the broker a moment.
    let list = async || Ok(world.run(&["dead", "list", "--host", "127.0.0.1"], "").await?.stdout);
    let list = wait::until("the dead letter", list, |list| !list.contains("0 of 0")).await?;
    assert!(list.contains("worker-1") && list.contains("500") && list.contains("error"), "{list}");
    assert!(list.contains("1 of 1 dead letters"), "a host without a port matches: {list}");
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}
