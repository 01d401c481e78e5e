//! Files `robots.txt`.

use fetchline_worker::bench::robots_allow;
use proptest::prelude::*;

use crate::input;

const PIECES: &[&str] = &[
    "User-agent: *\n",
    "User-agent: fetchline\n",
    "user-agent:",
    "Disallow: /\n",
    "Disallow:",
    "Allow: /p\n",
    "Allow:",
    "Crawl-delay: 5\n",
    "Crawl-delay: 1e99\n",
    "Sitemap: x\n",
    "*",
    "$",
    "%2F",
    "%",
    "%zz",
    "/",
    "/p",
    "?",
    "#",
    "\r",
    "\n",
    "\r\n",
    "\u{feff}",
    " ",
    "\t",
    ":",
    "\0",
    "é",
];
const PATHS: [&str; 5] = ["/", "/p/1", "/p?a=b%2Fc", "/%7Ejoe/", "/é$"];

#[test]
fn any_file_is_read_and_line_ends_and_comments_change_nothing() -> anyhow::Result<()> {
    input::check("tests/fuzz/corpus/robots", PIECES, |input| {
        prop_assert!(robots_allow(input, "/robots.txt"), "the file itself is always allowed");
        let text = String::from_utf8_lossy(input).into_owned();
        for path in PATHS {
            let allowed = robots_allow(text.as_bytes(), path);
            let commented = format!("# ours\n\n{text}");
            let is_marked = text.starts_with('\u{feff}');
            prop_assert!(is_marked || allowed == robots_allow(commented.as_bytes(), path));
            let crlf = text.replace("\r\n", "\n").replace('\n', "\r\n");
            prop_assert_eq!(allowed, robots_allow(crlf.as_bytes(), path));
        }
        Ok(())
    })
}
