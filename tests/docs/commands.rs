//! The command lines in the documents beside the parser.

use std::process::Command;

use fetchline_tests::binary;

use super::{documents, read};

/// The command lines of fetchline in the code of a document, as the program gets them.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let mut fenced = false;
    let mut code = Vec::new();
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        if !is_fence && (fenced || line.starts_with("    ")) {
            code.push(line);
        }
    }
    // A line that ends with a backslash is continued.
    let code = code.join("\n").replace("\\\n", " ");
    code.lines().filter_map(command_line).collect()
}

/// The arguments of `fetchline` where it begins a command: a line, a substitution, or behind a
/// pipe, `--` or `sudo`. `None` in a line without it.
fn command_line(line: &str) -> Option<Vec<String>> {
    let line = line.trim_start();
    let begins = |at: usize| {
        let before = line[..at].trim_end();
        let word = before.rsplit(' ').next().unwrap_or_default();
        before.is_empty()
            || line[..at].ends_with("$(")
            || ["|", "--", "sudo"].contains(&word)
            || before.split(' ').all(|word| word.contains('='))
    };
    // In a diagram, something else follows.
    let is_command = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase());
    let mut found =
        line.rmatch_indices("fetchline ").map(|(at, name)| (at, &line[at + name.len()..]));
    found.find(|(at, rest)| begins(*at) && is_command(rest)).map(|(_, rest)| words(rest))
}

/// The words of a command up to a comment, a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | ';' | '&' | '<' | '>' | ')') => break,
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_command_line_in_the_documents_is_understood() -> anyhow::Result<()> {
    let fetchline = binary::fetchline()?;
    let (mut lines, mut problems) = (0, Vec::new());
    for document in documents()? {
        for words in command_lines(&read(&document)?) {
            // `config` does not explain itself, and only a shell knows what it substitutes.
            let is_substituted = words.iter().any(|word| word.contains("$("));
            if is_substituted || words.first().is_some_and(|command| command == "config") {
                continue;
            }
            lines += 1;
            // `config` parses the command line of another command without running it.
            let output = Command::new(fetchline)
                .arg("config")
                .args(&words)
                .env_remove("FETCHLINE_CONFIG")
                .output()?;
            if !output.status.success() {
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                problems.push(format!("{}: {words:?}: {error}", document.display()));
            }
        }
    }
    assert!(lines > 60, "only {lines} command lines were found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

#[test]
fn command_lines_are_read_as_a_shell_does() {
    let text = "fetchline is prose\n\n    fetchline produce 'a b' \\\n        --json  # note\n    \
                part=$(fetchline produce x | jq .)\n    kubectl exec p -- fetchline check\n    \
                the fetchline project\n```\na fetchline work\n\
                zcat u.gz | fetchline produce >out\n```\n";
    let expected: [&[&str]; 4] =
        [&["produce", "a b", "--json"], &["produce", "x"], &["check"], &["produce"]];
    assert_eq!(command_lines(text), expected);
}
