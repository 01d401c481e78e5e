//! The habits of real servers and name servers, each with the row that it has to give.

use std::path::Path;
use std::time::Duration;

use fetchline_tests::authority::Authority;
use fetchline_tests::dead_letters;
use fetchline_tests::name_server::{Behaviour, Forgery, NameServer};
use fetchline_tests::odd_site::OddSite;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;

/// A habit of a server (`odd_site.rs`): its scheme and host, the method and number of tasks, and
/// their outcome, attempts and requests. Of two attempts, a failure that is charged takes both. The
/// number of requests is 0 where it depends on which request gets which connection.
const SITES: [(&str, &str, &str, usize, &str, i64, usize); 26] = [
    ("http", "sound", "GET", 3, "ok", 1, 3),
    ("http", "closes", "GET", 12, "ok", 1, 0),
    ("http", "farewell", "GET", 12, "ok", 1, 0),
    ("http", "consent", "GET", 1, "ok", 1, 2),
    ("http", "circle", "GET", 1, "redirect", 1, 2),
    ("http", "identity", "GET", 3, "ok", 1, 3),
    ("http", "folded", "GET", 1, "ok", 1, 1),
    ("http", "bare-lf", "GET", 1, "ok", 1, 1),
    ("http", "hints", "GET", 1, "ok", 1, 1),
    ("http", "cookies", "GET", 1, "ok", 1, 1),
    ("http", "too-many", "GET", 1, "too_large", 1, 1),
    ("http", "huge-head", "HEAD", 3, "ok", 1, 3),
    ("http", "two-lengths", "GET", 1, "protocol", 2, 2),
    ("http", "version", "GET", 1, "protocol", 2, 2),
    ("http", "cut", "GET", 1, "protocol", 2, 2),
    ("https", "sound-tls", "GET", 3, "ok", 1, 3),
    ("https", "tls12", "GET", 1, "ok", 1, 1),
    ("https", "abrupt", "GET", 3, "ok", 1, 3),
    ("https", "old-tls", "GET", 1, "tls", 2, 2),
    ("https", "h2-goaway", "GET", 12, "ok", 1, 0),
    ("https", "h2-goaway", "POST", 12, "ok", 1, 0),
    ("https", "h2-refuses", "GET", 3, "ok", 1, 0),
    ("https", "h2-refuses", "POST", 3, "ok", 1, 0),
    ("https", "h2-cancels", "GET", 1, "protocol", 2, 2),
    ("https", "h2-wants-http1", "POST", 1, "ok", 1, 2),
    ("https", "h2-huge-head", "HEAD", 1, "ok", 1, 1),
];

/// A task as somebody else publishes it.
fn task(url: &str, method: &str) -> String {
    json!({ "url": url, "method": method }).to_string()
}

