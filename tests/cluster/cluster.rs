//! The clusters of `deploy/local/cluster`: three RabbitMQ nodes and three MariaDB Galera nodes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use fetchline_tests::services::Services;
use fetchline_tests::wait;
use sqlx::mysql::MySqlPool;
use sqlx::{AssertSqlSafe, Row};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The ports of the brokers and of the databases.
const BROKERS: [u16; 3] = [17671, 17672, 17673];
const DATABASES: [u16; 3] = [17701, 17702, 17703];

/// How long a node may take to get what it has missed.
const CATCH_UP: Duration = Duration::from_secs(180);

/// Started by the first trial, and stopped by `make test-cluster`.
static STARTED: OnceCell<()> = OnceCell::const_new();

/// Both clusters.
pub(crate) struct Cluster;

impl Cluster {
    /// Starts both clusters anew, once for all trials of this process.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        STARTED.get_or_try_init(|| async { script(&["start"]).await.map(drop) }).await?;
        Ok(Self)
    }

    /// A node of each, for the test itself.
    pub(crate) fn observed() -> Services {
        Services {
            amqp_url: format!("amqp://guest:guest@127.0.0.1:{}/%2f", BROKERS[2]),
            database_url: format!("mysql://root@127.0.0.1:{}/fetchline", DATABASES[2]),
            management_url: None,
        }
    }

    /// All nodes of the broker in one URL.
    pub(crate) fn amqp_url() -> String {
        format!("amqp://guest:guest@{}/%2f", list(&BROKERS))
    }

    /// All nodes of the database in one URL.
    pub(crate) fn database_url(database: &str) -> String {
        format!("mysql://root@{}/{database}", list(&DATABASES))
    }

    /// Whether nodes can be separated from each other here. Says so if they cannot.
    pub(crate) async fn can_cut() -> bool {
        let filter = Command::new("iptables").args(["-n", "-L", "OUTPUT"]).output().await;
        let can_cut = filter.is_ok_and(|filter| filter.status.success());
        if !can_cut {
            println!("cluster: skipped, since cutting a node off needs root and iptables");
        }
        can_cut
    }

    /// Ends all separations.
    pub(crate) async fn heal(&self) -> anyhow::Result<()> {
        script(&["heal"]).await.map(drop)
    }

    /// Lets a killed node of the database forget how much it knows, so that it gets all data anew.
    pub(crate) fn forget_state(node: &str) -> anyhow::Result<()> {
        let state = project().join(".local/cluster").join(node).join("data/grastate.dat");
        Ok(std::fs::remove_file(state)?)
    }

    /// `kill`, `freeze`, `thaw`, `cut`, `term` or `revive` of a node.
    pub(crate) async fn node(&self, verb: &str, node: &str) -> anyhow::Result<()> {
        script(&[verb, node]).await.map(drop)
    }

    /// Ends the freeze of a broker, and restarts it. Without that it is a partition of its own,
    /// with queues of its own, whatever `cluster_partition_handling` says (seen with 3.10).
    pub(crate) async fn thaw_broker(&self, node: &str) -> anyhow::Result<()> {
        for verb in ["thaw", "term", "revive"] {
            self.node(verb, node).await?;
        }
        Ok(())
    }

    /// Waits until every node answers, and has caught up with the others.
    pub(crate) async fn all_up(&self) -> anyhow::Result<()> {
        let status = async || script(&["status"]).await;
        let all_up = |status: &String| status.lines().all(|line| line.ends_with(" up"));
        wait::within(CATCH_UP, "all nodes are up", status, all_up).await.map(drop)
    }

    /// The node that leads a queue.
    pub(crate) async fn leader(&self, queue: &str) -> anyhow::Result<String> {
        let leader = script(&["leader", queue]).await?.trim().to_owned();
        ensure!(!leader.is_empty(), "the queue {queue} has no leader");
        Ok(leader)
    }

    /// Runs a statement on a node of the database.
    pub(crate) async fn execute(&self, node: &str, statement: &str) -> anyhow::Result<()> {
        let pool = pool(number(node)?, "")?;
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&pool).await?;
        Ok(())
    }

    /// The checksums of the tables on each node of the database, or why it does not tell them: a
    /// node that was frozen refuses queries until it has rejoined the others.
    pub(crate) async fn checksums(&self, database: &str) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for node in 0..DATABASES.len() {
            let sums = checksum(&pool(node, database)?).await;
            all.push(sums.unwrap_or_else(|error| format!("galera{}: {error}", node + 1)));
        }
        Ok(all)
    }

    /// What the queues of a world hold, ready and unacked, and how many consumers they have.
    pub(crate) async fn queues(&self, prefix: &str) -> anyhow::Result<String> {
        let columns = ["name", "messages_ready", "messages_unacknowledged", "consumers"];
        let list = ["ctl", "rabbit3", "--silent", "list_queues", "--no-table-headers"];
        let queues = script(&[&list[..], &columns].concat()).await?;
        Ok(queues.lines().filter(|line| line.starts_with(prefix)).collect::<Vec<_>>().join("\n"))
    }

    /// The name of the node with this port.
    pub(crate) fn name_of(address: &str) -> anyhow::Result<String> {
        let port: u16 = address.rsplit(':').next().unwrap_or_default().parse()?;
        let named = |ports: &[u16], kind: &str| {
            let place = ports.iter().position(|known| *known == port)?;
            Some(format!("{kind}{}", place + 1))
        };
        named(&BROKERS, "rabbit")
            .or_else(|| named(&DATABASES, "galera"))
            .with_context(|| format!("{address} is no node"))
    }
}

async fn checksum(pool: &MySqlPool) -> sqlx::Result<String> {
    let query = sqlx::query("CHECKSUM TABLE fetches, run_counts, items, runs");
    let rows = query.fetch_all(pool).await?;
    let sum = |row| Row::try_get::<Option<i64>, _>(row, 1).map(|sum| format!("{sum:?}"));
    Ok(rows.iter().map(sum).collect::<sqlx::Result<Vec<_>>>()?.join(" "))
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
}

fn number(node: &str) -> anyhow::Result<usize> {
    let digit = node.strip_prefix("galera").context("not a node of the database")?;
    Ok(digit.parse::<usize>()? - 1)
}

fn pool(node: usize, database: &str) -> anyhow::Result<MySqlPool> {
    let url = format!("mysql://root@127.0.0.1:{}/{database}", DATABASES[node]);
    Ok(MySqlPool::connect_lazy(&url)?)
}

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

async fn script(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(project().join("deploy/local/cluster"))
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await?;
    ensure!(output.status.success(), "deploy/local/cluster {arguments:?} failed");
    Ok(String::from_utf8(output.stdout)?)
}
