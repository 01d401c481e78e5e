use std::io::Write;
use std::time::Duration;

use fetchline_queue::{Address, BrokerConfig, Role};

use super::*;
use crate::test_site::{TestSite, answer};

/// Runs `produce` without a broker.
async fn dry_run(sources: Vec<Source>, stop: CancellationToken) -> Result<Summary, Error> {
    let config =
        BrokerConfig { url: "amqp://127.0.0.1:1".to_owned(), ca: None, prefix: "test".to_owned() };
    let broker = Broker::new(&config, Role::Produce, "test").unwrap();
    let config = Config { sources, dry_run: true, ..Config::default() };
    produce(config, broker, Arc::default(), |_| {}, stop).await
}

fn list_at(url: &str) -> Source {
    Source::Url(Address::parse(url).unwrap())
}

#[tokio::test]
async fn lists_of_any_format_are_fetched_and_a_missing_one_fails_before_anything_is_published() {
    let site = TestSite::start(|path, _| match path {
        "/urls.csv" => answer("200 OK", b"name,url\na,http://a.example/1\n"),
        "/plain" => answer("200 OK", b"http://a.example/2\nhttp://a.example/3\n"),
        _ => answer("404 Not Found", b""),
    })
    .await;
    let sources = || vec![list_at(&site.url("urls.csv")), list_at(&site.url("plain"))];
    let summary = dry_run(sources(), CancellationToken::new()).await.unwrap();
    assert_eq!((summary.published, summary.rejected, summary.complete), (3, 0, true));
    let missing = site.url("missing").replace("//", "//user:hunter2@");
    let error = dry_run([sources(), vec![list_at(&missing)]].concat(), CancellationToken::new())
        .await
        .unwrap_err();
    let Error::Source(name, cause) = error else { panic!("{error:?}") };
    assert!(
        name.contains("***@") && !name.contains("hunter2") && cause.to_string().contains("404"),
        "{name}: {cause}"
    );
}

#[tokio::test]
async fn stop_ends_the_wait_for_a_silent_server() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let stop = CancellationToken::new();
    let running = tokio::spawn(dry_run(vec![list_at(&url)], stop.clone()));
    let connection = silent.accept().await.unwrap();
    stop.cancel();
    let summary =
        tokio::time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap().unwrap();
    assert!(!summary.complete);
    drop(connection);
}

#[tokio::test]
async fn a_task_that_waits_for_its_turn_counts_as_not_sent_if_it_is_stopped() {
    let site =
        TestSite::start(|_, _| answer("200 OK", b"http://a.example/1\nhttp://a.example/2\n")).await;
    let config =
        BrokerConfig { url: "amqp://127.0.0.1:1".to_owned(), ca: None, prefix: "test".to_owned() };
    let broker = Broker::new(&config, Role::Produce, "test").unwrap();
    let sources = vec![list_at(&site.url("list"))];
    let config = Config { sources, dry_run: true, rate: Some(0.001), ..Config::default() };
    let (progress, stop) = (Arc::<Progress>::default(), CancellationToken::new());
    let running = tokio::spawn(produce(config, broker, progress.clone(), |_| {}, stop.clone()));
    while progress.lines.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.published, summary.not_sent, summary.lines), (1, 1, 2));
    assert!(!summary.complete);
}

#[tokio::test]
async fn a_binary_source_fails_before_anything_is_published() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\nhttps://wrong.example/1\n";
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    compressed.write_all(png).unwrap();
    let compressed = compressed.finish().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        Source::File(folder.path().join(name))
    };
    let good = file("good.txt", b"https://a.example/1\nhttps://a.example/2\n");
    let summary = dry_run(vec![good.clone()], CancellationToken::new()).await.unwrap();
    assert_eq!((summary.published, summary.lines, summary.complete), (2, 2, true));
    let served = png.to_vec();
    let site = TestSite::start(move |_, _| answer("200 OK", &served)).await;
    for source in [
        file("list.csv", png),
        file("list.txt.gz", &compressed),
        file("list.db", b"SQLite format 3\0\x10\0\nhttps://wrong.example/1\n"),
        list_at(&site.url("list.txt")),
    ] {
        let error = dry_run(vec![good.clone(), source.clone()], CancellationToken::new()).await;
        let Err(Error::Source(name, cause)) = error else { panic!("{error:?}") };
        let is_named = ["a PNG image", "a SQLite database"]
            .iter()
            .any(|kind| cause.to_string().contains(kind));
        assert!(name == source.to_string() && is_named, "{name}: {cause}");
    }
}

#[test]
fn a_dry_run_shows_what_a_request_asks_for_and_no_secret() {
    let plain = FetchRequest::get_url("https://a.example/").unwrap();
    assert_eq!(describe_options(&plain), "");
    let text = r#"{"url":"https://a.example/","method":"POST","headers":{"x-key":"hunter2"},
        "body":"hunter2","not_before":"2026-03-01T11:30:00Z"}"#;
    let request = FetchRequest::from_json(text.to_owned()).unwrap();
    assert_eq!(
        describe_options(&request),
        "method POST  headers x-key  body of 7 bytes  not before 2026-03-01T11:30:00Z"
    );
}
