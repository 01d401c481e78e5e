//! Fetches of pages whose version is known.

use http::header::ETAG;
use http::{HeaderMap, HeaderValue};

use super::*;

/// The conditions of a page that is known from this URL.
fn conditions(url: &str, etag: &'static str) -> Conditions {
    let headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static(etag))]);
    Conditions { known: Some(Version::of(&headers, &Address::parse(url).unwrap())) }
}

async fn revalidate(url: &str, conditions: &Conditions) -> Answer {
    let request = request(Method::GET, url);
    let mut place = Place::unlimited(request.address.host());
    fetcher().fetch(&request, "run", Some(conditions), &mut place).await.unwrap()
}

/// The values of `If-None-Match` of the requests so far, in the order of their paths.
fn sent_tags(origin: &Origin) -> Vec<String> {
    let asked = origin.asked().into_iter();
    let asked = asked.map(|text| Asked { port: 0, text, before: 0 });
    asked.map(|asked| format!("{} {}", asked.path(), asked.header("if-none-match"))).collect()
}

/// A site with a page that its tag `"v1"` names, at the end of redirects too.
fn versioned(asked: &Asked) -> Reply {
    let is_same = asked.header("if-none-match") == "\"v1\"";
    match asked.path() {
        "/from" => Reply::of(301, &["Location: /page"], ""),
        "/consent" if asked.header("cookie").is_empty() => {
            Reply::of(302, &["Set-Cookie: seen=1", "Location: /consent"], "")
        }
        "/always-304" => Reply::text("HTTP/1.1 304 X\r\n\r\n"),
        "/no-conditions" if is_same => Reply::of(412, &[], "no"),
        "/bad-request" if is_same => Reply::of(400, &[], "no"),
        "/crashes" if is_same => Reply::of(500, &[], "no"),
        "/busy" if is_same => Reply::of(503, &[], "not now"),
        "/forbidden" => Reply::of(400, &[], "never"),
        "/ignores" => Reply::of(200, &["ETag: \"v2\""], "page"),
        _ if is_same => Reply::text("HTTP/1.1 304 X\r\nETag: \"v1\"\r\nContent-Length: 4\r\n\r\n"),
        _ => Reply::of(200, &["ETag: \"v1\""], "page"),
    }
}

#[tokio::test]
async fn an_answer_304_means_unchanged_only_where_its_request_had_a_condition() {
    for (path, known, outcome, sent) in [
        ("/page", "/page", Outcome::Unchanged, &["/page \"v1\""][..]),
        ("/page", "/other", Outcome::Ok, &["/page "]),
        ("/always-304", "/other", Outcome::HttpError, &["/always-304 "]),
        ("/always-304", "/always-304", Outcome::Unchanged, &["/always-304 \"v1\""]),
        // Only the hop to the URL that sent the validators has a condition.
        ("/from", "/page", Outcome::Unchanged, &["/from ", "/page \"v1\""]),
        ("/from", "/other", Outcome::Ok, &["/from ", "/page "]),
        ("/from", "/from", Outcome::Ok, &["/from \"v1\"", "/page "]),
        ("/consent", "/consent", Outcome::Unchanged, &["/consent \"v1\"", "/consent \"v1\""]),
        // A site that does not take conditions is asked again without one, once.
        (
            "/no-conditions",
            "/no-conditions",
            Outcome::Ok,
            &["/no-conditions \"v1\"", "/no-conditions "],
        ),
        ("/bad-request", "/bad-request", Outcome::Ok, &["/bad-request \"v1\"", "/bad-request "]),
        ("/crashes", "/crashes", Outcome::Ok, &["/crashes \"v1\"", "/crashes "]),
        ("/busy", "/busy", Outcome::HttpError, &["/busy \"v1\""]),
        ("/forbidden", "/forbidden", Outcome::HttpError, &["/forbidden \"v1\"", "/forbidden "]),
        ("/ignores", "/ignores", Outcome::Ok, &["/ignores \"v1\""]),
    ] {
        let origin = Origin::start("127.0.0.1", versioned).await;
        let answer = revalidate(&origin.url(path), &conditions(&origin.url(known), "\"v1\"")).await;
        assert_eq!(answer.outcome, outcome, "{path} {known}: {:?}", answer.error);
        assert_eq!(sent_tags(&origin), sent, "{path} {known}");
        assert_eq!(answer.version.is_some(), answer.outcome == Outcome::Ok, "{path} {known}");
    }
}

#[tokio::test]
async fn validators_are_not_sent_to_another_host_of_a_redirect() {
    let other = Origin::start("127.0.0.1", versioned).await;
    let there = format!("Location: {}", other.url("/page"));
    let origin = Origin::start("127.0.0.1", move |_| Reply::of(302, &[&there], "")).await;
    let known = conditions(&origin.url("/page"), "\"v1\"");
    let answer = revalidate(&origin.url("/page"), &known).await;
    assert_eq!(page(&answer), (Outcome::Ok, "page"));
    assert_eq!(sent_tags(&other), ["/page "]);
    // The version of the other site's page belongs to the URL there.
    let version = *answer.version.unwrap();
    assert_eq!(Conditions { known: Some(version) }, conditions(&other.url("/page"), "\"v1\""));
}

#[tokio::test]
async fn a_fetch_that_does_not_revalidate_sends_no_condition_and_learns_no_version() {
    let origin = Origin::start("127.0.0.1", versioned).await;
    let answer = fetch(&fetcher(), &origin.url("/page")).await;
    assert_eq!((page(&answer), &answer.version), ((Outcome::Ok, "page"), &None));
    assert_eq!(sent_tags(&origin), ["/page "]);
}
