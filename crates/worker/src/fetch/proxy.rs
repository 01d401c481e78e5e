//! The HTTP proxy of a worker.

use std::fmt;

use fetchline_queue::{Address, AddressError};

/// An HTTP proxy, with its credentials. `Display` and `Debug` mask them.
///
/// The proxy resolves the names of sites, so it has to block addresses that are not public.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(Address);

/// Why a text is not the URL of a proxy. Never repeats the text, which may contain a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It is not a URL.
    #[error("not the URL of a proxy: {0}")]
    Url(AddressError),
    /// The scheme is not supported.
    #[error("the scheme of the URL has to be http or https")]
    Scheme,
    /// There is a path or a query.
    #[error("the URL has to end after the port: no path, no query")]
    Path,
}

impl Proxy {
    /// Reads a URL such as `http://user:password@proxy.example:3128`.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let address = Address::parse(text).map_err(|error| match error {
            AddressError::Scheme(_) | AddressError::SchemeMissing => ProxyError::Scheme,
            error => ProxyError::Url(error),
        })?;
        // The client library ignores some paths, and for others it ignores the proxy.
        if address.as_url().path() != "/" || address.as_url().query().is_some() {
            return Err(ProxyError::Path);
        }
        Ok(Self(address))
    }

    /// The host as the resolver sees it.
    pub(crate) fn host(&self) -> &str {
        self.0.as_url().host_str().unwrap_or_default()
    }

    /// The proxy of every request, for the client library.
    pub(crate) fn for_client(&self) -> reqwest::Result<reqwest::Proxy> {
        reqwest::Proxy::all(self.0.as_str())
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_masked() {
        let proxy = Proxy::parse("http://user:hunter2@Proxy.example:3128").unwrap();
        assert_eq!(proxy.to_string(), "http://***@proxy.example:3128/");
        assert_eq!(format!("{proxy:?}"), proxy.to_string());
        assert_eq!(proxy.host(), "proxy.example");
    }

    #[test]
    fn errors_do_not_repeat_the_text() {
        for (text, expected) in [
            ("", "empty"),
            ("http://", "not the URL of a proxy"),
            ("socks5://user:hunter2@proxy.example", "http or https"),
            ("proxy.example:3128", "http or https"),
            ("user:hunter2@proxy.example:3128", "http or https"),
            ("http://user:hunter2@proxy.example/path", "after the port"),
            ("http://user:hunter2@proxy.example?query", "after the port"),
        ] {
            let error = Proxy::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
