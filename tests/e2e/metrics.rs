//! The metrics of a worker.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use fetchline_tests::process::{self, Running};
use fetchline_tests::services::project;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use tokio::process::Command;

async fn scrape(worker: &mut Running) -> anyhow::Result<String> {
    let address = worker.health().await?;
    Ok(reqwest::get(format!("http://{address}/metrics")).await?.text().await?)
}

/// Parses samples into a map by names and labels.
fn samples(text: &str) -> anyhow::Result<HashMap<String, f64>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) =
            line.rsplit_once(' ').with_context(|| format!("not a sample: {line}"))?;
        Ok((name.to_owned(), value.parse()?))
    };
    lines.map(sample).collect()
}

#[tokio::test]
async fn metrics_report_finished_and_current_work() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut worker = world.worker(&["--concurrency", "5", "--max-attempts", "1"])?;
    let urls =
        [world.pages(20), vec![world.shop.url("/status/404/1"), world.shop.url("/status/500/1")]]
            .concat();
    world.produce("done", &urls).await?;
    world.type_message("no URL").await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 22).await?;
    let dead = async || world.ready("dead").await;
    wait::until("the dead letters", dead, |dead| *dead == 2).await?;
    let values = samples(&scrape(&mut worker).await?)?;
    // Two of the messages are part reports.
    for (name, expected) in [
        ("fetchline_deliveries_total{redelivered=\"false\"}", 25.0),
        ("fetchline_tasks_total{outcome=\"ok\"}", 20.0),
        ("fetchline_tasks_total{outcome=\"http_error\"}", 2.0),
        ("fetchline_tasks_total{outcome=\"timeout\"}", 0.0),
        ("fetchline_dead_letters_total{reason=\"http_error\"}", 1.0),
        ("fetchline_dead_letters_total{reason=\"not_a_task\"}", 1.0),
        ("fetchline_fetch_duration_seconds_count", 22.0),
        ("fetchline_batch_rows_sum", 24.0),
        ("fetchline_fetches_in_flight", 0.0),
        ("fetchline_broker_up", 1.0),
        ("fetchline_database_up", 1.0),
        ("fetchline_concurrency", 5.0),
        ("fetchline_broker_connections_total", 1.0),
    ] {
        assert_eq!(values.get(name), Some(&expected), "{name}");
    }
    assert!(
        values["fetchline_body_bytes_total"] > 1_000.0
            && values["fetchline_database_connections_max"] > 0.0
    );

    world
        .produce(
            "slow",
            &(0..30).map(|id| world.shop.url(&format!("/slow/5000/{id}"))).collect::<Vec<_>>(),
        )
        .await?;
    let under_way = async || {
        let values = samples(&scrape(&mut worker).await?)?;
        Ok([
            "fetchline_fetches_in_flight",
            "fetchline_messages_held",
            "fetchline_waiting_tasks{cause=\"concurrency\"}",
        ]
        .map(|name| values.get(name).copied().unwrap_or(-1.0) as i64))
    };
    wait::until("five tasks are fetched, and the rest waits", under_way, |values| {
        *values == [5, 30, 25]
    })
    .await?;
    worker.kill().await?;
    Ok(())
}

#[tokio::test]
async fn metrics_follow_prometheus_conventions_and_have_bounded_labels() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut worker = world.worker(&[])?;
    world.produce("hosts", &world.pages(3)).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 3).await?;
    let text = scrape(&mut worker).await?;
    // Prometheus' own check, if it is installed: `make rules` installs it, and `make ci` runs that
    // first.
    match process::run(Command::new("promtool").args(["check", "metrics"]), &text).await {
        Ok(checked) => assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{text}"),
        Err(error) => eprintln!("promtool could not check this: {error:#}"),
    }
    let comments = |what: &str| -> HashMap<String, String> {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("# {what} "))?.split_once(' '));
        lines.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    };
    let (helps, types) = (comments("HELP"), comments("TYPE"));
    assert!(types.len() > 20, "{text}");
    for (name, kind) in &types {
        assert!(name.starts_with("fetchline_") && helps.contains_key(name), "{name} has no help");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        for unit in ["_ms", "_millis", "_kib", "_mb"] {
            assert!(!name.contains(unit), "{name} is not in a base unit");
        }
    }
    // Every metric of the alerts and of the dashboard exists.
    let rules = std::fs::read_to_string(project().join("deploy/prometheus/rules.yml"))?;
    let dashboard = std::fs::read_to_string(project().join("deploy/grafana/workers.json"))?;
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard)?;
    let panels = dashboard["panels"].as_array().context("the dashboard has no panels")?;
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<&str> = queries.filter_map(|query| query["expr"].as_str()).collect();
    assert!(
        queries.len() > 20 && queries.iter().all(|query| query.contains("fetchline_")),
        "{queries:?}"
    );
    let expressions =
        rules.lines().filter(|line| !line.contains("summary") && !line.contains("description"));
    for word in expressions
        .chain(queries)
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c)))
    {
        let histogram = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|end| word.strip_suffix(end))
            .unwrap_or(word);
        let known = types.contains_key(word) || types.contains_key(histogram);
        assert!(
            known || !word.starts_with("fetchline_"),
            "{word} of the rules or the dashboard is not a metric"
        );
    }
    let labels: HashSet<&str> = samples(&text)?
        .keys()
        .filter_map(|name| name.split_once('{'))
        .flat_map(|(_, labels)| labels.trim_end_matches('}').split(','))
        .filter_map(|label| label.split_once('=').map(|(name, _)| name))
        .map(|name| {
            ["cause", "delay", "le", "outcome", "reason", "redelivered", "result", "version"]
                .into_iter()
                .find(|known| *known == name)
                .unwrap_or("another label")
        })
        .collect();
    assert!(!labels.contains("another label") && !text.contains("127.0.0.1"), "{text}");
    worker.terminate().await?;
    Ok(())
}
