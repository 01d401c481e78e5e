//! The grammar of RFC 9309, and what the tests of Google's parser ask for.

use proptest::prelude::*;

use super::*;

fn allows(file: &str, path: &str) -> bool {
    Rules::parse(file.as_bytes(), "FooBot").allow(path)
}

/// Checks several paths against one file.
fn check(file: &str, expected: &[(&str, bool)]) {
    for (path, is_allowed) in expected {
        assert_eq!(allows(file, path), *is_allowed, "{path} by\n{file}");
    }
}

fn delay(file: &str) -> Option<f64> {
    Rules::parse(file.as_bytes(), "FooBot").crawl_delay().map(|delay| delay.as_secs_f64())
}

#[test]
fn the_groups_of_the_standards_example_are_told_apart() {
    // RFC 9309, section 5.1.
    let file = "User-Agent: *\nDisallow: *.gif$\nDisallow: /example/\nAllow: /publications/\n\n\
                User-Agent: foobot\nDisallow:/\nAllow:/example/page.html\n\
                Allow:/example/allowed.gif\n\n\
                User-Agent: barbot\nUser-Agent: bazbot\nDisallow: /example/page.html\n\n\
                User-Agent: quxbot\n";
    let fetch = |token: &str, path: &str| Rules::parse(file.as_bytes(), token).allow(path);
    assert!(fetch("FooBot", "/example/page.html") && fetch("FooBot", "/example/allowed.gif"));
    assert!(!fetch("FooBot", "/publications/") && !fetch("FooBot", "/"));
    assert!(!fetch("barbot", "/example/page.html") && !fetch("BazBot", "/example/page.html"));
    assert!(fetch("barbot", "/example/x.gif") && fetch("quxbot", "/example/page.html"));
    assert!(!fetch("other", "/example/page.html") && !fetch("other", "/a.gif"));
    assert!(fetch("other", "/publications/x") && fetch("other", "/a.gif?x"));
}

#[test]
fn the_most_specific_rule_decides_and_of_equal_ones_the_allowing_one() {
    // Section 5.2.
    check(
        "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif",
        &[("/example/page/disallowed.gif", false), ("/example/page/", true)],
    );
    check(
        "user-agent: FooBot\ndisallow: /x/page.html\nallow: /x/",
        &[("/x/page.html", false), ("/x/", true)],
    );
    check(
        "user-agent: FooBot\ndisallow: /x/\nallow: /x/page.html",
        &[("/x/page.html", true), ("/x/", false)],
    );
    check("user-agent: FooBot\ndisallow: /x\nallow: /x", &[("/x/page", true)]);
    check("user-agent: FooBot\ndisallow: \nallow: ", &[("/x", true)]);
    check("user-agent: FooBot\ndisallow: /\nallow: ", &[("/x", false)]);
    check("user-agent: FooBot\nallow: /p\ndisallow: /", &[("/page", true), ("/x", false)]);
    check(
        "user-agent: FooBot\nallow: /page\ndisallow: /*.htm",
        &[("/page.htm", false), ("/page", true)],
    );
    check("user-agent: FooBot\nallow: /x/page.\ndisallow: /*.html", &[("/x/page.html", true)]);
    check("user-agent: FooBot\nallow: /$\ndisallow: /", &[("/", true), ("/page", false)]);
    // An escape counts as much as what it stands for.
    check("user-agent: FooBot\nallow: /%66oo\ndisallow: /foo", &[("/foo", true)]);
    check(
        "user-agent: FooBot\nallow: /foo/\u{30c4}\ndisallow: /foo/%E3%83%84",
        &[("/foo/%E3%83%84", true)],
    );
    check("user-agent: FooBot\nallow: /*/x/y\ndisallow: /\u{30c4}", &[("/%E3%83%84/x/y", false)]);
}

#[test]
fn the_grammar_allows_for_spaces_comments_and_any_end_of_a_line() {
    for file in [
        "User-agent: FooBot\nDisallow: /x",
        "user-agent:FooBot\r\ndisallow:/x\r\n",
        "USER-AGENT\t:\tFooBot\rDISALLOW  :  /x\t\r",
        "\u{feff}User-agent: foobot # us\nDisallow: /x # and below\n",
        "# first\n\n  User-agent: FOOBOT  \n\n\n  Disallow: /x",
        "User-agent: FooBot\n\n# a comment\nSitemap: https://a.example/s.xml\nDisallow: /x",
        "User-agent FooBot\nDisallow /x",
        "useragent: FooBot\ndisalow: /x",
        "user agent: FooBot\ndissallow: /x",
        "User-agent: FooBot\nDisallow: /x\n\nUser-agent: FooBot\nDisallow: /y",
    ] {
        check(file, &[("/x/1", false), ("/z", true)]);
    }
    for nothing in ["", "foo: FooBot\nbar: /", "Disallow: /", "User-agent: FooBot", "<html>"] {
        check(nothing, &[("/x", true)]);
    }
}

