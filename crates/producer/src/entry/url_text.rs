//! Texts that the URL standard accepts as a URL although they are not what was meant.
//!
//! Browsers repair what people type. A list is written by programs: what is repaired there would be
//! the URL of another page.

use std::net::IpAddr;

use fetchline_queue::{
    Address, begins_with_scheme, check_host_name, has_second_url, is_invisible, is_padding,
    unwrapped,
};

use super::format::trimmed;

/// Refuses a text that is no URL, or more than a URL.
pub(super) fn check(text: &str) -> Result<(), String> {
    let text = trimmed(text);
    if text.contains('\\') {
        return Err(unusable(
            "it contains a backslash, which may be an escape of the program that wrote the list; \
             write %5C if it is a part of the URL",
        ));
    }
    check_whole(text)?;
    if let Some(reference) = html_reference(text) {
        return Err(unusable(format!(
            "it contains `{reference}`, an escape of HTML; write what it stands for, or %26 for a \
             `&` that is a part of the URL"
        )));
    }
    if has_remark(text) {
        return Err(unusable("a remark or another cell seems to follow it; remove that"));
    }
    if let Some(sign) = unwrapped(text).chars().find(|c| matches!(c, '<' | '>' | '`' | '^')) {
        return Err(unusable(format!(
            "it contains `{sign}`, which no URL has unescaped; remove what does not belong to it, \
             or write %{:02X}",
            u32::from(sign)
        )));
    }
    Ok(())
}

/// Refuses a line or a cell that ends with a bracket or a quote that nothing in it opens.
pub(super) fn check_closed(text: &str) -> Result<(), String> {
    let text = unwrapped(text);
    match text.chars().last().filter(|last| is_unopened(text, *last)) {
        Some(last) => {
            Err(unusable(format!("it ends with `{last}`, which nothing in it opens; remove that")))
        }
        None => Ok(()),
    }
}

/// Whether a sign closes more than is open before it: its partner stands before the URL, or is
/// lost.
fn is_unopened(text: &str, close: char) -> bool {
    const PAIRS: [(char, char); 12] = [
        ('(', ')'),
        ('[', ']'),
        ('{', '}'),
        ('“', '”'),
        ('„', '“'),
        ('‘', '’'),
        ('«', '»'),
        ('‹', '›'),
        ('（', '）'),
        ('【', '】'),
        ('「', '」'),
        ('《', '》'),
    ];
    let count = |sign: char| text.matches(sign).count();
    close == '\'' && count(close) % 2 == 1
        || PAIRS.iter().any(|&(open, end)| end == close && count(open) < count(close))
}

/// Refuses a line that is said to be one URL, whatever it contains, if it is none or two.
pub(super) fn check_whole(text: &str) -> Result<(), String> {
    let text = trimmed(text);
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(unusable(
            "a character was lost in a conversion; if the list is not UTF-8, name its encoding \
             with --encoding",
        ));
    }
    if text.starts_with('=') {
        return Err(unusable(
            "it is a formula without its value; open the list in a spreadsheet program, and save \
             it with the values of its formulas",
        ));
    }
    if has_second_url(text) {
        return Err(unusable(
            "a second URL follows it; if that is a part of the first one, write its `:` as %3A",
        ));
    }
    check_visible(text)?;
    if has_broken_scheme(text) {
        return Err(unusable("its scheme is not followed by // and a host"));
    }
    if is_word(text) {
        return Err(unusable("it is no absolute URL"));
    }
    Ok(())
}

/// Refuses an invisible character in a URL. Without it, the URL may be that of another page. A
/// joiner has a meaning between two letters, and none at the end.
fn check_visible(text: &str) -> Result<(), String> {
    if text.is_ascii() {
        return Ok(());
    }
    let last = text.chars().count().saturating_sub(1);
    let is_strange =
        |(index, c): &(usize, char)| is_invisible(*c) || *index == last && is_padding(*c);
    match text.chars().enumerate().find(is_strange) {
        Some((index, c)) => Err(unusable(format!(
            "its character {} is U+{:04X}, which is invisible; remove it, or encode it",
            index + 1,
            u32::from(c)
        ))),
        None => Ok(()),
    }
}

/// Refuses a host that no resolver knows.
pub(super) fn check_host(address: &Address, given: &str) -> Result<(), String> {
    match (address.as_url().domain(), address.ip()) {
        (Some("http" | "https"), _) => Err(unusable("its scheme stands there twice")),
        (Some(name), _) if check_host_name(address).is_err() => {
            Err(unusable(format!("`{name}` is not the name of a host")))
        }
        // The standard reads any number as an address.
        (_, Some(IpAddr::V4(ip))) if has_number_as_host(given) => {
            Err(unusable(format!("its host is a number; write it as {ip} if that is meant")))
        }
        _ => Ok(()),
    }
}

pub(super) fn unusable(problem: impl std::fmt::Display) -> String {
    format!("the URL is not usable: {problem}")
}

