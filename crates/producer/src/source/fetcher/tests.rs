use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt;

use super::*;
use crate::test_site::{TestSite, answer};

fn fetcher() -> Fetcher {
    Fetcher::hasty()
}

async fn get(url: &str, named_by: NamedBy) -> Result<String, String> {
    let address = Address::parse(url).unwrap();
    let result = fetcher().get(&address, named_by).await;
    let fetched = result.map_err(|error| error.cause.to_string())?;
    let mut text = fetched.text().await.map_err(|error| error.to_string())?;
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
async fn a_silent_server_is_an_error() {
    let fetcher = Fetcher { read_timeout: Duration::from_millis(200), ..fetcher() };
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let error = fetcher.get(&address, NamedBy::User).await.err().unwrap();
    assert_eq!(error.cause.to_string(), "the server sent no data for 0.2 s");
    assert!(error.is_transient);
}

/// Answers a request for a list of which each answer brings half of what is missing.
fn half_of(list: &[u8], request: &str, validator: &str, can_continue: bool) -> Vec<u8> {
    let header = |name: &str| {
        let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.trim().to_owned())
    };
    let range = header("range: bytes").map(|range| range[6..range.len() - 1].parse().unwrap());
    let is_same = header("if-range").is_some_and(|value| validator.ends_with(&value));
    let start: usize = range.filter(|_| can_continue && is_same).unwrap_or(0);
    let status = match start {
        0 => "200 OK".to_owned(),
        start => format!(
            "206 Partial Content\r\ncontent-range: bytes {start}-{}/{}",
            list.len() - 1,
            list.len()
        ),
    };
    let whole = answer(&format!("{status}\r\n{validator}"), &list[start..]);
    let missing = list.len() - start;
    let lost = if missing < 4 { 0 } else { missing / 2 };
    whole[..whole.len() - lost].to_vec()
}

