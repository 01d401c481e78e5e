//! The category of a product by the links of its breadcrumbs, on a page that describes them to
//! people only.

use memchr::memmem;
use url::Url;

use crate::{
    finding,
    markup::{self, Tag, Token, Tokenizer},
    schema_org::page_identity::PageIdentity,
};

/// What the class, id or label of breadcrumbs contains, after a first letter of either case.
const WORD: &str = "readcrumb";
/// How often the word is looked at: scripts and styles contain it as well.
const MAX_FOUND: usize = 200;
/// The longest start tag of breadcrumbs, in bytes.
const MAX_TAG: usize = 1_000;
/// Tokens of breadcrumbs that are read. An element with more is not breadcrumbs.
const MAX_TOKENS: usize = 300;
/// Links of breadcrumbs. An element with more holds a menu.
const MAX_LINKS: usize = 10;
/// Attributes that name the part that an element plays.
const NAMES: [&str; 6] = ["class", "id", "aria-label", "data-testid", "data-test", "data-qa"];
/// First parts of the class of an element that says something about breadcrumbs, and is none.
const ABOUT: [&str; 6] = ["has-", "with-", "no-", "show-", "hide-", "without-"];
/// Elements that hold more than breadcrumbs, whatever they are called.
const LARGER: [&str; 5] = ["html", "body", "header", "main", "template"];
/// Elements that are one breadcrumb.
const ITEMS: [&str; 3] = ["a", "li", "span"];
/// What is open to the end of the page where the tag on the left is not followed by that on the
/// right: nobody sees breadcrumbs within.
const INERT: [(&str, &str); 4] =
    [("<script", "</script"), ("<style", "</style"), ("<template", "</template"), ("<!--", "-->")];
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
/// How links begin that lead back to a list, in lower case.
const BACK: [&str; 10] = [
    "back", "« back", "zurück", "retour", "volver", "indietro", "terug", "tilbage", "see more",
    "see all",
];
/// What separates breadcrumbs.
const SEPARATORS: [char; 12] = ['›', '»', '>', '/', '\\', '|', '·', '•', '→', '‹', '«', '<'];

/// A link and its text, as the page has them.
type Link<'a> = (&'a str, String);

/// Returns the last link of the breadcrumbs that leads neither home nor to the page itself. The
/// page itself is recognised by its address or by the `name` of its product.
pub(super) fn category(
    html: &str,
    name: Option<&str>,
    page: &PageIdentity<'_>,
    base: &Url,
) -> Option<String> {
    let name = name.map(str::to_lowercase);
    let links = links(html)?;
    links.iter().enumerate().rev().find_map(|(at, (href, text))| {
        let href = markup::decode(href);
        let target = base.join(href.trim()).ok()?;
        if href.trim().starts_with('#') || page.is_linked_by(target.as_str()) {
            return None;
        }
        let text = markup::decode(text);
        let is_separator = |c: char| c.is_whitespace() || SEPARATORS.contains(&c);
        let category = finding::clean_category(text.trim_matches(is_separator))?;
        let lower = category.to_lowercase();
        let is_other = is_home(&target, at == 0)
            || HOME.contains(&&*lower)
            || BACK.iter().any(|back| lower.starts_with(back))
            || !category.chars().any(char::is_alphabetic)
            || name.as_ref() == Some(&lower);
        (!is_other).then_some(category)
    })
}

/// Whether a link leads to the first page of the site, or the first link to that of its part in a
/// country and language: `/de/`, `/en-gb`, `/us/en/`.
fn is_home(target: &Url, is_first: bool) -> bool {
    let is_code = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_alphabetic());
    let path = target.path().trim_matches('/');
    let is_index = path.starts_with("index.") && !path.contains('/');
    !matches!(target.scheme(), "http" | "https")
        || (path.is_empty() || is_index) && target.query().is_none()
        || is_first && path.split(['/', '-', '_']).take(3).all(is_code) && path.len() <= 5
}

