//! A counted request: what an answer may depend on besides its path.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};
use hyper::{Request, header::HOST};

use super::Product;

/// A counted request.
#[derive(Clone, Debug, Default)]
pub(super) struct Visit {
    /// The number of this visit among those of its path, from 1; 0 for paths that are not counted.
    pub(super) nth: u64,
    /// The `Host` header in lower case, with its port.
    authority: String,
    revision: u64,
}

impl Visit {
    pub(super) fn new<B>(request: &Request<B>, revision: u64) -> Self {
        let authority = request
            .headers()
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
            .to_ascii_lowercase();
        Self { nth: 0, authority, revision }
    }

    /// The host name without the port.
    pub(super) fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.authority,
        }
    }

    /// The shop's origin, as the visitor names it: `http://shop-1.test:8080`.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// The product whose number a path ends in, or product 0, at the present price.
    pub(super) fn product(&self, rest: &str) -> Product {
        let start = rest.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        self.product_nth(rest[start..].parse().unwrap_or(0))
    }

    /// The product with this number, at the present price.
    pub(super) fn product_nth(&self, id: u64) -> Product {
        Product::at_revision(id, self.revision)
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.remove().unwrap_or_default())
    }
}
