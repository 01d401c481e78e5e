//! The kinds of documents that list pages, and where their entries are.

/// A kind of document, by its root element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A sitemap.
    UrlSet,
    /// An index of sitemaps.
    Index,
    /// RSS 0.9x and 2.0.
    Rss,
    /// RSS 1.0, which is RDF.
    Rdf,
    /// Atom 0.3 and 1.0.
    Atom,
}

impl Shape {
    /// The shape of a document with this root element, without its prefix.
    pub(super) fn of_root(name: &str) -> Option<Self> {
        match name {
            "urlset" => Some(Self::UrlSet),
            "sitemapindex" => Some(Self::Index),
            "rss" => Some(Self::Rss),
            "RDF" => Some(Self::Rdf),
            "feed" => Some(Self::Atom),
            _ => None,
        }
    }

    /// What the document is, for people.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::UrlSet => "a sitemap",
            Self::Index => "an index of sitemaps",
            Self::Rss => "an RSS feed",
            Self::Rdf => "an RSS 1.0 feed",
            Self::Atom => "an Atom feed",
        }
    }

    /// The name of the element that describes one page. It may stand anywhere below the root, since
    /// generators put it where they like.
    pub(super) fn entry(self) -> &'static str {
        match self {
            Self::UrlSet => "url",
            Self::Index => "sitemap",
            Self::Rss | Self::Rdf => "item",
            Self::Atom => "entry",
        }
    }

    /// Whether the document is a feed, whose URLs may be relative.
    pub(super) fn is_feed(self) -> bool {
        !matches!(self, Self::UrlSet | Self::Index)
    }
}
