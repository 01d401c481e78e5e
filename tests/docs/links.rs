//! Relative links and their anchors, as the repository's host resolves them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{documents, read};

/// The anchors of a document: its headings in lower case, with `-` for spaces, without punctuation.
fn anchors(text: &str) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let mut anchors = Vec::new();
    for heading in headings {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let is_kept = |letter: &char| letter.is_alphanumeric() || ['-', '_', ' '].contains(letter);
        let anchor: String = title.chars().filter(is_kept).collect::<String>().replace(' ', "-");
        let count = counts.entry(anchor.clone()).or_default();
        anchors.push(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    anchors
}

/// The lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// The targets of the inline links of a document. A link may be broken over two lines.
fn targets(text: &str) -> Vec<String> {
    let joined =
        prose(text).filter(|line| !line.starts_with("    ")).collect::<Vec<_>>().join("\n");
    joined
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next())
        .map(|target| target.replace('\n', ""))
        .collect()
}

/// What is wrong with a link, if anything is.
fn problem(document: &Path, target: &str) -> anyhow::Result<Option<String>> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(None);
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path: PathBuf = match file {
        "" => document.to_owned(),
        file => document.parent().context("no folder")?.join(file),
    };
    if !path.exists() {
        return Ok(Some(format!("{}: {target}: there is no such file", document.display())));
    }
    let is_known = anchor.is_empty() || anchors(&read(&path)?).iter().any(|known| known == anchor);
    Ok((!is_known).then(|| format!("{}: {target}: there is no such heading", document.display())))
}

#[test]
fn relative_links_lead_to_files_and_headings() -> anyhow::Result<()> {
    let mut links = 0;
    let mut problems = Vec::new();
    for document in documents()? {
        for target in targets(&read(&document)?) {
            links += 1;
            problems.extend(problem(&document, &target)?);
        }
    }
    assert!(links > 100, "only {links} links were found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

#[test]
fn broken_links_are_found() -> anyhow::Result<()> {
    let document = documents()?.pop().context("there are no documents")?;
    assert!(problem(&document, "no-such-file.md")?.is_some());
    assert!(problem(&document, "#no-such-heading")?.is_some());
    assert_eq!(problem(&document, "https://shop.example/")?, None);
    assert_eq!(targets("[a](b.md#c) and [d](e.md\n\n    [code](x.md)\n"), ["b.md#c", "e.md"]);
    assert_eq!(anchors("# One `two`\n```\n# no\n```\n## One two\n"), ["one-two", "one-two-1"]);
    Ok(())
}
