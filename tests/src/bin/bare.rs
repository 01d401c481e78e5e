//! The cost of the libraries alone: lapin, reqwest and sqlx in the simplest loops that do the work,
//! without anything that fetchline adds. Rows are written in batches, with one ack per batch. For
//! `make bench`; nothing here survives an outage.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use flate2::read::GzDecoder;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};
use sqlx::mysql::MySqlPool;
use sqlx::{MySql, QueryBuilder};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// The simplest loops over lapin, reqwest and sqlx.
#[derive(Parser)]
struct Args {
    /// What to do
    mode: Mode,
    /// RabbitMQ
    #[arg(long, env = "AMQP_URL")]
    amqp_url: String,
    /// MySQL or MariaDB
    #[arg(long, env = "DATABASE_URL")]
    database_url: String,
    /// The queue, which is also the routing key on the default exchange
    #[arg(long)]
    queue: String,
    /// Concurrent fetches
    #[arg(long, default_value_t = 100)]
    concurrency: usize,
    /// The prefetch
    #[arg(long, default_value_t = 1100)]
    prefetch: u16,
    /// Rows per batch
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// An authority that sites may have; all names are local ones then
    #[arg(long)]
    ca: Option<std::path::PathBuf>,
    /// Rows that `insert` writes
    #[arg(long, default_value_t = 0)]
    count: u64,
}

/// What to do.
#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Consume URLs, fetch them, insert the answers, ack
    Work,
    /// Consume and ack, nothing else
    Consume,
    /// Insert rows of 380 bytes, nothing else
    Insert,
    /// Publish the lines of standard input, without waiting for confirms
    Publish,
}

/// A result to write.
struct Fetched {
    tag: u64,
    url: String,
    status: u16,
    body: Bytes,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.mode {
        Mode::Work => work(&args).await,
        Mode::Consume => consume(&args).await,
        Mode::Insert => insert_rows(&args).await,
        Mode::Publish => publish(&args).await,
    }
}

async fn channel(args: &Args) -> anyhow::Result<Channel> {
    let connection = Connection::connect(&args.amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    // The connection lives as long as the process.
    std::mem::forget(connection);
    Ok(channel)
}

async fn consumer(args: &Args, channel: &Channel) -> anyhow::Result<lapin::Consumer> {
    channel.basic_qos(args.prefetch, BasicQosOptions::default()).await?;
    let consumer = channel.basic_consume(
        args.queue.as_str().into(),
        "bare".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    Ok(consumer.await?)
}

async fn work(args: &Args) -> anyhow::Result<()> {
    let channel = channel(args).await?;
    let deliveries = consumer(args, &channel).await?;
    let pool = table(args).await?;
    let client = client(args)?;
    let (results, mut received) = mpsc::channel::<Fetched>(args.batch);
    let size = args.batch;
    let writing = tokio::spawn(async move {
        while let Some(first) = received.recv().await {
            let deadline = Instant::now() + Duration::from_millis(250);
            let mut batch = vec![first];
            while batch.len() < size {
                match timeout_at(deadline, received.recv()).await {
                    Ok(Some(fetched)) => batch.push(fetched),
                    _ => break,
                }
            }
            insert(&pool, &batch).await?;
            // Results arrive in order, so the last tag covers all of them.
            let last = batch.last().map_or(0, |fetched| fetched.tag);
            ack(&channel, last).await?;
        }
        anyhow::Ok(())
    });
    let mut fetched = deliveries
        .map_err(anyhow::Error::from)
        .map_ok(|delivery| fetch(client.clone(), delivery))
        .try_buffered(args.concurrency);
    while let Some(fetched) = fetched.try_next().await? {
        if results.send(fetched).await.is_err() {
            break;
        }
    }
    drop(results);
    writing.await?
}

fn client(args: &Args) -> anyhow::Result<reqwest::Client> {
    _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30));
    let Some(ca) = &args.ca else { return Ok(client.build()?) };
    let authorities = reqwest::Certificate::from_pem_bundle(&std::fs::read(ca)?)?;
    let accepting = [(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))].into_iter().collect();
    let client = client.tls_certs_merge(authorities).default_headers(accepting);
    Ok(client.dns_resolver(Local).build()?)
}

/// Finds every host on this machine.
struct Local;

impl Resolve for Local {
    fn resolve(&self, _: Name) -> Resolving {
        let found: Addrs = Box::new(std::iter::once(SocketAddr::from(([127, 0, 0, 1], 0))));
        Box::pin(std::future::ready(Ok(found)))
    }
}

