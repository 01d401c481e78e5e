use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_compression::tokio::write::GzipEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::format::{Entries, Format};
use crate::source::Source;

/// What came of an entry: its line, and its URL or what is wrong with it.
fn told(entry: Entry) -> (u64, String) {
    let told = match entry.what {
        What::Record(record) => record.order.address.to_string(),
        What::Bad(why) => format!("bad: {why}"),
        What::Nothing => "-".to_owned(),
    };
    (entry.line, told)
}

async fn read_from(text: impl Into<Vec<u8>>, fetched_from: Option<&str>) -> Vec<(u64, String)> {
    let text: Text = Box::new(io::Cursor::new(text.into()));
    let fetched_from = fetched_from.map(|url| url.parse().unwrap());
    let mut sitemaps =
        Sitemaps::read(BufReader::new(text), fetched_from, Remote::new().unwrap(), Arc::new(Progress::default()));
    let mut all = Vec::new();
    while let Some(entry) = sitemaps.next().await.unwrap() {
        all.push(told(entry));
    }
    all
}

async fn urls(text: &str) -> Vec<String> {
    read_from(text, None).await.into_iter().map(|(_, told)| told).collect()
}

/// Answers each path with its body, any number of times; its address. Counts how often each was asked for.
async fn site(pages: &[(&str, &str)]) -> (String, Arc<Progress>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let pages: Vec<(String, String)> =
        pages.iter().map(|(path, body)| ((*path).to_owned(), body.replace("SITE", &address))).collect();
    let asked = Arc::new(Progress::default());
    let count = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            count.published.fetch_add(1, Ordering::Relaxed);
            let page = pages.iter().find(|(of, _)| *of == path);
            let (head, body) = match page {
                Some((_, body)) if body.starts_with("http") => (format!("302 Found\r\nlocation: {body}"), Vec::new()),
                Some((path, body)) if path.ends_with(".gz") => {
                    let mut encoder = GzipEncoder::new(Vec::new());
                    encoder.write_all(body.as_bytes()).await.unwrap();
                    encoder.shutdown().await.unwrap();
                    ("200 OK".to_owned(), encoder.into_inner())
                }
                Some((_, body)) => ("200 OK".to_owned(), body.clone().into_bytes()),
                None => ("404 Not Found".to_owned(), Vec::new()),
            };
            let mut answer = Vec::new();
            write!(answer, "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len()).unwrap();
            answer.extend_from_slice(&body);
            stream.write_all(&answer).await.unwrap();
        }
    });
    (address, asked)
}

/// A sitemap with one page.
fn page(url: &str) -> String {
    format!("<urlset><url><loc>{url}</loc></url></urlset>")
}

/// An index of sitemaps.
fn index(urls: &[&str]) -> String {
    let sitemaps: Vec<String> = urls.iter().map(|url| format!("<sitemap><loc>{url}</loc></sitemap>")).collect();
    format!("<sitemapindex>\n{}\n</sitemapindex>", sitemaps.join("\n"))
}

#[tokio::test]
async fn locations_are_read_whatever_stands_around_them() {
    let text = "\u{feff}<?xml version=\"1.0\"?>\n<!-- ours -->\n\
        <s:urlset xmlns:s=\"http://www.sitemaps.org/schemas/sitemap/0.9\" xmlns:image=\"http://example\">\n\
        <s:url>\n  <s:loc>\n http://a.example/1?x=1&amp;y=&#50;\n</s:loc><s:priority>0.5</s:priority>\n\
        <image:image><image:loc>http://a.example/image.png</image:loc></image:image></s:url>\n\
        <s:url><s:loc><![CDATA[http://a.example/2?a&b]]></s:loc></s:url>\n\
        <s:url><s:loc>http://a.example/3?a=1&b=2</s:loc></s:url><loc>http://a.example/elsewhere</loc>\n\
        <s:url><s:loc/></s:url>\n</s:urlset>\n";
    let read = read_from(text, None).await;
    let expected = [
        (7, "http://a.example/1?x=1&y=2"),
        (9, "http://a.example/2?a&b"),
        (10, "http://a.example/3?a=1&b=2"),
        (11, "bad: it is empty"),
    ];
    assert_eq!(read, expected.map(|(line, told)| (line, told.to_owned())));
}

#[tokio::test]
async fn what_is_broken_costs_nothing_that_stood_before_it() {
    let broken = urls("<urlset><url><loc>http://a.example/1</loc></url>\n<url></urlset>").await;
    assert!(broken[0] == "http://a.example/1" && broken[1].contains("no XML that can be read on"), "{broken:?}");
    for (text, why) in [
        ("<urlset><url><loc>http://a.example/1</loc></url>", "breaks off"),
        ("<html><body/></html>", "it is a <html>"),
        ("  ", "it is empty"),
        (&"<urlset>".repeat(100), "inside of each other"),
    ] {
        let told = urls(text).await;
        assert!(told.last().is_some_and(|told| told.contains(why)), "{told:?}");
    }
}

