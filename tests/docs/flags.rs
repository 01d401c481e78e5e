//! `docs/configuration.md` beside `--help`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use fetchline_tests::binary;
use fetchline_tests::services::project;

use super::read;

/// The flags of a section, by the command in its heading.
type Flags = BTreeMap<String, BTreeSet<String>>;

/// The flags that `docs/configuration.md` lists.
fn documented() -> anyhow::Result<Flags> {
    let mut flags = Flags::new();
    let mut section = None;
    for line in read(&project().join("docs/configuration.md"))?.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = (heading.split(' ').next() == Some("fetchline")).then(|| heading.to_owned());
            if let Some(command) = &section {
                flags.entry(command.clone()).or_default();
            }
        } else if let (Some(command), Some(item)) = (&section, line.strip_prefix("- `--")) {
            let name: String =
                item.chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
            flags.entry(command.clone()).or_default().insert(format!("--{name}"));
        }
    }
    Ok(flags)
}

fn help(command: &str) -> anyhow::Result<String> {
    let fetchline = binary::fetchline()?;
    let output = Command::new(fetchline).args(command.split(' ').skip(1)).arg("--help").output();
    Ok(String::from_utf8(output?.stdout)?)
}

/// The first word of each line below a heading of `--help`.
fn listed(help: &str, heading: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != heading).skip(1);
    let block = lines.take_while(|line| line.is_empty() || line.starts_with(' '));
    block
        .filter(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The flags that a command and the commands below it take. Those of every command count as the top
/// level's.
fn offered(command: &str, flags: &mut Flags) -> anyhow::Result<()> {
    let help = help(command)?;
    let long =
        |line: &str| line.split([' ', ',']).find(|word| word.starts_with("--")).map(str::to_owned);
    let all: BTreeSet<String> =
        help.lines().map(str::trim).filter(|line| line.starts_with('-')).filter_map(long).collect();
    let everywhere = flags.get("fetchline").cloned().unwrap_or_default();
    flags.insert(command.to_owned(), all.difference(&everywhere).cloned().collect());
    for name in listed(&help, "Commands:") {
        let is_command = help
            .lines()
            .any(|line| line.starts_with(&format!("  {name} ")) || line == format!("  {name}"));
        if is_command && name != "help" {
            offered(&format!("{command} {name}"), flags)?;
        }
    }
    Ok(())
}

#[test]
fn every_flag_is_documented_where_it_belongs_and_no_other() -> anyhow::Result<()> {
    let mut flags = Flags::new();
    offered("fetchline", &mut flags)?;
    assert!(
        flags.len() > 15 && flags.values().map(BTreeSet::len).sum::<usize>() > 60,
        "{flags:#?}"
    );
    let documented = documented()?;
    for (command, offered) in &flags {
        assert_eq!(
            documented.get(command),
            Some(offered),
            "docs/configuration.md, section {command}"
        );
    }
    let unknown: Vec<_> =
        documented.keys().filter(|command| !flags.contains_key(*command)).collect();
    assert!(unknown.is_empty(), "sections of commands that do not exist: {unknown:?}");
    Ok(())
}
