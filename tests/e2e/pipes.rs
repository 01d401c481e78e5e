//! Standard output and standard error that are closed, full, or read by programs.

use std::process::Stdio;

use fetchline_tests::process::Output;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use tokio::process::Command;

/// Runs a shell script in which `$F` is the program.
async fn shell(world: &World, script: &str) -> anyhow::Result<Output> {
    let program = world.command(&[])?;
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).env("F", program.as_std().get_program());
    for (name, value) in program.as_std().get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let output = shell.stdin(Stdio::null()).output().await?;
    Ok(Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A ZIP archive with one empty file.
fn archive_with(name: &str) -> Vec<u8> {
    let length = name.len() as u8;
    // The fields between the signature and the name: versions, times, sizes, and the length of the
    // name. The second list has those of the central directory.
    let local = [&b"PK\x03\x04\x0a\0"[..], &[0; 20], &[length, 0, 0, 0], name.as_bytes()].concat();
    let directory =
        [&b"PK\x01\x02\x0a\0\x0a\0"[..], &[0; 20], &[length, 0], &[0; 16], name.as_bytes()]
            .concat();
    let (size, offset) = (directory.len() as u8, local.len() as u8);
    let end = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &[size, 0, 0, 0, offset, 0, 0, 0, 0, 0]];
    [local, directory, end.concat()].concat()
}

/// Commands that print, and need nothing that they change.
fn printing(world: &World) -> anyhow::Result<Vec<String>> {
    let page = world.file("page.html", "<h1>Tea</h1>")?;
    let urls = world.file("urls.txt", "https://shop.example/1\nno url\n")?;
    Ok(vec![
        format!("extract {page}"),
        format!("extract --json {page}"),
        format!("produce --dry-run {urls}"),
        format!("produce --dry-run --json {urls}"),
        "migrate".to_owned(),
        "migrate --json".to_owned(),
        "status".to_owned(),
        "runs list".to_owned(),
        "dead list".to_owned(),
        "hosts list".to_owned(),
        "items list --json".to_owned(),
        "control resume".to_owned(),
        "control resume --json".to_owned(),
        "config".to_owned(),
        "completions bash".to_owned(),
        "check --dns-server 127.0.0.1:9 --dns-timeout 1s".to_owned(),
        "--help".to_owned(),
        "--version".to_owned(),
        "work --help".to_owned(),
        "work --until-empty --listen off".to_owned(),
    ])
}

