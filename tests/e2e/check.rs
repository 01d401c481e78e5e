//! `fetchline check`: what it finds, and that it changes nothing.

use fetchline_tests::console::Console;
use fetchline_tests::name_server::{Behaviour, NameServer};
use fetchline_tests::process::{self, Output};
use fetchline_tests::world::World;
use serde_json::{Value, json};
use sqlx::Executor;

/// Runs a check with these flags and variables, and a name server that answers.
async fn check(
    world: &World,
    flags: &[&str],
    variables: &[(&str, &str)],
) -> anyhow::Result<(Output, Value)> {
    let server = NameServer::start(Behaviour::Answer).await?;
    let mut command = world.command(&["check", "--json", "--dns-server", &server.address()])?;
    command.env("FETCHLINE_LISTEN", "off").args(flags).envs(variables.iter().copied());
    let output = process::run(&mut command, "").await?;
    let report = output.json()?;
    Ok((output, report))
}

/// The status and the words of a check.
fn finding(report: &Value, check: &str) -> (String, String) {
    let found = report["checks"].as_array().into_iter().flatten().find(|it| it["check"] == check);
    let found = found.cloned().unwrap_or_default();
    let words = format!("{} {}", found["text"], found["remedy"]);
    (found["status"].as_str().unwrap_or("missing").to_owned(), words)
}

#[tokio::test]
async fn a_check_is_green_where_a_worker_can_work() -> anyhow::Result<()> {
    let world = World::new().await?;
    let page = world.shop.url("/p/1");
    let flags = ["--url", &page, "--allow-network", fetchline_tests::shop::NETWORK];
    let (output, report) = check(&world, &flags, &[]).await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(report["ok"], true);
    for name in ["broker", "permissions", "topology", "database", "schema", "rights", "writes"] {
        assert_eq!(finding(&report, name).0, "ok", "{report}");
    }
    assert!(finding(&report, "egress").1.contains("answered 200"), "{report}");
    // A visit of the page, and nothing else, is left.
    assert_eq!(world.rows().await?, 0);
    let text = world.run(
        &["check", "--listen", "off", "--dns-server", "127.0.0.1:9", "--dns-timeout", "1s"],
        "",
    );
    let text = text.await?;
    assert_eq!(text.code, Some(1), "{text:?}");
    assert!(text.stdout.contains("ok       broker "), "{text:?}");
    assert!(text.stdout.contains("failed   name servers "), "{text:?}");
    assert!(text.stderr.contains("one check failed"), "{text:?}");
    Ok(())
}

#[tokio::test]
async fn a_check_declares_nothing_and_creates_no_database() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let (output, report) = check(&world, &[], &[]).await?;
    assert_eq!(output.code, Some(2), "{output:?}");
    assert_eq!(finding(&report, "permissions").0, "ok", "{report}");
    let (status, words) = finding(&report, "topology");
    assert!(status == "ok" && words.contains("not declared yet"), "{report}");
    let (status, words) = finding(&report, "database");
    assert!(status == "wrong" && words.contains("fetchline migrate"), "{report}");
    assert_eq!(world.broker()?.topology().counts(&world.amqp, "urls").await?, None);
    let again = check(&world, &[], &[]).await?.1;
    assert!(finding(&again, "topology").1.contains("not declared yet"), "{again}");
    Ok(())
}

