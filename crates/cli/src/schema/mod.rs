//! `fetchline schema`, and the JSON Schemas of what commands print. Each schema is written beside
//! the code that prints its document.

mod news;
pub(crate) mod shape;

use clap::builder::PossibleValuesParser;
use fetchline_queue::{Tier, schema};
use fetchline_worker::ExecuteConfig;
use serde_json::{Value, json};

use crate::exit::{self, Done, Result};
use crate::{
    bot_keys, check, config, control, dead, extract, health, hosts, items, migrate, produce, runs,
    status, work,
};

/// The documents that are not printed by a command.
const MESSAGE: &str = "message";
const ASYNC_API: &str = "asyncapi";

/// The name of a schema, its title, and its shape.
type Output = (&'static str, &'static str, fn() -> Value);

/// What commands and workers print, each by the name of its schema. docs/json-output.md says which
/// command prints which.
const OUTPUTS: [Output; 21] = [
    ("migrate", "The versions of the schema of the database", migrate::schema),
    ("produce", "What became of the input of produce", produce::schema),
    ("work", "What a worker has done", work::schema),
    ("status", "The queues and workers of a fleet, and a run", status::schema),
    ("runs-list", "The latest parts of runs", runs::list_schema),
    ("runs-cancel", "A run that was cancelled", runs::cancel_schema),
    ("runs-prune", "What was deleted", runs::prune_schema),
    ("dead-list", "Dead letters", dead::list_schema),
    ("dead-replay", "How many dead letters were replayed", || dead::removal_schema("replayed")),
    ("dead-purge", "How many dead letters were deleted", || dead::removal_schema("purged")),
    ("hosts-list", "The limits of all hosts", hosts::list_schema),
    ("hosts-set", "The limits of a host", hosts::schema),
    ("items-list", "Products", items::list_schema),
    ("items-changes", "Changes of products", items::changes_schema),
    ("items-show", "A product and its price history", items::show_schema),
    ("extract", "What was found in a page", extract::schema),
    ("extract-learn", "A rule that was learned", extract::learned_schema),
    ("control", "The directive that was sent", control::schema),
    ("check", "Whether a worker can run", check::schema),
    ("config", "The settings of a command", config::schema),
    ("readiness", "Whether a worker is ready", health::schema),
];

/// Documents that are no output of a command with `--json`.
const OTHERS: [Output; 2] = [
    ("bot-keys", "The directory of the keys that requests are signed with", bot_keys::schema),
    ("news", "A message in the queue of news", news::schema),
];

/// Print a document for other programs
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The JSON Schema of messages or of an output, or the AsyncAPI document of the queues
    #[arg(value_name = "WHICH", value_parser = PossibleValuesParser::new(names()))]
    which: String,
}

fn names() -> Vec<&'static str> {
    [MESSAGE, ASYNC_API].into_iter().chain(outputs().map(|(name, ..)| name)).collect()
}

fn outputs() -> impl Iterator<Item = Output> {
    OUTPUTS.into_iter().chain(OTHERS)
}

/// The schema of an output; `None` if there is none of this name.
fn output(name: &str) -> Option<Value> {
    let (name, title, shape) = outputs().find(|(known, ..)| *known == name)?;
    let mut schema = shape();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$id"] = json!(format!("{name}.schema.json"));
    schema["title"] = json!(title);
    Some(schema)
}

pub(crate) fn run(args: &Args) -> Result {
    let document = match &*args.which {
        MESSAGE => schema::message(),
        ASYNC_API => {
            let delays = ExecuteConfig::default().retry_delays;
            schema::async_api(delays.into_iter().filter_map(Tier::of).collect())
        }
        name => output(name).unwrap_or_default(),
    };
    exit::print(format_args!("{document:#}"));
    Ok(Done::Whole)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn docs() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
    }

    #[test]
    fn the_documents_are_those_of_the_code() {
        let folder = docs().join("schemas");
        for (name, ..) in outputs() {
            let file = folder.join(format!("{name}.schema.json"));
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let found: Value = serde_json::from_str(&text).unwrap_or_default();
            assert!(
                Some(found) == output(name),
                "docs/schemas/{name}.schema.json is out of date: see CONTRIBUTING.md"
            );
        }
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), outputs().count());
    }

    #[test]
    fn json_output_md_links_every_schema() {
        let page = std::fs::read_to_string(docs().join("json-output.md")).unwrap();
        for (name, ..) in outputs() {
            assert!(page.contains(&format!("](schemas/{name}.schema.json)")), "{name}");
        }
    }

    /// Runs `check` for a schema and all schemas in it.
    fn for_each(schema: &Value, check: &impl Fn(&Value)) {
        check(schema);
        let inner = schema.as_object().map(|it| it.values()).into_iter().flatten();
        inner.chain(schema.as_array().into_iter().flatten()).for_each(|it| for_each(it, check));
    }

    #[test]
    fn every_object_names_all_of_its_fields() {
        for (name, ..) in outputs() {
            for_each(&output(name).unwrap(), &|schema| {
                if schema.get("properties").is_some_and(|it| it.get("type").is_none()) {
                    assert_eq!(schema["additionalProperties"], false, "{name}: {schema:#}");
                }
            });
        }
    }
}
