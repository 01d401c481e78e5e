//! Standard output and standard error that are closed, full, or read by programs.

use std::process::Stdio;

use fetchline_tests::process::{Output, Running};
use fetchline_tests::recorder::Recorder;
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

/// A world in which each command has something to print, and command lines for all commands. What
/// they change does not matter to the others.
struct Commands {
    world: World,
    worker: Running,
    lines: Vec<String>,
}

impl Commands {
    async fn new() -> anyhow::Result<Self> {
        let world = World::new().await?;
        let product = &world.pages(1)[0];
        world.produce("night", &world.pages(1)).await?;
        world.work_until_empty(&[]).await?;
        let mut worker = world.worker(&[])?;
        let address = worker.health().await?;
        let page =
            world.file("page.html", "<title>Tea</title><h1>Tea</h1><b class=p>9.95 EUR</b>")?;
        // A page that is never retried: `work --until-empty` would wait for it.
        let urls = format!("{}\nno url\n", world.shop.url("/p/2"));
        let urls = world.file("urls.txt", &urls)?;
        let key = world.file("bot.pem", Recorder::KEY)?;
        let row: String =
            sqlx::query_scalar("SELECT HEX(id) FROM fetches").fetch_one(&world.database).await?;
        let check = "check --dns-server 127.0.0.1:9 --dns-timeout 1s";
        let with_json = [
            format!("extract {page}"),
            format!("extract --url http://shop.example/ --learn {page}=9.95"),
            format!("produce --dry-run {urls}"),
            format!("produce {urls}"),
            "migrate".to_owned(),
            "status".to_owned(),
            "status --run night".to_owned(),
            "runs list".to_owned(),
            "runs cancel nobody".to_owned(),
            "runs prune --older-than 9000d".to_owned(),
            "dead list".to_owned(),
            "dead replay --run nobody".to_owned(),
            "dead purge --run nobody".to_owned(),
            "hosts list".to_owned(),
            "hosts set a.example --rate 5/s".to_owned(),
            "hosts pause a.example".to_owned(),
            "hosts resume a.example".to_owned(),
            "items list".to_owned(),
            "items changes".to_owned(),
            // Some text goes to standard error.
            "items changes --limit 1".to_owned(),
            format!("items show {product}"),
            format!("items set-price {product} 12.50"),
            "control pause nobody".to_owned(),
            "control resume nobody".to_owned(),
            "control concurrency default".to_owned(),
            "control host a.example 5/s".to_owned(),
            "control cancel nobody".to_owned(),
            "control drain nobody".to_owned(),
            "control replay run=nobody".to_owned(),
            check.to_owned(),
            "work --until-empty --listen off".to_owned(),
        ];
        let with_json = with_json.into_iter().flat_map(|line| {
            let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let json = match command {
                // The files of `--learn` end the line.
                "extract" => format!("{command} --json {rest}"),
                _ => format!("{line} --json"),
            };
            [line.clone(), json]
        });
        let others = [
            "items list --format csv".to_owned(),
            "config".to_owned(),
            "config --json".to_owned(),
            format!("bot-keys {key}"),
            format!("body {row}"),
            format!("health http://{address}/readyz"),
            "completions bash".to_owned(),
            "schema message".to_owned(),
            "schema status".to_owned(),
            "--help".to_owned(),
            "--version".to_owned(),
            "work --help".to_owned(),
            "help".to_owned(),
        ];
        let lines = with_json.chain(others).collect();
        Ok(Self { world, worker, lines })
    }
}

/// The names of all commands that have no commands of their own.
async fn all_commands(world: &World) -> anyhow::Result<Vec<String>> {
    // Hidden ones are not in the help. `man` writes files, and prints nothing.
    let (mut found, mut open) = (vec!["schema".to_owned()], vec![String::new()]);
    while let Some(command) = open.pop() {
        let help = shell(world, &format!("$F {command} --help")).await?.stdout;
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let listed = listed.take_while(|line| line.starts_with(' ') || line.is_empty());
        let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names: Vec<_> = names.filter_map(|line| line.split_whitespace().next()).collect();
        match names.is_empty() {
            true => found.push(command),
            false => open.extend(
                names
                    .iter()
                    .filter(|name| **name != "help")
                    .map(|name| format!("{command} {name}").trim().to_owned()),
            ),
        }
    }
    Ok(found)
}

