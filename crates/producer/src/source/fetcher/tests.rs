use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt;

use super::*;
use crate::test_site::{TestSite, answer};

fn fetcher() -> Fetcher {
    Fetcher { first_pause: Duration::from_millis(1), ..Fetcher::new() }
}

async fn get(url: &str, named_by: NamedBy) -> Result<String, String> {
    let (mut text, _) = fetcher()
        .get(&Address::parse(url).unwrap(), named_by)
        .await
        .map_err(|error| error.to_string())?;
    let mut all = String::new();
    text.read_to_string(&mut all).await.map_err(|error| error.to_string())?;
    Ok(all)
}

#[tokio::test]
async fn transient_failures_are_retried_and_no_others() {
    for (path, answers, attempts, expected) in [
        ("flaky", ["503 Service Unavailable", "429 Too Many Requests", "200 OK"], 3, Ok("text")),
        (
            "down",
            ["500 Internal Server Error"; 3],
            3,
            Err("the server answered 500 Internal Server Error"),
        ),
        ("gone", ["404 Not Found"; 3], 1, Err("the server answered 404 Not Found")),
    ] {
        let requests = AtomicUsize::new(0);
        let site = TestSite::start(move |_, _| {
            answer(answers[requests.fetch_add(1, Ordering::Relaxed)], b"text")
        })
        .await;
        let result = get(&site.url(path), NamedBy::List).await;
        assert_eq!(result.as_deref().map_err(String::as_str), expected, "{path}");
        assert_eq!(site.requests().len(), attempts, "{path}");
    }
}

#[tokio::test]
async fn a_slow_reader_reads_a_whole_list_and_a_silent_server_is_an_error() {
    let read_timeout = Duration::from_millis(200);
    let fetcher = Fetcher { read_timeout, ..fetcher() };
    // More than is read ahead while nobody reads.
    let site = TestSite::start(|_, _| answer("200 OK", &vec![b'x'; 4 << 20])).await;
    let address = Address::parse(&site.url("x")).unwrap();
    let (mut text, _) = fetcher.get(&address, NamedBy::User).await.unwrap();
    let (mut chunk, mut length) = (vec![0; 1 << 20], 0);
    loop {
        tokio::time::sleep(read_timeout * 2).await;
        match text.read(&mut chunk).await.unwrap() {
            0 => break,
            read => length += read,
        }
        // Only the first reads are slow.
        if length > 1 << 20 {
            length += text.read_to_end(&mut Vec::new()).await.unwrap();
        }
    }
    assert_eq!(length, 4 << 20);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let error = fetcher.get(&address, NamedBy::User).await.err().unwrap().to_string();
    assert_eq!(error, "the server sent no data for 0.2 s");
}

#[tokio::test]
async fn an_error_holds_its_cause_and_no_password() {
    let error = get("http://user:hunter2@127.0.0.1:1/", NamedBy::User).await.unwrap_err();
    assert!(error.contains("Connection refused") && !error.contains("hunter2"), "{error}");
    // Callers print the masked address beside it.
    assert!(!error.contains("http://"), "{error}");
    let site =
        TestSite::start(|_, _| b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec())
            .await;
    let url = site.url("x").replace("//", "//user:hunter2@");
    let error = get(&url, NamedBy::User).await.unwrap_err();
    assert!(error.contains("end of file") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_request_names_fetchline() {
    let site = TestSite::start(|_, _| answer("200 OK", b"text")).await;
    assert_eq!(get(&site.url("x"), NamedBy::User).await.unwrap(), "text");
    let expected = format!("user-agent: fetchline/{}\r\n", env!("CARGO_PKG_VERSION"));
    assert!(site.requests()[0].contains(&expected), "{:?}", site.requests());
}

#[tokio::test]
async fn only_redirects_of_lists_that_the_user_names_may_leave_the_host() {
    let other = TestSite::start(|_, _| answer("200 OK", b"other")).await;
    let away = other.url("x");
    let site = TestSite::start(move |path, site| match path {
        "/near" => answer(&format!("301 Moved\r\nlocation: http://{site}/there"), b""),
        "/away" => answer(&format!("301 Moved\r\nlocation: {away}"), b""),
        "/round" => answer("301 Moved\r\nlocation: /round", b""),
        _ => answer("200 OK", b"there"),
    })
    .await;
    for named_by in [NamedBy::List, NamedBy::User] {
        assert_eq!(get(&site.url("near"), named_by).await.unwrap(), "there");
        let before = site.requests().len();
        let error = get(&site.url("round"), named_by).await.unwrap_err();
        assert!(error.contains("too many redirects"), "{error}");
        assert_eq!(site.requests().len() - before, 1 + MAX_REDIRECTS);
    }
    let error = get(&site.url("away"), NamedBy::List).await.unwrap_err();
    assert!(
        error.contains("the redirect leads to another host") && other.requests().is_empty(),
        "{error}"
    );
    assert_eq!(get(&site.url("away"), NamedBy::User).await.unwrap(), "other");
}

#[test]
fn a_redirect_of_a_listed_list_may_change_to_https_and_not_back() {
    let problem =
        |from: &str, to: &str| redirect_problem(&[from.parse().unwrap()], &to.parse().unwrap());
    assert_eq!(problem("http://a.example/x", "https://a.example/y"), None);
    assert_eq!(
        problem("https://a.example/x", "http://a.example/y"),
        Some("the redirect leads from https to http")
    );
    for to in [
        "https://b.example/x",
        "https://a.example.b.example/x",
        "https://a.example:8443/x",
        "https://10.0.0.1/",
    ] {
        assert_eq!(
            problem("https://a.example/x", to),
            Some("the redirect leads to another host"),
            "{to}"
        );
    }
}
