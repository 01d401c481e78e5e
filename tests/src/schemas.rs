//! The JSON Schemas of docs/schemas. The harness compares with them whatever the program prints as
//! JSON, in every test.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use anyhow::{Context, ensure};
use jsonschema::Validator;
use serde_json::Value;

use crate::services::project;

/// A row of the table in docs/json-output.md: a command, and the schema of what it prints.
struct Row {
    words: Vec<String>,
    schema: String,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let page = std::fs::read_to_string(project().join("docs/json-output.md")).unwrap_or_default();
    page.lines().flat_map(rows).collect()
});

static VALIDATORS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let folder = std::fs::read_dir(project().join("docs/schemas")).into_iter().flatten();
    folder
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".schema.json")?.to_owned();
            let schema = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
            let options = jsonschema::options().should_validate_formats(true);
            Some((name, options.build(&schema).ok()?))
        })
        .collect()
});

/// The commands in the first cell of a row, each with the schema in the second one.
fn rows(line: &str) -> Vec<Row> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, commands, schema, ..] = cells[..] else { return Vec::new() };
    let schema = schema.split_once("](schemas/").and_then(|(_, rest)| rest.split('.').next());
    let Some(schema) = schema else { return Vec::new() };
    let commands = commands.split('`').skip(1).step_by(2);
    let words = |command: &str| command.split(' ').map(str::to_owned).collect();
    commands.map(|command| Row { words: words(command), schema: schema.to_owned() }).collect()
}

/// The commands that print a schema, by its name.
pub fn commands() -> BTreeMap<&'static str, Vec<String>> {
    let mut commands: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Row { words, schema } in ROWS.iter() {
        commands.entry(schema).or_default().push(words.join(" "));
    }
    commands
}

/// The schema of what a command line prints: that of the row whose words all occur in it, in their
/// order. The row that begins first is meant, and of those the longest.
pub fn of_command(arguments: &[&str]) -> Option<&'static str> {
    let place = |row: &Row| {
        let mut begin = None;
        let mut rest = arguments.iter().enumerate();
        for word in &row.words {
            let (at, _) = rest.find(|(_, argument)| *argument == word)?;
            begin.get_or_insert(at);
        }
        Some((begin?, std::cmp::Reverse(row.words.len())))
    };
    let found = ROWS.iter().filter_map(|row| Some((place(row)?, &*row.schema)));
    found.min_by_key(|(place, _)| *place).map(|(_, schema)| schema)
}

/// Fails unless a document fits a schema.
pub fn validate(schema: &str, document: &Value) -> anyhow::Result<()> {
    let validator = VALIDATORS.get(schema).with_context(|| format!("no schema {schema}"))?;
    let errors = validator.iter_errors(document);
    let errors: Vec<_> =
        errors.map(|error| format!("{}: {error}", error.instance_path())).collect();
    ensure!(
        errors.is_empty(),
        "not as docs/schemas/{schema}.schema.json says: {}\n{document:#}",
        errors.join("\n")
    );
    Ok(())
}

/// Fails if a command of the program was asked for JSON and has printed a document that does not
/// fit its schema. What is not JSON is the business of the test.
pub(crate) fn check(line: &[String], stdout: &str) -> anyhow::Result<()> {
    let arguments: Vec<&str> = line.iter().skip(1).map(String::as_str).collect();
    let is_ours = line.first().is_some_and(|program| program.ends_with("/fetchline"));
    let is_json = is_ours && arguments.contains(&"--json");
    let Some(document) = serde_json::from_str(stdout).ok().filter(|_| is_json) else {
        return Ok(());
    };
    let schema = of_command(&arguments)
        .with_context(|| format!("docs/json-output.md has no schema of {arguments:?}"))?;
    validate(schema, &document).with_context(|| format!("{arguments:?}"))
}
