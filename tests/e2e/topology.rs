//! An exchange and queues that exist already, and were declared differently.

use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

async fn declare_exchange(world: &World, kind: ExchangeKind) -> anyhow::Result<()> {
    let channel = world.amqp.create_channel().await?;
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let name = world.prefix.as_str().into();
    Ok(channel.exchange_declare(name, kind, options, FieldTable::default()).await?)
}

async fn declare(
    world: &World,
    key: &str,
    kind: &str,
    more: &[(&str, AMQPValue)],
) -> anyhow::Result<()> {
    let channel = world.amqp.create_channel().await?;
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    for (name, value) in more {
        arguments.insert((*name).into(), value.clone());
    }
    let name = format!("{}.{key}", world.prefix);
    channel.queue_declare(name.into(), options, arguments).await?;
    Ok(())
}

/// Migrates, and runs a worker that ends by itself; the second value is what it wrote.
async fn refused(world: &World) -> anyhow::Result<String> {
    let migrated = world.run(&["migrate"], "").await?;
    anyhow::ensure!(migrated.code == Some(0), "{migrated:?}");
    let output = world.worker(&["--retry-delays", "1s"])?.end().await?;
    assert_eq!(output.code, Some(2), "{output:?}");
    Ok(output.stderr)
}

#[tokio::test]
async fn a_worker_refuses_an_exchange_that_would_multiply_messages() -> anyhow::Result<()> {
    for kind in [ExchangeKind::Fanout, ExchangeKind::Topic, ExchangeKind::Headers] {
        let world = World::bare().await?;
        declare_exchange(&world, kind.clone()).await?;
        let error = refused(&world).await?;
        let exchange = format!("the exchange {}", world.prefix);
        let names_it = error.contains(&exchange) && error.contains("inequivalent arg 'type'");
        assert!(names_it, "{kind:?}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_refuses_queues_in_which_tasks_would_stay_for_ever() -> anyhow::Result<()> {
    for (key, kind) in [
        ("retry.1s", "classic"),
        ("retry.1s", "quorum"),
        ("retry.3600s", "quorum"),
        ("urls", "stream"),
    ] {
        let world = World::bare().await?;
        declare(&world, key, kind, &[]).await?;
        let error = refused(&world).await?;
        let queue = format!("the queue {}.{key}", world.prefix);
        assert!(error.contains(&queue), "{key} {kind}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_refuses_queues_that_would_lose_messages() -> anyhow::Result<()> {
    let number = AMQPValue::LongLongInt;
    let text = |value: &str| AMQPValue::LongString(value.into());
    let drop_head = [("x-overflow", text("drop-head")), ("x-max-length-bytes", number(9))];
    for (key, arguments, named) in [
        ("dead", vec![("x-message-ttl", number(60_000))], "x-message-ttl"),
        ("urls", vec![("x-message-ttl", number(60_000))], "x-message-ttl"),
        ("runs", vec![("x-expires", number(60_000))], "x-expires"),
        ("dead", vec![("x-max-length", number(9))], "x-max-length"),
        ("urls", drop_head.to_vec(), "x-max-length-bytes"),
        ("dead", vec![("x-delivery-limit", number(20))], "x-delivery-limit"),
    ] {
        let world = World::bare().await?;
        declare(&world, key, "quorum", &arguments).await?;
        let error = refused(&world).await?;
        let named = format!("inequivalent arg '{named}' for queue '{}.{key}'", world.prefix);
        assert!(error.contains(&named), "{arguments:?}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_works_with_queues_that_refuse_messages_or_dead_letter_them() -> anyhow::Result<()>
{
    let number = AMQPValue::LongLongInt;
    let text = |value: &str| AMQPValue::LongString(value.into());
    for (argument, more) in [
        ("x-max-length", vec![("x-max-length", number(9)), ("x-overflow", text("reject-publish"))]),
        ("x-message-ttl", vec![("x-message-ttl", number(86_400_000))]),
        ("x-delivery-limit", vec![("x-delivery-limit", number(50))]),
    ] {
        let world = World::bare().await?;
        let target = text(&world.prefix);
        let dead_lettering =
            [("x-dead-letter-exchange", target), ("x-dead-letter-routing-key", text("dead"))];
        declare(&world, "urls", "quorum", &[&more[..], &dead_lettering].concat()).await?;
        let migrated = world.run(&["migrate"], "").await?;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        let mut worker = world.worker(&[])?;
        worker.logs(&format!("inequivalent arg '{argument}'")).await?;
        worker.logs("consuming").await?;
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_says_which_queues_are_of_another_kind_and_consumes_from_them()
-> anyhow::Result<()> {
    let world = World::bare().await?;
    for key in ["urls", "dead"] {
        declare(&world, key, "classic", &[]).await?;
    }
    let migrated = world.run(&["migrate"], "").await?;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let mut worker = world.worker(&[])?;
    for key in ["urls", "dead"] {
        worker
            .logs(&format!("the queue {}.{key} is not as a worker declares it", world.prefix))
            .await?;
    }
    worker.logs("consuming").await?;
    world.type_message(&world.shop.url("/p/1")).await?;
    wait::until("the row", async || world.rows().await, |rows| *rows == 1).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_worker_that_the_broker_refuses_ends_instead_of_waiting_for_ever() -> anyhow::Result<()> {
    let world = World::new().await?;
    let with = |change: &dyn Fn(&mut reqwest::Url)| -> anyhow::Result<String> {
        let mut url = world.amqp_url.parse()?;
        change(&mut url);
        Ok(url.to_string())
    };
    let cases = [
        (with(&|url| _ = url.set_password(Some("hunter2")))?, "check the user"),
        (with(&|url| url.set_path("/missing"))?, "check the user"),
        (with(&|url| url.set_path("/"))?, "/%2f"),
    ];
    // All at the same time: each is refused for half a minute.
    let workers: Vec<_> = cases
        .iter()
        .map(|(amqp_url, _)| world.worker_on(amqp_url, &[]))
        .collect::<anyhow::Result<_>>()?;
    for (worker, (_, hint)) in workers.into_iter().zip(cases) {
        let output = worker.end().await?;
        assert_eq!(output.code, Some(2), "{output:?}");
        let stderr = &output.stderr;
        assert!(stderr.contains(hint) && !stderr.contains("hunter2"), "{stderr}");
    }
    Ok(())
}