#[tokio::test]
async fn a_full_disk_is_a_failure_of_every_command_that_prints() -> anyhow::Result<()> {
    let world = World::new().await?;
    for command in printing(&world)? {
        let output = shell(&world, &format!("$F {command} >/dev/full")).await?;
        assert_eq!(output.code, Some(1), "{command}: {output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn closed_outputs_end_no_command() -> anyhow::Result<()> {
    let world = World::new().await?;
    for command in printing(&world)? {
        // What the command ends with by itself.
        let usual = shell(&world, &format!("$F {command} >/dev/null 2>&1")).await?.code;
        for redirection in [">&4", "2>&4", ">&4 2>&4", ">&- 2>&-", "2>/dev/full"] {
            // The reader of the pipe has gone before the command begins.
            let script = format!("exec 4> >(:); wait $!; $F {command} {redirection}");
            let output = shell(&world, &script).await?;
            assert_eq!(output.code, usual, "{command} {redirection}: {output:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn json_is_one_document_whatever_the_variable_for_it_says() -> anyhow::Result<()> {
    let world = World::new().await?;
    for command in ["migrate", "control resume", "status", "runs list", "items list", "dead list"] {
        for json in ["1", "true", "yes", "on"] {
            let output = shell(&world, &format!("FETCHLINE_JSON={json} $F {command}")).await?;
            assert_eq!(output.code, Some(0), "{command}: {output:?}");
            output.json()?;
        }
        let output = shell(&world, &format!("FETCHLINE_JSON=0 $F {command}")).await?;
        assert!(output.code == Some(0) && output.json().is_err(), "{command}: {output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn settings_come_from_a_file_unless_a_flag_or_a_variable_has_another_value()
-> anyhow::Result<()> {
    let world = World::bare().await?;
    let file = world.file(
        "fetchline.toml",
        "json = true\n[work]\nconcurrency = 17\nretry-delays = [\"1s\", \"2s\"]\n\
         allow-network = [\"10.0.0.0/8\"]\nuntil-empty = true\n",
    )?;
    let script = format!(
        "FETCHLINE_CONFIG={file} FETCHLINE_PER_HOST=3 FETCHLINE_JSON=0 $F config work --pool 9"
    );
    let output = shell(&world, &script).await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    for line in [
        "concurrency = 17  # the file",
        "per-host = 3  # FETCHLINE_PER_HOST",
        "pool = 9  # the command line",
        "until-empty = true  # the file",
        "hold = \"10m\"  # default",
    ] {
        assert!(output.stdout.contains(line), "{line} in {}", output.stdout);
    }
    assert!(!output.stdout.contains(&world.amqp_url), "{output:?}");
    // What it prints is a configuration file with the same meaning.
    let printed = world.file("printed.toml", &output.stdout)?;
    let again = shell(&world, &format!("$F config --config {printed}")).await?;
    assert!(again.stdout.contains("per-host = 3  # the file"), "{again:?}");
    assert!(again.stdout.contains("retry-delays = "), "{again:?}");
    for (text, named) in [
        ("concurency = 5", "concurency"),
        ("[wrok]\nconcurrency = 5", "wrok"),
        ("[produce]\nconcurrency = 5", "produce"),
        ("amqp-url = \"amqp://a:hunter2@h\nprefix = 1", "line 1"),
        ("[work]\nconcurrency = \"many\"", "concurrency"),
        ("[work]\nconcurrency = {}", "concurrency"),
    ] {
        let file = world.file("wrong.toml", text)?;
        let output = shell(&world, &format!("$F --config {file} work")).await?;
        assert_eq!(output.code, Some(2), "{text}: {output:?}");
        let is_safe = output.stderr.contains(named) && !output.stderr.contains("hunter2");
        assert!(is_safe, "{text}: {output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn health_asks_the_worker_that_the_configuration_file_describes() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut worker = world.worker(&[])?;
    let address = worker.health().await?;
    let file = world.file("own.toml", &format!("[work]\nlisten = \"{address}\"\n"))?;
    let script = format!("$F --config {file} health");
    let code = async || Ok(shell(&world, &script).await?.code);
    wait::until("the worker is ready", code, |code| *code == Some(0)).await?;
    // A flag takes precedence.
    let other = shell(&world, &format!("$F --config {file} health --listen off")).await?;
    assert_eq!(other.code, Some(2), "{other:?}");
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn what_is_no_list_is_refused_alike_by_name_by_pipe_and_on_standard_input()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let kinds: [(&str, Vec<u8>, &str); 8] = [
        ("table.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n".to_vec(), "PDF document"),
        ("table.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(), "Word document"),
        ("table.docx", archive_with("word/document.xml"), "Word document"),
        ("lists.zip", archive_with("urls.txt"), "ZIP archive"),
        ("urls.db", b"SQLite format 3\0\x10\0\x01\x01\0".to_vec(), "SQLite database"),
        ("page.png", png.to_vec(), "PNG image"),
        ("dump.bin", (0..400_u32).flat_map(u32::to_be_bytes).collect(), "a binary file"),
        ("empty.zip", b"PK\x05\x06\0\0\0\0".to_vec(), "an empty ZIP archive"),
    ];
    for (name, bytes, reason) in kinds {
        let path = world.file(name, "")?;
        std::fs::write(&path, bytes)?;
        let mut refusals = Vec::new();
        for script in [
            format!("$F produce --json {path}"),
            format!("cat {path} | $F produce --json"),
            format!("$F produce --json - <{path}"),
            format!("$F produce --json <(cat {path})"),
            format!("gzip -c {path} | $F produce --json"),
            // Whatever stands before it is not published either.
            format!("cat {path} | $F produce --json <(echo https://a.example/) -"),
        ] {
            let refused = shell(&world, &script).await?;
            assert_eq!((refused.code, &*refused.stdout), (Some(2), ""), "{script}: {refused:?}");
            assert!(refused.stderr.contains(reason), "{script}: {refused:?}");
            let (_, text) = refused.stderr.split_once(" cannot be read").unwrap_or_default();
            refusals.push(text.to_owned());
        }
        refusals.dedup();
        assert_eq!(refusals.len(), 1, "{refusals:?}");
    }
    assert_eq!(world.ready("urls").await?, 0);
    // Lists in the same places are lists, also one whose first line arrives alone.
    let list =
        shell(&world, "(echo; sleep 0.2; echo https://a.example/1) | $F produce --json").await?;
    assert_eq!((list.code, &list.json()?["published"]), (Some(0), &1.into()), "{list:?}");
    let list = shell(&world, "$F produce --json <(echo https://a.example/2 | gzip)").await?;
    assert_eq!((list.code, &list.json()?["published"]), (Some(0), &1.into()), "{list:?}");
    Ok(())
}