/// The links of the first breadcrumbs that have any. Breadcrumbs of which only the items have a
/// name are taken together.
fn links(html: &str) -> Option<Vec<Link<'_>>> {
    let (mut items, mut read_to, mut inert) = (Vec::new(), 0, Inert::default());
    for at in memmem::find_iter(html.as_bytes(), WORD).take(MAX_FOUND) {
        let Some(start) = start_of_tag(html, at).filter(|start| *start >= read_to) else {
            continue;
        };
        let mut tokens = Tokenizer::new(&html[start..]);
        let Some(Token::Start(tag)) = tokens.next_token() else { continue };
        if !is_named(&tag) || inert.is_at(html, start) {
            continue;
        }
        read_to = start + 1;
        let is_item = ITEMS.iter().any(|item| tag.is(item));
        let (element, first) = (tag.name, tag.is("a").then(|| href(&tag)).flatten());
        let found = links_of(&mut tokens, element, first);
        match found {
            Some(mut links) if is_item && items.len() < MAX_LINKS => {
                links.truncate(1);
                items.append(&mut links);
            }
            Some(links) if !is_item && !links.is_empty() => return Some(links),
            _ => {}
        }
    }
    (!items.is_empty()).then_some(items)
}

fn start_of_tag(html: &str, at: usize) -> Option<usize> {
    let near = at.saturating_sub(MAX_TAG);
    memchr::memrchr(b'<', &html.as_bytes()[near..at]).map(|start| near + start)
}

/// Whether a start tag calls its element breadcrumbs.
fn is_named(tag: &Tag<'_, '_>) -> bool {
    let is_name = |name: &str| {
        let is_about = ABOUT.iter().any(|about| {
            name.get(..about.len()).is_some_and(|start| start.eq_ignore_ascii_case(about))
        });
        name.contains(WORD) && !is_about
    };
    tag.text.is_none()
        && !LARGER.iter().any(|larger| tag.is(larger))
        && tag.attributes.iter().any(|(name, value)| {
            NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
                && value.split_ascii_whitespace().any(is_name)
        })
}

/// Where the last of each of [`INERT`] is, up to a tag of the page.
#[derive(Default)]
struct Inert {
    read: usize,
    last: [(Option<usize>, Option<usize>); INERT.len()],
}

impl Inert {
    /// Whether a tag is part of a script, a template or a comment. It is not before the last one
    /// that was asked for.
    fn is_at(&mut self, html: &str, tag: usize) -> bool {
        let new = &html.as_bytes()[self.read..tag];
        for ((start, end), last) in INERT.iter().zip(&mut self.last) {
            let find = |text: &str| Some(self.read + memmem::rfind(new, text.as_bytes())?);
            *last = (find(start).or(last.0), find(end).or(last.1));
        }
        self.read = tag;
        self.last.iter().any(|(start, end)| start > end)
    }
}

/// The links up to the end of an element, or of the breadcrumbs within it. `None` if there are too
/// many, or if it does not end soon.
fn links_of<'a>(
    tokens: &mut Tokenizer<'a>,
    element: &'a str,
    first: Option<&'a str>,
) -> Option<Vec<Link<'a>>> {
    let (mut element, mut depth, mut links) = (element, 1_usize, Vec::new());
    let mut open: Option<Link<'a>> = first.map(|href| (href, String::new()));
    // An icon is not part of a text, whatever it is drawn with.
    let mut icon: Option<&str> = None;
    for _ in 0..MAX_TOKENS {
        match tokens.next_token()? {
            Token::Start(tag) => {
                let is_item = ITEMS.iter().any(|item| tag.is(item));
                if !is_item && is_named(&tag) {
                    (element, depth, open) = (tag.name, 0, None);
                    links.clear();
                }
                let is_same = tag.is(element);
                if is_same && tag.is("li") {
                    // The end tag of the item may be left out.
                    break;
                }
                depth += usize::from(is_same);
                if tag.is("a") {
                    links.extend(open.take());
                    open = href(&tag).map(|href| (href, String::new()));
                } else if icon.is_none() && tag.text.is_none() && is_icon(&tag) {
                    icon = Some(tag.name);
                }
            }
            Token::End(name) => {
                if icon.is_some_and(|icon| name.eq_ignore_ascii_case(icon)) {
                    icon = None;
                }
                if name.eq_ignore_ascii_case("a") {
                    links.extend(open.take());
                }
                depth -= usize::from(name.eq_ignore_ascii_case(element));
                if depth == 0 {
                    break;
                }
            }
            Token::Text(text) => {
                if let Some((_, link)) = open.as_mut().filter(|_| icon.is_none()) {
                    link.push_str(text);
                    link.push(' ');
                }
            }
        }
        if links.len() > MAX_LINKS {
            return None;
        }
    }
    links.extend(open);
    (depth <= 1).then_some(links)
}

