//! Formats, encodings and dates.

use super::*;

#[tokio::test]
async fn rss_feeds_are_lists_of_the_pages_of_their_items() {
    let text = "<?xml version='1.0'?>\n\
        <rss version='2.0' xmlns:atom='http://www.w3.org/2005/Atom'\n\
        \x20 xmlns:g='http://base.google.com/ns/1.0' xmlns:media='http://search.yahoo.com/mrss/'>\n\
        <channel><link>http://a.example/</link><atom:link rel='self' href='http://a.example/feed'/>\
        <image><link>http://a.example/image</link></image>\n\
        <item><atom:link rel='related' href='http://a.example/no'/>\
        <link> http://a.example/1?a=1&amp;b=2 </link><guid>http://a.example/id</guid></item>\n\
        <item><link><![CDATA[http://a.example/2?a&b]]></link></item>\n\
        <item><link>/p/3</link></item>\n\
        <item><link/><guid>http://a.example/4</guid>\
        <media:content url='http://a.example/no'/></item>\n\
        <item><guid isPermaLink='false'>http://a.example/no</guid>\
        <g:link>http://a.example/5</g:link></item>\n\
        <item><title>http://a.example/no</title><guid>17</guid></item>\n\
        <item><link>www.a.example/7</link></item>\n\
        <item xml:base='http://b.example/x/'><link>p.v2</link></item>\n\
        </channel></rss>";
    let read = read_from(text, Some("http://a.example/feeds/all.xml")).await;
    let good = [
        (5, "http://a.example/1?a=1&b=2"),
        (6, "http://a.example/2?a&b"),
        (7, "http://a.example/p/3"),
        (8, "http://a.example/4"),
        (9, "http://a.example/5"),
    ];
    assert_eq!(read[..5], good.map(|(line, url)| (line, url.to_owned())));
    assert!(read[5].0 == 10 && read[5].1.contains("the <item> has no link"), "{read:?}");
    assert!(read[6].0 == 11 && read[6].1.contains("may be a host or a path"), "{read:?}");
    assert_eq!(read[7..], [(12, "http://b.example/x/p.v2".to_owned())]);
    // A file says less.
    let read = read_from(text, None).await;
    assert!(read[2].1.contains("`/p/3` is relative"), "{read:?}");
}

#[tokio::test]
async fn rdf_and_atom_feeds_are_lists_of_the_pages_of_their_entries() {
    let rdf = "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' \
        xmlns='http://purl.org/rss/1.0/' xmlns:dc='http://purl.org/dc/elements/1.1/'>\
        <channel rdf:about='http://a.example/'><link>http://a.example/</link></channel>\
        <item rdf:about='http://a.example/1'><link>http://a.example/1</link></item>\
        <item rdf:about='http://a.example/2?a=1&amp;b'><dc:date>2026</dc:date></item></rdf:RDF>";
    assert_eq!(urls(rdf).await, ["http://a.example/1", "http://a.example/2?a=1&b"]);
    let atom = "<feed xmlns='http://www.w3.org/2005/Atom' xml:base='http://a.example/blog/'>\
        <link href='http://a.example/'/><link rel='self' href='feed.atom'/>\
        <entry><id>http://a.example/id</id><link rel='self' href='no'/>\
        <link rel='alternate' type='application/json' href='no.json'/>\
        <link rel='enclosure' href='no.mp3'/><link rel='alternate' type='text/html' href='1'/>\
        <source><link href='no'/></source></entry>\
        <entry><link href='/2?a=1&b=2&#x26;c'/></entry>\
        <entry xml:base='../shop/'><link rel='http://www.iana.org/assignments/relation/alternate' \
        xml:base='tea/' href='3'/></entry>\
        <entry><link rel='alternate' type='application/pdf' href='4.pdf'/></entry>\
        <entry><id>http://a.example/no</id><link rel='self' href='no'/></entry></feed>";
    let read = urls(atom).await;
    let good = ["blog/1", "2?a=1&b=2&c", "shop/tea/3", "blog/4.pdf"];
    assert_eq!(read[..4], good.map(|path| format!("http://a.example/{path}")));
    assert!(read.len() == 5 && read[4].contains("the <entry> has no link"), "{read:?}");
}

