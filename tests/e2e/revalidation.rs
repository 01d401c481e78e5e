//! Pages that were fetched before are fetched only if they have changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use fetchline_tests::origin::{Asked, Origin, Reply};
use fetchline_tests::process::Running;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use reqwest::header::{
    COOKIE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, SET_COOKIE, VARY,
};
use sqlx::AssertSqlSafe;

const LONG_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FUTURE: &str = "Tue, 06 Nov 2085 08:49:37 GMT";

/// A site that a test can move on to its next night.
struct Nights {
    world: World,
    site: Origin,
    night: Arc<AtomicU32>,
}

/// What became of a page in a night: outcome, status and the conditions that were sent.
type Seen = (String, Option<u16>, String);

impl Nights {
    async fn of(
        answer: impl Fn(&Asked, u32) -> Reply + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let (world, night) = (World::new().await?, Arc::<AtomicU32>::default());
        let present = night.clone();
        let site =
            Origin::start(move |asked| answer(asked, present.load(Ordering::SeqCst))).await?;
        Ok(Self { world, site, night })
    }

    /// Publishes messages, which a running worker fetches, and returns what it made of each path.
    /// Then the next night begins.
    async fn fetch(&self, messages: &[String]) -> anyhow::Result<BTreeMap<String, Seen>> {
        let run = format!("night-{}", self.night.load(Ordering::SeqCst));
        self.site.take_asked();
        let flags = ["produce", "--run", &run, "--format", "jsonl"];
        let output = self.world.run(&flags, &messages.join("\n")).await?;
        anyhow::ensure!(output.code == Some(0), "{output:?}");
        let rows = async || {
            let query = "SELECT COUNT(*) FROM fetches WHERE run = ?";
            let count: i64 =
                sqlx::query_scalar(query).bind(&run).fetch_one(&self.world.database).await?;
            Ok(count)
        };
        wait::until("every row", rows, |rows| *rows == messages.len() as i64).await?;
        let rows: Vec<(String, String, Option<u16>)> =
            sqlx::query_as("SELECT url, outcome, status FROM fetches WHERE run = ?")
                .bind(&run)
                .fetch_all(&self.world.database)
                .await?;
        let asked = self.site.take_asked();
        self.night.fetch_add(1, Ordering::SeqCst);
        let root = self.site.url("");
        let seen = rows.into_iter().map(|(url, outcome, status)| {
            let path = url.strip_prefix(&root).unwrap_or(&url).to_owned();
            let sent = asked.iter().filter(|asked| asked.path == path).map(conditions);
            let sent = sent.collect::<Vec<_>>().join(" | ");
            (path, (outcome, status, sent))
        });
        Ok(seen.collect())
    }

