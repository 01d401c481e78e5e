//! What can never work ends with exit code 2, and every command says what to correct.

use std::time::Duration;

use fetchline_tests::console::Console;
use fetchline_tests::process::{self, Output};
use fetchline_tests::world::World;
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use reqwest::{Method, Url};
use serde_json::json;
use tokio::net::TcpListener;

const PASSWORD: &str = "not-a-secret-here";
/// Longer than a command takes that does not try for ever.
const SOON: Duration = Duration::from_secs(20);

/// Runs a command in this environment; it has to end soon.
async fn run(world: &World, command: &str, variables: &[(&str, &str)]) -> anyhow::Result<Output> {
    let words: Vec<&str> = command.split(' ').collect();
    let mut started = world.command(&words)?;
    started.envs(variables.iter().copied());
    let ended = tokio::time::timeout(SOON, process::run(&mut started, "http://a.example/"));
    ended.await.map_err(|_| anyhow::anyhow!("{command} with {variables:?} does not end"))?
}

fn changed(url: &str, change: impl FnOnce(&mut Url)) -> anyhow::Result<String> {
    let mut url: Url = url.parse()?;
    change(&mut url);
    Ok(url.to_string())
}

/// The port of a server that answers every connection with these bytes.
async fn server(answer: &'static [u8]) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            _ = stream.writable().await;
            _ = stream.try_write(answer);
            open.push(stream);
        }
    });
    Ok(port)
}

