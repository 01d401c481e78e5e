//! Signed requests. `tests/signatures` verifies the signatures.

use fetchline_tests::recorder::Recorder;
use fetchline_tests::world::World;

#[tokio::test]
async fn requests_are_signed_only_if_a_key_is_given() -> anyhow::Result<()> {
    let world = World::new().await?;
    let key = world.file("bot.pem", Recorder::KEY)?;
    for (run, flags, expected) in [
        ("unsigned", vec![], [false, false, false]),
        ("signed", vec!["--sign-requests", &key], [true, true, false]),
        (
            "with-agent",
            vec!["--sign-requests", &key, "--signature-agent", "https://bot.example"],
            [true, true, true],
        ),
    ] {
        let site = Recorder::start().await?;
        world.produce(run, &[site.url("127.0.0.1", "/hop")]).await?;
        assert_eq!(world.work_until_empty(&flags).await?["ok"], 1);
        let requests = site.requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            let headers = ["signature", "signature-input", "signature-agent"];
            let found = headers.map(|name| !request["headers"][name].is_null());
            assert_eq!(found, expected, "{run}: {request}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_directory_has_the_public_part_of_each_key_and_nothing_else() -> anyhow::Result<()> {
    let world = World::new().await?;
    let key = world.file("bot.pem", Recorder::KEY)?;
    let printed = world.run(&["bot-keys", &key, &key], "").await?;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let directory: serde_json::Value = printed.stdout.parse()?;
    let keys = directory["keys"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0]["kid"], "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U");
    assert_eq!((&keys[0]["crv"], &keys[0]["d"]), (&"Ed25519".into(), &serde_json::Value::Null));
    Ok(())
}

#[tokio::test]
async fn a_worker_that_cannot_sign_does_not_start() -> anyhow::Result<()> {
    let world = World::new().await?;
    let key = world.file("bot.pem", Recorder::KEY)?;
    let text = world.file("text.pem", "not a key")?;
    let cases: [(&[&str], &str); 6] = [
        (&["work", "--sign-requests", &text], "openssl genpkey -algorithm ed25519"),
        (&["work", "--sign-requests", "/no/such.pem"], "/no/such.pem"),
        (&["work", "--signature-agent", "https://bot.example"], "--sign-requests"),
        (&["work", "--sign-requests", &key, "--signature-agent", "bot.example"], "https://"),
        (&["bot-keys", &text], "openssl genpkey -algorithm ed25519"),
        (&["bot-keys"], "FILE"),
    ];
    for (command, error) in cases {
        let refused = world.run(command, "").await?;
        assert_eq!(refused.code, Some(2), "{command:?}: {refused:?}");
        assert!(refused.stderr.contains(error), "{command:?}: {refused:?}");
    }
    Ok(())
}
