//! Passwords, which appear in no log, row or output.

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
