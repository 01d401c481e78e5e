use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::*;
use crate::test_site::{TestSite, answer, gzip};
use crate::text::MAX_TAG_BYTES;

/// The line of an entry, and its URL or what is wrong with it.
fn describe(entry: Entry) -> (u64, String) {
    let description = match entry.content {
        Content::Record(record) => record.request.address.to_string(),
        Content::Invalid(reason) => format!("invalid: {reason}"),
        Content::Ignored(_) => "-".to_owned(),
    };
    (entry.line, description)
}

async fn read_from(text: impl Into<Vec<u8>>, fetched_from: Option<&str>) -> Vec<(u64, String)> {
    let text: Text = Box::new(io::Cursor::new(text.into()));
    let fetched_from = fetched_from.map(|url| url.parse().unwrap());
    let mut sitemaps = Sitemaps::read(
        BufReader::new(text),
        fetched_from,
        Fetcher::new(),
        Arc::new(Progress::default()),
    );
    let mut all = Vec::new();
    while let Some(entry) = sitemaps.next().await.unwrap() {
        all.push(describe(entry));
    }
    all
}

async fn urls(text: &str) -> Vec<String> {
    read_from(text, None).await.into_iter().map(|(_, description)| description).collect()
}

/// Answers each path with its body. A body that is a URL is a redirect.
async fn site(pages: &[(&str, &str)]) -> TestSite {
    let pages: Vec<(String, String)> =
        pages.iter().map(|(path, body)| ((*path).to_owned(), (*body).to_owned())).collect();
    TestSite::start(move |path, site| {
        let Some((_, body)) = pages.iter().find(|(of, _)| of == path) else {
            return answer("404 Not Found", b"");
        };
        let body = body.replace("SITE", site);
        match path.ends_with(".gz") {
            _ if body.starts_with("http") => answer(&format!("302 Found\r\nlocation: {body}"), b""),
            true => answer("200 OK\r\ncontent-encoding: gzip", &gzip(body.as_bytes())),
            false => answer("200 OK", body.as_bytes()),
        }
    })
    .await
}

/// A sitemap with one page.
fn page(url: &str) -> String {
    format!("<urlset><url><loc>{url}</loc></url></urlset>")
}

/// An index of sitemaps.
fn index(urls: &[&str]) -> String {
    let sitemaps: Vec<String> =
        urls.iter().map(|url| format!("<sitemap><loc>{url}</loc></sitemap>")).collect();
    format!("<sitemapindex>\n{}\n</sitemapindex>", sitemaps.join("\n"))
}

#[tokio::test]
async fn locations_are_read_whatever_surrounds_them() {
    let text = "\u{feff}<?xml version=\"1.0\"?>\n<!-- ours -->\n\
        <s:urlset xmlns:s=\"http://www.sitemaps.org/schemas/sitemap/0.9\"\
            \x20xmlns:image=\"http://example\">\n\
        <s:url>\n  <s:loc>\n http://a.example/1?x=1&amp;y=&#50;\n</s:loc>\
        <s:priority>0.5</s:priority>\n\
        <image:image><image:loc>http://a.example/image.png</image:loc></image:image></s:url>\n\
        <s:url><s:loc><![CDATA[http://a.example/2?a&b]]></s:loc></s:url>\n\
        <s:url><s:loc>http://a.example/3?a=1&b=2</s:loc></s:url>\
        <loc>http://a.example/elsewhere</loc>\n\
        <s:url><s:loc>http://a.example/<b>x</b>4</s:loc></s:url>\
        <s:url><s:loc/></s:url>\n</s:urlset>\n";
    let read = read_from(text, None).await;
    let expected = [
        (5, "http://a.example/1?x=1&y=2"),
        (9, "http://a.example/2?a&b"),
        (10, "http://a.example/3?a=1&b=2"),
        (11, "http://a.example/4"),
    ];
    assert_eq!(read[..4], expected.map(|(line, url)| (line, url.to_owned())));
    assert!(read[4].0 == 11 && read[4].1.contains("empty"), "{read:?}");
    assert_eq!(read.len(), 5);
}

#[tokio::test]
async fn an_invalid_document_keeps_the_urls_before_its_error() {
    let broken = urls("<urlset><url><loc>http://a.example/1</loc></url>\n<url></urlset>").await;
    assert!(
        broken[0] == "http://a.example/1" && broken[1].contains("the XML is not well-formed"),
        "{broken:?}"
    );
    for (text, reason) in [
        ("<urlset><url><loc>http://a.example/1</loc></url>", "is truncated"),
        ("<html><body/></html>", "the root element is <html>"),
        ("  ", "it is empty"),
        (&"<urlset>".repeat(100), "more than 64 deep"),
    ] {
        let urls = urls(text).await;
        assert!(urls.last().is_some_and(|last| last.contains(reason)), "{urls:?}");
    }
}

