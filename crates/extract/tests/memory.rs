//! No page takes more memory than [`MAX_MEMORY`].
//!
//! This binary has a single test, since the allocator counts the memory of all threads.

use anyhow::Result;
use fetchline_extract::{Content, MAX_MEMORY, Rules, product};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes of a page. A longer page takes more only for the copy of an attribute that fills it.
const PAGE_BYTES: usize = 1024 * 1024;

/// Repeats a text to fill this many bytes.
fn fill(text: &str, bytes: usize) -> String {
    text.repeat(bytes / text.len())
}

fn pages() -> Vec<String> {
    let block = |json: &str| format!("<script type='application/ld+json'>{json}</script>");
    let product = |inner: &str| format!("<i itemscope itemtype=https://schema.org/Product>{inner}");
    let kib = 1024;
    let json = 255 * kib;
    vec![
        product(&format!(
            "<i itemprop=\"{}\" content=\"{}\">",
            "a ".repeat(2_000),
            "x".repeat(100_000)
        )),
        product(&format!(
            "<i itemprop=\"{}\" content=\"{}\">",
            "a ".repeat(2_000),
            "x".repeat(PAGE_BYTES)
        )),
        product(&format!("<i itemprop=\"{}\">", fill("a ", PAGE_BYTES))),
        product(&fill("<i itemprop='a b c d e f g h' content=x>", PAGE_BYTES)),
        product(&fill(
            &format!("<i itemprop='a b c d e f g h' content='{}'>", "&amp;".repeat(1_000)),
            PAGE_BYTES,
        )),
        product(&fill("<b itemprop='a b c d e f g h'>text</b>", PAGE_BYTES)),
        product(&fill("<i itemprop=a itemscope itemid=/x itemtype='A B C D E F G H'>", PAGE_BYTES)),
        fill(
            "<div itemscope typeof='A B' property=c itemprop=d itemtype='Product F'>text",
            PAGE_BYTES,
        ),
        format!(
            "<div typeof='{}' resource='{}'>Product",
            fill("A ", PAGE_BYTES / 2),
            "x".repeat(PAGE_BYTES / 2)
        ),
        product(&format!("<b {}>", fill("a ", PAGE_BYTES))),
        product(&format!("<b {}>", fill("a ", PAGE_BYTES / 8))),
        product(&format!("<b {}", fill("a ", PAGE_BYTES))),
        product(&format!("<b {}", fill("a='' ", PAGE_BYTES))),
        fill("<div><b>Product", PAGE_BYTES),
        format!("<title>Product{}", fill("&amp;", PAGE_BYTES)),
        fill("<meta property=og:type content=product>", PAGE_BYTES),
        format!("<meta property=og:title content='Product{}'>", fill("&amp;", PAGE_BYTES)),
        fill("<script type=application/ld+json>Product</script>", PAGE_BYTES),
        fill(&block(r#"{"@type":"Product"}"#), PAGE_BYTES),
        fill(&block(r#"{"@type":"BreadcrumbList"}"#), PAGE_BYTES),
        block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, fill("[],", json))),
        block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, fill("{},", json))),
        block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, fill("{a:1},", json))),
        block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, fill("\"\",", json))),
        block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, fill("1,", json))),
        block(&format!(
            r#"{{"@type":"Product",{}}}"#,
            (0..30_000).map(|n| format!("a{n}:1,")).collect::<String>()
        )),
        block(&format!(r#"{{"@type":"Product","a":"{}"}}"#, fill("\\n", json))),
        block(&fill("{\"Product\":1}", json)),
        block(&fill("{&quot;Product&quot;:[],", json)),
        block(&format!("[{}", fill("\"Product\",", PAGE_BYTES))),
        format!(
            "{}{}{}",
            fill(
                &format!(
                    "<p itemscope><meta itemprop='a b c d e f g h' content='{}'></p>",
                    "x".repeat(4_000)
                ),
                PAGE_BYTES
            ),
            fill(
                &format!(
                    "<p typeof=Product><meta property='a b c d e f g h' content='{}'></p>",
                    "x".repeat(4_000)
                ),
                PAGE_BYTES
            ),
            block(&format!(r#"{{"@type":"Product","a":[{}]}}"#, fill("{a:1},", json))),
        ),
        format!(
            "<title>Product</title><script>self.__next_f.push([1,\"{}\"])</script>",
            fill(r#"{\"@context\":1,\"@type\":\"Product\",\"price\":[{},{},{}]},"#, PAGE_BYTES)
        ),
        format!(
            "<title>Product</title><script>window.__STATE__={{\"a\":[{}0]}}</script>",
            fill(r#"{"name":"Product","price":[{},{},{}]},"#, PAGE_BYTES)
        ),
        format!("{{\"name\":\"product\",\"price\":[{}]}}", fill("{},", json)),
        format!("{{\"name\":\"product\",\"price\":[{}]}}", fill("{},", PAGE_BYTES)),
    ]
}

#[test]
fn no_page_takes_more_than_the_maximum_memory() -> Result<()> {
    let address = "https://shop.example/p/1".parse()?;
    let rules = Rules::default();
    for (at, page) in pages().into_iter().enumerate() {
        let content = Content::Text(page);
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        product(&content, &address, &rules, None);
        let used = ALLOCATOR.peak_usage() - before;
        assert!(used < MAX_MEMORY, "page {at} takes {} KiB", used >> 10);
    }
    Ok(())
}
