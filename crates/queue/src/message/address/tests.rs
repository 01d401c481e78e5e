use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

fn normalised(text: &str) -> String {
    Address::parse(text).unwrap().as_str().to_owned()
}

#[test]
fn equivalent_urls_are_normalised_to_the_same_text() {
    for (given, expected) in [
        ("  https://Shop.Example:443/a  ", "https://shop.example/a"),
        ("HTTP://shop.example:80", "http://shop.example/"),
        ("http://shop.example:8080/", "http://shop.example:8080/"),
        ("https://shop.example/a/../b?x=1#top", "https://shop.example/b?x=1"),
        ("https://bücher.example/straße", "https://xn--bcher-kva.example/stra%C3%9Fe"),
        ("https://shop.example/%7Euser?q=a b", "https://shop.example/%7Euser?q=a%20b"),
    ] {
        assert_eq!(normalised(given), expected, "{given}");
    }
}

#[test]
fn differences_that_only_convention_makes_equivalent_are_kept() {
    assert_ne!(normalised("http://a.example/x?b=1&a=2"), normalised("http://a.example/x?a=2&b=1"));
    assert_ne!(normalised("http://a.example/x/"), normalised("http://a.example/x"));
}

#[test]
fn a_url_that_cannot_be_fetched_is_an_error_with_its_reason() {
    for (text, reason) in [
        ("", "empty"),
        (" \t ", "empty"),
        ("shop.example/a", "write https:// before it"),
        ("www.shop.example", "write https:// before it"),
        ("shop.example:8080/p?q=a:b", "write https:// before it"),
        ("localhost:8080", "write https:// before it"),
        ("//shop.example/p", "write https:// before it"),
        ("192.0.2.7/p", "write https:// before it"),
        ("[2001:db8::1]:8080/p", "write https:// before it"),
        ("/p/1?next=https://shop.example/", "write https:// before it"),
        ("https:shop.example:99999", "absolute"),
        ("Tea: https://shop.example/4", "remove what stands before"),
        ("Sitemap:  HTTPS://shop.example/sitemap.xml", "remove what stands before"),
        ("* https://shop.example/1", "remove what stands before"),
        ("User-agent: *", "`user-agent`"),
        ("mailto:a@shop.example", "`mailto`"),
        ("tel:+4930123456", "`tel`"),
        ("ftp://shop.example/a", "`ftp`"),
        ("javascript:alert(1)", "`javascript`"),
        ("http://", "absolute"),
        (&format!("http://{}example/", "a.".repeat(130)), "host has"),
        (&format!("http://{}abcd./", "a.".repeat(125)), "host has 254"),
        ("http://a.example/\u{0}", "control"),
        ("http://a.exa\nmple/", "control"),
        (&format!("http://a.example/{}", "x".repeat(MAX_URL_BYTES)), "bytes; at most"),
    ] {
        let error = Address::parse(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text:?}: {error}");
    }
}

#[test]
fn credentials_are_never_shown() {
    for text in
        ["https://user:secret@shop.example:8443/a?b", "https://secret@shop.example:8443/a?b"]
    {
        let address = Address::parse(text).unwrap();
        assert_eq!(address.to_string(), "https://***@shop.example:8443/a?b");
        assert_eq!(format!("{address:?}"), address.to_string());
        assert_eq!(address.host(), "shop.example:8443");
        assert_eq!(address.as_str(), text);
    }
}

#[test]
fn an_ip_address_is_parsed_in_every_spelling() {
    let loopback = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "%31%32%37.0.0.1",
        "１２７。１",
    ] {
        assert_eq!(
            Address::parse(&format!("http://{host}:8080/")).unwrap().ip(),
            loopback,
            "{host}"
        );
    }
    assert_eq!(Address::parse("http://[::1]/").unwrap().ip(), Some(Ipv6Addr::LOCALHOST.into()));
    assert_eq!(Address::parse("http://127.0.0.1.example/").unwrap().ip(), None);
}

#[test]
fn a_redirect_keeps_credentials_only_within_its_host() {
    let page = Address::parse("https://user:secret@shop.example/a/b").unwrap();
    for location in ["c", "/c", "?q", "./../c"] {
        assert!(
            page.join(location).unwrap().as_str().starts_with("https://user:secret@shop.example/"),
            "{location}"
        );
    }
    for location in [
        "//other.example/",
        "https://other.example/",
        "http://shop.example/",
        "https://shop.example:8443/",
        r"\\other.example/",
        "/\t/other.example/",
    ] {
        let next = page.join(location).unwrap();
        assert!(
            !next.as_str().contains("secret") && !next.same_origin(&page),
            "{location}: {}",
            next.as_str()
        );
    }
}

