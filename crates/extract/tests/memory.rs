//! Pages that ask for memory get what [`MOST_MEMORY`] says, and no more.
//!
//! One test alone in its binary: the allocator counts what all threads take.

use anyhow::Result;
use fetchline_extract::{Content, MOST_MEMORY, Rules, product};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes of the pages. Longer ones take no more, but for the copy of an attribute that fills them.
const PAGE: usize = 1024 * 1024;

/// As many of something as fill a page, or a part of one.
fn many(text: &str, bytes: usize) -> String {
    text.repeat(bytes / text.len())
}

fn pages() -> Vec<String> {
    let block = |json: &str| format!("<script type='application/ld+json'>{json}</script>");
    let product = |inner: &str| format!("<i itemscope itemtype=https://schema.org/Product>{inner}");
    let kib = 1024;
    let json = 255 * kib;
    vec![
        product(&format!("<i itemprop=\"{}\" content=\"{}\">", "a ".repeat(2_000), "x".repeat(100_000))),
        product(&format!("<i itemprop=\"{}\" content=\"{}\">", "a ".repeat(2_000), "x".repeat(PAGE))),
        product(&format!("<i itemprop=\"{}\">", many("a ", PAGE))),
        product(&many("<i itemprop='a b c d e f g h' content=x>", PAGE)),
        product(&many(&format!("<i itemprop='a b c d e f g h' content='{}'>", "&amp;".repeat(1_000)), PAGE)),
        product(&many("<b itemprop='a b c d e f g h'>text</b>", PAGE)),
        product(&many("<i itemprop=a itemscope itemid=/x itemtype='A B C D E F G H'>", PAGE)),
        many("<div itemscope typeof='A B' property=c itemprop=d itemtype='Product F'>text", PAGE),
        format!("<div typeof='{}' resource='{}'>Product", many("A ", PAGE / 2), "x".repeat(PAGE / 2)),
        product(&format!("<b {}>", many("a ", PAGE))),
        product(&format!("<b {}>", many("a ", PAGE / 8))),
        product(&format!("<b {}", many("a ", PAGE))),
        product(&format!("<b {}", many("a='' ", PAGE))),
        many("<div><b>Product", PAGE),
        format!("<title>Product{}", many("&amp;", PAGE)),
        many("<meta property=og:type content=product>", PAGE),
        format!("<meta property=og:title content='Product{}'>", many("&amp;", PAGE)),
        many("<script type=application/ld+json>Product</script>", PAGE),
        many(&block(r#"{"@type":"Product"}"#), PAGE),
        many(&block(r#"{"@type":"BreadcrumbList"}"#), PAGE),
        block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, many("[],", json))),
        block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, many("{},", json))),
        block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, many("{a:1},", json))),
        block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, many("\"\",", json))),
        block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, many("1,", json))),
        block(&format!(r#"{{"@type":"Product",{}}}"#, (0..30_000).map(|n| format!("a{n}:1,")).collect::<String>())),
        block(&format!(r#"{{"@type":"Product","a":"{}"}}"#, many("\\n", json))),
        block(&many("{\"Product\":1}", json)),
        block(&many("{&quot;Product&quot;:[],", json)),
        block(&format!("[{}", many("\"Product\",", PAGE))),
        format!(
            "{}{}{}",
            many(&format!("<p itemscope><meta itemprop='a b c d e f g h' content='{}'></p>", "x".repeat(4_000)), PAGE),
            many(
                &format!("<p typeof=Product><meta property='a b c d e f g h' content='{}'></p>", "x".repeat(4_000)),
                PAGE
            ),
            block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, many("{a:1},", json))),
        ),
        format!("{{\"name\":\"product\",\"price\":[{}]}}", many("{},", json)),
        format!("{{\"name\":\"product\",\"price\":[{}]}}", many("{},", PAGE)),
    ]
}

#[test]
fn no_page_takes_more_memory_than_is_said() -> Result<()> {
    let address = "https://shop.example/p/1".parse()?;
    let rules = Rules::default();
    for (at, page) in pages().into_iter().enumerate() {
        let content = Content::Text(page);
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        product(&content, &address, &rules, None);
        let taken = ALLOCATOR.peak_usage() - before;
        assert!(taken < MOST_MEMORY, "page {at} takes {} KiB", taken >> 10);
    }
    Ok(())
}
