//! Signed requests, verified by an independent implementation: `tests/signatures/check`.

use std::process::Stdio;

use anyhow::Context;
use fetchline_tests::recorder::Recorder;
use fetchline_tests::services::project;
use fetchline_tests::world::World;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Verifies requests with the keys of a directory, and returns how many had a signature of their
/// own.
async fn verified(directory: &str, requests: &[serde_json::Value]) -> anyhow::Result<usize> {
    let python = std::env::var("SIGNATURE_VERIFIER")
        .context("run tests/signatures/check, which sets SIGNATURE_VERIFIER")?;
    let mut verifier = Command::new(python)
        .arg(project().join("tests/signatures/verify.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let directory: serde_json::Value = directory.parse()?;
    let lines = std::iter::once(&directory).chain(requests).map(|line| format!("{line}\n"));
    let mut input = verifier.stdin.take().context("no input")?;
    input.write_all(lines.collect::<String>().as_bytes()).await?;
    drop(input);
    let output = verifier.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "a signature is not valid: {said}");
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

#[tokio::test]
async fn every_hop_has_a_valid_signature_of_its_own() -> anyhow::Result<()> {
    let world = World::new().await?;
    let recorder = Recorder::start().await?;
    let key = world.file("bot.pem", Recorder::KEY)?;
    let urls: Vec<String> =
        ["/page", "/hop", "/busy"].iter().map(|path| recorder.url("127.0.0.1", path)).collect();
    world.produce("signed", &urls).await?;
    let flags = ["--sign-requests", &key, "--signature-agent", "https://bot.example"];
    let obey = ["--robots", "obey", "--retry-delays", "1s"];
    let summary = world.work_until_empty(&[&flags[..], &obey].concat()).await?;
    assert_eq!(summary["ok"], 3);
    let requests = recorder.requests();
    // Both hosts' robots.txt, the pages, the end of the redirect, and the second attempt.
    assert_eq!(requests.len(), 7, "{requests:#?}");
    let directory = world.run(&["bot-keys", &key], "").await?.stdout;
    assert_eq!(verified(&directory, &requests).await?, requests.len());

    // A request that was changed on its way does not pass.
    let mut changed = requests[0].clone();
    changed["url"] = "http://elsewhere.example/".into();
    let error = verified(&directory, &[changed]).await.err().context("it passed")?;
    assert!(error.to_string().contains("InvalidSignature"), "{error}");
    Ok(())
}