#[test]
fn a_group_is_found_by_its_product_token() {
    for (agent, is_ours) in [
        ("FooBot", true),
        ("foobot", true),
        ("FooBot/2.0", true),
        ("foobot/2.0 (+https://a.example)", true),
        ("Foo Bot", false),
        ("FooBot Bar", true),
        ("FooBot*", true),
        ("Foo", false),
        ("FooBotX", false),
        ("Foo-Bot", false),
        ("*", true),
        ("* baz", true),
        ("*bot", false),
        ("", false),
        ("F\u{f6}\u{f6}Bot", false),
    ] {
        check(&format!("User-agent: {agent}\nDisallow: /x"), &[("/x", !is_ours)]);
    }
}

#[test]
fn the_groups_of_one_token_are_one_and_replace_those_of_all() {
    let file = "User-agent: *\nDisallow: /every\n\nUser-agent: FooBot\nDisallow: /a\n\n\
                User-agent: BarBot\nDisallow: /c\n\n\
                User-agent: BazBot\nUser-agent: FooBot/1.1\nDisallow: /b\n\
                User-agent: *\nDisallow: /too\n";
    check(file, &[("/a", false), ("/b", false), ("/c", true), ("/every", true)]);
    let other = Rules::parse(file.as_bytes(), "other");
    assert!(!other.allow("/every") && !other.allow("/too") && other.allow("/b"));
    // One group for us and for all.
    let both = "User-agent: *\nUser-agent: FooBot\nDisallow: /x\nUser-agent: *\nDisallow: /y";
    check(both, &[("/x", false), ("/y", true)]);
    // A group without rules allows everything.
    check("User-agent: *\nDisallow: /\nUser-agent: FooBot\nDisallow:", &[("/x", true)]);
    check("User-agent: *\nDisallow: /\nUser-agent: FooBot", &[("/x", true)]);
}

#[test]
fn other_lines_end_no_group() {
    for line in [
        "Crawl-delay: 1",
        "Sitemap: https://a.example/s.xml",
        "Host: a.example",
        "Noindex: /x",
        "Clean-param: ref /p/",
        "nonsense",
        "",
    ] {
        // Before the rules, between user agents and within the rules.
        let file = format!(
            "User-agent: FooBot\n{line}\nUser-agent: BarBot\n{line}\nDisallow: /x\n{line}\n\
             Disallow: /y\nUser-agent: BazBot\nDisallow: /z"
        );
        check(&file, &[("/x", false), ("/y", false), ("/z", true)]);
    }
    // An empty rule is a rule.
    check("User-agent: FooBot\nDisallow:\nUser-agent: BarBot\nDisallow: /x", &[("/x", true)]);
}

#[test]
fn a_crawl_delay_holds_for_its_whole_group() {
    for (file, seconds) in [
        ("User-agent: FooBot\nCrawl-delay: 2", Some(2.0)),
        ("User-agent: *\nCrawl-delay: 1\nUser-agent: badbot\nDisallow: /private", Some(1.0)),
        ("User-agent: badbot\nCrawl-delay: 1\nUser-agent: FooBot\nDisallow: /", Some(1.0)),
        ("User-agent: FooBot\nHost: x\nVisit-time: 1\nCrawl-Delay : 0.5 # slow", Some(0.5)),
        ("User-agent: FooBot\nCrawl-delay: 3s\nDisallow:", Some(3.0)),
        ("User-agent: FooBot\nCrawl-delay: 1\n\nUser-agent: FooBot\nCrawl-delay: 2", Some(2.0)),
        ("User-agent: *\nCrawl-delay: 9\nUser-agent: x\nDisallow:\nUser-agent: FooBot", None),
        ("User-agent: FooBot\nDisallow: /x\nUser-agent: BarBot\nCrawl-delay: 2", None),
        ("User-agent: FooBot\nCrawl-delay: soon", None),
        ("User-agent: FooBot\nCrawl-delay: -1", None),
        ("User-agent: FooBot\nCrawl-delay: 1.2.3", None),
        ("User-agent: FooBot\nCrawl-delay: 99999999999999999999999999", None),
        ("Crawl-delay: 5\nUser-agent: FooBot\nDisallow: /x", None),
    ] {
        assert_eq!(delay(file), seconds, "{file}");
    }
}

#[test]
fn robots_txt_itself_is_allowed() {
    check("User-agent: *\nDisallow: /", &[("/robots.txt", true), ("/robots.txt?x", false)]);
}

#[test]
fn an_allowed_index_page_allows_its_folder() {
    let file = "User-agent: *\nDisallow: /\nAllow: /a/index.html";
    check(file, &[("/a/", true), ("/a/index.html", true), ("/a/b", false), ("/index.html", false)]);
}

#[test]
fn long_lines_are_cut() {
    let long = format!("/x/{}", "a".repeat(MAX_LINE));
    let file = format!("User-agent: FooBot\nDisallow: {long}/qux\nDisallow: /y");
    check(&file, &[("/fux", true), (&format!("{long}/fux"), false), ("/y", false)]);
}

#[test]
fn a_file_full_of_wildcards_is_answered() {
    let rule = "Disallow: /*a*a*a*a*a*a*a*a*a*a*b\n";
    let file = format!("User-agent: FooBot\n{}", rule.repeat(512_000 / rule.len()));
    check(&file, &[(&format!("/{}", "a".repeat(2_000)), true)]);
}

proptest! {
    #[test]
    fn no_file_panics(file in any::<Vec<u8>>(), path in "/.*") {
        Rules::parse(&file, "FooBot").allow(&path);
    }
}
