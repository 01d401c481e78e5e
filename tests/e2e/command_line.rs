//! The command line as people and shells use it: completions, manual pages, help, and arguments
//! that no command can use.

use fetchline_tests::process::{self, Output};
use fetchline_tests::world::World;
use tokio::process::Command;

async fn run(world: &World, line: &str, variables: &[(&str, &str)]) -> anyhow::Result<Output> {
    let words: Vec<&str> = line.split_whitespace().collect();
    process::run(world.command(&words)?.envs(variables.iter().copied()), "").await
}

#[tokio::test]
async fn a_shell_completes_the_commands_and_the_flags_that_config_takes() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let complete = "eval \"$($F completions bash)\"; COMP_WORDS=(fetchline \"$@\"); \
                    COMP_CWORD=$#; _fetchline fetchline \"${!#}\" \"\"; echo \"${COMPREPLY[@]}\"";
    for (line, expected) in [
        ("config pro", "produce"),
        ("config work --until", "--until-empty"),
        ("config items cha", "changes"),
        ("config --js", "--json"),
        ("items changes --si", "--since"),
        ("completions fi", "fish"),
    ] {
        let program = world.command(&[])?;
        let mut shell = Command::new("bash");
        shell.args(["-c", complete, "bash"]).args(line.split(' '));
        shell.env("F", program.as_std().get_program());
        let completed = process::run(&mut shell, "").await?;
        assert_eq!(completed.stdout.trim(), expected, "{line}: {completed:?}");
    }
    Ok(())
}

#[tokio::test]
async fn config_shows_the_flags_of_commands_of_commands_and_needs_none_of_them()
-> anyhow::Result<()> {
    let world = World::bare().await?;
    let text = "[items]\nlimit = 7\n[hosts]\nrate = \"9/s\"\n";
    let file = world.file("own.toml", text)?;
    for (command, expected) in [
        ("items list", "limit = 7  # the file"),
        ("items list", "format = \"csv\"  # FETCHLINE_ITEMS_FORMAT"),
        ("items show", "json = false  # default"),
        ("hosts set", "rate = \"9/s\"  # the file"),
        ("runs prune", "dry-run = false  # default"),
        ("runs", "json = false  # default"),
        ("control", "json = false  # default"),
        ("body", "prefix = "),
        ("extract", "explain = false  # default"),
        ("status", "since = \"3h\"  # FETCHLINE_STATUS_SINCE"),
    ] {
        let variables = [("FETCHLINE_ITEMS_FORMAT", "csv"), ("FETCHLINE_STATUS_SINCE", "3h")];
        let shown = run(&world, &format!("--config {file} config {command}"), &variables).await?;
        assert_eq!(shown.code, Some(0), "{command}: {shown:?}");
        assert!(shown.stdout.contains(expected), "{expected} of {command}: {shown:?}");
    }
    let json = run(&world, "config --json items list", &[]).await?.json()?;
    assert_eq!(json["command"], "items list", "{json}");
    Ok(())
}

#[tokio::test]
async fn a_bare_command_shows_its_help_and_what_is_missing_whatever_variables_are_set()
-> anyhow::Result<()> {
    let world = World::bare().await?;
    for (line, missing) in [
        ("", "a command"),
        ("control", "a command"),
        ("runs", "a command"),
        ("body", "<ID>"),
        ("extract", "<FILE|URL>"),
        ("control host", "<NAME>, <CHANGE>"),
        ("hosts set", "--rate <N/s>, <HOST>"),
        ("runs cancel", "<NAME>"),
    ] {
        let bare = run(&world, line, &[("FETCHLINE_JSON", "1"), ("FETCHLINE_LOG", "text")]).await?;
        assert_eq!((bare.code, &*bare.stdout), (Some(2), ""), "{line}: {bare:?}");
        assert!(bare.stderr.contains("Usage: fetchline"), "{line}: {bare:?}");
        // The first sentence of the flags, and their variables.
        assert!(bare.stderr.contains("FETCHLINE_PREFIX="), "{line}: {bare:?}");
        assert!(bare.stderr.ends_with(&format!("error: missing: {missing}\n")), "{line}: {bare:?}");
    }
    // The usage consists of what was typed.
    let typed = run(&world, "control host shop.example", &[]).await?;
    assert_eq!(typed.code, Some(2), "{typed:?}");
    assert!(typed.stderr.contains("Usage: fetchline control host <NAME> <CHANGE>"), "{typed:?}");
    Ok(())
}

#[tokio::test]
async fn a_variable_neither_requires_nor_excludes_a_flag() -> anyhow::Result<()> {
    let world = World::new().await?;
    let page = world.file("page.html", "<p>4.50 EUR</p>")?;
    for (line, name, value) in [
        ("status".to_owned(), "FETCHLINE_STATUS_SINCE", "3h"),
        ("status".to_owned(), "FETCHLINE_FOR", "3s"),
        ("status".to_owned(), "FETCHLINE_PART", "all"),
        (
            format!("extract --url https://a.example/ --learn {page}=4.50"),
            "FETCHLINE_RULES",
            "/missing.toml",
        ),
        ("runs prune".to_owned(), "FETCHLINE_BODIES_OLDER_THAN", "30d"),
    ] {
        let output = run(&world, &line, &[(name, value)]).await?;
        assert_ne!(output.code, Some(2), "{line}: {output:?}");
    }
    // A flag that was typed does.
    for line in ["status --since 3h", "extract --learn a.html=1 --rules b"] {
        assert_eq!(run(&world, line, &[]).await?.code, Some(2), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_too_long_is_an_error_of_each_command() -> anyhow::Result<()> {
    let world = World::bare().await?;
    let list = world.file("urls.txt", "https://shop.example/1\n")?;
    let long = "x".repeat(120_000);
    for (line, remedy) in [
        ("status --run LONG", "1 to 100 bytes"),
        ("status --run LONG --wait --for 1h", "1 to 100 bytes"),
        ("status --run a --part LONG", "1 to 100 bytes"),
        ("produce --run LONG LIST", "1 to 100 bytes"),
        ("produce --category LONG LIST", "200 characters"),
        ("runs list --run LONG", "1 to 100 bytes"),
        ("runs cancel LONG", "1 to 100 bytes"),
        ("dead list --run LONG", "1 to 100 bytes"),
        ("items list --category LONG", "200 characters"),
        ("items changes --run LONG", "1 to 100 bytes"),
        ("control pause LONG", "too many for a directive"),
        ("control cancel LONG", "too many for a directive"),
        ("status --prefix LONG", "1 to 100 letters"),
    ] {
        let line = line.replace("LONG", &long).replace("LIST", &list);
        let output = run(&world, &line, &[]).await?;
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        assert!(output.stderr.contains(remedy), "{remedy} in {}", output.stderr);
        assert!(output.stderr.len() < 5_000, "{}", output.stderr.len());
    }
    Ok(())
}