/// Whether a host is a number with fewer parts than an address has.
fn has_number_as_host(url: &str) -> bool {
    let authority = url.split(['/', '?', '#']).nth(2).unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    host.split('.').count() < 4 && host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Whether a text cannot even be a URL without its scheme, such as `Tea` or `#N/A`.
fn is_word(text: &str) -> bool {
    let start = text.split('/').next().unwrap_or_default();
    !text.is_empty() && !text.starts_with("//") && !start.contains(['.', ':', '['])
}

/// Whether a scheme that is fetched has no `//` and host behind it.
fn has_broken_scheme(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_fetched = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    is_fetched && (!begins_with_scheme(text) || rest.starts_with("///"))
}

/// The first character reference of HTML, such as `&amp;` or `&#038;`, whose `#` would begin a
/// fragment.
fn html_reference(text: &str) -> Option<&str> {
    // `;` may separate parameters, as in `?&a;b`, so that not every word is an entity.
    const NAMES: [&str; 5] = ["amp", "quot", "apos", "nbsp", "szlig"];
    const MARKS: [&str; 6] = ["acute", "grave", "circ", "uml", "tilde", "cedil"];
    text.match_indices('&').find_map(|(start, _)| {
        let rest = &text[start + 1..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '#')?;
        let (name, behind) = rest.split_at(end);
        let is_letter = || name.len() > 1 && MARKS.contains(&&name[1..]);
        let is_name = NAMES.contains(&name) || is_letter();
        let is_number = name.strip_prefix('#').is_some_and(|number| {
            let hex = number.strip_prefix(['x', 'X']);
            let is_digit = |c: char| c.is_digit(if hex.is_some() { 16 } else { 10 });
            !number.is_empty() && hex.unwrap_or(number).chars().all(is_digit)
        });
        (behind.starts_with(';') && (is_name || is_number)).then(|| &text[start..start + end + 2])
    })
}

/// Whether something follows a URL behind white space. White space alone may be one that is not
/// encoded, as in `my file.jpg`.
fn has_remark(text: &str) -> bool {
    text.split_whitespace().zip(text.split_whitespace().skip(1)).any(|(word, next)| {
        word.ends_with([',', ';', '|', '>'])
            || next.starts_with(['-', '–', '—', '#', '(', '[', '|', '<', '>', '*', '"'])
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::parse_url;
    use super::*;

    #[test]
    fn what_only_browsers_take_for_a_url_is_refused() {
        for (text, reason) in [
            ("https:\\/\\/a.example\\/p\\/1", "backslash"),
            ("https://a.example/1\nhttps://a.example/2", "second URL"),
            ("https://a.example/1\\nhttps://a.example/2", "backslash"),
            ("https://a.example/p\\1", "backslash"),
            ("https://a.example\\p", "backslash"),
            ("https://https://a.example/1", "twice"),
            ("http://HTTP://a.example/1", "twice"),
            ("https://http//a.example/1", "twice"),
            ("https:///a.example/2", "scheme"),
            ("https:a.example/3", "scheme"),
            ("HTTP:/a.example/3", "scheme"),
            ("https://a.example,Tea", "`a.example,tea`"),
            ("https://a.example;Tea/1", "`a.example;tea`"),
            ("https://{host}/1", "`{host}`"),
            ("https://a..example/1", "`a..example`"),
            ("https://12/1", "0.0.0.12"),
            ("https://12.5:8080/", "12.0.0.5"),
            ("https://a.example/1 - out of stock", "remark"),
            ("https://a.example/2 # old", "remark"),
            ("https://a.example/2 (old)", "remark"),
            ("https://a.example/3, www.a.example/4", "remark"),
            ("https://a.example/3\u{a0}| Tea", "remark"),
            ("https://a.example/1\u{200b}x", "character 20 is U+200B"),
            ("https://a.ex\u{ad}ample/1", "U+00AD"),
            ("https://a.example/\u{6a9}\u{200c}", "U+200C"),
            ("https://a.example/1<br>", "`<`"),
            ("https://a.example/1</loc>", "`<`"),
            ("https://a.example/1>", "`>`"),
            ("https://a.example/1`", "%60"),
            ("https://a.example/1^Tea", "%5E"),
            ("https://a.example/?a=1&amp;b=2", "`&amp;`"),
            ("https://a.example/?a=1&#038;b=2", "`&#038;`"),
            ("https://a.example/l&#x27;eau", "`&#x27;`"),
            ("https://a.example/?&&a&caf&eacute;", "`&eacute;`"),
            ("Tea", "no absolute URL"),
            ("#N/A", "no absolute URL"),
            ("/p/1", "no absolute URL"),
            ("www.a.example/p", "write https:// before it"),
            ("=HYPERLINK(\"https://a.example/1\",\"Tea\")", "formula"),
        ] {
            let problem = parse_url(text).unwrap_err();
            assert!(problem.contains(reason), "{text}: {problem}");
        }
    }

    #[test]
    fn what_a_url_may_hold_is_kept() {
        for text in [
            "https://a.example/my file.jpg",
            "https://a.example/?q=green tea & jam",
            "https://a_b.example./x",
            "https://bücher.example/",
            "https://user@127.0.0.1:8080/",
            "http://[::1]/",
            "http://0x7f.0.0.1/",
            "https://a.example/a{b}[c]|d;e,f#g",
            "https://a.example/?a&amp=1&b;c&#a;&é;&",
            "HTTPS://A.EXAMPLE",
            "\u{200f}https://a.example/1\u{200e}",
            "https://a.example/\u{6a9}\u{200c}\u{6a9}\u{feff}",
            "<https://a.example/1>",
            "`https://a.example/1`",
        ] {
            assert!(parse_url(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_effort_grows_with_the_text_and_not_with_its_square() {
        let text = format!("https://a.example/{}x", " ".repeat(1_000_000));
        assert!(check(&text).is_ok() && parse_url(&text).is_err());
    }

    #[test]
    fn what_closes_nothing_at_the_end_is_refused() {
        for end in ["1]", "a(b)c)", "1\"}", "1'", "1”", "1»", "1）"] {
            assert!(check_closed(&format!("https://a.example/{end}")).is_err(), "{end}");
        }
        for end in ["a_(b)", "it's", "'a'", "[1]", "?q=\"", "红茶（新）"] {
            assert!(check_closed(&format!("https://a.example/{end}")).is_ok(), "{end}");
        }
        assert!(check_closed("'https://a.example/1'").is_ok());
    }
}
