//! The site that publishes the keys of this crawler.

use std::fmt;

use url::Url;

/// The URL of a site that publishes keys, at `/.well-known/http-message-signatures-directory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureAgent(String);

/// Why a text names no site that publishes keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It is not such a URL.
    #[error("write it like https://bot.example: keys are read over https only")]
    NotHttps,
    /// There is a path, a query or the like.
    #[error("the URL has to end after the host: sites look below /.well-known for the keys")]
    Path,
}

impl SignatureAgent {
    /// Reads a URL such as `https://bot.example`.
    pub fn parse(text: &str) -> Result<Self, AgentError> {
        let url = Url::parse(text.trim()).map_err(|_| AgentError::NotHttps)?;
        if url.scheme() != "https" || !url.has_host() {
            return Err(AgentError::NotHttps);
        }
        let origin = url.origin().ascii_serialization();
        // Also without a user.
        if url.as_str().trim_end_matches('/') != origin {
            return Err(AgentError::Path);
        }
        Ok(Self(origin))
    }

    /// As a string of structured fields (RFC 9651). An origin has neither quotes nor backslashes.
    pub(super) fn item(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl fmt::Display for SignatureAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
