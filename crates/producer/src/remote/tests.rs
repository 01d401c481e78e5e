use std::sync::atomic::{AtomicUsize, Ordering};

use fetchline_queue::{Broker, BrokerConfig, Role};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::site::{Site, answer};
use crate::{Config, Error, Format, Produced, Source, produce};

fn remote() -> Remote {
    Remote { first_pause: Duration::from_millis(1), ..Remote::new() }
}

async fn get(url: &str, by: NamedBy) -> Result<String, String> {
    let (mut text, _) = remote().get(&Address::parse(url).unwrap(), by).await.map_err(|error| error.to_string())?;
    let mut all = String::new();
    text.read_to_string(&mut all).await.map_err(|error| error.to_string())?;
    Ok(all)
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_nothing_else_is() {
    for (path, answers, tries, expected) in [
        ("flaky", ["503 Service Unavailable", "429 Too Many Requests", "200 OK"], 3, Ok("text")),
        ("down", ["500 Internal Server Error"; 3], 3, Err("it answers 500 Internal Server Error")),
        ("gone", ["404 Not Found"; 3], 1, Err("it answers 404 Not Found")),
    ] {
        let asked = AtomicUsize::new(0);
        let site = Site::begin(move |_, _| answer(answers[asked.fetch_add(1, Ordering::Relaxed)], b"text")).await;
        let got = get(&site.url(path), NamedBy::List).await;
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{path}");
        assert_eq!(site.asked().len(), tries, "{path}");
    }
}

#[tokio::test]
async fn a_list_that_is_read_slowly_is_read_to_its_end_and_a_site_that_says_nothing_is_given_up() {
    let patience = Duration::from_millis(200);
    let remote = Remote { patience, ..remote() };
    // More than what is read ahead while nobody asks.
    let site = Site::begin(|_, _| answer("200 OK", &vec![b'x'; 4 << 20])).await;
    let address = Address::parse(&site.url("x")).unwrap();
    let (mut text, _) = remote.get(&address, NamedBy::User).await.unwrap();
    let (mut part, mut length) = (vec![0; 1 << 20], 0);
    loop {
        tokio::time::sleep(patience * 2).await;
        match text.read(&mut part).await.unwrap() {
            0 => break,
            read => length += read,
        }
        // The first reads are the slow ones.
        if length > 1 << 20 {
            length += text.read_to_end(&mut Vec::new()).await.unwrap();
        }
    }
    assert_eq!(length, 4 << 20);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let error = remote.get(&address, NamedBy::User).await.err().unwrap().to_string();
    assert_eq!(error, "nothing came for 0.2 s");
}

#[tokio::test]
async fn an_error_names_its_cause_and_no_password() {
    let error = get("http://user:hunter2@127.0.0.1:1/", NamedBy::User).await.unwrap_err();
    assert!(error.contains("Connection refused") && !error.contains("hunter2"), "{error}");
    // It is told beside its address, masked.
    assert!(!error.contains("http://"), "{error}");
    let site = Site::begin(|_, _| b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec()).await;
    let url = site.url("x").replace("//", "//user:hunter2@");
    let error = get(&url, NamedBy::User).await.unwrap_err();
    assert!(error.contains("end of file") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_site_is_told_who_asks() {
    let site = Site::begin(|_, _| answer("200 OK", b"text")).await;
    assert_eq!(get(&site.url("x"), NamedBy::User).await.unwrap(), "text");
    let expected = format!("user-agent: fetchline/{}\r\n", env!("CARGO_PKG_VERSION"));
    assert!(site.asked()[0].contains(&expected), "{:?}", site.asked());
}

#[tokio::test]
async fn redirects_lead_anywhere_only_where_the_user_has_named_the_source() {
    let other = Site::begin(|_, _| answer("200 OK", b"other")).await;
    let away = other.url("x");
    let site = Site::begin(move |path, site| match path {
        "/near" => answer(&format!("301 Moved\r\nlocation: http://{site}/there"), b""),
        "/away" => answer(&format!("301 Moved\r\nlocation: {away}"), b""),
        "/round" => answer("301 Moved\r\nlocation: /round", b""),
        _ => answer("200 OK", b"there"),
    })
    .await;
    for by in [NamedBy::List, NamedBy::User] {
        assert_eq!(get(&site.url("near"), by).await.unwrap(), "there");
        let before = site.asked().len();
        let error = get(&site.url("round"), by).await.unwrap_err();
        assert!(error.contains("too many redirects"), "{error}");
        assert_eq!(site.asked().len() - before, 1 + MAX_REDIRECTS);
    }
    let error = get(&site.url("away"), NamedBy::List).await.unwrap_err();
    assert!(error.contains("it leads to another host") && other.asked().is_empty(), "{error}");
    assert_eq!(get(&site.url("away"), NamedBy::User).await.unwrap(), "other");
}

#[test]
fn a_redirect_of_what_a_list_named_may_change_to_https_and_not_back() {
    let refused = |from: &str, to: &str| refused(&[from.parse().unwrap()], &to.parse().unwrap());
    assert_eq!(refused("http://a.example/x", "https://a.example/y"), None);
    assert_eq!(refused("https://a.example/x", "http://a.example/y"), Some("it leads from https to http"));
    for to in ["https://b.example/x", "https://a.example.b.example/x", "https://a.example:8443/x", "https://10.0.0.1/"]
    {
        assert_eq!(refused("https://a.example/x", to), Some("it leads to another host"), "{to}");
    }
}

/// A dry run; the broker is none.
async fn dry_run(sources: Vec<Source>, stop: CancellationToken) -> Result<Produced, Error> {
    let config = BrokerConfig { url: "amqp://127.0.0.1:1".to_owned(), ca: None, prefix: "test".to_owned() };
    let broker = Broker::new(&config, Role::Produce, "test").unwrap();
    let config = Config {
        run: None,
        allow_duplicates: false,
        sources,
        format: Format::Auto,
        url_field: None,
        category: None,
        priority: None,
        rate: None,
        checkpoint: None,
        dry_run: true,
    };
    produce(config, broker, Arc::default(), |_| {}, stop).await
}

fn at(url: &str) -> Source {
    Source::Url(Address::parse(url).unwrap())
}

#[tokio::test]
async fn lists_of_any_format_are_fetched_and_a_missing_one_is_told_before_anything_is_published() {
    let site = Site::begin(|path, _| match path {
        "/urls.csv" => answer("200 OK", b"name,url\na,http://a.example/1\n"),
        "/plain" => answer("200 OK", b"http://a.example/2\nhttp://a.example/3\n"),
        _ => answer("404 Not Found", b""),
    })
    .await;
    let sources = || vec![at(&site.url("urls.csv")), at(&site.url("plain"))];
    let produced = dry_run(sources(), CancellationToken::new()).await.unwrap();
    assert_eq!((produced.published, produced.rejected, produced.complete), (3, 0, true));
    let missing = site.url("missing").replace("//", "//user:hunter2@");
    let error = dry_run([sources(), vec![at(&missing)]].concat(), CancellationToken::new()).await.unwrap_err();
    let Error::Source(name, cause) = error else { panic!("{error:?}") };
    assert!(name.contains("***@") && !name.contains("hunter2") && cause.to_string().contains("404"), "{name}: {cause}");
}

#[tokio::test]
async fn a_site_that_does_not_answer_may_be_stopped_waiting_for() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let stop = CancellationToken::new();
    let running = tokio::spawn(dry_run(vec![at(&url)], stop.clone()));
    let connection = silent.accept().await.unwrap();
    stop.cancel();
    let produced = tokio::time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap().unwrap();
    assert!(!produced.complete);
    drop(connection);
}
