use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::short::LONGEST;
use super::*;
use crate::site::{Site, answer, gzip};

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
    let mut sitemaps = Sitemaps::read(BufReader::new(text), fetched_from, Remote::new(), Arc::new(Progress::default()));
    let mut all = Vec::new();
    while let Some(entry) = sitemaps.next().await.unwrap() {
        all.push(told(entry));
    }
    all
}

async fn urls(text: &str) -> Vec<String> {
    read_from(text, None).await.into_iter().map(|(_, told)| told).collect()
}

/// Answers each path with its body; a body that is an address is a redirect there.
async fn site(pages: &[(&str, &str)]) -> Site {
    let pages: Vec<(String, String)> =
        pages.iter().map(|(path, body)| ((*path).to_owned(), (*body).to_owned())).collect();
    Site::begin(move |path, site| {
        let Some((_, body)) = pages.iter().find(|(of, _)| of == path) else { return answer("404 Not Found", b"") };
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
        <s:url><s:loc>http://a.example/<b>x</b>4</s:loc></s:url><s:url><s:loc/></s:url>\n</s:urlset>\n";
    let read = read_from(text, None).await;
    let expected = [
        (5, "http://a.example/1?x=1&y=2"),
        (9, "http://a.example/2?a&b"),
        (10, "http://a.example/3?a=1&b=2"),
        (11, "http://a.example/4"),
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
async fn a_tag_or_comment_without_end_is_not_collected() {
    let endless = ["<a b=\"", "<!-- > ", "<url><loc><![CDATA["].map(|begin| begin.to_owned() + &"x > ".repeat(LONGEST));
    for text in endless {
        let read = urls(&format!("{}{text}", page("http://a.example/1").replace("</urlset>", ""))).await;
        assert!(read.len() == 2 && read[1].contains("has more than 1048576 bytes"), "{read:?}");
    }
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
    let missing = format!("bad: the sitemap {} cannot be read: it answers 404 Not Found", url("missing.xml"));
    let expected =
        [(1, "http://a.example/a"), (3, missing.as_str()), (1, "http://a.example/b"), (1, "http://a.example/c")];
    assert_eq!(read, expected.map(|(line, told)| (line, told.to_owned())));
    assert_eq!(site.asked().len(), 5);
}

#[tokio::test]
async fn an_index_that_was_fetched_leads_to_no_other_host() {
    let other = site(&[("/secret.xml", &page("http://a.example/secret"))]).await;
    let secret = other.url("secret.xml");
    let site = site(&[("/away.xml", &secret)]).await;
    let url = |path: &str| site.url(path);
    let read = read_from(index(&[&secret, &url("away.xml")]), Some(&url("index.xml"))).await;
    assert!(read[0].1.contains("on another host") && read[1].1.contains("leads to another host"), "{read:?}");
    assert_eq!((read.len(), other.asked().len()), (2, 0));
    // A file is the user's own.
    assert_eq!(urls(&index(&[&secret])).await, ["http://a.example/secret"]);
}

#[tokio::test]
async fn indexes_inside_of_indexes_have_an_end() {
    let levels = (1..=MOST_LEVELS + 1)
        .map(|level| (format!("/{level}.xml"), index(&[&format!("http://SITE/{}.xml", level + 1)])))
        .collect::<Vec<_>>();
    let levels: Vec<(&str, &str)> = levels.iter().map(|(path, body)| (path.as_str(), body.as_str())).collect();
    let site = site(&levels).await;
    let read = read_from(index(&[&site.url("1.xml")]), None).await;
    assert!(read.len() == 1 && read[0].1.contains("in more than 3 indexes"), "{read:?}");
    assert_eq!(site.asked().len(), MOST_LEVELS as usize);
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
    let remote = Remote::new();
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

/// Text that ends with an error.
fn breaking(text: &str) -> Text {
    struct Broken;
    impl AsyncRead for Broken {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::other("the connection broke")))
        }
    }
    Box::new(io::Cursor::new(text.as_bytes().to_vec()).chain(Broken))
}

#[tokio::test]
async fn a_source_that_cannot_be_read_on_is_an_error_and_not_a_bad_line() {
    let text = breaking("<urlset><url><loc>http://a.example/1</loc></url>");
    let mut sitemaps = Sitemaps::read(BufReader::new(text), None, Remote::new(), Arc::default());
    assert_eq!(told(sitemaps.next().await.unwrap().unwrap()).1, "http://a.example/1");
    assert!(sitemaps.next().await.unwrap_err().to_string().contains("the connection broke"));
}

#[tokio::test]
async fn a_named_sitemap_that_breaks_off_costs_no_other_and_is_named_without_its_password() {
    let cut = page("http://a.example/1");
    let site = Site::begin(move |path, _| match path {
        "/cut.xml" => {
            let whole = answer("200 OK", format!("{cut}\n{cut}").as_bytes());
            whole[..whole.len() - 20].to_vec()
        }
        _ => answer("200 OK", page("http://a.example/2").as_bytes()),
    })
    .await;
    let named = |path: &str| site.url(path).replace("//", "//user:hunter2@");
    let text: Text = Box::new(io::Cursor::new(index(&[&named("cut.xml"), &named("b.xml")])));
    let mut sitemaps = Sitemaps::read(BufReader::new(text), None, Remote::new(), Arc::default());
    let mut read = Vec::new();
    while let Some(entry) = sitemaps.next().await.unwrap() {
        read.push((entry.source.clone().unwrap().to_string(), told(entry).1));
    }
    let masked = |path: &str| site.url(path).replace("//", "//***@");
    assert_eq!(read[0], (masked("cut.xml"), "http://a.example/1".to_owned()));
    assert!(read[1].0 == masked("cut.xml") && read[1].1.contains("cannot be read on"), "{read:?}");
    assert_eq!(read[2..], [(masked("b.xml"), "http://a.example/2".to_owned())]);
    assert!(!format!("{read:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_location_of_any_length_costs_no_other_and_no_line_is_missed() {
    // By a byte more each, so that a character lies over the place where the text is cut.
    let cut = (0..3).map(|bytes| "x".repeat(bytes) + &"é\n".repeat(LONGEST));
    for giant in cut.chain(["x".repeat(3 * LONGEST), format!("{}x&amp;y", " ".repeat(LONGEST))]) {
        let lines = giant.matches('\n').count() as u64;
        let text =
            format!("<urlset>\n<url><loc>{giant}</loc></url>\n<url><loc>http://a.example/2</loc></url></urlset>");
        let read = read_from(text, None).await;
        assert!(read[0].0 == 2 && read[0].1.contains("longer than 8192 bytes"), "{read:?}");
        assert_eq!(read[1..], [(3 + lines, "http://a.example/2".to_owned())]);
    }
}

#[tokio::test]
async fn a_part_of_a_location_is_never_taken_for_the_whole() {
    let url = format!("http://a.example/{}", "x".repeat(MAX_URL_BYTES - 17));
    for (text, expected) in [
        (format!("{}http://a.example/?x=1&amp;y=2", " ".repeat(9000)), "http://a.example/?x=1&y=2"),
        (format!("{url}  \n"), url.as_str()),
        (format!("{url}&amp;y"), "bad: no URL that can be fetched: it is longer than 8192 bytes"),
        (
            format!("http://a.example/{}", " ".repeat(LONGEST)),
            "bad: no URL that can be fetched: it is longer than 8192 bytes",
        ),
        (
            format!("{}http://a.example/1", " ".repeat(LONGEST)),
            "bad: no URL that can be fetched: it is longer than 8192 bytes",
        ),
    ] {
        assert_eq!(urls(&page(&text)).await, [expected]);
    }
}

#[tokio::test]
async fn redirects_to_one_sitemap_lead_there_once() {
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
async fn an_index_names_so_many_sitemaps_and_no_more() {
    let (entries, _receiver) = mpsc::channel(1);
    let (remote, progress) = (Remote::new(), Arc::default());
    let mut walk = Walk { entries, remote, progress, seen: HashSet::new(), named: 0, waiting: VecDeque::new() };
    let mut name = |id: usize| walk.name(&format!("http://a.example/{id}"), None, 1, None, 1);
    assert!((0..MOST_SITEMAPS).all(|id| name(id).is_ok()));
    assert!(name(MOST_SITEMAPS).unwrap_err().contains("more than 50000"));
    assert!(name(0).is_ok());
}

#[tokio::test]
async fn reading_ends_when_nobody_wants_more() {
    let (mut writer, reader) = tokio::io::duplex(64);
    let text: Text = Box::new(reader);
    let mut sitemaps = Sitemaps::read(BufReader::new(text), None, Remote::new(), Arc::default());
    writer.write_all(page("http://a.example/1").as_bytes()).await.unwrap();
    assert!(sitemaps.next().await.unwrap().is_some());
    drop(sitemaps);
    let closed = async { while writer.write_all(b" ").await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap();
}
