//! The URLs of feeds, which may be relative (RFC 4287, RFC 3986).

use reqwest::Url;

/// Endings of the names of pages. They distinguish a page from a host.
const PAGE_ENDINGS: [&str; 7] = [".html", ".htm", ".php", ".asp", ".aspx", ".jsp", ".xhtml"];

/// What the relative URLs of an element refer to.
#[derive(Clone, Debug)]
pub(super) enum Base {
    /// Nothing is known: the feed is in a file.
    Unknown,
    /// The feed was fetched from this URL.
    Feed(Url),
    /// `xml:base` of the element or of one that holds it.
    Declared(Url),
}

impl Base {
    /// The base of an element with this `xml:base`.
    pub(super) fn within(&self, declared: &str) -> Self {
        let url = match self {
            Self::Unknown => Url::parse(declared.trim()).ok(),
            Self::Feed(base) | Self::Declared(base) => base.join(declared.trim()).ok(),
        };
        match url {
            Some(url) if matches!(url.scheme(), "http" | "https") => Self::Declared(url),
            _ => self.clone(),
        }
    }

    /// Makes a URL absolute. One that is absolute already stays as it is.
    ///
    /// Without `xml:base`, `shop.example/p/1` may be a path or lack its scheme. It is an error:
    /// a wrong reading would be another page.
    pub(super) fn resolve(&self, text: &str) -> Result<String, String> {
        if is_absolute(text) || text.is_empty() {
            return Ok(text.to_owned());
        }
        let (base, is_declared) = match self {
            Self::Feed(base) => (base, false),
            Self::Declared(base) => (base, true),
            Self::Unknown => {
                return Err(format!(
                    "the URL `{text:.200}` is relative, and where the feed comes from is not \
                     known; give the URL of the feed instead of a file"
                ));
            }
        };
        if !is_declared && may_be_host(text) {
            return Err(format!(
                "the URL `{text:.200}` has no scheme and may be a host or a path; write it in full"
            ));
        }
        base.join(text)
            .map(Url::into)
            .map_err(|error| format!("the URL `{text:.200}` is not usable: {error}"))
    }
}

/// Whether a text begins with a scheme.
pub(super) fn is_absolute(text: &str) -> bool {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

/// Whether the first segment of a relative URL looks like the name of a host.
fn may_be_host(text: &str) -> bool {
    let first = text.split(['/', '?', '#']).next().unwrap_or(text);
    let is_page = PAGE_ENDINGS.iter().any(|ending| first.to_ascii_lowercase().ends_with(ending));
    first.trim_start_matches('.').contains('.') && !is_page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_url_is_resolved_unless_it_may_be_a_host() {
        let feed = Base::Feed("https://shop.example/feeds/all.xml?x".parse().unwrap());
        for (text, expected) in [
            ("/p/3", Some("https://shop.example/p/3")),
            ("p/3?a=1:2", Some("https://shop.example/feeds/p/3?a=1:2")),
            ("../p/3", Some("https://shop.example/p/3")),
            ("./tea.v2", Some("https://shop.example/feeds/tea.v2")),
            ("?p=3", Some("https://shop.example/feeds/all.xml?p=3")),
            ("//cdn.example/p", Some("https://cdn.example/p")),
            ("tea.html", Some("https://shop.example/feeds/tea.html")),
            ("HTTPS://Shop.example/p", Some("HTTPS://Shop.example/p")),
            ("www.shop.example/p/3", None),
            ("shop.example", None),
        ] {
            assert_eq!(feed.resolve(text).ok().as_deref(), expected, "{text}");
        }
        assert!(Base::Unknown.resolve("/p/3").unwrap_err().contains("is relative"));
        assert_eq!(Base::Unknown.resolve("mailto:x").as_deref(), Ok("mailto:x"));
    }

    #[test]
    fn declared_bases_are_nested() {
        let outer = Base::Unknown.within(" https://shop.example/a/ ");
        assert_eq!(outer.resolve("p.v2").as_deref(), Ok("https://shop.example/a/p.v2"));
        let inner = outer.within("b/");
        assert_eq!(inner.resolve("../p").as_deref(), Ok("https://shop.example/a/p"));
        // What is no base is ignored.
        assert!(Base::Unknown.within("b/").resolve("p").is_err());
        assert!(Base::Unknown.within("urn:x").resolve("p").is_err());
    }
}
