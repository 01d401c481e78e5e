//! The proxy that a worker may be told to fetch through.

use std::fmt;

use fetchline_queue::{Address, AddressError};

/// An HTTP proxy, with its credentials where it wants some. It shows itself without them.
///
/// It resolves the names that are fetched, so it also has to keep the worker away from what is not public.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(Address);

/// Why a text names no proxy. It never repeats the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// No URL.
    #[error("no proxy's URL: {0}")]
    Url(AddressError),
    /// Another kind of proxy.
    #[error("a proxy is reached by http or https, and not by another scheme")]
    Scheme,
    /// More than a proxy has.
    #[error("a proxy's URL ends after the port")]
    Path,
}

impl Proxy {
    /// Reads a URL such as `http://user:password@proxy.example:3128`.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let address = Address::parse(text).map_err(|error| match error {
            AddressError::Scheme(_) => ProxyError::Scheme,
            error => ProxyError::Url(error),
        })?;
        // The client would leave a path out, or not use the proxy at all where it does not like the path.
        if address.as_url().path() != "/" || address.as_url().query().is_some() {
            return Err(ProxyError::Path);
        }
        Ok(Self(address))
    }

    /// The host, as a resolver is asked for it.
    pub(crate) fn host(&self) -> &str {
        self.0.as_url().host_str().unwrap_or_default()
    }

    /// For every request.
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
    fn a_proxy_shows_no_credentials() {
        let proxy = Proxy::parse("http://user:hunter2@Proxy.example:3128").unwrap();
        assert_eq!(proxy.to_string(), "http://***@proxy.example:3128/");
        assert_eq!(format!("{proxy:?}"), proxy.to_string());
        assert_eq!(proxy.host(), "proxy.example");
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_not_repeated() {
        for (text, expected) in [
            ("", "empty"),
            ("http://", "no proxy's URL"),
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
