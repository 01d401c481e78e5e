//! The shape of news. The worker writes them.

use serde_json::{Value, json};

use super::shape::{
    boolean, count, field, list, nullable, number, object, optional, outcomes, text, time, word,
};

/// Every kind of news.
const KINDS: [&str; 22] = [
    "refused",
    "failed",
    "waiting",
    "paused",
    "resumed",
    "concurrency",
    "host",
    "replayed",
    "run_begun",
    "run_complete",
    "run_cancelled",
    "worker_joined",
    "worker_ended",
    "worker_lost",
    "draining",
    "database_away",
    "database_back",
    "cannot_publish",
    "name_servers_away",
    "topology_differs",
    "topology_missing",
    "topology_restored",
];

pub(super) fn schema() -> Value {
    let pods = |description: &str| {
        let mut pods = list(text("A worker."));
        pods["description"] = json!(description);
        pods
    };
    let mut schema = object([
        field("news", text("What has happened, in a sentence for people.")),
        field("kind", word("What kind of fact it is.", KINDS)),
        field("at", time("When it was published, by the clock of the database.")),
        field("reported_by", text("The worker that reports it.")),
        optional("typed", text("The beginning of the directive that this answers.")),
        optional("by", text("Who has typed it: the host of `control`, or `the console`.")),
        optional("accepted", boolean("Whether the directive is carried out.")),
        optional("directive", text("The directive as it was understood.")),
        optional("pods", pods("The workers that obey.")),
        optional("not_yet", pods("The workers that do not obey yet.")),
        optional("pod", text("The worker that it is about.")),
        optional("run", text("The run that it is about.")),
        optional("planned", count("The tasks of the part.")),
        optional("outcomes", outcomes("The rows of the part by outcome.")),
        optional("host", text("The host or pattern that it is about.")),
        optional("slowed_to", nullable(number("The reduced rate, in requests per second."))),
    ]);
    schema["dependentRequired"] = json!({
        "typed": ["by", "accepted"],
        "by": ["typed"],
        "accepted": ["typed"],
        "not_yet": ["pods"],
        "planned": ["run", "outcomes"],
        "outcomes": ["planned"],
        "host": ["slowed_to"],
    });
    schema
}
