//! `fetchline check`.

mod broker;
mod database;
mod finding;
mod machine;

use std::time::Duration;

use anyhow::anyhow;
use fetchline_queue::{Address, Role, Tier};
use serde_json::{Value, json};

use self::finding::{Finding, Status};
use crate::args::{self, GlobalArgs};
use crate::exit::{self, Done, Failure, Result};
use crate::fleet::Management;
use crate::schema::shape::{boolean, field, list, object, optional, text, word};
use crate::secret::Secret;
use crate::work;

/// Check whether a worker could run here, and say what is wrong and how to fix it
///
/// It connects to the broker, the database and the name servers as a worker does, and changes
/// nothing. It takes all flags and variables of `work`, so run it with the settings of the worker.
///
/// The exit code is 0 if a worker could run, 1 if something is unreachable, and 2 if something has
/// to be corrected.
#[derive(clap::Args)]
// Its group would have the name of that of `work`.
#[group(skip)]
pub(crate) struct Args {
    /// A page to fetch as a worker would
    #[arg(long, value_name = "URL", env = "FETCHLINE_CHECK_URL")]
    url: Option<Secret>,

    /// The URL of RabbitMQ's management API, which alone knows how queues are bound
    ///
    /// If the URL names no user, the user and password of --amqp-url are used.
    #[arg(long, value_name = "URL", env = "FETCHLINE_MANAGEMENT_URL")]
    management_url: Option<Secret>,

    #[command(flatten)]
    work: work::Args,
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    let Args { url, management_url, work } = args;
    let address = url.as_ref().map(|url| Address::parse(url.expose())).transpose();
    let address = address.map_err(|error| Failure::usage(anyhow!("--url: {error}")))?;
    let json = work.json;
    let name = work.pod.clone().unwrap_or_else(args::host_name);
    let broker = global.broker(Role::Check, &name)?;
    let management = management_url.map(|url| Management::new(url.expose(), &broker)).transpose();
    let management = management.map_err(Failure::usage)?;
    let store = global.store(1, Duration::from_secs(10))?;
    let pool = work.pool;
    let config = work.into_config(name)?;
    let problems = config.problems();
    // What a worker declares when it starts.
    let delays = config.execute.retry_delays.iter();
    let broker = broker.with_tiers(delays.filter_map(|delay| Tier::of(*delay)).collect());

    let mut findings: Vec<Finding> = problems
        .iter()
        .map(|problem| {
            let text = args::with_flags(&problem.to_string());
            Finding::bad("settings", Status::Wrong, text, "")
        })
        .collect();
    let (broker, database, machine) = tokio::join!(
        broker::check(&broker, management.as_ref()),
        database::check(&store, config.fetch.max_body, pool),
        machine::check(&config, address.as_ref()),
    );
    findings.extend(broker.into_iter().chain(database).chain(machine));
    conclude(&findings, json)
}

fn conclude(findings: &[Finding], json: bool) -> Result {
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let (wrong, failed) = (count(Status::Wrong), count(Status::Failed));
    if json {
        let ok = wrong + failed == 0;
        exit::print(json!({ "ok": ok, "checks": findings }));
    } else {
        for finding in findings {
            exit::print(finding.line());
        }
    }
    let error = match wrong + failed {
        0 => return Ok(Done::Whole),
        1 => anyhow!("a worker cannot run: one check failed"),
        number => anyhow!("a worker cannot run: {number} checks failed"),
    };
    Err(if wrong > 0 { Failure::Usage(error) } else { Failure::Failed(error) })
}

/// The shape of what `--json` prints.
pub(crate) fn schema() -> Value {
    let finding = object([
        field("check", text("What was checked.")),
        field("status", word("How the check ended.", Status::ALL.map(Status::as_str))),
        field("text", text("What was found.")),
        optional("remedy", text("How to fix it.")),
    ]);
    object([field("ok", boolean("Whether a worker can run.")), field("checks", list(finding))])
}
