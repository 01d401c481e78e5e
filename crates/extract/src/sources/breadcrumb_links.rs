//! The category of a product by the links of its breadcrumbs, on a page that describes them to
//! people only.

use memchr::memmem;

use crate::{
    finding,
    markup::{self, Tag, Token, Tokenizer},
    schema_org::page_identity::PageIdentity,
};

/// What the class, id or label of breadcrumbs contains, after a first letter of either case.
const WORD: &str = "readcrumb";
/// How often the word is looked at: scripts and styles contain it as well.
const MAX_FOUND: usize = 20;
/// The longest start tag of breadcrumbs, in bytes.
const MAX_TAG: usize = 1_000;
/// Tokens of breadcrumbs that are read.
const MAX_TOKENS: usize = 400;
/// Attributes that name the part that an element plays.
const NAMES: [&str; 6] = ["class", "id", "aria-label", "data-testid", "data-test", "data-qa"];
/// What the link to the home page is called, in lower case.
const HOME: [&str; 32] = [
    "home",
    "homepage",
    "home page",
    "start",
    "startseite",
    "accueil",
    "inicio",
    "início",
    "inici",
    "página inicial",
    "página principal",
    "pagina principale",
    "home pagina",
    "strona główna",
    "hem",
    "startsida",
    "startsidan",
    "hjem",
    "forside",
    "forsiden",
    "etusivu",
    "domů",
    "úvod",
    "domov",
    "kezdőlap",
    "főoldal",
    "acasă",
    "anasayfa",
    "главная",
    "αρχική",
    "ホーム",
    "首页",
];

/// Returns the last link of the breadcrumbs that leads neither home nor to the page itself. The
/// page itself is recognised by its address or by the `name` of its product.
pub(super) fn category(html: &str, name: Option<&str>, page: &PageIdentity<'_>) -> Option<String> {
    let name = name.map(str::to_lowercase);
    links(html)?.into_iter().rev().find_map(|(href, text)| {
        let category = finding::clean_category(&markup::decode(&text))?;
        let (href, lower) = (markup::decode(href), category.to_lowercase());
        let is_page = page.is_linked_by(&href) || name.as_ref() == Some(&lower);
        let is_other = is_home(&href, page)
            || HOME.contains(&&*lower)
            || !category.chars().any(char::is_alphabetic);
        (!is_page && !is_other).then_some(category)
    })
}

/// Whether a link leads to the first page of the site, or of its part in a language: `/de/`,
/// `/en-gb`.
fn is_home(href: &str, page: &PageIdentity<'_>) -> bool {
    let Ok(url) = page.address.join(href.trim()) else { return true };
    let is_language = |path: &str| {
        let mut parts = path.split(['-', '_']);
        let is_code = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_alphabetic());
        parts.clone().count() <= 2 && parts.all(is_code)
    };
    let path = url.path().trim_matches('/');
    !matches!(url.scheme(), "http" | "https") || path.is_empty() || is_language(path)
}

/// The links of the first breadcrumbs that have any, with their texts.
fn links(html: &str) -> Option<Vec<(&str, String)>> {
    let found = memmem::find_iter(html.as_bytes(), WORD).take(MAX_FOUND);
    found.filter_map(|at| links_of(html, at)).find(|links| !links.is_empty())
}

/// The links within an element if its start tag calls it breadcrumbs at this place.
fn links_of(html: &str, at: usize) -> Option<Vec<(&str, String)>> {
    let near = at.saturating_sub(MAX_TAG);
    let start = near + memchr::memrchr(b'<', &html.as_bytes()[near..at])?;
    let mut tokens = Tokenizer::new(&html[start..]);
    let Some(Token::Start(tag)) = tokens.next_token() else { return None };
    if tag.text.is_some() || ["a", "link", "meta"].iter().any(|name| tag.is(name)) {
        return None;
    }
    let is_named = |(name, value): &(&str, &str)| {
        NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)) && value.contains(WORD)
    };
    if !tag.attributes.iter().any(is_named) {
        return None;
    }
    let (element, mut depth) = (tag.name, 1_usize);
    let (mut links, mut open) = (Vec::new(), None::<(&str, String)>);
    for _ in 0..MAX_TOKENS {
        match tokens.next_token()? {
            Token::Start(tag) => {
                depth += usize::from(tag.is(element));
                if tag.is("a") {
                    links.extend(open.take());
                    open = href(&tag).map(|href| (href, String::new()));
                }
            }
            Token::End(name) => {
                depth -= usize::from(name.eq_ignore_ascii_case(element));
                if name.eq_ignore_ascii_case("a") {
                    links.extend(open.take());
                }
                if depth == 0 {
                    break;
                }
            }
            Token::Text(text) => {
                if let Some((_, link)) = &mut open {
                    link.push_str(text);
                    link.push(' ');
                }
            }
        }
    }
    Some(links)
}

fn href<'a>(tag: &Tag<'a, '_>) -> Option<&'a str> {
    tag.attribute("href").filter(|href| !href.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn category_of(html: &str) -> Option<String> {
        let address = Url::parse("https://shop.example/p/sencha").unwrap();
        let page = PageIdentity { address: &address, canonical: None, titles: Vec::new() };
        category(html, Some("Sencha"), &page)
    }

    #[test]
    fn the_last_link_that_is_neither_home_nor_the_page_is_the_category() {
        for (html, expected) in [
            (
                r#"<nav class="breadcrumb"><a href="/">Home</a> › <a href="/tea">Tea</a> ›
                    <a href="/tea/green">Green &amp; White</a> › <span>Sencha</span></nav>"#,
                Some("Green & White"),
            ),
            (
                r#"<style>.breadcrumb a{color:red}</style><script>var b=".breadcrumb"</script>
                    <ol aria-label="Breadcrumb"><li><a href="/de/">Shop</a><ol></ol><li>
                    <a href='/tee'><span>Tee</span></a><li><a href="/p/sencha">Sencha</a></ol>
                    <a href="/other">Other</a>"#,
                Some("Tee"),
            ),
            (
                r#"<div class=woocommerce-breadcrumb><a href="https://shop.example">Start</a>
                    <a href="/k/tee">Tee</a> / Sencha</div>"#,
                Some("Tee"),
            ),
            (
                r#"<div id="BreadCrumbs"></div><div data-testid="pdp-Breadcrumbs">
                    <a href="/c/1">Teas<a href="/c/2">Japan</a></div>"#,
                Some("Japan"),
            ),
            (r#"<ul class="breadcrumbs"><li><a href="/">Accueil</a></ul>"#, None),
            (
                r##"<ul class="breadcrumbs"><a href="/x">»</a><a href="javascript:a()">Tea</a></ul>"##,
                None,
            ),
            (r#"<a class="breadcrumb" href="/tea">Tea</a>"#, None),
            (r#"<p title="breadcrumb"><a href="/tea">Tea</a></p>"#, None),
            ("<p>breadcrumb <a href='/tea'>Tea</a></p>", None),
            ("", None),
        ] {
            assert_eq!(category_of(html).as_deref(), expected, "{html}");
        }
    }

    #[test]
    fn breadcrumbs_that_do_not_end_are_read_up_to_a_bound() {
        let open = r#"<div class="breadcrumb">"#.repeat(5_000);
        assert_eq!(category_of(&(open + r#"<a href="/tea">Tea</a>"#)), None);
        let many = r#"<a href="/tea">Tea</a>"#.repeat(100_000);
        let html = format!(r#"<div class="breadcrumb">{many}"#);
        assert_eq!(category_of(&html).as_deref(), Some("Tea"));
    }
}
