//! The log of a worker.

use anyhow::Context;
use fetchline_tests::world::World;
use serde_json::Value;

#[tokio::test]
async fn each_failure_is_logged_once_and_progress_periodically() -> anyhow::Result<()> {
    let world = World::new().await?;
    let failing = world.shop.url("/status/500/1").replace("http://", "http://ann:hunter2@");
    // The last page takes so long that a progress line is logged meanwhile.
    let last = [failing.clone(), world.shop.url("/status/404/1"), world.shop.url("/slow/11000/1")];
    world.produce("logged", &[world.pages(300), last.into()].concat()).await?;
    let flags = ["--until-empty", "--max-attempts", "2", "--retry-delays", "1s"];
    let output = world.worker(&flags)?.end().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let lines: Vec<Value> =
        output.stderr.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let failures: Vec<&Value> =
        lines.iter().filter(|line| line["message"] == "a fetch failed").collect();
    let attempts = |path: &str| {
        failures
            .iter()
            .filter(|line| line["url"].as_str().is_some_and(|url| url.contains(path)))
            .count()
    };
    assert_eq!((attempts("/status/500/1"), attempts("/status/404/1"), failures.len()), (2, 1, 3));
    for failure in &failures {
        for field in ["url", "run", "attempt", "error", "outcome", "next"] {
            assert!(!failure[field].is_null(), "{field}: {failure}");
        }
    }
    assert!(failures.iter().all(|line| line["run"] == "logged"));
    assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);

    let progress: Vec<&Value> = lines.iter().filter(|line| line["message"] == "working").collect();
    let first = progress.first().context("there is no progress line")?;
    assert_eq!(
        (&first["ok"], &first["failed"], &first["retried"], &first["held"]),
        (&300.into(), &2.into(), &1.into(), &1.into())
    );
    // The number of other lines does not grow with the number of tasks.
    assert!(progress.len() <= 2 && lines.len() - failures.len() < 20, "{}", output.stderr);
    Ok(())
}