#[test]
fn a_location_is_resolved_as_browsers_do() {
    let page = Address::parse("https://shop.example/a/b?q#f").unwrap();
    for (location, expected) in [
        (&b"/caf\xc3\xa9?\xc3\xa9"[..], "https://shop.example/caf%C3%A9?%C3%A9"),
        (b"/caf\xe9?\xe9", "https://shop.example/caf%E9?%E9"),
        (b"https://B\xc3\xbccher.example/", "https://xn--bcher-kva.example/"),
        (b" /a b\t/c ", "https://shop.example/a%20b/c"),
        (b"\\c\\d", "https://shop.example/c/d"),
        (b"\\\\other.example\\d", "https://other.example/d"),
        (b"//other.example", "https://other.example/"),
        (b"https:c", "https://shop.example/a/c"),
        (b"https:///other.example/", "https://other.example/"),
        (b"HTTPS://Shop.Example:443/../c", "https://shop.example/c"),
        (b"?x", "https://shop.example/a/b?x"),
        (b"#top", "https://shop.example/a/b?q"),
        (b"", "https://shop.example/a/b?q"),
        (b"%zz%", "https://shop.example/a/%zz%"),
        (b"%2e%2E/c", "https://shop.example/c"),
        (b"c|d\"<e>", "https://shop.example/a/c|d%22%3Ce%3E"),
    ] {
        let text = String::from_utf8_lossy(location);
        assert_eq!(page.follow(location).unwrap().as_str(), expected, "{text}");
    }
    for location in [&b"mailto:a@b.example"[..], b"https://", b"https://a b/", b"//\xff.example/"] {
        assert!(page.follow(location).is_err(), "{}", String::from_utf8_lossy(location));
    }
}

#[test]
fn encryption_does_not_make_another_site() {
    let site = |from, to| Address::parse(from).unwrap().is_site_of(&Address::parse(to).unwrap());
    for (from, to, expected) in [
        ("http://a.example/", "https://a.example/x", true),
        ("http://a.example:8080/", "https://a.example:8443/", false),
        ("http://a.example/", "http://a.example/x", true),
        ("https://a.example/", "http://a.example/", false),
        ("http://a.example/", "http://a.example:81/", false),
        ("https://a.example/", "https://a.example:444/", false),
        ("http://a.example/", "https://www.a.example/", false),
        ("http://a.example/", "https://a.example./", false),
    ] {
        assert_eq!(site(from, to), expected, "{from} {to}");
    }
}

#[test]
fn a_redirect_may_not_leave_http() {
    let page = Address::parse("https://shop.example/a/b").unwrap();
    assert_eq!(page.join("../c").unwrap().as_str(), "https://shop.example/c");
    assert!(page.join("//other.example/").is_ok_and(|other| !page.same_origin(&other)));
    assert!(matches!(page.join("file:///etc/passwd"), Err(AddressError::Scheme(_))));
}

#[test]
fn a_dot_at_the_end_of_a_name_does_not_make_another_host() {
    for (url, host) in [
        ("https://shop.example./a", "shop.example"),
        ("https://Shop.Example.:443/a", "shop.example"),
        ("http://shop.example.:8080/a", "shop.example:8080"),
        ("https://user:secret@shop.example.:8443/", "shop.example:8443"),
        ("https://b\u{fc}cher.example\u{3002}/", "xn--bcher-kva.example"),
        ("http://localhost.", "localhost"),
        ("http://127.0.0.1./", "127.0.0.1"),
        ("http://127.0.0.1.:8080/", "127.0.0.1:8080"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("http://[fd00::5]/", "[fd00::5]"),
    ] {
        assert_eq!(Address::parse(url).unwrap().host(), host, "{url}");
    }
    // The URL itself stays as it was given.
    assert_eq!(normalised("https://shop.example./a"), "https://shop.example./a");
    assert_eq!(normalised("http://shop.example.:8080/a"), "http://shop.example.:8080/a");
    // No resolver accepts either name.
    for url in ["http://./", "http://shop.example../", "http://shop.example..:81/"] {
        if let Ok(address) = Address::parse(url) {
            assert_eq!(address.host(), &url["http://".len()..url.len() - 1]);
        }
    }
    assert!(Address::parse(&format!("http://{}abc./", "a.".repeat(125))).is_ok());
}

#[test]
fn a_dot_at_the_end_of_a_name_makes_another_origin() {
    for port in ["", ":8443"] {
        let page = Address::parse(&format!("https://shop.example{port}/a")).unwrap();
        let dotted = Address::parse(&format!("https://shop.example.{port}/a")).unwrap();
        assert!(page.host() == dotted.host() && !page.same_origin(&dotted) && page != dotted);
        assert!(dotted.same_origin(&dotted.join("b").unwrap()));
    }
}

#[test]
fn what_stands_before_a_url_is_named_as_the_problem() {
    for text in [
        "- https://shop.example/p",
        "* https://shop.example/p",
        "1. http://shop.example/p",
        "2) http://shop.example/p",
        "<a href=\"https://shop.example/p\">",
        "<a href=https://shop.example/p>",
        "[tea](https://shop.example/p)",
    ] {
        assert_eq!(Address::parse(text), Err(AddressError::Preceded), "{text}");
    }
    for text in ["shop.example/p", "shop.example/?to=https://b.example/", "shop.example:8080/p"] {
        assert_eq!(Address::parse(text), Err(AddressError::SchemeMissing), "{text}");
    }
}