/// The body, without its coding.
async fn body(response: reqwest::Response) -> anyhow::Result<Bytes> {
    let is_gzip = response.headers().get(CONTENT_ENCODING).is_some_and(|it| it == "gzip");
    let body = response.bytes().await?;
    if !is_gzip {
        return Ok(body);
    }
    let mut decoded = Vec::new();
    GzDecoder::new(&*body).read_to_end(&mut decoded)?;
    Ok(decoded.into())
}

async fn fetch(
    client: reqwest::Client,
    delivery: lapin::message::Delivery,
) -> anyhow::Result<Fetched> {
    let url = String::from_utf8(delivery.data)?;
    let response = client.get(&url).send().await?;
    let status = response.status().as_u16();
    Ok(Fetched { tag: delivery.delivery_tag, url, status, body: body(response).await? })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark, not a part of the worker")]
async fn ack(channel: &Channel, tag: u64) -> anyhow::Result<()> {
    Ok(channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?)
}

async fn table(args: &Args) -> anyhow::Result<MySqlPool> {
    let pool = MySqlPool::connect(&args.database_url).await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS bare (id BIGINT AUTO_INCREMENT PRIMARY KEY, url TEXT, \
         status SMALLINT UNSIGNED, body LONGTEXT, \
         fetched_at DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)) CHARACTER SET utf8mb4",
    )
    .execute(&pool)
    .await?;
    Ok(pool)
}

async fn insert(pool: &MySqlPool, batch: &[Fetched]) -> anyhow::Result<()> {
    let mut statement = QueryBuilder::<MySql>::new("INSERT INTO bare (url, status, body) ");
    let mut bodies = Vec::with_capacity(batch.len());
    for fetched in batch {
        bodies.push((&fetched.url, fetched.status, std::str::from_utf8(&fetched.body)?));
    }
    statement.push_values(bodies, |mut row, (url, status, body)| {
        row.push_bind(url).push_bind(status).push_bind(body);
    });
    statement.build().execute(pool).await?;
    Ok(())
}

async fn consume(args: &Args) -> anyhow::Result<()> {
    let channel = channel(args).await?;
    let mut deliveries = consumer(args, &channel).await?;
    let mut unacked = 0;
    while let Some(delivery) = deliveries.next().await {
        let tag = delivery?.delivery_tag;
        unacked += 1;
        // Ack a quarter of the prefetch at a time, so that the broker always has something to send.
        if unacked >= u32::from(args.prefetch / 4) {
            ack(&channel, tag).await?;
            unacked = 0;
        }
    }
    Ok(())
}

async fn insert_rows(args: &Args) -> anyhow::Result<()> {
    let pool = table(args).await?;
    let body = Bytes::from("x".repeat(380));
    let batches = (0..args.count / args.batch as u64).map(|number| {
        let rows = (0..args.batch as u64).map(|row| Fetched {
            tag: 0,
            url: format!("http://127.0.0.1:8080/json/{number}/{row}"),
            status: 200,
            body: body.clone(),
        });
        rows.collect::<Vec<_>>()
    });
    let began = Instant::now();
    stream::iter(batches)
        .map(|batch| {
            let pool = pool.clone();
            async move { insert(&pool, &batch).await }
        })
        .buffer_unordered(2)
        .try_collect::<Vec<_>>()
        .await?;
    println!("{}", args.count as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

async fn publish(args: &Args) -> anyhow::Result<()> {
    let channel = channel(args).await?;
    let lines = BufReader::new(tokio::io::stdin()).lines();
    let began = Instant::now();
    let mut count = 0;
    let lines = stream::try_unfold(lines, |mut lines| async {
        Ok(lines.next_line().await?.map(|line| (line, lines)))
    });
    // Many at a time: each one resolves when the library's own thread has written it.
    let mut chunks =
        std::pin::pin!(lines.map_err(|error: std::io::Error| error).try_ready_chunks(64));
    while let Some(lines) = chunks.try_next().await? {
        let sent = lines.iter().map(|line| {
            let properties = BasicProperties::default().with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            channel.basic_publish(
                "".into(),
                args.queue.as_str().into(),
                options,
                line.as_bytes(),
                properties,
            )
        });
        // Without confirms the returned future resolves at once.
        count += try_join_all(sent).await?.len();
    }
    // A passive declaration is answered after everything that was sent before on this channel.
    let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
    channel
        .queue_declare(args.queue.as_str().into(), passive, FieldTable::default())
        .await
        .context("cannot declare the queue")?;
    println!("{}", count as f64 / began.elapsed().as_secs_f64());
    Ok(())
}
