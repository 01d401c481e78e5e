//! URLs that name several nodes, of which some refuse connections and some are frozen.

use fetchline_tests::wait;
use fetchline_tests::world::World;
use tokio::net::TcpListener;

/// Nothing listens on the discard port.
const REFUSING: &str = "127.0.0.1:9";

/// A listener whose connections are accepted by the system, and never answered: what a frozen
/// process looks like.
async fn frozen() -> anyhow::Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    Ok((listener, address))
}

/// The URL with these hosts before its own.
fn with_hosts(url: &str, hosts: &[&str]) -> String {
    let begin = url.rfind('@').map_or(0, |at| at + 1);
    let (before, after) = url.split_at(begin);
    format!("{before}{},{after}", hosts.join(","))
}

/// The `host:port` of a URL.
fn node_of(url: &str) -> &str {
    let authority = url.rsplit('@').next().unwrap_or(url);
    authority.split('/').next().unwrap_or(authority)
}

#[tokio::test]
async fn every_command_works_while_other_nodes_refuse_or_are_frozen() -> anyhow::Result<()> {
    let mut world = World::bare().await?;
    let (amqp, database) = (world.amqp_url.clone(), world.database_url.clone());
    let (_listener, frozen) = frozen().await?;
    let others = [REFUSING, frozen.as_str()];
    world.amqp_url = with_hosts(&amqp, &others);
    world.database_url = with_hosts(&database, &others);
    for command in [&["migrate"][..], &["status", "--json"], &["hosts", "list"], &["runs", "list"]]
    {
        let output = world.run(command, "").await?;
        assert_eq!(output.code, Some(0), "{output:?}");
    }
    world.produce("nightly", &world.pages(20)).await?;
    let mut worker = world.worker(&[])?;
    let health = worker.health().await?;
    let readyz = async || {
        let answer = reqwest::get(format!("http://{health}/readyz")).await?;
        Ok(serde_json::from_slice::<serde_json::Value>(&answer.bytes().await?)?)
    };
    let body = wait::until("the worker is ready", readyz, |body| body["ready"] == true).await?;
    assert_eq!(body["broker"]["node"], node_of(&amqp), "{body}");
    assert_eq!(body["database"]["node"], node_of(&database), "{body}");
    wait::until("every row", async || world.rows().await, |rows| *rows == 20).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    let check = world.run(&["check", "--json"], "").await?.json()?;
    let text = check["checks"].to_string();
    assert!(text.contains(node_of(&amqp)) && text.contains(node_of(&database)), "{text}");
    world.database_url = database;
    world.amqp_url = amqp;
    Ok(())
}

#[tokio::test]
async fn a_list_becomes_neither_a_database_nor_a_virtual_host_and_shows_no_password()
-> anyhow::Result<()> {
    let world = World::bare().await?;
    let node = node_of(&world.database_url);
    for url in [
        format!("mysql://root@{node}/lists_a,mysql://root:hunter2@{node}/lists_b"),
        format!("mysql://root@{node}/lists_a,root:hunter2@{node}/lists_a"),
        format!("mysql://root@{node}/lists_a,{node}"),
        format!("mysql://root:hunter2@{node},,{node}/lists_a"),
        format!("mysql://root:hunter2@{node}:x,{node}/lists_a"),
    ] {
        let output = world.run(&["migrate", "--database-url", &url], "").await?;
        assert_eq!(output.code, Some(2), "{url}: {output:?}");
        assert!(!format!("{output:?}").contains("hunter2"), "{output:?}");
    }
    let broker = node_of(&world.amqp_url);
    for url in [
        format!("amqp://guest:hunter2@{broker}/%2f,guest:hunter2@{broker}/%2f"),
        format!("amqp://guest:hunter2@{broker}/a,amqp://guest:hunter2@{broker}/b"),
        format!("amqp://guest:hunter2@{broker}/%2f,{broker}/%2f"),
    ] {
        let output = world.run(&["status", "--amqp-url", &url], "").await?;
        assert_eq!(output.code, Some(2), "{url}: {output:?}");
        assert!(!format!("{output:?}").contains("hunter2"), "{output:?}");
    }
    let created =
        "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name LIKE 'lists%'";
    let server = sqlx::mysql::MySqlPool::connect(&format!("mysql://root@{node}/mysql")).await?;
    let count: i64 = sqlx::query_scalar(created).fetch_one(&server).await?;
    assert_eq!(count, 0);
    Ok(())
}

#[tokio::test]
async fn an_error_names_every_node_and_no_password() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let (_listener, frozen) = frozen().await?;
    let url = format!("mysql://root:hunter2@{REFUSING},{frozen}/fetchline");
    let output = world.run(&["hosts", "list", "--database-url", &url], "").await?;
    assert_eq!(output.code, Some(1), "{output:?}");
    for part in [REFUSING, &frozen, "refused", "does not answer"] {
        assert!(output.stderr.contains(part), "{part}: {output:?}");
    }
    assert!(!format!("{output:?}").contains("hunter2"), "{output:?}");
    Ok(())
}