    fn message(&self, path: &str) -> String {
        format!(r#"{{"url":"{}"}}"#, self.site.url(path))
    }

    /// One night of one page.
    async fn page(&self, path: &str) -> anyhow::Result<Seen> {
        let seen = self.fetch(&[self.message(path)]).await?;
        seen.into_values().next().context("there is no row")
    }

    fn worker(&self, flags: &[&str]) -> anyhow::Result<Running> {
        self.world.worker(&[&["--revalidate", "--max-attempts", "1"], flags].concat())
    }

    async fn execute(&self, statement: &str) -> anyhow::Result<u64> {
        let statement = sqlx::query(AssertSqlSafe(statement.to_owned()));
        Ok(statement.execute(&self.world.database).await?.rows_affected())
    }
}

/// The conditions of a request: the tag, then the time.
fn conditions(asked: &Asked) -> String {
    let (tag, time) = (asked.header(IF_NONE_MATCH), asked.header(IF_MODIFIED_SINCE));
    [tag, time].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A page that a site serves under a tag.
fn tagged(asked: &Asked, tag: &str, body: &str) -> Reply {
    let given = asked.header(IF_NONE_MATCH);
    match !given.is_empty() && given.trim_start_matches("W/") == tag.trim_start_matches("W/") {
        true => Reply::new(304, ""),
        false => Reply::new(200, body).with(ETAG, tag),
    }
}

/// Sites as they are, by path.
fn sites(asked: &Asked, night: u32) -> Reply {
    let tonight = format!("\"{night}\"");
    let changing = format!("night {night}");
    match asked.path.as_str() {
        "/strong" => tagged(asked, "\"v1\"", "same"),
        "/weak" => tagged(asked, "W/\"v1\"", "same"),
        "/gzip" => tagged(asked, "\"5f2-gzip\"", "same"),
        "/modified" if asked.header(IF_MODIFIED_SINCE) == LONG_AGO => Reply::new(304, ""),
        "/modified" | "/ignores" => Reply::new(200, "same").with(LAST_MODIFIED, LONG_AGO),
        "/changes" => tagged(asked, &tonight, &changing),
        "/plain" => Reply::new(200, "same"),
        "/plain-changes" => Reply::new(200, changing),
        "/tag-per-answer" => Reply::new(200, "same").with(ETAG, tonight),
        "/garbage" => Reply::new(200, "same").with(ETAG, "v1"),
        "/asterisk" => Reply::new(200, "same").with(ETAG, "*"),
        "/two-tags" => Reply::new(200, "same").with(ETAG, "\"a\"").with(ETAG, "\"b\""),
        "/future" => Reply::new(200, "same").with(LAST_MODIFIED, FUTURE),
        "/vary" => tagged(asked, "\"v1\"", "same").with(VARY, "Accept, *"),
        "/always-304" => Reply::new(304, ""),
        "/stops" if night > 0 => Reply::new(200, "same"),
        "/stops" => Reply::new(200, "same").with(ETAG, "\"v1\""),
        // Says for ever that the page is the one of the first night.
        "/lies" => tagged(asked, "\"v1\"", &changing),
        "/refuses" if !asked.header(IF_NONE_MATCH).is_empty() => Reply::new(412, "no"),
        "/refuses" => Reply::new(200, "same").with(ETAG, "\"v1\""),
        "/fails" if !asked.header(IF_NONE_MATCH).is_empty() => Reply::new(404, "no"),
        "/fails" => Reply::new(200, "same").with(ETAG, "\"v1\""),
        "/moved" if night > 1 => Reply::new(301, "").with(LOCATION, "/target-2"),
        "/moved" => Reply::new(301, "").with(LOCATION, "/target"),
        "/target" | "/target-2" => tagged(asked, "\"v1\"", "same"),
        "/consent" if asked.header(COOKIE).is_empty() => {
            Reply::new(302, "").with(SET_COOKIE, "seen=1").with(LOCATION, "/consent")
        }
        "/consent" => tagged(asked, "\"v1\"", "same"),
        _ => Reply::new(404, "nothing"),
    }
}

/// Outcome, status and conditions of a page in a night.
type Expected = (&'static str, u16, &'static str);

/// The outcome of a path in each of four nights, and the conditions of its requests. Every third
/// fetch of an unchanged page asks in full.
const SITES: [(&str, [Expected; 4]); 22] = [
    (
        "/strong",
        [
            ("ok", 200, ""),
            ("unchanged", 304, "\"v1\""),
            ("unchanged", 304, "\"v1\""),
            ("unchanged", 200, ""),
        ],
    ),
    (
        "/weak",
        [
            ("ok", 200, ""),
            ("unchanged", 304, "W/\"v1\""),
            ("unchanged", 304, "W/\"v1\""),
            ("unchanged", 200, ""),
        ],
    ),
    (
        "/gzip",
        [
            ("ok", 200, ""),
            ("unchanged", 304, "\"5f2-gzip\""),
            ("unchanged", 304, "\"5f2-gzip\""),
            ("unchanged", 200, ""),
        ],
    ),
    (
        "/modified",
        [
            ("ok", 200, ""),
            ("unchanged", 304, LONG_AGO),
            ("unchanged", 304, LONG_AGO),
            ("unchanged", 200, ""),
        ],
    ),
    (
        "/ignores",
        [
            ("ok", 200, ""),
            ("unchanged", 200, LONG_AGO),
            ("unchanged", 200, LONG_AGO),
            ("unchanged", 200, LONG_AGO),
        ],
    ),
    (
        "/changes",
        [("ok", 200, ""), ("ok", 200, "\"0\""), ("ok", 200, "\"1\""), ("ok", 200, "\"2\"")],
    ),
    ("/plain", [("ok", 200, ""), SAME, SAME, SAME]),
    ("/plain-changes", [("ok", 200, ""), ("ok", 200, ""), ("ok", 200, ""), ("ok", 200, "")]),
    (
        "/tag-per-answer",
        [
            ("ok", 200, ""),
            ("unchanged", 200, "\"0\""),
            ("unchanged", 200, "\"1\""),
            ("unchanged", 200, "\"2\""),
        ],
    ),
    ("/garbage", [("ok", 200, ""), SAME, SAME, SAME]),
    ("/asterisk", [("ok", 200, ""), SAME, SAME, SAME]),
    ("/two-tags", [("ok", 200, ""), SAME, SAME, SAME]),
    ("/future", [("ok", 200, ""), SAME, SAME, SAME]),
    ("/vary", [("ok", 200, ""), SAME, SAME, SAME]),
    ("/always-304", [NOT_ASKED, NOT_ASKED, NOT_ASKED, NOT_ASKED]),
    ("/stops", [("ok", 200, ""), ("unchanged", 200, "\"v1\""), SAME, SAME]),
    (
        "/lies",
        [
            ("ok", 200, ""),
            ("unchanged", 304, "\"v1\""),
            ("unchanged", 304, "\"v1\""),
            // From now on its tag is not believed.
            ("ok", 200, ""),
        ],
    ),
    (
        "/refuses",
        [
            ("ok", 200, ""),
            ("unchanged", 200, "\"v1\" | "),
            ("unchanged", 200, "\"v1\" | "),
            ("unchanged", 200, "\"v1\" | "),
        ],
    ),
    (
        "/fails",
        [
            ("ok", 200, ""),
            ("unchanged", 200, "\"v1\" | "),
            ("unchanged", 200, "\"v1\" | "),
            ("unchanged", 200, "\"v1\" | "),
        ],
    ),
    // The conditions are those of the first URL, which redirects.
    (
        "/moved",
        [
            ("ok", 200, ""),
            ("unchanged", 304, ""),
            // The same body at another URL: its links lead elsewhere.
            ("ok", 200, ""),
            ("unchanged", 304, ""),
        ],
    ),
    (
        "/consent",
        [
            ("ok", 200, " | "),
            ("unchanged", 304, "\"v1\" | \"v1\""),
            ("unchanged", 304, "\"v1\" | \"v1\""),
            ("unchanged", 200, " | "),
        ],
    ),
    (
        "/missing",
        [
            ("http_error", 404, ""),
            ("http_error", 404, ""),
            ("http_error", 404, ""),
            ("http_error", 404, ""),
        ],
    ),
];
const SAME: Expected = ("unchanged", 200, "");
const NOT_ASKED: Expected = ("http_error", 304, "");

#[tokio::test]
async fn every_kind_of_site_gets_the_conditions_that_it_understands() -> anyhow::Result<()> {
    let nights = Nights::of(sites).await?;
    let worker = nights.worker(&["--revalidate-full-every", "3"])?;
    let messages: Vec<String> = SITES.iter().map(|(path, _)| nights.message(path)).collect();
    let mut mismatches = Vec::new();
    for night in 0..4 {
        let seen = nights.fetch(&messages).await?;
        for (path, expected) in SITES {
            let (outcome, status, sent) = &seen[path];
            let expected = expected[night];
            if (outcome.as_str(), status.unwrap_or(0), sent.as_str()) != expected {
                let found = (outcome, status, sent);
                mismatches.push(format!("{path} in night {night}: {found:?}, not {expected:?}"));
            }
        }
    }
    assert!(mismatches.is_empty(), "{mismatches:#?}");
    // The rows of unchanged pages have no body, but its hash.
    let odd = nights.world.count(
        "SELECT COUNT(*) FROM fetches WHERE outcome = 'unchanged' AND (body_text IS NOT NULL OR \
         product IS NOT NULL OR error IS NOT NULL OR body_sha256 IS NULL OR body_sha256 NOT IN \
         (SELECT body_sha256 FROM fetches AS full WHERE full.outcome = 'ok' \
         AND full.url = fetches.url) OR (status = 304) <> (body_bytes IS NULL))",
    );
    assert_eq!(odd.await?, 0);
    let summary = worker.terminate().await?.json()?;
    let of = |name: &str| summary[name].as_u64().unwrap_or(0);
    assert_eq!(of("ok") + of("unchanged") + of("failed"), of("rows"), "{summary}");
    assert!(of("unchanged") > 40 && summary["outcomes"]["unchanged"] == summary["unchanged"]);
    Ok(())
}

/// A page with a product and a tag, at a price that changes every tenth night.
fn product(asked: &Asked, night: u32) -> Reply {
    let price = 10 + night / 10;
    let body = format!(
        "<script type='application/ld+json'>{{\"@type\":\"Product\",\"name\":\"Tea\",\"offers\":\
         {{\"price\":\"{price}.50\",\"priceCurrency\":\"EUR\"}}}}</script>"
    );
    tagged(asked, &format!("\"{price}\""), &body)
}

const FULL: (&str, &str) = ("ok", "");
const CONDITIONAL: (&str, &str) = ("unchanged", "\"10\"");

fn brief(seen: &Seen) -> (&str, &str) {
    (&seen.0, &seen.2)
}

#[tokio::test]
async fn an_unchanged_product_is_seen_and_nothing_else_of_it_changes() -> anyhow::Result<()> {
    let nights = Nights::of(product).await?;
    let _worker = nights.worker(&[])?;
    let item = async || -> anyhow::Result<(String, i64, i64)> {
        let query = "SELECT CONCAT_WS(' ', name, price, currency, updated_at), \
                     (SELECT COUNT(*) FROM price_history), \
                     CAST(seen_at = (SELECT MAX(fetched_at) FROM fetches) AS SIGNED) FROM items";
        Ok(sqlx::query_as(query).fetch_one(&nights.world.database).await?)
    };
    assert_eq!(brief(&nights.page("/p").await?), FULL);
    let first = item().await?;
    assert!(first.0.starts_with("Tea 10.5000 EUR"), "{first:?}");
    assert_eq!((first.1, first.2), (1, 1));
    for _ in 0..3 {
        assert_eq!(brief(&nights.page("/p").await?), CONDITIONAL);
        assert_eq!(item().await?, first);
    }
    // A night later the price is another one.
    nights.night.store(10, Ordering::SeqCst);
    assert_eq!(brief(&nights.page("/p").await?), ("ok", "\"10\""));
    let changed = item().await?;
    assert!(changed.0.starts_with("Tea 11.5000 EUR"), "{changed:?}");
    assert_eq!((changed.1, changed.2), (2, 1));
    Ok(())
}

#[tokio::test]
async fn a_page_is_fetched_in_full_if_what_it_left_behind_is_gone() -> anyhow::Result<()> {
    let nights = Nights::of(|asked, _| product(asked, 0)).await?;
    let _worker =
        nights.worker(&["--revalidate-full-every", "100", "--compress-bodies", "zstd"])?;
    assert_eq!(brief(&nights.page("/p").await?), FULL);
    for loss in [
        "UPDATE fetches SET body_text = NULL, body_zstd = NULL WHERE outcome = 'ok'",
        "DELETE FROM fetches WHERE outcome = 'ok'",
        "UPDATE fetches SET outcome = 'refused' WHERE outcome = 'ok'",
        "DELETE FROM items",
        "UPDATE items SET updated_at = updated_at + INTERVAL 1 MICROSECOND, price = 3",
        "UPDATE pages SET reader = REVERSE(reader)",
        "DELETE FROM pages",
    ] {
        assert_eq!(brief(&nights.page("/p").await?), CONDITIONAL, "before {loss}");
        assert!(nights.execute(loss).await? > 0, "{loss}");
        assert_eq!(brief(&nights.page("/p").await?), FULL, "after {loss}");
        assert_eq!(nights.world.count("SELECT COUNT(*) FROM items WHERE price = 10.5").await?, 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_page_is_read_again_by_other_rules_and_stored_if_it_was_not() -> anyhow::Result<()> {
    let nights = Nights::of(product).await?;
    let tea = nights.world.file("tea.toml", "[\"127.0.0.1\"]\ncategory = \"Tea\"\n")?;
    let jam = nights.world.file("jam.toml", "[\"127.0.0.1\"]\ncategory = \"Jam\"\n")?;
    let category = async || -> anyhow::Result<Option<String>> {
        Ok(sqlx::query_scalar("SELECT category FROM items")
            .fetch_one(&nights.world.database)
            .await?)
    };
    let none = ["--store-body", "none"];
    for (flags, expected) in [
        (&none[..], None),
        (&[], None),
        (&["--rules", &tea], Some("Tea")),
        (&["--rules", &jam], Some("Jam")),
        (&[], None),
    ] {
        let worker = nights.worker(flags)?;
        assert_eq!(brief(&nights.page("/p").await?), FULL, "{flags:?}");
        assert_eq!(category().await?.as_deref(), expected);
        let again = nights.page("/p").await?;
        assert_eq!((again.0.as_str(), again.2.is_empty()), ("unchanged", false), "{flags:?}");
        worker.terminate().await?;
    }
    let worker = nights.worker(&[])?;
    let given = nights.message("/p").replace('}', r#","category":"Given"}"#);
    let seen = nights.fetch(&[given]).await?;
    assert_eq!((seen["/p"].0.as_str(), category().await?.as_deref()), ("ok", Some("Given")));
    drop(worker);
    Ok(())
}

#[tokio::test]
async fn tasks_that_ask_for_something_else_are_left_alone() -> anyhow::Result<()> {
    let nights = Nights::of(|asked, _| match asked.path.as_str() {
        "/post" => Reply::new(200, "same").with(ETAG, "\"v1\""),
        _ => tagged(asked, "\"v1\"", "same"),
    })
    .await?;
    let _worker = nights.worker(&[])?;
    let task = |path: &str, rest: &str| nights.message(path).replace('}', &format!(",{rest}}}"));
    let messages = [
        task("/head", r#""method":"HEAD""#),
        task("/post", r#""method":"POST","body":"x""#),
        task("/body", r#""body":"x""#),
        task("/own", r#""headers":{"If-None-Match":"\"v1\""}"#),
        task("/own-time", r#""headers":{"If-Modified-Since":"Sun, 06 Nov 1994 08:49:37 GMT"}"#),
        task("/range", r#""headers":{"Range":"bytes=0-1"}"#),
        task("/off", r#""revalidate":false"#),
        task("/german", r#""headers":{"Accept-Language":"de"}"#),
    ];
    for night in 0..2 {
        let seen = nights.fetch(&messages).await?;
        for path in ["/head", "/post", "/body", "/range", "/off"] {
            assert_eq!(brief(&seen[path]), ("ok", ""), "{path} in night {night}");
        }
        assert_eq!(brief(&seen["/own"]), ("http_error", "\"v1\""), "in night {night}");
        assert_eq!(brief(&seen["/own-time"]), ("ok", LONG_AGO), "in night {night}");
        let german = if night == 0 { ("ok", "") } else { ("unchanged", "\"v1\"") };
        assert_eq!(brief(&seen["/german"]), german);
    }
    assert_eq!(nights.world.count("SELECT COUNT(*) FROM pages").await?, 1);
    // The French page is another one.
    let french = task("/german", r#""headers":{"Accept-Language":"fr"}"#);
    assert_eq!(brief(&nights.fetch(&[french]).await?["/german"]), ("ok", ""));
    Ok(())
}

#[tokio::test]
async fn a_task_asks_for_revalidation_itself() -> anyhow::Result<()> {
    let nights = Nights::of(product).await?;
    let worker = nights.world.worker(&[])?;
    // Without the flag, nothing is remembered.
    assert_eq!(brief(&nights.page("/p").await?), FULL);
    assert_eq!(nights.world.count("SELECT COUNT(*) FROM pages").await?, 0);
    let message = nights.message("/p").replace('}', r#","revalidate":true}"#);
    assert_eq!(brief(&nights.fetch(std::slice::from_ref(&message)).await?["/p"]), FULL);
    assert_eq!(brief(&nights.fetch(&[message]).await?["/p"]), CONDITIONAL);
    let flags = ["produce", "--run", "flag", "--revalidate"];
    let output = nights.world.run(&flags, &nights.site.url("/p")).await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let wait = nights.world.run(&["status", "--run", "flag", "--wait", "--for", "60s"], "").await?;
    assert_eq!(wait.code, Some(0), "unchanged is a success: {wait:?}");
    let query = "SELECT COUNT(*) FROM fetches WHERE run = 'flag' AND outcome = 'unchanged'";
    assert_eq!(nights.world.count(query).await?, 1);
    let summary = worker.terminate().await?.json()?;
    assert_eq!((&summary["unchanged"], &summary["failed"]), (&2.into(), &0.into()));
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_published_again_does_not_lose_its_body() -> anyhow::Result<()> {
    let nights = Nights::of(product).await?;
    let _worker = nights.worker(&[])?;
    let fetches =
        async || nights.world.count("SELECT CAST(SUM(rewrites) AS SIGNED) FROM fetches").await;
    for rewrites in 0..3 {
        let properties = lapin::BasicProperties::default().with_message_id("order-17".into());
        nights.world.publish(&nights.site.url("/p"), properties).await?;
        let rows = async || nights.world.rows().await;
        wait::until("the row", rows, |rows| *rows == 1).await?;
        wait::until("the write", fetches, |count| *count == rewrites).await?;
        let kept = "SELECT COUNT(*) FROM fetches WHERE outcome = 'ok' AND body_text LIKE '%Tea%'";
        assert_eq!(nights.world.count(kept).await?, 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_further_attempt_asks_in_full() -> anyhow::Result<()> {
    // The site fails whenever it gets a condition.
    let nights = Nights::of(|asked, _| match asked.header(IF_NONE_MATCH) {
        "" => tagged(asked, "\"v1\"", "same"),
        _ => Reply::new(502, "no"),
    })
    .await?;
    let flags = ["--revalidate", "--retry-delays", "1s", "--max-attempts", "2"];
    let _worker = nights.world.worker(&flags)?;
    assert_eq!(nights.page("/p").await?, ("ok".to_owned(), Some(200), String::new()));
    let second = nights.page("/p").await?;
    assert_eq!(second, ("unchanged".to_owned(), Some(200), "\"v1\" | ".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_night_of_few_changes_fetches_few_bytes() -> anyhow::Result<()> {
    const PAGES: u32 = 300;
    const NIGHTS: u32 = 4;
    // 4 % of the pages change every night.
    let nights = Nights::of(|asked, night| {
        let page: u32 = asked.path.trim_start_matches('/').parse().unwrap_or(0);
        let changed = (0..=night).rev().find(|night| page % 25 == night % 25).unwrap_or(0);
        tagged(asked, &format!("\"{page}-{changed}\""), &format!("{page} {changed}").repeat(500))
    })
    .await?;
    let mut worker = nights.worker(&[])?;
    let messages: Vec<String> = (0..PAGES).map(|id| nights.message(&format!("/{id}"))).collect();
    nights.fetch(&messages).await?;
    let first = nights.site.body_bytes();
    for _ in 1..NIGHTS {
        let seen = nights.fetch(&messages).await?;
        let unchanged = seen.values().filter(|seen| seen.0 == "unchanged").count();
        assert_eq!(unchanged, 288);
    }
    let later = nights.site.body_bytes() - first;
    assert!(later * 20 < first * u64::from(NIGHTS - 1), "{later} bytes after {first}");
    let saved = worker.metric("fetchline_saved_body_bytes_total").await?;
    let fetched = worker.metric("fetchline_body_bytes_total").await?;
    assert!(saved > 2.0 * fetched, "{saved} saved, {fetched} fetched");
    Ok(())
}
