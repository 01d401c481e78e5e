//! What a worker logs.

use anyhow::Context;
use fetchline_tests::world::World;
use serde_json::Value;

#[tokio::test]
async fn each_failure_is_told_once_and_the_flow_in_a_line_now_and_then() -> anyhow::Result<()> {
    let world = World::new().await?;
    let failing = world.shop.url("/status/500/1").replace("http://", "http://ann:hunter2@");
    // The last one takes so long that how it goes on is told meanwhile.
    let last = [failing.clone(), world.shop.url("/status/404/1"), world.shop.url("/slow/11000/1")];
    world.produce("told", &[world.pages(300), last.into()].concat()).await?;
    let flags = ["--until-empty", "--max-attempts", "2", "--retry-delays", "1s"];
    let ended = world.worker(&flags)?.end().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<Value> = ended.stderr.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let failures: Vec<&Value> = lines.iter().filter(|line| line["message"] == "a fetch failed").collect();
    let tries =
        |path: &str| failures.iter().filter(|line| line["url"].as_str().is_some_and(|url| url.contains(path))).count();
    assert_eq!((tries("/status/500/1"), tries("/status/404/1"), failures.len()), (2, 1, 3));
    for failure in &failures {
        for field in ["url", "run", "attempt", "error", "outcome", "next"] {
            assert!(!failure[field].is_null(), "{field}: {failure}");
        }
    }
    assert!(failures.iter().all(|line| line["run"] == "told"));
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);

    let flow: Vec<&Value> = lines.iter().filter(|line| line["message"] == "working").collect();
    let first = flow.first().context("nothing is told of how it goes on")?;
    assert_eq!(
        (&first["ok"], &first["failed"], &first["retried"], &first["held"]),
        (&300.into(), &2.into(), &1.into(), &1.into())
    );
    // Whatever is told of what works does not grow with it.
    assert!(flow.len() <= 2 && lines.len() - failures.len() < 20, "{}", ended.stderr);
    Ok(())
}