#[tokio::test]
async fn languages_images_videos_and_news_are_no_pages() {
    let text = "<urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9' \
        xmlns:xhtml='http://www.w3.org/1999/xhtml' xmlns:news='http://n.example/' \
        xmlns:image='http://i.example/' xmlns:video='http://v.example/'>\
        <url><xhtml:link rel='alternate' hreflang='de' href='http://a.example/de'/>\
        <image:loc>http://a.example/direct.png</image:loc><loc>http://a.example/1</loc>\
        <video:video><video:content_loc>http://a.example/v</video:content_loc></video:video>\
        <news:news><news:loc>http://a.example/n</news:loc></news:news></url>\
        <url><lastmod>2026</lastmod></url></urlset>";
    let read = urls(text).await;
    assert!(read[0] == "http://a.example/1" && read[1].contains("has no <loc>"), "{read:?}");
    assert_eq!(read.len(), 2);
}

#[tokio::test]
async fn a_sitemap_may_be_packed_and_encoded_in_any_way() {
    let text = page("http://a.example/caf\u{e9}?\u{20ac}");
    let utf16: Vec<u8> =
        format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    let latin: Vec<u8> = format!("<?xml version='1.0' encoding='iso-8859-1'?>{text}")
        .chars()
        .map(|character| if character == '\u{20ac}' { 0x80 } else { character as u8 })
        .collect();
    let bodies = [
        ("/plain.xml.gz", "content-type: text/html", text.clone().into_bytes()),
        ("/gzip.xml", "content-type: application/xml", gzip(text.as_bytes())),
        ("/twice.xml.gz", "content-encoding: gzip", gzip(&gzip(text.as_bytes()))),
        ("/label.xml", "content-encoding: gzip", text.clone().into_bytes()),
        ("/blank.xml", "x-none: 1", format!("\r\n\r\n {text}").into_bytes()),
        ("/utf16.xml", "content-type: text/xml; charset=utf-8", utf16),
        ("/latin.xml", "x-none: 1", latin),
        ("/urls.txt", "x-none: 1", "\u{feff}\r\nhttp://a.example/caf\u{e9}?\u{20ac}\r\n".into()),
    ];
    let paths = bodies.clone().map(|(path, ..)| path);
    let site = TestSite::start(move |path, _| {
        let (_, header, body) = bodies.iter().find(|(of, ..)| *of == path).unwrap();
        answer(&format!("200 OK\r\n{header}"), body)
    })
    .await;
    let urls_of = paths.map(|path| site.url(&path[1..]));
    let text = index(&urls_of.iter().map(String::as_str).collect::<Vec<_>>());
    let read = urls(&text).await;
    assert_eq!(read, [const { "http://a.example/caf%C3%A9?%E2%82%AC" }; 8]);
}

#[tokio::test]
async fn a_url_with_bytes_that_are_no_text_is_rejected_and_affects_no_other() {
    let text = b"<urlset><url><loc>http://a.example/caf\xe9</loc></url>\
        <url><loc>http://a.example/2</loc></url></urlset>";
    let read = read_from(*text, None).await;
    assert!(read[0].1.contains("not valid UTF-8"), "{read:?}");
    assert_eq!(read[1].1, "http://a.example/2");
    for (text, reason) in [
        ("{\"url\": 1}", "neither XML nor a list of URLs"),
        ("hello\nhttp://a.example/", "neither XML nor a list of URLs"),
        ("<?xml version=\"1.0\" encoding=\"klingon\"?><urlset/>", "`klingon` is not known"),
    ] {
        let read = urls(text).await;
        assert!(read.len() == 1 && read[0].contains(reason), "{read:?}");
    }
}

