//! Which URLs belong to one site.

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Url;

/// Whether two URLs are on the same site: the same host, with or without `www.`, by `http` or
/// `https`. Ports are those of the URLs, and the default ones are all alike.
pub(crate) fn is_same_site(one: &Url, other: &Url) -> bool {
    let bare = |url: &Url| {
        let host = url.host_str()?.trim_end_matches('.').to_owned();
        Some(host.strip_prefix("www.").map(str::to_owned).unwrap_or(host))
    };
    bare(one).is_some() && bare(one) == bare(other) && one.port() == other.port()
}

/// The sites that the user has named, by the URL that was asked for and by the one to which it led.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedSites(Arc<Mutex<Vec<Url>>>);

impl TrustedSites {
    pub(crate) fn add(&self, url: &Url) {
        let mut sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !sites.iter().any(|site| is_same_site(site, url)) {
            sites.push(url.clone());
        }
    }

    pub(crate) fn contain(&self, url: &Url) -> bool {
        let sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sites.iter().any(|site| is_same_site(site, url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn www_and_the_scheme_do_not_make_another_site_and_all_else_does() {
        let is_same =
            |one: &str, other: &str| is_same_site(&one.parse().unwrap(), &other.parse().unwrap());
        for (one, other) in [
            ("https://shop.example/a", "http://shop.example/b"),
            ("https://www.shop.example/a", "https://shop.example/b"),
            ("http://www.shop.example:80/", "https://SHOP.example.:443/"),
            ("http://127.0.0.1:8080/", "https://127.0.0.1:8080/"),
        ] {
            assert!(is_same(one, other) && is_same(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("https://shop.example/", "https://cdn.shop.example/"),
            ("https://www.shop.example/", "https://www2.shop.example/"),
            ("https://shop.example/", "https://shop.example:8443/"),
            ("https://shop.example/", "https://shop.example.evil.example/"),
            ("https://shop.example/", "https://myshop.example/"),
            ("https://shop.example/", "https://10.0.0.1/"),
        ] {
            assert!(!is_same(one, other) && !is_same(other, one), "{one} {other}");
        }
    }
}
