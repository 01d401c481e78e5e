//! Passwords, which appear in no log, row or output.

use fetchline_tests::process;
use fetchline_tests::world::World;

#[tokio::test]
async fn passwords_in_urls_reach_the_site_and_nothing_else() -> anyhow::Result<()> {
    let world = World::new().await?;
    let with_password =
        |path: &str| world.shop.url(path).replace("http://", "http://user:hunter2@");
    let produced = world
        .run(&["produce"], &[with_password("/echo/1"), with_password("/status/404/1")].join("\n"))
        .await?;
    assert_eq!(produced.code, Some(0), "{produced:?}");
    let output = world.worker(&["--until-empty"])?.end().await?;
    assert_eq!(output.code, Some(0), "{output:?}");

    let echo: String =
        sqlx::query_scalar("SELECT CAST(body_json AS CHAR) FROM fetches WHERE outcome = 'ok'")
            .fetch_one(&world.database)
            .await?;
    assert!(echo.contains("Basic dXNlcjpodW50ZXIy"), "{echo}");
    assert!(output.stderr.contains("a fetch failed"), "{}", output.stderr);
    for text in [&produced.stdout, &produced.stderr, &output.stdout, &output.stderr] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    let leaked = "SELECT COUNT(*) FROM fetches \
                  WHERE CONCAT(url, COALESCE(final_url, ''), COALESCE(error, '')) LIKE '%hunter2%'";
    assert_eq!(world.count(leaked).await?, 0);
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE url LIKE 'http://***@%'").await?, 2);
    Ok(())
}

#[tokio::test]
async fn the_passwords_of_dependencies_are_never_printed() -> anyhow::Result<()> {
    let world = World::bare().await?;
    for arguments in [
        &["--amqp-url", "amqp://user:hunter2@127.0.0.1:9/%2f", "status"][..],
        &["--amqp-url", "hunter2", "status"],
        &["--database-url", "mysql://user:hunter2@127.0.0.1:9/x", "migrate"],
        &["--database-url", "mysql://user:hunter2@127.0.0.1:nine/x", "migrate"],
        &["--amqp-url", "amqp://user:12/hunter2@127.0.0.1:9/%2f", "status"],
        &["--amqp-url", "amqp://user:12?hunter2@127.0.0.1:9/%2f", "status"],
        &["--amqp-url", "amqp://a:b@127.0.0.1:9/%2f,amqp://user:hunter2@127.0.0.1:9", "status"],
        &["--database-url", "mysql://user:12/hunter2@127.0.0.1:9/x", "migrate"],
        &["--database-url", "mysql://user:12#hunter2@127.0.0.1:9/x", "migrate"],
        // Later items of a list without their schemes.
        &["--amqp-url", "amqp://u:hunter2@127.0.0.1:9,u:hunter2@127.0.0.1:9/x", "status"],
        &["--amqp-url", "amqp://user:12?hunter2", "status"],
        // In a wrong place.
        &["status", "amqp://user:hunter2@127.0.0.1:9/%2f"],
        &["produce", "amqp://user:hunter2@127.0.0.1:9/list.txt"],
        &["produce", "ftp://user:hunter2@127.0.0.1:9/list.txt"],
        &["--prefix", "amqp://user:hunter2@127.0.0.1:9", "status"],
        &["work", "--concurrency", "amqp://user:hunter2@127.0.0.1:9"],
        &["health", "http://user:hunter2@127.0.0.1:nine/"],
        &["health", "http://user:hunter2@127.0.0.1:9/"],
        &["extract", "page.html", "--url", "http://user:hunter2@127.0.0.1:nine/"],
        &["amqp://user:hunter2@127.0.0.1:9"],
    ] {
        let output = world.run(arguments, "").await?;
        assert!(output.code == Some(1) || output.code == Some(2), "{output:?}");
        assert!(
            !output.stderr.is_empty() && !format!("{output:?}").contains("hunter2"),
            "{output:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn settings_that_may_hold_a_password_are_not_shown() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let variables = [
        ("FETCHLINE_AMQP_URL", "amqp://user:hunter2@127.0.0.1:9/%2f"),
        ("FETCHLINE_DATABASE_URL", "mysql://user:hunter2@127.0.0.1:9/x"),
        ("FETCHLINE_MANAGEMENT_URL", "http://user:hunter2@127.0.0.1:9"),
        ("FETCHLINE_PROXY", "http://user:hunter2@127.0.0.1:9"),
        ("FETCHLINE_HEADER", "X-Key: hunter2"),
        ("FETCHLINE_OTLP_ENDPOINT", "http://user:hunter2@127.0.0.1:9"),
        ("FETCHLINE_CHECK_URL", "http://user:hunter2@127.0.0.1:9"),
        ("FETCHLINE_URL", "http://user:hunter2@127.0.0.1:9"),
        ("FETCHLINE_USER_AGENT", "bot http://user:hunter2@127.0.0.1:9"),
    ];
    let name = |variable: &str| {
        variable.replace("FETCHLINE_", "").replace("CHECK_", "").replace('_', "-").to_lowercase()
    };
    let lines = variables.map(|(variable, value)| {
        let command = match variable {
            "FETCHLINE_MANAGEMENT_URL" => "status",
            "FETCHLINE_CHECK_URL" => "check",
            "FETCHLINE_URL" => "extract",
            _ => "work",
        };
        match variable {
            "FETCHLINE_AMQP_URL" | "FETCHLINE_DATABASE_URL" => {
                format!("{} = '{value}'", name(variable))
            }
            _ => format!("[{command}]\n{} = '{value}'", name(variable)),
        }
    });
    for command in [&["work"][..], &["status"], &["check"], &["extract", "page.html"]] {
        for arguments in [
            [&["config"], command].concat(),
            [&["config", "--json"], command].concat(),
            [command, &["--help"]].concat(),
        ] {
            let mut from_variables = world.command(&arguments)?;
            from_variables.envs(variables);
            let mut outputs = vec![process::run(&mut from_variables, "").await?];
            for line in &lines {
                let file = world.file("fetchline.toml", line)?;
                let mut from_file = world.command(&["--config", &file])?;
                from_file.args(&arguments).env_remove("AMQP_URL").env_remove("DATABASE_URL");
                outputs.push(process::run(&mut from_file, "").await?);
            }
            for output in outputs {
                assert_eq!(output.code, Some(0), "{arguments:?}: {output:?}");
                assert!(!format!("{output:?}").contains("hunter2"), "{arguments:?}: {output:?}");
            }
        }
    }
    Ok(())
}