#[tokio::test]
async fn a_check_names_what_is_wrong_and_how_to_mend_it() -> anyhow::Result<()> {
    let world = World::new().await?;
    let with = |url: &str, change: &dyn Fn(&mut reqwest::Url)| -> anyhow::Result<String> {
        let mut url = url.parse()?;
        change(&mut url);
        Ok(url.to_string())
    };
    let (amqp, sql) = (world.amqp_url.as_str(), world.database_url.as_str());
    let management = world.management_url.clone().unwrap_or_default();
    let management: reqwest::Url = management.parse()?;
    let cases = [
        (
            "AMQP_URL",
            with(amqp, &|url| _ = url.set_password(Some("hunter2")))?,
            2,
            "broker",
            "wrong",
        ),
        ("AMQP_URL", with(amqp, &|url| _ = url.set_username("nobody"))?, 2, "broker", "wrong"),
        ("AMQP_URL", with(amqp, &|url| url.set_path("/missing"))?, 2, "broker", "wrong"),
        ("AMQP_URL", with(amqp, &|url| _ = url.set_port(Some(9)))?, 1, "broker", "failed"),
        ("AMQP_URL", with(amqp, &|url| _ = url.set_port(management.port()))?, 2, "broker", "wrong"),
        ("AMQP_URL", amqp.replace("amqp://", "amqps://"), 2, "broker", "wrong"),
        ("DATABASE_URL", with(sql, &|url| _ = url.set_username("nobody"))?, 2, "database", "wrong"),
        ("DATABASE_URL", with(sql, &|url| _ = url.set_port(Some(9)))?, 1, "database", "failed"),
        ("DATABASE_URL", with(sql, &|url| url.set_path("/missing"))?, 2, "database", "wrong"),
        ("FETCHLINE_CONCURRENCY", "1000000".to_owned(), 2, "settings", "wrong"),
        ("FETCHLINE_MAX_BODY", "1GiB".to_owned(), 2, "packet size", "warning"),
        ("FETCHLINE_CHECK_URL", world.shop.url("/p/1"), 2, "egress", "wrong"),
        ("FETCHLINE_CHECK_URL", "http://127.0.0.1:9/".to_owned(), 2, "egress", "wrong"),
    ];
    for (variable, value, code, name, expected) in cases {
        let (output, report) = check(&world, &[], &[(variable, &value)]).await?;
        let (status, words) = finding(&report, name);
        let found = (output.code, status.as_str());
        assert_eq!(found, (Some(code), expected), "{variable}={value}: {report}");
        // The text about a setting is the remedy.
        let has_remedy = name == "settings" || !words.ends_with("null");
        assert!(has_remedy, "no remedy for {variable}={value}: {report}");
        assert!(!format!("{output:?}").contains("hunter2"), "{output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_check_names_the_permissions_that_the_user_lacks() -> anyhow::Result<()> {
    let world = World::new().await?;
    let console = Console::of(&world)?;
    let user = format!("{}-check", world.prefix);
    let (name, password) = (world.prefix.as_str(), "not-a-secret-here");
    let body = json!({ "password": password, "tags": "" });
    console.call(reqwest::Method::PUT, &format!("users/{user}"), Some(body)).await?;
    let mut url: reqwest::Url = world.amqp_url.parse()?;
    anyhow::ensure!(url.set_username(&user).and(url.set_password(Some(password))).is_ok());
    let (all, delays) = (format!("^{name}.*"), format!("^{name}.retry.*"));
    let cases = [
        // The retry queues are missing.
        (delays.as_str(), all.as_str(), all.as_str(), None),
        ("^$", all.as_str(), all.as_str(), Some(format!("configure on {name}.retry.10s "))),
        ("^$", "^$", all.as_str(), Some(format!("write on {name} "))),
        ("^$", all.as_str(), "^$", Some(format!("read on {name}.urls "))),
        ("^$", all.as_str(), "^$", Some(format!("read on {name} "))),
        (all.as_str(), "^$", "^$", Some(format!("read on {name}.runs "))),
    ];
    let vhost = url.path().trim_start_matches('/').to_owned();
    for (configure, write, read, lacking) in cases {
        let rights = json!({ "configure": configure, "write": write, "read": read });
        let path = format!("permissions/{vhost}/{user}");
        console.call(reqwest::Method::PUT, &path, Some(rights)).await?;
        let (output, report) = check(&world, &[], &[("AMQP_URL", url.as_str())]).await?;
        let (status, words) = finding(&report, "permissions");
        let found = (output.code, status.as_str());
        match &lacking {
            None => assert_eq!(found, (Some(0), "ok"), "{report}"),
            Some(text) => {
                assert_eq!(found, (Some(2), "wrong"), "{report}");
                assert!(words.contains(text), "{text} in {report}");
            }
        }
        assert_eq!(world.ready("urls").await?, 0);
    }
    console.call(reqwest::Method::DELETE, &format!("users/{user}"), None).await?;
    Ok(())
}

#[tokio::test]
async fn a_check_names_the_rights_that_the_account_lacks() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut url: reqwest::Url = world.database_url.parse()?;
    let account = world.prefix.replace("test-", "check_");
    let database = url.path().trim_start_matches('/').to_owned();
    let create = format!("CREATE USER '{account}'@'%' IDENTIFIED BY 'not-a-secret-here'");
    world.database.execute(sqlx::AssertSqlSafe(create)).await?;
    let grant = format!("GRANT SELECT, INSERT ON `{database}`.* TO '{account}'@'%'");
    world.database.execute(sqlx::AssertSqlSafe(grant)).await?;
    let set = url.set_username(&account).and(url.set_password(Some("not-a-secret-here")));
    anyhow::ensure!(set.is_ok());
    let (output, report) = check(&world, &[], &[("DATABASE_URL", url.as_str())]).await?;
    world.database.execute(sqlx::AssertSqlSafe(format!("DROP USER '{account}'@'%'"))).await?;
    assert_eq!(output.code, Some(2), "{report}");
    let (status, words) = finding(&report, "rights");
    assert_eq!(status, "wrong", "{report}");
    assert!(words.contains("UPDATE on fetches") && words.contains("DELETE on hosts"), "{words}");
    assert!(!words.contains("INSERT on"), "{words}");
    Ok(())
}

#[tokio::test]
async fn a_check_is_about_the_worker_of_the_configuration_file() -> anyhow::Result<()> {
    let world = World::new().await?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let text = format!(
        "[work]\nconcurrency = 1000000\nlisten = \"{address}\"\npool = 100000\n\
         [check]\npool-timeout = \"7s\"\n"
    );
    let file = world.file("fetchline.toml", &text)?;
    let mut command = world.command(&["check", "--json", "--config", &file])?;
    let output = process::run(&mut command, "").await?;
    let report = output.json()?;
    assert_eq!(output.code, Some(2), "{report}");
    assert!(finding(&report, "settings").1.contains("--concurrency"), "{report}");
    let (status, words) = finding(&report, "listen");
    assert!(status == "wrong" && words.contains("not by a worker"), "{report}");
    let (status, words) = finding(&report, "connections");
    assert!(status == "warning" && words.contains("lower --pool"), "{report}");
    let shown = world.run(&["config", "--config", &file, "check"], "").await?;
    assert!(shown.stdout.contains("concurrency = 1000000  # the file"), "{shown:?}");
    assert!(shown.stdout.contains("pool-timeout = \"7s\"  # the file"), "{shown:?}");
    // A worker that runs already listens where it should.
    let mut worker = world.worker(&[])?;
    let address = worker.health().await?.to_string();
    let report = check(&world, &[], &[("FETCHLINE_LISTEN", &address)]).await?.1;
    let (status, words) = finding(&report, "listen");
    assert!(status == "ok" && words.contains("already"), "{report}");
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_check_finds_what_only_shows_in_use() -> anyhow::Result<()> {
    let world = World::new().await?;
    for damage in [
        "DROP TABLE facts",
        "ALTER TABLE fetches DROP COLUMN elapsed_ms",
        "ALTER TABLE hosts RENAME COLUMN note TO remark",
        "ALTER TABLE items DROP INDEX items_by_source",
        "ALTER TABLE quarantine DROP PRIMARY KEY",
    ] {
        world.database.execute(damage).await?;
    }
    let variables = [("SSL_CERT_FILE", "/missing.pem")];
    let (output, report) = check(&world, &[], &variables).await?;
    assert_eq!(output.code, Some(2), "{report}");
    let (status, words) = finding(&report, "schema");
    let named = [
        "the table facts",
        "fetches.elapsed_ms",
        "hosts.note",
        "the unique key of items (source_sha256)",
        "the unique key of quarantine (id)",
    ];
    assert!(status == "wrong" && named.iter().all(|it| words.contains(it)), "{report}");
    // A worker that starts looks at the same things.
    let worker = world.worker(&[])?.end().await?;
    assert_eq!(worker.code, Some(2), "{worker:?}");
    assert!(named.iter().all(|it| worker.stderr.contains(it)), "{worker:?}");
    assert!(finding(&report, "authorities").1.contains("/missing.pem"), "{report}");
    // One line for all differences of a queue, which have one remedy.
    let queue = format!("{}.urls", world.prefix);
    let channel = world.amqp.create_channel().await?;
    let options = lapin::options::QueueDeleteOptions::default();
    channel.queue_delete(queue.as_str().into(), options).await?;
    let options = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
    let arguments = lapin::types::FieldTable::default();
    channel.queue_declare(queue.as_str().into(), options, arguments).await?;
    let report = check(&world, &[], &[]).await?.1;
    let found = report["checks"].as_array().into_iter().flatten();
    let topology: Vec<_> = found.filter(|finding| finding["check"] == "topology").collect();
    assert_eq!(topology.len(), 1, "{report}");
    let text = topology[0]["text"].as_str().unwrap_or_default();
    assert!(text.contains("x-queue-type") && text.contains("x-overflow"), "{report}");
    Ok(())
}

#[tokio::test]
async fn a_check_knows_every_column_of_the_migrations() -> anyhow::Result<()> {
    let world = World::new().await?;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) \
         FROM information_schema.columns WHERE table_schema = DATABASE() \
         AND table_name <> '_sqlx_migrations' ORDER BY table_name, ordinal_position",
    )
    .fetch_all(&world.database)
    .await?;
    let is_of_same = |a: &(String, String), b: &(String, String)| a.0 == b.0;
    let tables: Vec<_> = columns.chunk_by(is_of_same).collect();
    for table in &tables {
        // Only the first column is left.
        let (name, first) = &table[0];
        for statement in
            [format!("DROP TABLE `{name}`"), format!("CREATE TABLE `{name}` (`{first}` INT)")]
        {
            world.database.execute(sqlx::AssertSqlSafe(statement)).await?;
        }
    }
    let words = finding(&check(&world, &[], &[]).await?.1, "schema").1;
    for (table, column) in tables.iter().flat_map(|table| &table[1..]) {
        assert!(words.contains(&format!("{table}.{column}")), "{table}.{column} in {words}");
    }
    Ok(())
}