#[tokio::test]
async fn a_text_without_end_is_not_collected() {
    let long = urls(&page(&format!("http://a.example/{}", "x".repeat(500_000)))).await;
    assert!(long[0].contains("bytes long"), "{}", &long[0][..200]);
    let endless = urls(&page(&"x".repeat(3 * LONGEST))).await;
    assert!(endless[0].contains("has more than"), "{}", &endless[0][..200]);
}

#[tokio::test]
async fn a_sitemap_may_be_one_long_line() {
    let pages: String = (0..20_000).map(|id| format!("<url><loc>http://a.example/{id}</loc></url>")).collect();
    let read = read_from(format!("<urlset>{pages}</urlset>"), None).await;
    assert_eq!((read.len(), &read[19_999]), (20_000, &(1, "http://a.example/19999".to_owned())));
}

#[tokio::test]
async fn an_index_leads_to_its_sitemaps_each_once() {
    let nested = index(&["http://SITE/c.xml", "http://SITE/index.xml", "http://SITE/a.xml.gz"]);
    let (site, asked) = site(&[
        ("/a.xml.gz", &page("http://a.example/a")),
        ("/b.xml", &page("http://a.example/b")),
        ("/c.xml", &page("http://a.example/c")),
        ("/nested.xml", &nested),
    ])
    .await;
    let url = |path: &str| format!("http://{site}/{path}");
    let top = index(&[&url("a.xml.gz"), &url("missing.xml"), &url("b.xml"), &url("nested.xml")]);
    let read = read_from(top, Some(&url("index.xml"))).await;
    let missing = format!("bad: the sitemap {} cannot be read: it answers 404 Not Found", url("missing.xml"));
    let expected =
        [(1, "http://a.example/a"), (3, missing.as_str()), (1, "http://a.example/b"), (1, "http://a.example/c")];
    assert_eq!(read, expected.map(|(line, told)| (line, told.to_owned())));
    assert_eq!(asked.published.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn an_index_that_was_fetched_leads_to_no_other_host() {
    let (other, asked) = site(&[("/secret.xml", &page("http://a.example/secret"))]).await;
    let secret = format!("http://{other}/secret.xml");
    let (site, _) = site(&[("/away.xml", &secret)]).await;
    let url = |path: &str| format!("http://{site}/{path}");
    let read = read_from(index(&[&secret, &url("away.xml")]), Some(&url("index.xml"))).await;
    assert!(read[0].1.contains("on another host") && read[1].1.contains("leads to another host"), "{read:?}");
    assert_eq!((read.len(), asked.published.load(Ordering::Relaxed)), (2, 0));
    // A file is the user's own.
    assert_eq!(urls(&index(&[&secret])).await, ["http://a.example/secret"]);
}

#[tokio::test]
async fn indexes_inside_of_indexes_have_an_end() {
    let levels = (1..=MOST_LEVELS + 1)
        .map(|level| (format!("/{level}.xml"), index(&[&format!("http://SITE/{}.xml", level + 1)])))
        .collect::<Vec<_>>();
    let levels: Vec<(&str, &str)> = levels.iter().map(|(path, body)| (path.as_str(), body.as_str())).collect();
    let (site, asked) = site(&levels).await;
    let read = read_from(index(&[&format!("http://{site}/1.xml")]), None).await;
    assert!(read.len() == 1 && read[0].1.contains("in more than 3 indexes"), "{read:?}");
    assert_eq!(asked.published.load(Ordering::Relaxed), u64::from(MOST_LEVELS));
}

#[tokio::test]
async fn reading_may_be_given_up_at_any_time_and_taken_up_again() {
    let (mut writer, reader) = tokio::io::duplex(7);
    tokio::spawn(async move {
        let pages: String = (0..200).map(|id| format!("<url><loc>http://a.example/{id}</loc></url>")).collect();
        for part in format!("<urlset>{pages}</urlset>").as_bytes().chunks(5) {
            writer.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let text: Text = Box::new(reader);
    let remote = Remote::new().unwrap();
    let mut sitemaps = Sitemaps::read(BufReader::new(text), None, remote, Arc::new(Progress::default()));
    let mut read = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_micros(50), sitemaps.next()).await {
            Ok(Ok(Some(entry))) => read.push(told(entry).1),
            Ok(end) => break assert!(end.unwrap().is_none()),
            Err(_) => {}
        }
    }
    assert_eq!(read, (0..200).map(|id| format!("http://a.example/{id}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_sitemap_is_recognised_by_its_name_or_by_how_it_begins() {
    let first = async |name: &str, text: &str| {
        let text: Text = Box::new(io::Cursor::new(text.as_bytes().to_vec()));
        let (remote, progress) = (Remote::new().unwrap(), Arc::new(Progress::default()));
        let source = Source::File(name.into());
        let entries =
            Entries::read(BufReader::new(text), &source, Format::Auto, None, None, remote, progress).await.unwrap();
        matches!(entries, Entries::Sitemaps(_))
    };
    assert!(first("sitemap.xml.gz", "").await && first("list", "\u{feff}\n <?xml version=\"1.0\"?>").await);
    assert!(!first("list", "http://a.example/<x>").await && !first("list.csv", "<a>,b").await);
}