#[tokio::test]
async fn a_transfer_that_breaks_off_is_continued_where_that_is_safe() {
    let list: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    for (validator, can_continue, is_whole) in [
        ("etag: \"v1\"", true, true),
        ("last-modified: Sun, 01 Mar 2026 11:30:00 GMT", true, true),
        // A weak tag does not promise the same bytes.
        ("etag: W/\"v1\"", true, false),
        ("x-none: 1", true, false),
        ("etag: \"v1\"", false, false),
    ] {
        let served = list.clone();
        let site = TestSite::start_with_requests(move |request, _| {
            half_of(&served, request, validator, can_continue)
        })
        .await;
        let address = Address::parse(&site.url("list")).unwrap();
        let result = fetcher().get(&address, NamedBy::User).await;
        if !is_whole {
            let error = result.err().unwrap();
            assert!(error.is_transient, "{validator}: {error:?}");
            assert_eq!(site.requests().len() as u32, MAX_ATTEMPTS, "{validator}");
            continue;
        }
        let mut read = Vec::new();
        result.unwrap().text().await.unwrap().read_to_end(&mut read).await.unwrap();
        assert!(read == list, "{validator}");
        assert!(site.requests().len() as u32 > MAX_ATTEMPTS, "each attempt brings something");
    }
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_fetched_is_read_anew() {
    let (old, new) = (b"old ".repeat(1000), b"new ".repeat(900));
    let requests = AtomicUsize::new(0);
    let (first, second) = (old.clone(), new.clone());
    let site = TestSite::start_with_requests(move |request, _| {
        match requests.fetch_add(1, Ordering::Relaxed) {
            0 => half_of(&first, request, "etag: \"old\"", true),
            // The tag differs, so the answer is the whole new list.
            _ => {
                assert!(request.to_ascii_lowercase().contains("if-range: \"old\""), "{request}");
                answer("200 OK\r\netag: \"new\"", &second)
            }
        }
    })
    .await;
    assert_eq!(get(&site.url("x"), NamedBy::User).await.unwrap().as_bytes(), new);
}

#[tokio::test]
async fn a_rest_in_parts_is_fetched_to_its_end() {
    let list: Vec<u8> = (0..250_u32).flat_map(u32::to_be_bytes).collect();
    let served = list.clone();
    let starts = AtomicUsize::new(0);
    let site = TestSite::start(move |_, _| match starts.fetch_add(100, Ordering::Relaxed) {
        0 => {
            let whole = answer("200 OK\r\netag: \"v1\"", &served);
            whole[..whole.len() - 900].to_vec()
        }
        start => {
            let part = format!("206 Part\r\ncontent-range: bytes {start}-{}/1000", start + 99);
            answer(&part, &served[start..start + 100])
        }
    })
    .await;
    let address = Address::parse(&site.url("x")).unwrap();
    let mut read = Vec::new();
    let fetched = fetcher().get(&address, NamedBy::User).await.unwrap();
    fetched.text().await.unwrap().read_to_end(&mut read).await.unwrap();
    assert!(read == list, "{} bytes", read.len());
    assert_eq!(site.requests().len(), 10);
}

#[tokio::test]
async fn a_part_of_another_version_is_not_taken() {
    let (old, new) = (b"old ".repeat(250), b"new ".repeat(250));
    let site = TestSite::start_with_requests(move |request, _| {
        if request.contains("range: bytes") {
            let part = "206 Part\r\netag: \"new\"\r\ncontent-range: bytes 500-999/1000";
            return answer(part, &new[500..]);
        }
        let whole = answer("200 OK\r\netag: \"old\"", &old);
        whole[..whole.len() - 500].to_vec()
    })
    .await;
    let error = get(&site.url("x"), NamedBy::User).await.unwrap_err();
    assert!(error.contains("end of file") || error.contains("another part"), "{error}");
}

#[test]
fn a_full_disk_may_have_room_later() {
    for (kind, is_transient) in [
        (io::ErrorKind::StorageFull, true),
        (io::ErrorKind::QuotaExceeded, true),
        (io::ErrorKind::Other, false),
    ] {
        assert_eq!(FetchError::from(io::Error::from(kind)).is_transient, is_transient, "{kind}");
    }
}

#[tokio::test]
async fn a_part_that_was_not_asked_for_is_not_taken() {
    let list = b"0123456789".repeat(100);
    let served = list.clone();
    let site = TestSite::start_with_requests(move |request, _| {
        if request.contains("range: bytes") {
            let part = "206 Partial Content\r\ncontent-range: bytes 7-999/1000";
            return answer(part, &served[7..]);
        }
        let whole = answer("200 OK\r\netag: \"v1\"", &served);
        whole[..whole.len() - 500].to_vec()
    })
    .await;
    let error = get(&site.url("x"), NamedBy::User).await.unwrap_err();
    assert!(error.contains("end of file") || error.contains("another part"), "{error}");
}

#[tokio::test]
async fn a_list_of_a_stranger_is_bounded_and_an_unwanted_encoding_is_named() {
    let mut spool = Spool::new(10).unwrap();
    spool.push(b"0123456789").await.unwrap();
    let error = spool.push(b"0").await.unwrap_err();
    assert!(crate::source::TooLarge::is_cause_of(&error), "{error}");
    let site = TestSite::start(|_, _| answer("200 OK\r\ncontent-encoding: br", b"text")).await;
    let error = get(&site.url("x"), NamedBy::User).await.unwrap_err();
    assert!(error.contains("compressed it with br"), "{error}");
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
fn a_redirect_of_a_listed_list_stays_on_its_site_and_never_gives_up_https() {
    let fetcher = fetcher();
    let problem = |from: &str, to: &str| {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        fetcher.redirect_problem(NamedBy::List, &from, &from, &to)
    };
    for to in ["https://a.example/y", "https://www.a.example/y", "http://www.a.example/y"] {
        assert_eq!(problem("http://a.example/x", to), None, "{to}");
    }
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
    // The user has named this one.
    fetcher.trusted.add(&"https://b.example/list".parse().unwrap());
    assert_eq!(problem("https://a.example/x", "https://www.b.example/x"), None);
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let other = TestSite::start(|_, _| answer("200 OK", b"other")).await;
    let away = other.url("x");
    let site = TestSite::start(move |path, site| match path {
        "/near" => answer(&format!("301 Moved\r\nlocation: http://{site}/there"), b""),
        "/away" => answer(&format!("301 Moved\r\nlocation: {away}"), b""),
        _ => answer("200 OK", b"there"),
    })
    .await;
    let named = |path: &str| site.url(path).replace("//", "//user:hunter2@");
    for (path, text) in [("near", "there"), ("away", "other")] {
        assert_eq!(get(&named(path), NamedBy::User).await.unwrap(), text);
    }
    assert!(site.requests().iter().all(|head| head.contains("authorization: Basic")));
    assert!(!other.requests()[0].contains("authorization"));
}
