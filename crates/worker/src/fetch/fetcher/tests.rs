//! Fetches from servers that behave as real ones do.

mod codings;
mod conditions;
mod connections;
mod http2;
mod origin;
mod repeats;
mod robots;
mod tls_servers;

use std::collections::HashMap;

use http::{HeaderName, HeaderValue};
use http2::{Counts, Frames};
use origin::{Asked, Origin, Reply};
use reqwest::ClientBuilder;
use reqwest::dns::{Name, Resolving};
use tokio::task::JoinSet;

use super::super::config::Visitor;
use super::*;

/// The hosts of these tests are addresses.
struct NoResolver;

impl Resolve for NoResolver {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(async { Err("no names".into()) })
    }
}

fn config() -> Config {
    let allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    Config { allowed_networks, timeout: Duration::from_secs(60), ..Config::default() }
}

fn fetcher_with(config: &Config) -> Fetcher {
    Fetcher::new(config, 100, Duration::from_secs(600), Arc::new(NoResolver), None).unwrap()
}

fn fetcher() -> Fetcher {
    fetcher_with(&config())
}

/// A fetcher with other clients.
fn fetcher_of(
    max_idle: usize,
    finish: impl Fn(Protocols, ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
) -> Fetcher {
    let fetcher = fetcher();
    let guard = fetcher.guard.clone();
    let tls = tls::client_config(&config().authorities, config().memory_budget).unwrap();
    let build: Build = Box::new(move |protocols, count| {
        let resolver = Arc::new(NoResolver);
        client::builder(&config(), 100, guard.clone(), resolver, tls.clone(), count)
            .map(|client| finish(protocols, client))
    });
    Fetcher { clients: Clients::new(max_idle, build).unwrap(), ..fetcher }
}

/// A fetcher that talks HTTP/2 without TLS.
fn http2_fetcher() -> Fetcher {
    fetcher_of(1_000, |protocols, client| match protocols {
        Protocols::Any => client.http2_prior_knowledge(),
        Protocols::Http1 => client,
    })
}

fn request(method: Method, url: &str) -> FetchRequest {
    FetchRequest { method, ..FetchRequest::get(Address::parse(url).unwrap()) }
}

async fn fetch_in(fetcher: &Fetcher, request: &FetchRequest, run: &str) -> Answer {
    let mut place = Place::unlimited(request.address.host());
    fetcher.fetch(request, run, None, &mut place).await.unwrap()
}

async fn fetch(fetcher: &Fetcher, url: &str) -> Answer {
    fetch_in(fetcher, &request(Method::GET, url), "run").await
}

/// Fetches all of them, `at_once` at a time, and counts their outcomes.
async fn fetch_all(
    fetcher: &Fetcher,
    requests: Vec<FetchRequest>,
    at_once: usize,
) -> HashMap<(String, Outcome), usize> {
    let mut outcomes = HashMap::new();
    let mut under_way = JoinSet::new();
    let mut requests = requests.into_iter();
    loop {
        while under_way.len() < at_once
            && let Some(request) = requests.next()
        {
            let fetcher = fetcher.clone();
            under_way.spawn(async move {
                let answer = fetch_in(&fetcher, &request, "run").await;
                (request.method.to_string(), answer.outcome)
            });
        }
        let Some(ended) = under_way.join_next().await else { return outcomes };
        *outcomes.entry(ended.unwrap()).or_default() += 1;
    }
}

fn page(answer: &Answer) -> (Outcome, &str) {
    let body = answer.body.as_deref().unwrap_or_default();
    (answer.outcome, std::str::from_utf8(body).unwrap())
}

/// A shop that wants a cookie before it shows a page.
fn shop(asked: &Asked) -> Reply {
    let has = |cookie: &str| asked.header("cookie").split("; ").any(|own| own == cookie);
    let found = |lines: &[&str]| Reply::of(302, lines, "moved");
    let path = asked.path();
    let here = format!("Location: {path}");
    match path {
        "/consent" if !has("seen=1") => {
            found(&["Set-Cookie: seen=1; Path=/", "Set-Cookie: x=; Max-Age=0", &here])
        }
        "/sso" if !has("sid=s1") => found(&["Location: /session?next=/sso"]),
        _ if path.starts_with("/session") => {
            found(&["Set-Cookie: sid=s1; Path=/; HttpOnly", "Location: /sso"])
        }
        "/steps" if !has("step=3") => {
            let step = ["step=1", "step=2", "step=3"];
            let next = step.iter().position(|own| has(own)).map_or(0, |at| at + 1);
            found(&[&format!("Set-Cookie: {}", step[next]), &here])
        }
        "/elsewhere" => {
            let there = format!("Location: http://127.0.0.2:{}/", asked.port);
            found(&["Set-Cookie: secret=1; Path=/", "Set-Cookie: b=1; Domain=127.0.0.2", &there])
        }
        // What the login notes is not sent to the page.
        "/stages" if !has("stage=2") => found(&["Location: /stages/login"]),
        "/stages/login" if has("stage=1") => {
            found(&["Set-Cookie: stage=2; Path=/", "Location: /stages"])
        }
        "/stages/login" => found(&["Set-Cookie: stage=1; Path=/stages/login", "Location: /stages"]),
        "/loop" => found(&["Location: /loop"]),
        "/loop-of-fresh" => found(&["Set-Cookie: s=; Max-Age=0", "Set-Cookie: s=abc", &here]),
        "/loop-in-turn" if has("a=1") => found(&["Set-Cookie: a=2", &here]),
        "/loop-in-turn" => found(&["Set-Cookie: a=1", &here]),
        "/loop-in-and-out" if has("s=abc") => found(&["Set-Cookie: s=; Max-Age=0", &here]),
        "/loop-in-and-out" => found(&["Set-Cookie: s=abc", &here]),
        "/loop-of-sso" => found(&["Set-Cookie: t=1; Path=/", "Location: /loop-of-sso/in"]),
        "/loop-of-sso/in" => {
            found(&["Set-Cookie: t=; Path=/; Max-Age=0", "Location: /loop-of-sso"])
        }
        "/loop-with-cookie" => found(&["Set-Cookie: a=1", &here]),
        "/loop-of-two" => found(&["Set-Cookie: a=1; path=/", "Location: /loop-of-two/b"]),
        "/loop-of-two/b" => found(&["Location: /loop-of-two#x"]),
        _ => Reply::of(200, &[], &format!("page {}", asked.header("cookie"))),
    }
}

#[tokio::test]
async fn cookies_are_kept_over_redirects() {
    let origin = Origin::start("0.0.0.0", shop).await;
    for (path, outcome, body, requests) in [
        ("/consent", Outcome::Ok, "page seen=1", 2),
        ("/sso", Outcome::Ok, "page sid=s1", 3),
        ("/steps", Outcome::Ok, "page step=3", 4),
        ("/elsewhere", Outcome::Ok, "page ", 2),
        ("/loop", Outcome::Redirect, "", 1),
        ("/loop-with-cookie", Outcome::Redirect, "", 2),
        ("/loop-of-two", Outcome::Redirect, "", 3),
        // It comes to the same page with the same cookies, and yet goes on.
        ("/stages", Outcome::Ok, "page stage=2", 5),
        // The same content, set again and again.
        ("/loop-of-fresh", Outcome::Redirect, "", 2),
        ("/loop-in-turn", Outcome::Redirect, "", 3),
        ("/loop-in-and-out", Outcome::Redirect, "", 2),
        ("/loop-of-sso", Outcome::Redirect, "", 2),
    ] {
        let before = origin.asked().len();
        let url = format!("http://127.0.0.1:{}{path}", origin.address.port());
        let answer = fetch(&fetcher(), &url).await;
        let asked = origin.asked().len() - before;
        assert_eq!((page(&answer), asked), ((outcome, body), requests), "{path}");
        if outcome == Outcome::Redirect {
            let error = answer.error.unwrap();
            assert!(error.contains("lead back to") && error.contains("cookies"), "{error}");
        }
    }
}

#[tokio::test]
async fn cookies_of_other_tasks_of_the_run_do_not_hide_a_circle() {
    let origin = Origin::start("127.0.0.1", shop).await;
    let visitor = Visitor { cookies: Cookies::Run, ..Visitor::default() };
    let fetcher = fetcher_with(&Config { visitor, ..config() });
    for (path, most) in [("/loop-of-fresh", 2), ("/loop-in-turn", 3), ("/loop-in-and-out", 2)] {
        let request = request(Method::GET, &origin.url(path));
        let jar = fetcher.run_jars.as_ref().unwrap().of("run", request.address.host()).await;
        let set = |nth: usize| {
            let field = format!("other{nth}={nth}; Path=/elsewhere").parse().unwrap();
            let headers = [(http::header::SET_COOKIE, field)].into_iter().collect();
            let CookieJar::OfRun(jar) = &jar else { unreachable!() };
            CookieJar::OfRun(jar.clone()).store(&headers, &origin.url("/").parse().unwrap());
        };
        let before = origin.asked().len();
        let fetching = fetch_in(&fetcher, &request, "run");
        let others = async {
            for nth in 0.. {
                set(nth % 100);
                tokio::task::yield_now().await;
            }
        };
        let answer = tokio::select! { answer = fetching => answer, () = others => unreachable!() };
        let asked = origin.asked().len() - before;
        assert_eq!((answer.outcome, asked <= most), (Outcome::Redirect, true), "{path} {asked}");
        assert!(answer.error.unwrap().contains("lead back to"), "{path}");
    }
}

#[tokio::test]
async fn cookies_end_with_their_fetch_or_with_the_worker() {
    for (cookies, again, other_run) in
        [(Cookies::Fetch, "page ", "page "), (Cookies::Run, "page seen=1", "page ")]
    {
        let origin = Origin::start("127.0.0.1", shop).await;
        let visitor = Visitor { cookies, ..Visitor::default() };
        let fetcher = fetcher_with(&Config { visitor, ..config() });
        let fetch = async |path, run| {
            let request = request(Method::GET, &origin.url(path));
            page(&fetch_in(&fetcher, &request, run).await).1.to_owned()
        };
        assert_eq!(fetch("/consent", "nightly").await, "page seen=1");
        assert_eq!(fetch("/p", "nightly").await, again, "{cookies:?}");
        assert_eq!(fetch("/p", "other").await, other_run, "{cookies:?}");
    }
}

#[tokio::test]
async fn a_redirect_changes_the_method_as_in_browsers() {
    let answer = |asked: &Asked| match asked.path().strip_prefix("/to/") {
        Some(status) => Reply::of(status.parse().unwrap(), &["Location: /end"], ""),
        None => Reply::of(200, &[], ""),
    };
    let origin = Origin::start("127.0.0.1", answer).await;
    for (status, method, next) in [
        (301, Method::POST, "GET"),
        (302, Method::POST, "GET"),
        (303, Method::POST, "GET"),
        (307, Method::POST, "POST"),
        (308, Method::POST, "POST"),
        (301, Method::PUT, "PUT"),
        (302, Method::DELETE, "DELETE"),
        (303, Method::PUT, "GET"),
        (303, Method::GET, "GET"),
        (303, Method::HEAD, "HEAD"),
        (301, Method::HEAD, "HEAD"),
    ] {
        let mut request = request(method.clone(), &origin.url(&format!("/to/{status}")));
        request.body = Some("order".into());
        request.headers.insert("content-type", HeaderValue::from_static("text/x-order"));
        request.headers.insert("content-language", HeaderValue::from_static("en"));
        assert_eq!(fetch_in(&fetcher(), &request, "run").await.outcome, Outcome::Ok);
        let last = Asked { port: 0, text: origin.asked().pop().unwrap(), before: 0 };
        let keeps_body = next == method;
        assert!(
            last.text.starts_with(&format!("{next} /end ")),
            "{status} {method}: {}",
            last.text
        );
        // A GET keeps the body that its task has.
        if next == "GET" && method == Method::GET {
            continue;
        }
        assert_eq!(last.text.ends_with("order"), keeps_body, "{status} {method}");
        assert_eq!(last.header("content-type") == "text/x-order", keeps_body, "{status} {method}");
        assert_eq!(last.header("content-language") == "en", keeps_body, "{status} {method}");
    }
}

#[tokio::test]
async fn only_headers_without_secrets_go_to_another_site() {
    let there = Origin::start("127.0.0.2", |_| Reply::of(200, &[], "")).await;
    let location = format!("Location: {}", there.url("/end"));
    let here = Origin::start("127.0.0.1", move |_| Reply::of(308, &[&location], "")).await;
    let kept = ["accept", "accept-language", "user-agent", "content-type", "sec-ch-ua"];
    let dropped = ["authorization", "cookie", "proxy-authorization", "x-api-key", "referer"];
    let mut task = request(Method::POST, &here.url("/"));
    task.body = Some("order".into());
    for name in kept.into_iter().chain(dropped) {
        task.headers.insert(HeaderName::from_static(name), HeaderValue::from_static("a=marked"));
    }
    assert_eq!(fetch_in(&fetcher(), &task, "run").await.outcome, Outcome::Ok);
    let asked = |origin: &Origin| Asked { port: 0, text: origin.asked().pop().unwrap(), before: 0 };
    for name in kept.into_iter().chain(dropped) {
        assert_eq!(asked(&here).header(name), "a=marked", "{name}");
        let expected = if kept.contains(&name) { "a=marked" } else { "" };
        assert_eq!(asked(&there).header(name), expected, "{name}");
    }
    assert!(asked(&there).text.ends_with("order"));

    task.secret_headers = vec![HeaderName::from_static("accept-language")];
    assert_eq!(fetch_in(&fetcher(), &task, "run").await.outcome, Outcome::Ok);
    assert_eq!(asked(&there).header("accept-language"), "");
    assert_eq!(asked(&there).header("accept"), "a=marked");

    task.secret_body = true;
    let (before, answer) = (there.asked().len(), fetch_in(&fetcher(), &task, "run").await);
    assert_eq!((answer.outcome, there.asked().len() - before), (Outcome::Redirect, 0));
    assert!(answer.error.unwrap().contains("secret body"));
}

#[tokio::test]
async fn the_headers_of_the_worker_are_sent_with_every_request() {
    let origin = Origin::start("127.0.0.1", |_| Reply::of(200, &[], "")).await;
    let mut visitor =
        Visitor { accept_language: Some(HeaderValue::from_static("de")), ..Visitor::default() };
    visitor.headers.insert("dnt", HeaderValue::from_static("1"));
    visitor.headers.insert("x-shop", HeaderValue::from_static("worker"));
    let fetcher = fetcher_with(&Config { visitor, ..config() });
    let mut task = request(Method::GET, &origin.url("/"));
    task.headers.insert("x-shop", HeaderValue::from_static("task"));
    fetch_in(&fetcher, &task, "run").await;
    let asked = Asked { port: 0, text: origin.asked().pop().unwrap(), before: 0 };
    for (name, value) in [("accept-language", "de"), ("dnt", "1"), ("x-shop", "task")] {
        assert_eq!(asked.header(name), value);
    }
}

#[tokio::test]
async fn requests_that_a_server_did_not_look_at_are_sent_again() {
    // As nginx does after `keepalive_requests`, only much sooner.
    let origin = http2::Origin::start(|_, nth| match nth {
        0..5 => http2::ok(),
        5 => Frames::GoAway(0),
        _ => Frames::Ignore,
    })
    .await;
    let gets = (0..40).map(|n| request(Method::GET, &origin.url(&format!("/{n}"))));
    let posts = (0..10).map(|n| request(Method::POST, &origin.url(&format!("/post{n}"))));
    let outcomes = fetch_all(&http2_fetcher(), gets.chain(posts).collect(), 20).await;
    let expected =
        [("GET".to_owned(), 40), ("POST".to_owned(), 10)].map(|(m, n)| ((m, Outcome::Ok), n));
    assert_eq!(outcomes, HashMap::from(expected));
    assert_eq!(origin.counts().answered, 50);
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_and_a_reset_one_is_not() {
    const REFUSED_STREAM: u32 = 7;
    const CANCEL: u32 = 8;
    const ENHANCE_YOUR_CALM: u32 = 11;
    for method in [Method::GET, Method::POST] {
        for (code, outcome, fault, answered, others) in [
            (REFUSED_STREAM, Outcome::Ok, Fault::Site, 1, 1),
            (CANCEL, Outcome::Protocol, Fault::Site, 0, 1),
            (ENHANCE_YOUR_CALM, Outcome::Protocol, Fault::Site, 0, 1),
        ] {
            let frames = move |_, nth| if nth == 0 { Frames::Reset(code) } else { http2::ok() };
            let origin = http2::Origin::start(frames).await;
            let request = request(method.clone(), &origin.url("/"));
            let answer = fetch_in(&http2_fetcher(), &request, "run").await;
            assert_eq!((answer.outcome, answer.fault), (outcome, fault), "{method} {code}");
            let counts = Counts { connections: 1, answered, others, over_http1: 0 };
            assert_eq!(origin.counts(), counts, "{method} {code}");
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_closes_early_costs_a_safe_request_nothing() {
    for reset in [false, true] {
        let origin = Origin::start("127.0.0.1", move |asked| match asked.before {
            0..3 => Reply::of(200, &[], "page"),
            _ if reset => Reply::Reset,
            _ => Reply::Last(Vec::new()),
        })
        .await;
        let gets = (0..40).map(|n| request(Method::GET, &origin.url(&format!("/{n}"))));
        let outcomes = fetch_all(&fetcher(), gets.collect(), 4).await;
        assert_eq!(outcomes, HashMap::from([(("GET".to_owned(), Outcome::Ok), 40)]), "{reset}");

        let posts = (0..12).map(|n| request(Method::POST, &origin.url(&format!("/post{n}"))));
        fetch_all(&fetcher(), posts.collect(), 4).await;
        let mut sent: Vec<_> =
            origin.asked().into_iter().filter(|a| a.starts_with("POST")).collect();
        let all = sent.len();
        sent.sort_unstable();
        sent.dedup();
        assert_eq!((all, sent.len()), (12, 12), "no POST is sent twice");
    }
}

#[tokio::test]
async fn a_new_connection_that_closes_early_is_a_failure() {
    let origin = Origin::start("127.0.0.1", |_| Reply::Last(Vec::new())).await;
    let answer = fetch(&fetcher(), &origin.url("/")).await;
    assert_eq!((answer.outcome, origin.asked().len()), (Outcome::Protocol, 1));
}

#[tokio::test]
async fn a_page_that_always_ends_its_connection_is_asked_for_twice() {
    let origin = Origin::start("127.0.0.1", |asked| match asked.path() {
        "/reset" => Reply::Reset,
        _ => Reply::of(200, &[], "page"),
    })
    .await;
    let (fetcher, reset) = (fetcher(), origin.url("/reset"));
    let pages = (0..20).map(|n| request(Method::GET, &origin.url(&format!("/{n}"))));
    fetch_all(&fetcher, pages.collect(), 20).await;
    assert_eq!(fetch(&fetcher, &reset).await.outcome, Outcome::Protocol);
    assert_eq!(origin.asked().iter().filter(|asked| asked.contains("/reset")).count(), 2);
}

#[tokio::test]
async fn a_response_may_have_many_fields() {
    let origin = Origin::start("127.0.0.1", |asked| {
        let fields: usize = asked.path()[1..].parse().unwrap();
        let fields: Vec<_> = (1..fields).map(|n| format!("Set-Cookie: a{n}=b")).collect();
        Reply::of(200, &fields.iter().map(String::as_str).collect::<Vec<_>>(), "page")
    })
    .await;
    for (fields, outcome) in [
        (99, Outcome::Ok),
        (150, Outcome::Ok),
        (400, Outcome::Ok),
        (2_000, Outcome::Ok),
        (2_001, Outcome::TooLarge),
    ] {
        let answer = fetch(&fetcher(), &origin.url(&format!("/{fields}"))).await;
        assert_eq!(answer.outcome, outcome, "{fields}: {:?}", answer.error);
    }
}

/// Heads that are odd, with the outcome. The body is `page` and ends with the connection, unless
/// the head says otherwise. RFC 9112 has the rules.
const ODD_HEADS: [(&str, Outcome); 24] = [
    // 2.2: line ends, and empty lines at the start.
    ("HTTP/1.1 200 OK\nContent-Length: 4\n\npage", Outcome::Ok),
    ("\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage", Outcome::Ok),
    ("HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 4\r\n\r\npage", Outcome::Protocol),
    ("HTTP/1.1 200 OK\r\n Content-Length: 9\r\nContent-Length: 4\r\n\r\npage", Outcome::Ok),
    // 2.3: versions.
    ("HTTP/1.2 200 OK\r\nContent-Length: 4\r\n\r\npage", Outcome::Protocol),
    // 4: reasons.
    ("HTTP/1.1 200\r\nContent-Length: 4\r\n\r\npage", Outcome::Ok),
    ("HTTP/1.1 200 \r\nContent-Length: 4\r\n\r\npage", Outcome::Ok),
    ("HTTP/1.1 200 \u{c4}\r\nContent-Length: 4\r\n\r\npage", Outcome::Ok),
    ("HTTP/1.0 200 OK\r\n\r\npage", Outcome::Ok),
    // 5: fields.
    ("HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\npage", Outcome::Ok),
    ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\tc\r\nContent-Length: 4\r\n\r\npage", Outcome::Ok),
    ("HTTP/1.1 200 OK\r\nno field\r\nContent-Length: 4\r\n\r\npage", Outcome::Ok),
    ("HTTP/1.1 200 OK\r\nX Y: a\r\n: b\r\nContent-Length: 4\r\n\r\npage", Outcome::Ok),
    ("HTTP/1.1 200 OK\r\nX: \u{e9}\r\nX:\r\nContent-Length:4\r\n\r\npage", Outcome::Ok),
    // 6: the length of the body.
    ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\npage", Outcome::Ok),
    ("HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\npage", Outcome::Ok),
    ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 3\r\n\r\npage", Outcome::Protocol),
    (
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n",
        Outcome::Protocol,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n\
         4;x=y\r\npage\r\n0\r\nX: trailer\r\n\r\n",
        Outcome::Ok,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0004 \r\npage\r\n0\r\n\r\n",
        Outcome::Ok,
    ),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n", Outcome::Protocol),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npage", Outcome::Protocol),
    ("HTTP/1.1 200 OK\r\n\r\npage", Outcome::Ok),
    // 15.2 of RFC 9110: responses before the response.
    (
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 X\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage",
        Outcome::Ok,
    ),
];

#[tokio::test]
async fn odd_heads_are_read_as_browsers_read_them() {
    let origin = Origin::start("127.0.0.1", |asked| {
        let nth: usize = asked.path()[1..].parse().unwrap();
        Reply::Last(ODD_HEADS[nth].0.as_bytes().to_vec())
    })
    .await;
    let mut wrong = Vec::new();
    for (nth, (head, outcome)) in ODD_HEADS.into_iter().enumerate() {
        let answer = fetch(&fetcher(), &origin.url(&format!("/{nth}"))).await;
        let body = if outcome == Outcome::Ok { "page" } else { "" };
        if page(&answer) != (outcome, body) {
            wrong.push(format!("{head:?}: {:?} {:?}", page(&answer), answer.error));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_response_without_a_body_may_have_a_length() {
    let origin = Origin::start("127.0.0.1", |asked| {
        let status = &asked.path()[1..];
        let length = "Content-Length: 50000000\r\nContent-Encoding: gzip";
        Reply::text(&format!("HTTP/1.1 {status} X\r\n{length}\r\n\r\n"))
    })
    .await;
    let cases = [
        (Method::HEAD, 200, Outcome::Ok),
        (Method::GET, 204, Outcome::Ok),
        (Method::GET, 304, Outcome::HttpError),
    ];
    for (method, status, outcome) in cases.clone() {
        let request = request(method.clone(), &origin.url(&format!("/{status}")));
        // Twice, on one connection.
        for _ in 0..2 {
            let answer = fetch_in(&fetcher(), &request, "run").await;
            assert_eq!(page(&answer), (outcome, ""), "{method} {status}");
        }
    }
    for (method, status, outcome) in cases {
        let origin = http2::Origin::start(move |_, _| {
            let mut block = http2::field(28, "50000000");
            let status = match status {
                200 => vec![0x88],
                204 => vec![0x89],
                _ => vec![0x8b],
            };
            block.splice(0..0, status);
            Frames::Answer(block, "")
        })
        .await;
        let answer = fetch_in(&http2_fetcher(), &request(method, &origin.url("/")), "run").await;
        assert_eq!(page(&answer), (outcome, ""), "HTTP/2 {status}: {:?}", answer.error);
    }
}