#[tokio::test]
async fn a_check_sees_missing_bindings_if_it_is_given_the_management_api() -> anyhow::Result<()> {
    let world = World::new().await?;
    let management = world.management_url.clone().unwrap_or_default();
    let bindings = async |management: &str| -> anyhow::Result<_> {
        let (output, report) = check(&world, &["--management-url", management], &[]).await?;
        Ok((output.code, finding(&report, "bindings")))
    };
    assert_eq!(bindings(&management).await?.1.0, "ok");
    let (queue, exchange) = (format!("{}.urls", world.prefix), world.prefix.as_str());
    let channel = world.amqp.create_channel().await?;
    for key in ["urls", "list"] {
        let arguments = lapin::types::FieldTable::default();
        let (queue, exchange) = (queue.as_str().into(), exchange.into());
        channel.queue_unbind(queue, exchange, key.into(), arguments).await?;
    }
    let (code, (status, words)) = bindings(&management).await?;
    assert_eq!((code, &*status), (Some(0), "warning"), "{words}");
    assert!(words.contains(&format!("{queue} by urls, {queue} by list")), "{words}");
    let (code, (status, words)) = bindings("http://127.0.0.1:9/").await?;
    assert_eq!((code, &*status), (Some(0), "warning"), "{words}");
    assert!(words.contains("--management-url does not answer"), "{words}");
    Ok(())
}

