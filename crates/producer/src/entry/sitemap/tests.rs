use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use fetchline_queue::MAX_URL_BYTES;

use super::crawl::{MAX_LEVELS, MAX_SITEMAPS, Sitemap};
use super::*;
use crate::entry::Content;
use crate::source::Fetcher;
use crate::test_site::{TestSite, answer, gzip};
use crate::text::MAX_TAG_BYTES;

mod formats;

/// The line of an entry, and its URL or what is wrong with it.
fn describe(entry: Entry) -> (u64, String) {
    let description = match entry.content {
        Content::Record(record) => record.request.address.to_string(),
        Content::Invalid(reason) => format!("invalid: {reason}"),
        Content::Ignored(_) => "-".to_owned(),
    };
    (entry.line, description)
}

fn reader() -> SitemapReader {
    SitemapReader::new(Fetcher::hasty(), Arc::default())
}

fn sitemaps(text: Text, fetched_from: Option<Url>) -> Sitemaps {
    reader().read("source".to_owned(), BufReader::new(text), fetched_from)
}

async fn read_all(mut entries: Sitemaps) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    while let Some(entry) = entries.next().await.unwrap() {
        all.push(describe(entry));
    }
    all
}

async fn read_from(text: impl Into<Vec<u8>>, fetched_from: Option<&str>) -> Vec<(u64, String)> {
    let text: Text = Box::new(io::Cursor::new(text.into()));
    read_all(sitemaps(text, fetched_from.map(|url| url.parse().unwrap()))).await
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
        <s:url><s:loc>http://a.example/4<!-- x --></s:loc></s:url>\
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
async fn a_url_with_an_element_or_an_unknown_entity_in_it_is_refused() {
    for (text, reason) in [
        ("http://a.example/<b>x</b>/1", "<b>"),
        ("http://a.example/1<wbr/>2", "<wbr>"),
        ("<a href='x'>http://a.example/1</a>", "<a>"),
        ("http://a.example/th&eacute;", "`&eacute;`"),
        ("http://a.example/?x=1&copy;=2", "`&copy;`"),
        ("http://a.example/&#0;", "`&#0;`"),
    ] {
        let rss = |element: &str| {
            format!("<rss><channel><item><{element}>{text}</{element}></item></channel></rss>")
        };
        for document in [page(text), rss("link"), rss("g:link")] {
            let urls = urls(&document).await;
            let [url] = &urls[..] else { panic!("{urls:?}") };
            assert!(url.starts_with("invalid: ") && url.contains(reason), "{document}: {url}");
        }
    }
    let atom = "<feed xmlns='http://www.w3.org/2005/Atom'>\
        <entry><link href='http://a.example/th&eacute;'/></entry>\
        <entry><link href='http://a.example/?a=1&b=2'/></entry></feed>";
    let read = urls(atom).await;
    assert!(read[0].contains("`&eacute;`"), "{read:?}");
    assert_eq!(read[1..], ["http://a.example/?a=1&b=2"]);
}

#[tokio::test]
async fn an_invalid_document_keeps_the_urls_before_its_error() {
    let broken = urls("<urlset><url><loc>http://a.example/1</loc></url>\n<url></urlset>").await;
    assert!(
        broken[0] == "http://a.example/1" && broken[1].contains("the XML is not well-formed"),
        "{broken:?}"
    );
    for (text, reason) in [
        ("<html><body/></html>", "the root element is <html>"),
        ("<!DOCTYPE html><HTML></HTML>", "it is a web page"),
        ("<META HTTP-EQUIV='x'><DL><p>", "bookmarks"),
        ("<Workbook/>", "save it as .xlsx"),
        ("<yml_catalog/>", "convert it"),
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
    let mut entries = sitemaps(text, None);
    let mut read = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_micros(50), entries.next()).await {
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
    let mut entries = sitemaps(text, None);
    assert_eq!(describe(entries.next().await.unwrap().unwrap()).1, "http://a.example/1");
    assert!(entries.next().await.unwrap_err().to_string().contains("the connection broke"));
}

/// The entries of postponed sitemaps, and the error at their end.
async fn read_postponed(reader: &SitemapReader) -> (Vec<(u64, String)>, Option<String>) {
    let mut entries = reader.read_postponed(reader.postponed.take());
    let mut all = Vec::new();
    loop {
        match entries.next().await {
            Ok(Some(entry)) => all.push(describe(entry)),
            Ok(None) => return (all, None),
            Err(error) => return (all, Some(error.to_string())),
        }
    }
}

#[tokio::test]
async fn a_sitemap_that_breaks_off_is_read_after_all_others_and_is_an_error_in_the_end() {
    let is_broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (cut, broken) = (page("http://a.example/1"), is_broken.clone());
    let site = TestSite::start(move |path, _| {
        let whole = answer("200 OK", cut.as_bytes());
        let is_broken = broken.load(std::sync::atomic::Ordering::Relaxed);
        match path {
            // The connection ends too early, the document ends too early, and the site is down.
            "/cut.xml" if is_broken => whole[..whole.len() - 20].to_vec(),
            "/torn.xml" if is_broken => answer("200 OK", &cut.as_bytes()[..40]),
            "/torn.xml.gz" if is_broken => {
                let packed = gzip(cut.as_bytes());
                answer("200 OK", &packed[..packed.len() - 9])
            }
            "/down.xml" if is_broken => answer("503 Service Unavailable", b""),
            "/missing.xml" => answer("404 Not Found", b""),
            "/b.xml" => answer("200 OK", page("http://a.example/2").as_bytes()),
            "/torn.xml.gz" => answer("200 OK", &gzip(cut.as_bytes())),
            _ => whole,
        }
    })
    .await;
    let named = |path: &str| site.url(path).replace("//", "//user:hunter2@");
    let paths = ["cut.xml", "torn.xml", "torn.xml.gz", "down.xml", "missing.xml", "b.xml"];
    let urls = paths.map(named);
    let text = index(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    let reader = reader();
    let source = BufReader::new(Box::new(io::Cursor::new(text.clone())) as Text);
    let read = read_all(reader.read("index".to_owned(), source, None)).await;
    assert!(read[0].0 == 6 && read[0].1.contains("404 Not Found"), "{read:?}");
    assert_eq!(read[1..], [(1, "http://a.example/2".to_owned())]);
    let postponed = reader.postponed.urls();
    assert_eq!(postponed.len(), 4, "{postponed:?}");

    let again = SitemapReader { postponed: Postponed::resumed(postponed), ..reader.clone() };
    let (read, error) = read_postponed(&reader).await;
    let error = error.unwrap();
    assert!(error.contains("cannot be read") && error.contains("that wait for it: 3"), "{error}");
    // What follows the gap would not be where it was once the gap is filled.
    assert!(read.is_empty(), "{read:?}");
    assert!(!error.contains("hunter2"), "{error}");

    // A resumed run reads them in the same order, even though they can be read now.
    is_broken.store(false, std::sync::atomic::Ordering::Relaxed);
    let source = BufReader::new(Box::new(io::Cursor::new(text)) as Text);
    let read = read_all(again.read("index".to_owned(), source, None)).await;
    assert_eq!(read[1..], [(1, "http://a.example/2".to_owned())]);
    let (read, error) = read_postponed(&again).await;
    assert_eq!((read, error), (vec![(1, "http://a.example/1".to_owned()); 4], None));
}

#[tokio::test]
async fn a_truncated_source_is_an_error_and_not_a_rejection() {
    for text in [
        "<urlset><url><loc>http://a.example/1</loc></url>",
        "<urlset><url><loc>http://a.example/1</loc>",
    ] {
        let text: Text = Box::new(io::Cursor::new(text));
        let mut entries = sitemaps(text, None);
        assert_eq!(describe(entries.next().await.unwrap().unwrap()).1, "http://a.example/1");
        let error = entries.next().await.unwrap_err().to_string();
        assert!(error.contains("is truncated"), "{error}");
    }
}

#[tokio::test]
async fn the_site_that_the_user_named_and_the_one_it_led_to_are_trusted() {
    // Three ports play three hosts. The user names the first one, which leads to the second one.
    let storage = site(&[("/s.xml", &page("http://a.example/storage"))]).await;
    let www =
        site(&[("/sitemap.xml", "<sitemapindex/>"), ("/www.xml", &page("http://a.example/www"))])
            .await;
    let to_www = www.url("www.xml");
    let bare = site(&[
        ("/sitemap.xml", &www.url("sitemap.xml")),
        ("/bare.xml", &page("http://a.example/bare")),
        ("/moved.xml", &to_www),
        ("/away.xml", &storage.url("s.xml")),
    ])
    .await;
    let reader = reader();
    let named = fetchline_queue::Address::parse(&bare.url("sitemap.xml")).unwrap();
    let fetched = reader.fetcher.get(&named, crate::source::NamedBy::User).await.unwrap();
    let urls = ["bare.xml", "moved.xml", "away.xml"].map(|path| bare.url(path));
    let urls = [&urls[..], &[storage.url("s.xml")]].concat();
    let text = index(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    let source = BufReader::new(Box::new(io::Cursor::new(text)) as Text);
    let read = read_all(reader.read("source".to_owned(), source, Some(fetched.url))).await;
    let read: Vec<&str> = read.iter().map(|(_, text)| text.as_str()).collect();
    assert!(read[0].contains("on another host") && read[0].contains("as a source"), "{read:?}");
    assert_eq!(read[1..3], ["http://a.example/bare", "http://a.example/www"]);
    assert!(read.len() == 4 && read[3].contains("leads to another host"), "{read:?}");
    assert!(storage.requests().is_empty());
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
    let mut crawl = Crawl::new(reader(), entries, Arc::default());
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
    let mut entries = sitemaps(text, None);
    writer.write_all(page("http://a.example/1").as_bytes()).await.unwrap();
    assert!(entries.next().await.unwrap().is_some());
    drop(entries);
    let closed = async { while writer.write_all(b" ").await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap();
}