#[tokio::test]
async fn only_pages_that_are_known_to_be_older_are_skipped() {
    let text = "<urlset>\
        <url><loc>http://a.example/old</loc><lastmod>2026-02-28</lastmod></url>\
        <url><lastmod>2026-03-01</lastmod><loc>http://a.example/day</loc></url>\
        <url><loc>http://a.example/unknown</loc></url>\
        <url><loc>http://a.example/odd</loc><lastmod>last week</lastmod></url>\
        <url><loc>http://a.example/older</loc><lastmod>2026-03-01T11:59:59+00:00</lastmod></url>\
        <url><loc>nowhere</loc><lastmod>2020</lastmod></url></urlset>";
    let since = time::macros::datetime!(2026-03-01 12:00 UTC);
    let reader = SitemapReader { modified_since: Some(since), ..reader() };
    let source = BufReader::new(Box::new(io::Cursor::new(text)) as Text);
    let read = read_all(reader.read("source".to_owned(), source, None)).await;
    let urls: Vec<&str> = read.iter().map(|(_, url)| url.as_str()).collect();
    assert_eq!(urls[..3], ["day", "unknown", "odd"].map(|path| format!("http://a.example/{path}")));
    assert!(urls.len() == 4 && urls[3].contains("invalid"), "{urls:?}");
    assert_eq!(reader.progress.skipped.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_line_of_a_text_sitemap_is_rejected_if_its_end_is_not_clear() {
    for (text, published) in [
        ("http://a.example/1,Tea\nhttp://a.example/2,Jam\n", 0),
        ("http://a.example/1,12.90\nhttp://a.example/2,7\n", 0),
        ("# ours\nhttp://a.example/1\nhttp://a.example/2 Tea\nhttp://a.example/3|\n", 1),
        ("http://a.example/1http://a.example/2\nhttp://a.example/3;v=1\n", 1),
        (&("http://a.example/x\n".repeat(150) + "http://a.example/1,Tea"), 150),
    ] {
        let read = urls(text).await;
        let is_url = |content: &&String| !content.starts_with("invalid: ");
        assert_eq!(read.iter().filter(is_url).count(), published, "{read:?}");
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(read.len(), lines, "{read:?}");
    }
}

#[tokio::test]
async fn an_entry_counts_wherever_it_stands() {
    for text in [
        "<urlset><group><url><loc>http://a.example/1</loc></url></group></urlset>",
        "<rss><channel><title>x</title></channel><item><link>http://a.example/1</link></item></rss>",
        "<rss><channel><items><item><link>http://a.example/1</link></item></items></channel></rss>",
        "<feed><entries><entry><link href='http://a.example/1'/></entry></entries></feed>",
    ] {
        assert_eq!(urls(text).await, ["http://a.example/1"], "{text}");
    }
    let text = "<rss><channel><item><link>http://a.example/1</link>\
        <link>http://a.example/2</link></item></channel></rss>";
    assert_eq!(urls(text).await, ["http://a.example/1", "http://a.example/2"]);
}

#[tokio::test]
async fn a_url_outside_of_an_entry_is_not_lost_without_a_word() {
    for (text, reason) in [
        ("<urlset><loc>http://a.example/1</loc></urlset>", "outside of a <url>"),
        ("<urlset><item><loc>http://a.example/1</loc></item></urlset>", "outside of a <url>"),
        (
            "<sitemapindex><url><loc>http://a.example/1</loc></url></sitemapindex>",
            "outside of a <sitemap>",
        ),
        ("<feed><product><url>http://a.example/1</url></product></feed>", "has no <entry>"),
    ] {
        let read = urls(text).await;
        assert!(read.len() == 1 && read[0].contains(reason), "{text}: {read:?}");
    }
    for text in [
        "<urlset xmlns:i='http://i.example/'><i:loc>http://a.example/1</i:loc></urlset>",
        "<feed xmlns='http://www.w3.org/2005/Atom'><link href='http://a.example/'/></feed>",
    ] {
        assert_eq!(urls(text).await, [""; 0], "{text}");
    }
}

#[tokio::test]
async fn a_url_of_utf_8_is_not_read_in_another_encoding() {
    let read = async |text: &[u8]| read_from(text, None).await.remove(0).1;
    for encoding in ["iso-8859-1", "windows-1251", "koi8-r"] {
        let head = format!("<?xml version='1.0' encoding='{encoding}'?>");
        for entry in [
            "<urlset><url><loc>http://a.example/gr\u{fc}n</loc></url></urlset>",
            "<feed><entry><link href='http://a.example/\u{447}\u{430}\u{439}'/></entry></feed>",
        ] {
            let read = read(format!("{head}{entry}").as_bytes()).await;
            assert!(read.contains("it is UTF-8, and the sitemap declares"), "{read}");
        }
    }
    let text = b"<?xml version='1.0' encoding='iso-8859-1'?><urlset><url>\
        <loc>http://a.example/gr\xfcn</loc></url></urlset>";
    assert_eq!(read(text).await, "http://a.example/gr%C3%BCn");
}