fn is_icon(tag: &Tag<'_, '_>) -> bool {
    let is_hidden = tag.attribute("aria-hidden") == Some("true");
    tag.is("svg") || tag.is("i") || is_hidden && tag.is("span")
}

fn href<'a>(tag: &Tag<'a, '_>) -> Option<&'a str> {
    tag.attribute("href").filter(|href| !href.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category_of(html: &str) -> Option<String> {
        let address = Url::parse("https://shop.example/p/sencha").unwrap();
        let page = PageIdentity {
            address: &address,
            canonical: None,
            titles: Vec::new(),
            is_article: false,
        };
        category(html, Some("Sencha"), &page, &address)
    }

    #[test]
    fn the_last_link_that_is_neither_home_nor_the_page_is_the_category() {
        for (html, expected) in [
            (
                r#"<nav class="breadcrumb"><a href="/">Home</a> › <a href="/tea">Tea</a> ›
                    <a href="/tea/green">Green &amp; White</a> › <span>Sencha</span></nav>"#,
                "Green & White",
            ),
            (
                r#"<style>.breadcrumb a{color:red}</style><script>var b=".breadcrumb"</script>
                    <ol aria-label="Breadcrumb"><li><a href="/de/">Shop</a><ol></ol><li>
                    <a href='/tee'><span>Tee</span></a><li><a href="/p/sencha">Sencha</a></ol>
                    <a href="/other">Other</a>"#,
                "Tee",
            ),
            (
                r#"<div class=woocommerce-breadcrumb><a href="https://shop.example">Start</a>
                    <a href="/k/tee">Tee</a> / Sencha</div>"#,
                "Tee",
            ),
            (
                r#"<div id="BreadCrumbs"></div><div data-testid="pdp-Breadcrumbs">
                    <a href="/c/1">Teas</a><a href="/c/2">Japan</a></div>"#,
                "Japan",
            ),
            (
                r##"<body class="shop has-breadcrumbs"><a href="/menu">Menu</a>
                    <ol><li class="breadcrumb-item"><a href="/us/en/">Us</a>
                    <li class="breadcrumb-item"><a href="/tv">TV</a></li>
                    <li class="breadcrumb-item active"><a href="#">Sencha tea</a></li></ol>"##,
                "TV",
            ),
            (
                r#"<div class="breadcrumbs-wrapper"><a href="/previous">Previous</a>
                    <nav class="breadcrumbs"><a href="/tea">Tea <i class="icon">right</i></a>
                    </nav><a href="/next">Next</a></div>"#,
                "Tea",
            ),
            (
                r#"<a class="breadcrumb-link" href="/index.php">Shop</a>
                    <a class="breadcrumb-link" href="/tea"> › Tea › </a>"#,
                "Tea",
            ),
            (
                r#"<div class="breadcrumb"><a href="/tea">Tea</a>
                    <a href="/search">Back to results</a></div>"#,
                "Tea",
            ),
            (
                r#"<!-- <div class="breadcrumb"><a href="/old">Old</a></div> -->
                    <template><div class="breadcrumb"><a href="/t">T</a></div></template>
                    <p class="breadcrumb"><a href="/tea">Tea</a></p>"#,
                "Tea",
            ),
        ] {
            assert_eq!(category_of(html).as_deref(), Some(expected), "{html}");
        }
    }

    #[test]
    fn what_is_no_breadcrumb_is_no_category() {
        let menu = r#"<a href="/tea">Tea</a>"#.repeat(11);
        for html in [
            r#"<ul class="breadcrumbs"><li><a href="/">Accueil</a></ul>"#,
            r##"<ul class="breadcrumbs"><a href="/x">»</a><a href="javascript:a()">Tea</a></ul>"##,
            r#"<p title="breadcrumb"><a href="/tea">Tea</a></p>"#,
            "<p>breadcrumb <a href='/tea'>Tea</a></p>",
            r#"<body class="has-breadcrumbs"><a href="/tea">Tea</a></body>"#,
            r#"<main class="breadcrumbs"><a href="/tea">Tea</a></main>"#,
            r#"<script>t = '<div class="breadcrumb"><a href="/tea">Tea</a></div>'</script>"#,
            r#"<div class="breadcrumb"><a href="/tea">Tea</a>"#,
            &format!(r#"<div class="breadcrumb">{menu}</div>"#),
            &r#"<div class="breadcrumb">"#.repeat(5_000),
            "",
        ] {
            assert_eq!(category_of(html), None, "{html}");
        }
    }
}
