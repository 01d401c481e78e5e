//! Signatures of requests, by which sites recognise this crawler: Web Bot Auth
//! (draft-ietf-webbotauth-httpsig-protocol), a profile of HTTP Message Signatures (RFC 9421).
//!
//! The crate `web-bot-auth` signs too. It brings a second implementation of Ed25519 and of SHA-2,
//! takes no key files, and writes no key directory; what is left is less than this module.

mod agent;
mod bot_key;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use url::{Position, Url};

pub use self::agent::{AgentError, SignatureAgent};
pub use self::bot_key::{BotKey, BotKeyError, key_directory};

/// How long a signature is valid: for a request that waits on its way, and for clocks that differ.
const VALID_FOR: Duration = Duration::from_secs(300);
/// Random bytes that make each signature unique, so that a site can refuse one that it has seen.
const NONCE_BYTES: usize = 32;

const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_AGENT: HeaderName = HeaderName::from_static("signature-agent");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// How requests are signed; cheap to clone.
#[derive(Clone, Debug)]
pub struct Signing {
    key: Arc<BotKey>,
    agent: Option<SignatureAgent>,
}

impl Signing {
    /// Signs with this key. `agent` says where sites find it.
    pub fn new(key: BotKey, agent: Option<SignatureAgent>) -> Self {
        Self { key: Arc::new(key), agent }
    }

    /// Who signs, as sites see it.
    pub(crate) fn signer(&self) -> String {
        let agent = self.agent.as_ref().map(SignatureAgent::item);
        format!("{} {}", self.key.id(), agent.unwrap_or_default())
    }

    /// Adds the signature of a request to its headers, in place of any that is there.
    pub(super) fn sign(&self, url: &Url, headers: &mut HeaderMap) {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let created = since_epoch.unwrap_or_default().as_secs();
        let signed = self.signature(url, created, &STANDARD.encode(nonce));
        let agent = self.agent.as_ref().map(|agent| format!("sig1={}", agent.item()));
        let fields = [
            (SIGNATURE_AGENT, agent),
            (SIGNATURE_INPUT, Some(format!("sig1={}", signed.input))),
            (SIGNATURE, Some(format!("sig1=:{}:", signed.signature))),
        ];
        for (name, value) in fields {
            headers.remove(&name);
            // All of these are ASCII.
            if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
                headers.insert(name, value);
            }
        }
    }

    /// The signature over the host, and over the agent if there is one (RFC 9421, 2.5).
    fn signature(&self, url: &Url, created: u64, nonce: &str) -> Signed {
        let mut components = r#""@authority""#.to_owned();
        let mut base = format!("{components}: {}\n", authority(url));
        if let Some(agent) = &self.agent {
            let component = r#""signature-agent";key="sig1""#;
            base.push_str(&format!("{component}: {}\n", agent.item()));
            components.push_str(&format!(" {component}"));
        }
        let expires = created + VALID_FOR.as_secs();
        let key = self.key.id();
        let input = format!(
            "({components});created={created};keyid=\"{key}\";alg=\"ed25519\";expires={expires};\
             nonce=\"{nonce}\";tag=\"web-bot-auth\""
        );
        base.push_str(&format!(r#""@signature-params": {input}"#));
        let signature = STANDARD.encode(self.key.sign(base.as_bytes()));
        Signed { input, signature }
    }
}

struct Signed {
    input: String,
    /// In Base64.
    signature: String,
}

/// Host and port, without the port that is the scheme's own (RFC 9421, 2.2.3).
fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

#[cfg(test)]
mod tests;