#[tokio::test]
async fn a_broker_that_refuses_for_good_ends_every_command_with_its_remedy() -> anyhow::Result<()> {
    let world = World::new().await?;
    let own = world.amqp_url.as_str();
    let database = world.database_url.parse::<Url>()?.port().unwrap_or(3306);
    let at = |port: u16| changed(own, |url| _ = url.set_port(Some(port)));
    let http = server(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
    let tls = server(b"\x15\x03\x03\0\x02\x02\x0a").await?;
    for (url, remedy) in [
        (changed(own, |url| _ = url.set_password(Some("wrong")))?, "check the user, the password"),
        (changed(own, |url| url.set_path("/missing"))?, "and the virtual host"),
        (own.replace("amqp://", "amqps://"), "does not speak TLS: use amqp://"),
        (at(database)?, "does not speak AMQP"),
        (at(http)?, "15672 is that of the console"),
        (at(tls)?, "use amqps://"),
        (format!("{own}?hartbeat=3"), "`hartbeat`"),
        (format!("{own}?frame_max=1"), "`frame_max`"),
    ] {
        for command in ["status", "dead list", "control resume", "produce", "check"] {
            let output = run(&world, command, &[("AMQP_URL", &url)]).await?;
            assert_eq!(output.code, Some(2), "{command} at {url}: {output:?}");
            let said = format!("{}{}", output.stdout, output.stderr);
            assert!(said.contains(remedy), "{command} at {url}: {output:?}");
            // Libraries repeat their causes.
            assert!(said.matches("ACCESS_REFUSED").count() < 2, "{output:?}");
        }
    }
    // A broker may be started later.
    let away = run(&world, "status", &[("AMQP_URL", &at(9)?)]).await?;
    assert_eq!(away.code, Some(1), "{away:?}");
    assert_eq!(away.stderr.matches("Connection refused").count(), 1, "{away:?}");
    Ok(())
}

#[tokio::test]
async fn a_database_that_refuses_for_good_ends_every_command_with_its_remedy() -> anyhow::Result<()>
{
    let world = World::new().await?;
    let own = world.database_url.as_str();
    let broker = world.amqp_url.parse::<Url>()?.port().unwrap_or(5672);
    let at = |port: u16| changed(own, |url| _ = url.set_port(Some(port)));
    let http = server(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
    let tls = server(b"\x15\x03\x03\0\x02\x02\x0a").await?;
    for (url, remedy) in [
        (changed(own, |url| _ = url.set_username("nobody"))?, "correct user and password"),
        (changed(own, |url| url.set_path("/missing"))?, "fetchline migrate"),
        (at(broker)?, "speaks AMQP, not the protocol of MySQL"),
        (at(http)?, "speaks HTTP, not the protocol of MySQL"),
        (at(tls)?, "speaks TLS, not the protocol of MySQL"),
        (format!("{own}?ssl_mode=REQUIRED"), "`ssl_mode`"),
        (format!("{own}?charset=nonsense"), "`charset`"),
        (format!("{own}?ssl-ca=/missing.pem"), "/missing.pem"),
    ] {
        for command in ["runs list", "hosts list", "work --listen off", "check"] {
            let output = run(&world, command, &[("DATABASE_URL", &url)]).await?;
            assert_eq!(output.code, Some(2), "{command} at {url}: {output:?}");
            let said = format!("{}{}", output.stdout, output.stderr);
            assert!(said.contains(remedy), "{command} at {url}: {output:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_published_where_an_exchange_would_multiply_it() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let channel = world.amqp.create_channel().await?;
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let (name, kind) = (world.prefix.as_str(), ExchangeKind::Fanout);
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await?;
    for command in ["produce", "check"] {
        let output = run(&world, command, &[]).await?;
        assert_eq!(output.code, Some(2), "{command}: {output:?}");
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains("inequivalent arg 'type'"), "{command}: {output:?}");
    }
    assert_eq!(world.ready("urls").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_producer_without_a_permission_names_it() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let console = Console::of(&world)?;
    let user = format!("{}-user", world.prefix);
    let body = json!({ "password": PASSWORD, "tags": "" });
    console.call(Method::PUT, &format!("users/{user}"), Some(body)).await?;
    let url = changed(&world.amqp_url, |url| {
        _ = url.set_username(&user).and(url.set_password(Some(PASSWORD)));
    })?;
    let vhost = url.parse::<Url>()?.path().trim_start_matches('/').to_owned();
    let grant = async |configure: &str, write: &str, read: &str| {
        let rights = json!({ "configure": configure, "write": write, "read": read });
        console.call(Method::PUT, &format!("permissions/{vhost}/{user}"), Some(rights)).await
    };
    // The queues are missing, and their declaration needs to read.
    grant(".*", ".*", "^$").await?;
    let lacks_read = run(&world, "produce --wait-for-topology 0s", &[("AMQP_URL", &url)]).await?;
    assert_eq!(lacks_read.code, Some(2), "{lacks_read:?}");
    let (read, write) =
        (format!("on {}.urls", world.prefix), format!("write on {} ", world.prefix));
    assert!(
        lacks_read.stderr.contains(&format!("`read` on {}.urls", world.prefix)),
        "{lacks_read:?}"
    );
    // A check finds what a worker could not declare.
    let checked = run(&world, "check --listen off", &[("AMQP_URL", &url)]).await?;
    assert!(checked.code == Some(2) && checked.stdout.contains(&read), "{checked:?}");
    grant(".*", "^$", ".*").await?;
    let checked = run(&world, "check --listen off", &[("AMQP_URL", &url)]).await?;
    assert!(checked.code == Some(2) && checked.stdout.contains(&write), "{checked:?}");
    grant("^$", ".*", ".*").await?;
    let checked = run(&world, "check --listen off", &[("AMQP_URL", &url)]).await?;
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.stdout.contains(&format!("configure on {}.urls", world.prefix)), "{checked:?}");
    anyhow::ensure!(run(&world, "produce", &[]).await?.code == Some(0), "the queues are declared");
    grant("^$", "^$", ".*").await?;
    let lacks_write = run(&world, "produce", &[("AMQP_URL", &url)]).await?;
    assert_eq!(lacks_write.code, Some(2), "{lacks_write:?}");
    assert!(lacks_write.stderr.contains("the permission `write`"), "{lacks_write:?}");
    console.call(Method::DELETE, &format!("users/{user}"), None).await?;
    Ok(())
}
