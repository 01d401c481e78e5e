//! The identity of a task.

use std::fmt;

use sha2::{Digest, Sha256};

use super::fetch_request::FetchRequest;

/// The identity of a task, the same over retries, redeliveries and replays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of a task without a message id of its own. `copy` distinguishes tasks that are equal
    /// on purpose.
    pub fn of(run: &str, part: &str, request: &FetchRequest, copy: u64) -> Self {
        let body = request.body.as_deref().unwrap_or_default();
        Self::hash(&[
            run.as_bytes(),
            part.as_bytes(),
            request.method.as_str().as_bytes(),
            request.address.as_str().as_bytes(),
            body,
            &copy.to_be_bytes(),
        ])
    }

    /// The key of a message with an id: the id itself if it is a key, otherwise its hash.
    pub(super) fn of_message(run: &str, message_id: &str) -> Self {
        let mut key = [0; 32];
        match hex::decode_to_slice(message_id, &mut key) {
            Ok(()) => Self(key),
            Err(_) => Self::hash(&[run.as_bytes(), message_id.as_bytes()]),
        }
    }

    /// Each field is preceded by its length, so that different lists of fields never hash alike.
    fn hash(fields: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for field in fields {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        Self(hash.finalize().into())
    }

    /// The 32 bytes that the database stores.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Half of the key: enough to find duplicates among the URLs of one run.
    pub fn half(&self) -> u128 {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        u128::from_be_bytes(half)
    }
}

/// Writes the key in hexadecimal, as in `message_id`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;

    #[test]
    fn a_message_id_that_is_a_key_is_the_key() {
        let request = FetchRequest::get(Address::parse("https://a.example/").unwrap());
        let key = Key::of("run", "part", &request, 0);
        assert_eq!(Key::of_message("any run", &key.to_string()), key);
        assert_ne!(Key::of("run", "part", &request, 1), key);
        assert_ne!(Key::of("runp", "art", &request, 0), key);
    }
}
