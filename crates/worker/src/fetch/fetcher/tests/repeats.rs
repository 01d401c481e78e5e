//! Requests that are sent again.

use std::sync::atomic::Ordering;

use super::super::super::repeats::MAX_REPEATS;
use super::*;

const REFUSED_STREAM: u32 = 7;
const HTTP_1_1_REQUIRED: u32 = 13;

#[tokio::test]
async fn a_server_that_refuses_everything_is_not_asked_for_ever_and_each_time_takes_a_slot() {
    let origin = http2::Origin::start(|_, _| Frames::Reset(REFUSED_STREAM)).await;
    let request = request(Method::POST, &origin.url("/"));
    let (mut place, slots) = Place::limited(request.address.host());
    let answer = http2_fetcher().fetch(&request, "run", None, &mut place).await.unwrap();
    assert_eq!((answer.outcome, answer.fault), (Outcome::Protocol, Fault::Unprocessed));
    assert_eq!(origin.counts().others, MAX_REPEATS + 1);
    // The first request has the slot of its task.
    assert_eq!(slots.load(Ordering::SeqCst) as u32, MAX_REPEATS);
}

#[tokio::test]
async fn a_task_that_gets_no_slot_for_a_repeat_starts_anew_later() {
    let origin = http2::Origin::start(|_, _| Frames::Reset(REFUSED_STREAM)).await;
    let request = request(Method::POST, &origin.url("/"));
    let mut place = Place::denied(request.address.host());
    let denied = http2_fetcher().fetch(&request, "run", None, &mut place).await.unwrap_err();
    assert!(matches!(denied, Denied::Requeue));
    assert_eq!(origin.counts().others, 1);
}

#[tokio::test]
async fn a_server_that_requires_http1_gets_it() {
    for (method, frames) in [
        (Method::GET, Frames::Reset(HTTP_1_1_REQUIRED)),
        (Method::POST, Frames::Reset(HTTP_1_1_REQUIRED)),
        (Method::GET, Frames::GoAway(HTTP_1_1_REQUIRED)),
        (Method::POST, Frames::GoAway(HTTP_1_1_REQUIRED)),
    ] {
        let name = format!("{method} {frames:?}");
        let origin = http2::Origin::start(move |_, _| frames.clone()).await;
        let fetcher = http2_fetcher();
        for n in 1..=3 {
            let request = request(method.clone(), &origin.url(&format!("/{n}")));
            let (mut place, slots) = Place::limited(request.address.host());
            let answer = fetcher.fetch(&request, "run", None, &mut place).await.unwrap();
            assert_eq!(page(&answer), (Outcome::Ok, "page"), "{name}: {:?}", answer.error);
            let counts = origin.counts();
            // It is asked over HTTP/2 only once.
            assert_eq!((counts.others, counts.over_http1), (1, n), "{name}");
            assert_eq!(slots.load(Ordering::SeqCst), usize::from(n == 1), "{name}");
        }
    }
}

/// Messages with which servers end an idle connection, and whether they are taken for that.
const FAREWELLS: [(&str, bool); 7] = [
    ("HTTP/1.0 408 Request Time-out\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n", true),
    ("HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\nConnection: close\r\n\r\ntime", true),
    ("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", true),
    ("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad", true),
    ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nconnection: Foo, Close\r\n\r\n", true),
    ("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad", false),
    ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
];

#[tokio::test]
async fn a_farewell_on_a_kept_connection_is_not_the_answer_to_the_next_request() {
    for (farewell, is_farewell) in FAREWELLS {
        let origin = Origin::start("127.0.0.1", move |asked| match asked.before {
            0 => Reply::of(200, &[], "page"),
            _ => Reply::Last(farewell.as_bytes().to_vec()),
        })
        .await;
        let fetcher = fetcher();
        let ask = async |method: Method, path: &str| {
            let request = request(method, &origin.url(path));
            let (mut place, slots) = Place::limited(request.address.host());
            let answer = fetcher.fetch(&request, "run", None, &mut place).await.unwrap();
            let asked = origin.asked().iter().filter(|it| it.contains(path)).count();
            assert_eq!(slots.load(Ordering::SeqCst) + 1, asked, "{path}: a slot for each request");
            (answer.status, asked)
        };
        let status: u16 = farewell[9..12].parse().unwrap();
        assert_eq!(ask(Method::GET, "/first").await, (Some(200), 1));
        let expected = if is_farewell { (Some(200), 2) } else { (Some(status), 1) };
        assert_eq!(ask(Method::GET, "/second").await, expected, "{farewell}");
        // The site may have acted on it.
        assert_eq!(ask(Method::GET, "/third").await, (Some(200), 1));
        assert_eq!(ask(Method::POST, "/fourth").await, (Some(status), 1), "{farewell}");
    }
}

#[tokio::test]
async fn on_a_new_connection_the_same_messages_are_answers() {
    for (farewell, _) in FAREWELLS {
        let origin =
            Origin::start("127.0.0.1", move |_| Reply::Last(farewell.as_bytes().to_vec())).await;
        let answer = fetch(&fetcher(), &origin.url("/")).await;
        let status: u16 = farewell[9..12].parse().unwrap();
        assert_eq!((answer.status, origin.asked().len()), (Some(status), 1), "{farewell}");
    }
}

#[tokio::test]
async fn a_page_that_always_answers_408_is_asked_for_twice() {
    let origin = Origin::start("127.0.0.1", |asked| match asked.path() {
        "/late" => Reply::of(408, &[], ""),
        _ => Reply::of(200, &[], "page"),
    })
    .await;
    let fetcher = fetcher();
    assert_eq!(fetch(&fetcher, &origin.url("/")).await.outcome, Outcome::Ok);
    assert_eq!(fetch(&fetcher, &origin.url("/late")).await.status, Some(408));
    assert_eq!(origin.asked().iter().filter(|asked| asked.contains("/late")).count(), 2);
}

const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test]
async fn streams_above_the_last_one_are_sent_again_whatever_the_code_of_the_goaway() {
    const CODES: [u32; 5] = [0, 1, 2, 7, ENHANCE_YOUR_CALM];
    for (method, code) in [Method::GET, Method::POST]
        .into_iter()
        .flat_map(|method| CODES.map(|it| (method.clone(), it)))
    {
        let frames = move |connection, _| match connection {
            0 => Frames::GoAway(code),
            _ => http2::ok(),
        };
        let origin = http2::Origin::start(frames).await;
        let request = request(method.clone(), &origin.url("/"));
        let (mut place, slots) = Place::limited(request.address.host());
        let answer = http2_fetcher().fetch(&request, "run", None, &mut place).await.unwrap();
        assert_eq!(page(&answer), (Outcome::Ok, "page"), "{method} {code}: {:?}", answer.error);
        assert_eq!((origin.counts().answered, origin.counts().others), (1, 1), "{method} {code}");
        assert_eq!(slots.load(Ordering::SeqCst), 1, "{method} {code}");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_calm_each_time_is_not_asked_for_ever() {
    let ask = async |method: Method| {
        let origin = http2::Origin::start(|_, _| Frames::GoAway(ENHANCE_YOUR_CALM)).await;
        let request = request(method, &origin.url("/"));
        let answer = fetch_in(&http2_fetcher(), &request, "run").await;
        assert_eq!((answer.outcome, answer.fault), (Outcome::Protocol, Fault::Unprocessed));
        assert_eq!(origin.counts().others, MAX_REPEATS + 1);
    };
    tokio::join!(ask(Method::GET), ask(Method::HEAD), ask(Method::POST));
}
