//! The key that requests are signed with, and the directory that publishes it.

use std::fmt;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An Ed25519 key. `Debug` shows only its id.
pub struct BotKey {
    pair: Ed25519KeyPair,
    id: String,
}

/// Why a file contains no key to sign with. Never repeats the file, which may contain another key.
#[derive(Debug, thiserror::Error)]
pub enum BotKeyError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is encrypted.
    #[error(
        "the key is encrypted: `openssl pkey -in FILE -out PLAIN` writes it without a password"
    )]
    Encrypted,
    /// It is a public key.
    #[error("it contains a public key, and the private one signs")]
    Public,
    /// It is a key of another kind, or in another format.
    #[error("it contains {0}: {HOW_TO_MAKE_ONE}")]
    OtherKey(&'static str),
    /// There is no key in it.
    #[error("it contains no private key as PEM, or a damaged one: {HOW_TO_MAKE_ONE}")]
    NoKey,
}

const HOW_TO_MAKE_ONE: &str =
    "requests are signed with an Ed25519 key, which `openssl genpkey -algorithm ed25519` makes";

impl BotKey {
    /// Reads a PEM file with an Ed25519 key in PKCS#8.
    pub fn read(file: &Path) -> Result<Self, BotKeyError> {
        Self::from_pem(&std::fs::read(file).map_err(BotKeyError::Unreadable)?)
    }

    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, BotKeyError> {
        let key = match PrivateKeyDer::from_pem_slice(pem) {
            Ok(PrivateKeyDer::Pkcs8(key)) => key,
            Ok(PrivateKeyDer::Pkcs1(_)) => return Err(BotKeyError::OtherKey("an RSA key")),
            Ok(PrivateKeyDer::Sec1(_)) => return Err(BotKeyError::OtherKey("an EC key")),
            Ok(_) | Err(_) => return Err(without_key(pem)),
        };
        let other = |_| BotKeyError::OtherKey("a key that is not Ed25519, or a damaged one");
        // "Unchecked": the file need not hold the public key, which OpenSSL leaves out.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der());
        let pair = pair.map_err(other)?;
        let id = thumbprint(pair.public_key().as_ref());
        Ok(Self { pair, id })
    }

    /// The thumbprint of the public key (RFC 7638), by which sites find it.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// The public key as a JSON Web Key (RFC 8037).
    fn public_jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": x, "use": "sig" })
    }
}

impl fmt::Debug for BotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// The directory of these keys, of the type `application/http-message-signatures-directory+json`.
pub fn key_directory(keys: &[BotKey]) -> Value {
    json!({ "keys": keys.iter().map(BotKey::public_jwk).collect::<Vec<_>>() })
}

/// The thumbprint of an Ed25519 key: the hash of its members, in this order and without spaces.
fn thumbprint(public_key: &[u8]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public_key);
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

/// What is in a file without a private key that can be read.
fn without_key(pem: &[u8]) -> BotKeyError {
    let begins = |label: &str| {
        let begin = format!("-----BEGIN {label}-----");
        memchr::memmem::find(pem, begin.as_bytes()).is_some()
    };
    if begins("ENCRYPTED PRIVATE KEY") {
        BotKeyError::Encrypted
    } else if begins("OPENSSH PRIVATE KEY") {
        BotKeyError::OtherKey("a key of OpenSSH, which has a format of its own")
    } else if begins("PUBLIC KEY") {
        BotKeyError::Public
    } else if begins("CERTIFICATE") {
        BotKeyError::OtherKey("a certificate")
    } else {
        BotKeyError::NoKey
    }
}