#[tokio::test]
async fn each_habit_of_a_server_gives_its_row_and_costs_no_attempt_that_it_should_not()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let names = NameServer::start(Behaviour::Answer).await?;
    let authority = Authority::new("inner authority")?;
    let file = world.file("inner-ca.pem", &authority.pem())?;
    let folder = Path::new(&file).with_file_name("site");
    authority.certify(OddSite::HOSTS, &folder)?;
    let site = OddSite::start(&folder).await?;
    for (scheme, habit, method, tasks, ..) in SITES {
        for n in 0..tasks {
            let url = site.url(scheme, habit, &format!("{method}/{n}"));
            world.type_message(&task(&url, method)).await?;
        }
    }
    let flags = ["--dns-server", &names.address(), "--ca", &file];
    let more = ["--max-attempts", "2", "--retry-delays", "1s", "--timeout", "20s"];
    world.work_until_empty(&[&flags[..], &more].concat()).await?;

    let mut wrong = Vec::new();
    for (scheme, habit, method, tasks, outcome, attempts, requests) in SITES {
        let of_habit = format!("url LIKE '{scheme}://{habit}.site.example:%/{method}/%'");
        let rows: Vec<(String, u32, Option<String>)> = sqlx::query_as(sqlx::AssertSqlSafe(
            format!("SELECT outcome, attempts, error FROM fetches WHERE {of_habit}"),
        ))
        .fetch_all(&world.database)
        .await?;
        let is_expected =
            |row: &&(String, u32, Option<String>)| row.0 == outcome && i64::from(row.1) == attempts;
        let asked = site.requests(habit);
        if rows.iter().filter(is_expected).count() != tasks || requests > 0 && asked != requests {
            wrong.push(format!("{method} {scheme}://{habit}: {asked} requests, {rows:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// What a name server does with a host, by its first label.
fn habit_of_name_server(label: &str) -> Behaviour {
    match label {
        "lost-first" => Behaviour::LoseFirst,
        "late" => Behaviour::Delay(Duration::from_millis(1_200)),
        "no-aaaa" => Behaviour::LoseIpv6,
        "truncated" => Behaviour::Truncate,
        "forged-id" => Behaviour::AfterForgery(Forgery::Id),
        "forged-question" => Behaviour::AfterForgery(Forgery::Question),
        "alias" => Behaviour::Alias,
        "gone" => Behaviour::NoName,
        "no-data" => Behaviour::NoData,
        "private" => Behaviour::Private,
        "silent" => Behaviour::Silence,
        "fails" => Behaviour::Fail,
        "refuses" => Behaviour::Refuse,
        "garbage" => Behaviour::Garbage,
        "only-forged-id" => Behaviour::ForgedId,
        "only-forged-question" => Behaviour::ForgedQuestion,
        "alias-loop" => Behaviour::AliasLoop,
        _ => Behaviour::Answer,
    }
}

/// The outcome and the attempts of a task whose host the name server answers for, of two attempts.
const NAMES: [(&str, &str, u32); 11] = [
    ("lost-first", "ok", 1),
    ("late", "ok", 1),
    ("no-aaaa", "ok", 1),
    ("truncated", "ok", 1),
    ("forged-id", "ok", 1),
    ("forged-question", "ok", 1),
    ("alias", "ok", 1),
    ("alias-loop", "dns", 2),
    ("gone", "dns", 2),
    ("no-data", "dns", 2),
    ("private", "blocked", 1),
];

/// Hosts that the name server says nothing about.
const UNANSWERED: [&str; 6] =
    ["silent", "fails", "refuses", "garbage", "only-forged-id", "only-forged-question"];

fn url_of(world: &World, label: &str) -> String {
    format!("http://{label}.example:{}/p/1", world.shop.addr().port())
}

/// The rows of a host with this outcome and so many attempts.
async fn rows(world: &World, label: &str, outcome: &str, attempts: i64) -> anyhow::Result<i64> {
    let is_row = format!("outcome = '{outcome}' AND attempts = {attempts}");
    let of_host = format!("url LIKE 'http://{label}.example:%'");
    world.count(&format!("SELECT COUNT(*) FROM fetches WHERE {is_row} AND {of_host}")).await
}

/// The URL, the outcome and the attempts of each row.
async fn all_rows(world: &World) -> anyhow::Result<Vec<(String, String, u32)>> {
    let rows = "SELECT url, outcome, attempts FROM fetches ORDER BY url";
    Ok(sqlx::query_as(rows).fetch_all(&world.database).await?)
}

#[tokio::test]
async fn each_habit_of_a_name_server_gives_its_row_and_only_its_answers_cost_attempts()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let server = NameServer::start(Behaviour::ByLabel(habit_of_name_server)).await?;
    let labels = NAMES.iter().map(|(label, ..)| *label).chain(UNANSWERED);
    let urls: Vec<String> = labels.map(|label| url_of(&world, label)).collect();
    world.produce("names", &urls).await?;
    let address = server.address();
    let flags = ["--dns-server", &address, "--dns-timeout", "2s", "--until-empty"];
    let more = ["--max-attempts", "2", "--retry-delays", "1s"];
    let worker = world.worker(&[&flags[..], &more].concat())?;
    let all = async || all_rows(&world).await;
    let found = wait::until("rows", all, |rows| rows.len() >= NAMES.len()).await?;
    let row = |(label, outcome, attempts): (&str, &str, u32)| {
        (url_of(&world, label), outcome.to_owned(), attempts)
    };
    let mut expected = NAMES.map(row);
    expected.sort_unstable();
    assert_eq!(found, expected);
    // Each of these hosts is looked up again: its task was deferred, not given up.
    let asked = |label: &str| server.queries_for(&format!("{label}.example"));
    let before = UNANSWERED.map(asked);
    let again = async || Ok(UNANSWERED.map(asked));
    wait::until("further queries", again, |now| (0..now.len()).all(|n| now[n] > before[n])).await?;
    assert_eq!(all_rows(&world).await?, found);
    server.set(Behaviour::Answer);
    assert_eq!(worker.end().await?.code, Some(0));
    for label in UNANSWERED {
        assert_eq!(rows(&world, label, "ok", 1).await?, 1, "{label}");
    }
    assert_eq!(world.ready("dead").await?, 3, "of the hosts without an address");
    Ok(())
}

/// A message whose task has failed once, and was then deferred so often for this reason.
fn deferred(reason: &str, times: u32) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("x-attempt".into(), AMQPValue::LongUInt(2));
    headers.insert("x-parked".into(), AMQPValue::LongUInt(times));
    headers
        .insert("x-parked-for".into(), AMQPValue::LongString(format!("{reason} {times}").into()));
    BasicProperties::default().with_headers(headers)
}

#[tokio::test]
async fn a_task_is_deferred_for_an_hour_for_its_own_host_and_for_a_day_in_an_outage()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let server = NameServer::start(Behaviour::Silence).await?;
    let address = server.address();
    let flags = ["--dns-server", &address, "--dns-timeout", "1s"];
    let worker = world.worker(&[&flags[..], &["--max-attempts", "3"]].concat())?;
    // With the default delays, 20 deferrals take twelve hours, and 40 a day and a half.
    for (label, times) in [("outage", 20), ("long-outage", 40)] {
        world.publish(&url_of(&world, label), deferred("dns", times)).await?;
    }
    let given_up = async |label: &'static str| rows(&world, label, "dns", 1).await;
    let ended = async || given_up("long-outage").await;
    wait::until("the end of the older task", ended, |rows| *rows == 1).await?;
    // The worker declares this queue when it first needs it.
    let waiting = async || Ok(world.ready("retry.3600s").await.unwrap_or_default());
    wait::until("the other task to be deferred", waiting, |ready| *ready == 1).await?;
    let kinds = async || {
        let news = world.pop("news").await?.map(|(_, body)| serde_json::from_slice(&body));
        Ok(news.transpose()?.map(|news: serde_json::Value| news["kind"].clone()))
    };
    wait::until("the news", kinds, |kind| *kind == Some("name_servers_away".into())).await?;

    // Once the name servers answer for others, the host is an exception.
    server.set(Behaviour::ByLabel(|label| match label {
        "sound" => Behaviour::Answer,
        _ => Behaviour::Fail,
    }));
    world.produce("sound", &[url_of(&world, "sound")]).await?;
    let sound = async || rows(&world, "sound", "ok", 1).await;
    wait::until("a row of another host", sound, |rows| *rows == 1).await?;
    world.publish(&url_of(&world, "lame"), deferred("host", 20)).await?;
    world.publish(&url_of(&world, "cold"), deferred("dns", 20)).await?;
    let ended = async || given_up("lame").await;
    wait::until("the end of its task", ended, |rows| *rows == 1).await?;
    // An outage before does not count.
    let waiting = async || world.ready("retry.10s").await;
    wait::until("the other task to be deferred", waiting, |ready| *ready == 1).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    assert_eq!(world.rows().await?, 3);
    let reasons: Vec<String> =
        dead_letters::peek(&world).await?.into_iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, ["dns", "dns"]);
    Ok(())
}