#[tokio::test]
async fn a_check_says_that_so_few_files_are_too_few() -> anyhow::Result<()> {
    let world = World::new().await?;
    let program = world.command(&["check", "--json", "--listen", "off"])?;
    let mut shell = tokio::process::Command::new("bash");
    shell.args(["-c", "ulimit -n 20; exec \"$0\" \"$@\""]).arg(program.as_std().get_program());
    shell.args(program.as_std().get_args());
    for (name, value) in program.as_std().get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let output = process::run(&mut shell, "").await?;
    assert_eq!(finding(&output.json()?, "open files").0, "wrong", "{output:?}");
    Ok(())
}

#[tokio::test]
async fn status_says_why_it_does_not_know_the_workers() -> anyhow::Result<()> {
    let world = World::new().await?;
    let status =
        async |url: &str| world.run(&["status", "--json", "--database-url", url], "").await;
    let away = status("mysql://root@127.0.0.1:9/x").await?;
    assert_eq!(away.code, Some(0), "{away:?}");
    let why = away.json()?["workers_unknown"].to_string();
    assert!(why.contains("127.0.0.1:9") && away.stderr.contains("not known what"), "{away:?}");
    let never = status("mysql://root:hunter2@127.0.0.1:9/x?charset=latin1").await?;
    assert_eq!(never.code, Some(2), "{never:?}");
    assert!(never.stderr.contains("`charset`") && !never.stderr.contains("hunter2"), "{never:?}");
    Ok(())
}

#[tokio::test]
async fn a_management_url_that_can_never_work_is_a_matter_of_configuration() -> anyhow::Result<()> {
    let world = World::new().await?;
    let management = world.management_url.clone().unwrap_or_default();
    let amqp: reqwest::Url = world.amqp_url.parse()?;
    let (host, port) = (amqp.host_str().unwrap_or_default(), amqp.port().unwrap_or(5672));
    for (url, code, named) in [
        (management.replacen("://", "://guest:hunter2@", 1), 2, "password of --management-url"),
        (format!("http://{host}:{port}"), 2, "does not speak HTTP"),
        ("http://127.0.0.1:9".to_owned(), 1, "--management-url does not answer"),
    ] {
        let output = world.run(&["status", "--management-url", &url], "").await?;
        assert_eq!(output.code, Some(code), "{output:?}");
        assert!(output.stderr.contains(named) && !output.stderr.contains("hunter2"), "{output:?}");
    }
    Ok(())
}
