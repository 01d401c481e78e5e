//! The product token of a `User-Agent`: the name by which robots.txt addresses a crawler (RFC 9309,
//! section 2.2.1).

/// Names of browsers, of their parts and of their platforms, in lower case. No site writes rules
/// for these.
const BROWSERS: [&str; 48] = [
    "android",
    "applewebkit",
    "brave",
    "build",
    "chrome",
    "chromium",
    "cpu",
    "crios",
    "cros",
    "ddg",
    "edg",
    "edga",
    "edge",
    "edgios",
    "electron",
    "epiphany",
    "firefox",
    "focus",
    "fxios",
    "gecko",
    "gsa",
    "headlesschrome",
    "iceweasel",
    "instagram",
    "ipad",
    "iphone",
    "khtml",
    "konqueror",
    "like",
    "linux",
    "macintosh",
    "mobile",
    "mozilla",
    "msie",
    "opera",
    "opr",
    "presto",
    "safari",
    "samsungbrowser",
    "seamonkey",
    "silk",
    "trident",
    "ubuntu",
    "ucbrowser",
    "version",
    "vivaldi",
    "windows",
    "yabrowser",
];

/// The product token of a `User-Agent`; `None` where it names only browsers, or nothing.
///
/// It is the name that the text begins with. A crawler that begins like a browser names itself
/// later: after `compatible;`, or as another product with a version.
pub(crate) fn find(user_agent: &str) -> Option<&str> {
    let first = user_agent.split_whitespace().next().and_then(name);
    let after_compatible =
        || elements(user_agent).skip_while(|it| *it != "compatible").skip(1).find_map(name);
    let product = || words(user_agent).filter(|word| word.contains('/')).find_map(name);
    first.or_else(after_compatible).or_else(product)
}

/// Whether a text is a product token: letters, `-` and `_`.
pub(crate) fn is_valid(text: &str) -> bool {
    !text.is_empty() && prefix(text).len() == text.len()
}

/// The product token that a text begins with; empty where there is none.
pub(super) fn prefix(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphabetic() || matches!(c, '-' | '_')));
    &text[..end.unwrap_or(text.len())]
}

/// The name that an element begins with, unless it is that of a browser, or the element is an
/// address.
fn name(element: &str) -> Option<&str> {
    let word = element.split_whitespace().next().unwrap_or_default();
    let is_address = word.contains("://") || word.contains('@') || word.starts_with("www.");
    let name = prefix(word);
    let is_browser = || BROWSERS.iter().any(|browser| name.eq_ignore_ascii_case(browser));
    let is_name = name.bytes().any(|byte| byte.is_ascii_alphabetic());
    (is_name && !is_address && !is_browser()).then_some(name)
}

/// What separators of comments enclose.
fn elements(user_agent: &str) -> impl Iterator<Item = &str> {
    user_agent.split([';', '(', ')', ',']).map(str::trim)
}

fn words(user_agent: &str) -> impl Iterator<Item = &str> {
    elements(user_agent).flat_map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_name_that_the_text_begins_with() {
        for (user_agent, token) in [
            ("fetchline/1.0", "fetchline"),
            ("my-bot (+https://a.example)", "my-bot"),
            ("x", "x"),
            ("Price_Bot2/1.0", "Price_Bot"),
            ("Java/17 (compatible; other/1)", "Java"),
        ] {
            assert_eq!(find(user_agent), Some(token), "{user_agent}");
        }
    }

    #[test]
    fn the_token_is_found_in_a_text_that_begins_like_a_browser() {
        for (user_agent, token) in [
            ("Mozilla/5.0 (compatible; PriceBot/2.1; +https://bot.example/about)", "PriceBot"),
            ("Mozilla/5.0 (compatible; price-bot; https://bot.example/)", "price-bot"),
            ("Mozilla/5.0 (compatible;PriceBot/2.1)", "PriceBot"),
            ("Mozilla/5.0 (compatible; Price Bot 2; x@bot.example)", "Price"),
            (
                "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PriceBot/2.1; \
                 +http://bot.example/bot.htm) Chrome/120.0.0.0 Safari/537.36",
                "PriceBot",
            ),
            (
                "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 \
                 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36 (compatible; \
                 PriceBot/2.1; +http://bot.example/)",
                "PriceBot",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like \
                 Gecko) Version/17.0 Safari/605.1.15 (PriceBot/0.1; +http://bot.example)",
                "PriceBot",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/120.0.0.0 Safari/537.36 PriceBot/2.1",
                "PriceBot",
            ),
            ("Mozilla/5.0 (compatible; MSIE 9.0; PriceBot/2.1)", "PriceBot"),
            ("2.0 PriceBot/1.0", "PriceBot"),
        ] {
            assert_eq!(find(user_agent), Some(token), "{user_agent}");
        }
    }

    #[test]
    fn a_browser_has_no_token() {
        for user_agent in [
            "",
            "  ",
            "123",
            "360/1.0",
            "- (x)",
            "(+https://bot.example/about)",
            "https://bot.example/about",
            "Mozilla/5.0",
            "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, \
             like Gecko) Version/17.0 Mobile/15E148 Safari/604.1",
            "Mozilla/4.0 (compatible; MSIE 8.0)",
            "Opera/9.80 (Windows NT 6.1; U; en) Presto/2.8.131 Version/11.11",
        ] {
            assert_eq!(find(user_agent), None, "{user_agent}");
        }
    }
}
