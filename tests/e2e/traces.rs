//! The traces that a worker exports.

use anyhow::Context;
use fetchline_tests::collector::{Collector, Span};
use fetchline_tests::process;
use fetchline_tests::shop;
use fetchline_tests::world::World;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// The properties of a message that belongs to a trace.
fn with_trace(traceparent: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(traceparent.into()));
    BasicProperties::default().with_headers(headers)
}

/// The children of a span, ordered by their start.
fn children<'a>(spans: &'a [Span], of: &Span) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.parent == of.id).collect()
}

fn names<'a>(spans: &[&'a Span]) -> Vec<&'a str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[tokio::test]
async fn a_task_is_traced_from_its_delivery_to_its_ack_within_the_trace_of_its_message()
-> anyhow::Result<()> {
    let (world, collector) = (World::new().await?, Collector::start().await?);
    let url = world.shop.url("/p/1").replace("http://", "http://ann:hunter2@");
    world
        .publish(
            &url,
            with_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
                .with_message_id("a".into()),
        )
        .await?;
    world
        .publish(
            &world.shop.url("/p/2"),
            with_trace("00-11111111111111111111111111111111-2222222222222222-00"),
        )
        .await?;
    world.type_message(&world.shop.url("/p/3")).await?;
    world.work_until_empty(&["--otlp-endpoint", &collector.url]).await?;
    assert_eq!(world.rows().await?, 3);

    let spans = collector.spans();
    let consumed: Vec<&Span> = spans.iter().filter(|span| span.name == "consume").collect();
    // The second message says that its trace is not sampled.
    assert_eq!(consumed.len(), 2, "{spans:#?}");
    let whole =
        consumed.iter().find(|span| span.parent == "b7ad6b7169203331").context("no parent")?;
    assert_eq!(whole.trace, "0af7651916cd43dd8448eb211c80319c");
    let queue = format!("{}.urls", world.prefix);
    for (name, expected) in [
        ("service.name", "fetchline"),
        ("service.instance.id", "worker-1"),
        ("messaging.system", "rabbitmq"),
        ("messaging.destination.name", queue.as_str()),
        ("messaging.message.id", "a"),
        ("fetchline.run", "adhoc"),
        ("fetchline.attempt", "1"),
        ("fetchline.settled", "acked"),
    ] {
        assert_eq!(whole.attribute(name), Some(expected), "{name}");
    }
    assert!(!format!("{spans:?}").contains("hunter2"));
    let steps = children(&spans, whole);
    assert_eq!(names(&steps), ["wait", "fetch", "batch", "commit", "settle"]);
    for (step, next) in steps.iter().zip(&steps[1..]) {
        assert!(
            step.trace == whole.trace && step.from <= step.to && step.to <= next.from,
            "{step:?} {next:?}"
        );
    }
    assert!(steps.iter().all(|step| step.from >= whole.from && step.to <= whole.to), "{steps:#?}");
    for (name, expected) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("server.address", "127.0.0.1"),
        ("fetchline.outcome", "ok"),
    ] {
        assert_eq!(steps[1].attribute(name), Some(expected), "{name}");
    }
    assert_eq!(steps[3].attribute("fetchline.batch.rows"), Some("3"));
    // The message without a trace starts a new one.
    let typed =
        consumed.iter().find(|span| span.parent.is_empty()).context("no trace of its own")?;
    assert!(typed.trace != whole.trace && children(&spans, typed).len() == 5, "{spans:#?}");
    Ok(())
}

#[tokio::test]
async fn attempts_of_a_task_share_a_trace_and_record_their_failures() -> anyhow::Result<()> {
    let (world, collector) = (World::new().await?, Collector::start().await?);
    let message = BasicProperties::default().with_message_id("a".into());
    world.publish(&world.shop.url("/status/500/1"), message).await?;
    // The endpoint comes from OpenTelemetry's own variable.
    let flags =
        ["work", "--until-empty", "--listen", "off", "--max-attempts", "2", "--retry-delays", "1s"];
    let mut command = world.command(&flags)?;
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .env("FETCHLINE_ALLOW_NETWORK", shop::NETWORK);
    let output = process::run(&mut command, "").await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let spans = collector.spans();
    let attempts: Vec<&Span> = spans.iter().filter(|span| span.name == "consume").collect();
    assert_eq!(attempts.len(), 2, "{spans:#?}");
    assert!(
        attempts[0].parent.is_empty()
            && attempts[1].parent == attempts[0].id
            && attempts[1].trace == attempts[0].trace
    );
    assert_eq!(
        names(&children(&spans, attempts[0])),
        ["wait", "fetch", "hand over", "settle", "consume"]
    );
    assert_eq!(
        names(&children(&spans, attempts[1])),
        ["wait", "fetch", "batch", "commit", "hand over", "settle"]
    );
    assert_eq!(attempts[1].attribute("fetchline.attempt"), Some("2"));
    for fetch in spans.iter().filter(|span| span.name == "fetch") {
        assert!(fetch.failed && fetch.attribute("error.type") == Some("http_error"), "{fetch:?}");
        assert_eq!(fetch.attribute("http.response.status_code"), Some("500"));
    }
    Ok(())
}

#[tokio::test]
async fn no_span_is_dropped_when_whole_batches_end_at_once() -> anyhow::Result<()> {
    let (world, collector) = (World::new().await?, Collector::start().await?);
    world.produce("many", &world.pages(3_000)).await?;
    // As many fetches per host as in total, so that no task is deferred: a deferral would be a
    // delivery of its own.
    let flags = ["--otlp-endpoint", &collector.url, "--concurrency", "100", "--per-host", "100"];
    world.work_until_empty(&flags).await?;
    let spans = collector.spans();
    for name in ["consume", "wait", "fetch", "batch", "commit", "settle"] {
        assert_eq!(spans.iter().filter(|span| span.name == name).count(), 3_000, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unreachable_collector_loses_traces_and_is_logged_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let away = Collector::start().await?.url.clone();
    world.produce("away", &world.pages(50)).await?;
    let flags = ["--otlp-endpoint", &away, "--until-empty"];
    let output = world.worker(&flags)?.end().await?;
    assert_eq!((output.code, world.rows().await?), (Some(0), 50), "{output:?}");
    assert_eq!(output.stderr.matches("traces cannot be exported").count(), 1, "{output:?}");
    Ok(())
}

#[tokio::test]
async fn an_invalid_endpoint_is_rejected_at_start() -> anyhow::Result<()> {
    let world = World::bare().await?;
    for (endpoint, expected) in [
        ("collector:4318", "--otlp-endpoint is not a URL like http://collector:4318"),
        ("grpc://collector:4317", "--otlp-endpoint is not a URL"),
        ("http://ann:hunter2@collector:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
    ] {
        let output = world.run(&["work", "--otlp-endpoint", endpoint], "").await?;
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(
            output.stderr.contains(expected) && !output.stderr.contains("hunter2"),
            "{output:?}"
        );
    }
    Ok(())
}