#[tokio::test]
async fn an_endless_tag_or_comment_is_not_held() {
    let endless = ["<a b=\"", "<!-- > ", "<url><loc><![CDATA["]
        .map(|start| start.to_owned() + &"x > ".repeat(MAX_TAG_BYTES));
    for text in endless {
        let read =
            urls(&format!("{}{text}", page("http://a.example/1").replace("</urlset>", ""))).await;
        assert!(read.len() == 2 && read[1].contains("has more than 1048576 bytes"), "{read:?}");
    }
}

#[tokio::test]
async fn a_sitemap_may_be_one_long_line() {
    let pages: String =
        (0..20_000).map(|id| format!("<url><loc>http://a.example/{id}</loc></url>")).collect();
    let read = read_from(format!("<urlset>{pages}</urlset>"), None).await;
    assert_eq!((read.len(), &read[19_999]), (20_000, &(1, "http://a.example/19999".to_owned())));
}

#[tokio::test]
async fn each_sitemap_of_an_index_is_read_once() {
    let nested = index(&["http://SITE/c.xml", "http://SITE/index.xml", "http://SITE/a.xml.gz"]);
    let site = site(&[
        ("/a.xml.gz", &page("http://a.example/a")),
        ("/b.xml", &page("http://a.example/b")),
        ("/c.xml", &page("http://a.example/c")),
        ("/nested.xml", &nested),
    ])
    .await;
    let url = |path: &str| site.url(path);
    let top = index(&[&url("a.xml.gz"), &url("missing.xml"), &url("b.xml"), &url("nested.xml")]);
    let read = read_from(top, Some(&url("index.xml"))).await;
    let missing = format!(
        "invalid: the sitemap {} cannot be read: the server answered 404 Not Found",
        url("missing.xml")
    );
    let expected = [
        (1, "http://a.example/a"),
        (3, missing.as_str()),
        (1, "http://a.example/b"),
        (1, "http://a.example/c"),
    ];
    assert_eq!(read, expected.map(|(line, text)| (line, text.to_owned())));
    assert_eq!(site.requests().len(), 5);
}

#[tokio::test]
async fn a_fetched_index_leads_to_no_other_host() {
    let other = site(&[("/secret.xml", &page("http://a.example/secret"))]).await;
    let secret = other.url("secret.xml");
    let site = site(&[("/away.xml", &secret)]).await;
    let url = |path: &str| site.url(path);
    let read = read_from(index(&[&secret, &url("away.xml")]), Some(&url("index.xml"))).await;
    assert!(
        read[0].1.contains("on another host") && read[1].1.contains("leads to another host"),
        "{read:?}"
    );
    assert_eq!((read.len(), other.requests().len()), (2, 0));
    // A file is written by the user.
    assert_eq!(urls(&index(&[&secret])).await, ["http://a.example/secret"]);
}

#[tokio::test]
async fn nesting_of_indexes_is_bounded() {
    let levels = (1..=MAX_LEVELS + 1)
        .map(|level| (format!("/{level}.xml"), index(&[&format!("http://SITE/{}.xml", level + 1)])))
        .collect::<Vec<_>>();
    let levels: Vec<(&str, &str)> =
        levels.iter().map(|(path, body)| (path.as_str(), body.as_str())).collect();
    let site = site(&levels).await;
    let read = read_from(index(&[&site.url("1.xml")]), None).await;
    assert!(read.len() == 1 && read[0].1.contains("in more than 3 indexes"), "{read:?}");
    assert_eq!(site.requests().len(), MAX_LEVELS as usize);
}

#[tokio::test]
async fn next_is_cancel_safe() {
    let (mut writer, reader) = tokio::io::duplex(7);
    tokio::spawn(async move {
        let pages: String =
            (0..200).map(|id| format!("<url><loc>http://a.example/{id}</loc></url>")).collect();
        for part in format!("<urlset>{pages}</urlset>").as_bytes().chunks(5) {
            writer.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let text: Text = Box::new(reader);
    let fetcher = Fetcher::new();
    let mut sitemaps =
        Sitemaps::read(BufReader::new(text), None, fetcher, Arc::new(Progress::default()));
    let mut read = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_micros(50), sitemaps.next()).await {
            Ok(Ok(Some(entry))) => read.push(describe(entry).1),
            Ok(end) => break assert!(end.unwrap().is_none()),
            Err(_) => {}
        }
    }
    assert_eq!(read, (0..200).map(|id| format!("http://a.example/{id}")).collect::<Vec<_>>());
}

/// A stream that ends with an error.
fn broken_text(text: &str) -> Text {
    struct Broken;
    impl AsyncRead for Broken {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::other("the connection broke")))
        }
    }
    Box::new(io::Cursor::new(text.as_bytes().to_vec()).chain(Broken))
}

#[tokio::test]
async fn a_read_error_of_the_source_is_an_error_and_not_a_rejection() {
    let text = broken_text("<urlset><url><loc>http://a.example/1</loc></url>");
    let mut sitemaps = Sitemaps::read(BufReader::new(text), None, Fetcher::new(), Arc::default());
    assert_eq!(describe(sitemaps.next().await.unwrap().unwrap()).1, "http://a.example/1");
    assert!(sitemaps.next().await.unwrap_err().to_string().contains("the connection broke"));
}

