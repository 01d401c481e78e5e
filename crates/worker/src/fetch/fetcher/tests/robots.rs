//! Requests for robots.txt.

use std::io::Read;

use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::super::super::robots::RobotsResponse;
use super::*;

/// What the request for the robots.txt of an origin leads to.
async fn robots_of(url: &str) -> Result<RobotsResponse, End> {
    let address = Address::parse(url).unwrap().join("/robots.txt").unwrap();
    let mut place = Place::unlimited(address.host());
    fetcher().request_robots(address, &mut place).await
}

fn packed(mut from: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).unwrap();
    all
}

#[tokio::test]
async fn a_coded_robots_txt_that_is_cut_off_is_unavailable() {
    let rules: String = (0..2_000).map(|n| format!("Disallow: /{n}\n")).collect();
    let text = format!("User-agent: *\n{rules}");
    for (coding, data) in [
        ("gzip", packed(GzEncoder::new(text.as_bytes(), Compression::fast()))),
        ("deflate", packed(ZlibEncoder::new(text.as_bytes(), Compression::fast()))),
        ("deflate", packed(DeflateEncoder::new(text.as_bytes(), Compression::fast()))),
    ] {
        for (sent, expected) in [
            (data.len(), Some((Some(200), text.as_str()))),
            (data.len() - 1, None),
            (data.len() / 2, None),
            (20, None),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n");
            let response = [head.as_bytes(), &data[..sent]].concat();
            let origin = Origin::start("127.0.0.1", move |_| Reply::Last(response.clone())).await;
            let RobotsResponse { status, body } = robots_of(&origin.url("/")).await.ok().unwrap();
            let text = String::from_utf8(body).unwrap();
            let expected = expected.unwrap_or((None, ""));
            assert!((status, text.as_str()) == expected, "{coding} {sent}: {status:?} {text}");
        }
    }
}

#[tokio::test]
async fn a_redirect_to_a_host_that_cannot_be_reached_makes_robots_txt_unavailable() {
    for (location, expected) in [
        // Names that do not exist.
        ("http://shop.invalid/robots.txt", None),
        ("https://robots.invalid/", None),
        ("//www.shop.invalid:8080/robots.txt", None),
        // Blocked networks.
        ("http://10.0.0.1/robots.txt", None),
        ("http://169.254.169.254/latest/meta-data/", None),
        ("http://[::1]/robots.txt", None),
        // Redirects that cannot be followed: there is no file.
        ("ftp://shop.example/robots.txt", Some(302)),
        ("/robots.txt", Some(302)),
        ("http://user@/", Some(302)),
    ] {
        let line = format!("Location: {location}");
        let origin = Origin::start("127.0.0.1", move |_| Reply::of(302, &[&line], "")).await;
        let response = robots_of(&origin.url("/")).await.ok().unwrap();
        assert_eq!(response.status, expected, "{location}");
    }
}

#[tokio::test]
async fn a_host_that_is_blocked_or_has_no_address_is_so_without_its_robots_txt() {
    for (url, outcome) in [
        ("http://shop.invalid/", Outcome::Dns),
        ("http://10.0.0.1/", Outcome::Blocked),
        ("http://[::1]:8080/", Outcome::Blocked),
    ] {
        match robots_of(url).await {
            Err(End::Failed(failure)) => assert_eq!(failure.outcome, outcome, "{url}"),
            _ => panic!("{url}: the robots.txt of a host that was not asked"),
        }
    }
}