#[tokio::test]
async fn the_lines_of_these_tests_are_of_all_commands() -> anyhow::Result<()> {
    let Commands { world, worker, lines } = Commands::new().await?;
    let commands = all_commands(&world).await?;
    assert!(commands.len() > 25, "{commands:?}");
    for command in commands {
        let is_tried = lines.iter().any(|line| {
            line.strip_prefix(&command).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        assert!(is_tried, "no line tries `{command}`");
    }
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_a_failure_of_every_command_that_prints() -> anyhow::Result<()> {
    let Commands { world, worker, lines } = Commands::new().await?;
    for command in lines {
        let output = shell(&world, &format!("$F {command} >/dev/full")).await?;
        assert_eq!(output.code, Some(1), "{command}: {output:?}");
        // Nothing else makes it fail. This check does, and the parser prints help by itself.
        let is_other = ["check", "--help", "--version", "help", "work --help"]
            .iter()
            .any(|other| command.starts_with(other));
        let reason = "cannot write to standard output";
        assert!(is_other || output.stderr.contains(reason), "{command}: {output:?}");
    }
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn closed_outputs_end_no_command() -> anyhow::Result<()> {
    let Commands { world, worker, lines } = Commands::new().await?;
    for command in lines.iter().filter(|line| !line.contains("--json")) {
        // What the command ends with by itself.
        let usual = shell(&world, &format!("$F {command} >/dev/null 2>&1")).await?.code;
        for redirection in [">&4", "2>&4", ">&4 2>&4", ">&- 2>&-", "2>/dev/full"] {
            // The reader of the pipe has gone before the command begins.
            let script = format!("exec 4> >(:); wait $!; $F {command} {redirection}");
            let output = shell(&world, &script).await?;
            assert_eq!(output.code, usual, "{command} {redirection}: {output:?}");
        }
    }
    assert_eq!(worker.terminate().await?.code, Some(0));
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
async fn a_variable_is_text_and_known_and_an_error_says_where_its_value_comes_from()
-> anyhow::Result<()> {
    let world = World::bare().await?;
    let file = world.file("wrong.toml", "# of a fleet\n[work]\nconcurrency = \"abc\"\n")?;
    let misspelt = world.file("misspelt.toml", "json = true\namqp_url = \"x\"\n")?;
    let password = world.file("password.toml", "\"amqp://a:hunter2@h\" = \"x\"\n")?;
    for (script, expected) in [
        ("AMQP_URL=$'amqp://a:hunter2\\xff@h' $F dead list".to_owned(), "AMQP_URL is not UTF-8"),
        ("DATABASE_URL=$'mysql://\\xff@h/x' $F runs list".to_owned(), "DATABASE_URL is not UTF-8"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT=$'\\xff' $F work".to_owned(), "ENDPOINT is not UTF-8"),
        ("FETCHLINE_AMQP_URL= $F status".to_owned(), "it is empty: unset it"),
        ("FETCHLINE_JSON= $F hosts list".to_owned(), "The value comes from FETCHLINE_JSON"),
        (format!("$F work --config {file}"), "wrong.toml, line 3"),
        (format!("$F work --config {misspelt}"), "misspelt.toml, line 2: `amqp_url` is not"),
        (format!("$F work --config {misspelt}"), "did you mean `amqp-url`?"),
        (format!("$F work --config {password}"), "password.toml, line 1: a key"),
        ("$F items list --json --format csv".to_owned(), "choose --json or --format csv"),
        ("$F work --prefix $(head -c 120000 /dev/zero | tr '\\0' x)".to_owned(), "xxx…"),
    ] {
        let output = shell(&world, &script).await?;
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{script}: {output:?}");
        let is_safe = output.stderr.contains(expected) && !output.stderr.contains("hunter2");
        assert!(is_safe && output.stderr.len() < 2_000, "{script}: {output:?}");
    }
    for (script, expected) in [
        ("FETCHLINE_PARALLELISM=5 $F config", Some("FETCHLINE_PARALLELISM has no effect")),
        ("RUST_LOG='garbage=[' $F config", Some("RUST_LOG is not understood")),
        ("FETCHLINE_WORKER_PORT_9464_TCP=tcp://10.0.0.1:9464 RUST_LOG=info $F config", None),
    ] {
        let output = shell(&world, script).await?;
        assert_eq!(output.code, Some(0), "{script}: {output:?}");
        match expected {
            Some(expected) => assert!(output.stderr.contains(expected), "{script}: {output:?}"),
            None => assert_eq!(output.stderr, "", "{script}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_full_disk_for_rejected_lines_is_a_failure() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let script = "echo nope | $F produce --dry-run --rejects /dev/full";
    let output = shell(&world, script).await?;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("rejected lines cannot be written"), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn manual_pages_name_variables_examples_and_the_program() -> anyhow::Result<()> {
    let world = World::bare().await?;
    // Settings of this machine are no part of them.
    let file = world.file("own.toml", "[work]\nconcurrency = 77\n")?;
    let script = format!(
        "folder=$(mktemp -d) && $F --config {file} man $folder && \
         cat $folder/fetchline-{{produce,work}}.1 $folder/fetchline.toml.5; \
         code=$?; rm -r $folder; exit $code"
    );
    let output = shell(&world, &script).await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(!output.stdout.contains("77"), "{output:?}");
    for expected in [
        "FETCHLINE_URL_FIELD",
        ".SH EXAMPLES\n",
        "\"fetchline ",
        "FETCHLINE_AMQP_URL",
        ".TH fetchline.toml 5 \"\" \"fetchline 0",
        ".TH fetchline-work 1 \"\" \"fetchline 0",
        ".SH \"TABLE [work]\"\n",
    ] {
        assert!(output.stdout.contains(expected), "{expected} in {}", output.stdout);
    }
    Ok(())
}

#[tokio::test]
async fn config_says_what_is_wrong_with_a_command_line() -> anyhow::Result<()> {
    let world = World::bare().await?;
    for (line, expected) in [
        ("config nonsense", "fetchline: unrecognized subcommand 'nonsense'"),
        ("--log json config nonsense", "unrecognized subcommand 'nonsense'"),
    ] {
        let output = shell(&world, &format!("$F {line}")).await?;
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{line}: {output:?}");
        assert!(output.stderr.contains(expected), "{line}: {output:?}");
    }
    let help = shell(&world, "$F config produce --help").await?;
    assert_eq!((help.code, &*help.stderr), (Some(0), ""), "{help:?}");
    assert!(help.stdout.contains("--checkpoint"), "{help:?}");
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