#[tokio::test]
async fn a_broken_sitemap_of_an_index_affects_no_other_and_is_named_without_its_password() {
    let cut = page("http://a.example/1");
    let site = TestSite::start(move |path, _| match path {
        "/cut.xml" => {
            let whole = answer("200 OK", format!("{cut}\n{cut}").as_bytes());
            whole[..whole.len() - 20].to_vec()
        }
        _ => answer("200 OK", page("http://a.example/2").as_bytes()),
    })
    .await;
    let named = |path: &str| site.url(path).replace("//", "//user:hunter2@");
    let text: Text = Box::new(io::Cursor::new(index(&[&named("cut.xml"), &named("b.xml")])));
    let mut sitemaps = Sitemaps::read(BufReader::new(text), None, Fetcher::new(), Arc::default());
    let mut read = Vec::new();
    while let Some(entry) = sitemaps.next().await.unwrap() {
        read.push((entry.sitemap.clone().unwrap().to_string(), describe(entry).1));
    }
    let masked = |path: &str| site.url(path).replace("//", "//***@");
    assert_eq!(read[0], (masked("cut.xml"), "http://a.example/1".to_owned()));
    assert!(
        read[1].0 == masked("cut.xml") && read[1].1.contains("cannot be read further"),
        "{read:?}"
    );
    assert_eq!(read[2..], [(masked("b.xml"), "http://a.example/2".to_owned())]);
    assert!(!format!("{read:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_location_of_any_length_affects_no_other_and_every_line_is_counted() {
    // One byte longer each, so that one of them is cut inside a character.
    let padded = (0..3).map(|bytes| "x".repeat(bytes) + &"é\n".repeat(MAX_TAG_BYTES));
    for giant in padded
        .chain(["x".repeat(3 * MAX_TAG_BYTES), format!("{}x&amp;y", " ".repeat(MAX_TAG_BYTES))])
    {
        let lines = giant.matches('\n').count() as u64;
        let text = format!(
            "<urlset>\n<url><loc>{giant}</loc></url>\n\
             <url><loc>http://a.example/2</loc></url></urlset>"
        );
        let read = read_from(text, None).await;
        assert!(read[0].0 == 2 && read[0].1.contains("more than 8192 bytes"), "{read:?}");
        assert_eq!(read[1..], [(3 + lines, "http://a.example/2".to_owned())]);
    }
}

#[tokio::test]
async fn a_cut_location_is_never_published() {
    let url = format!("http://a.example/{}", "x".repeat(MAX_URL_BYTES - 17));
    for (text, expected) in [
        (format!("{}http://a.example/?x=1&amp;y=2", " ".repeat(9000)), "http://a.example/?x=1&y=2"),
        (format!("{url}  \n"), url.as_str()),
        (format!("{url}&amp;y"), "invalid: the URL is not usable: it has more than 8192 bytes"),
        (
            format!("http://a.example/{}", " ".repeat(MAX_TAG_BYTES)),
            "invalid: the URL is not usable: it has more than 8192 bytes",
        ),
        (
            format!("{}http://a.example/1", " ".repeat(MAX_TAG_BYTES)),
            "invalid: the URL is not usable: it has more than 8192 bytes",
        ),
    ] {
        assert_eq!(urls(&page(&text)).await, [expected]);
    }
}

#[tokio::test]
async fn a_sitemap_behind_two_redirects_is_read_once() {
    let site = site(&[
        ("/a.xml", "http://SITE/c.xml"),
        ("/b.xml", "http://SITE/c.xml"),
        ("/c.xml", &page("http://a.example/c")),
    ])
    .await;
    let read = urls(&index(&[&site.url("a.xml"), &site.url("b.xml")])).await;
    assert_eq!(read, ["http://a.example/c"]);
}

#[tokio::test]
async fn the_number_of_sitemaps_is_bounded() {
    let (entries, _receiver) = mpsc::channel(1);
    let mut crawl = Crawl {
        entries,
        fetcher: Fetcher::new(),
        progress: Arc::default(),
        known: HashSet::new(),
        named: 0,
        pending: VecDeque::new(),
    };
    let index = Sitemap { name: None, fetched_from: None, level: 0 };
    let mut remember = |id: usize| crawl.remember(&format!("http://a.example/{id}"), 1, &index);
    assert!((0..MAX_SITEMAPS).all(|id| remember(id).is_ok()));
    assert!(remember(MAX_SITEMAPS).unwrap_err().contains("more than 50000"));
    assert!(remember(0).is_ok());
}

#[tokio::test]
async fn dropping_the_reader_closes_the_source() {
    let (mut writer, reader) = tokio::io::duplex(64);
    let text: Text = Box::new(reader);
    let mut sitemaps = Sitemaps::read(BufReader::new(text), None, Fetcher::new(), Arc::default());
    writer.write_all(page("http://a.example/1").as_bytes()).await.unwrap();
    assert!(sitemaps.next().await.unwrap().is_some());
    drop(sitemaps);
    let closed = async { while writer.write_all(b" ").await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap();
}
