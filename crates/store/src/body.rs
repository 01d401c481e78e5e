//! The stored body of a row.

use sqlx::Row;

use crate::{Error, Store};

/// The condition of a row that has a body.
pub(crate) const HAS_BODY: &str = "(body_json IS NOT NULL OR body_text IS NOT NULL \
                                   OR body IS NOT NULL OR body_zstd IS NOT NULL)";
/// The assignments that remove the body of a row.
pub(crate) const NO_BODY: &str =
    "body_json = NULL, body_text = NULL, body = NULL, body_zstd = NULL";

/// The level of zstd. Level 3 takes a third more time for 4 % less space.
const LEVEL: i32 = 1;
/// Below this, the frame and the dictionary of names cost more than they save.
const MIN_COMPRESSED_BYTES: usize = 512;

/// A body as it is stored. Its size and hash are stored in any case.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Body {
    /// No body is stored.
    #[default]
    None,
    /// Valid JSON, nested no deeper than every supported database accepts.
    Json(String),
    /// Other text.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
    /// Any of the above, as a frame of zstd.
    Zstd(Vec<u8>),
}

impl Body {
    /// Whether a body is stored.
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The body compressed with zstd, if that makes it smaller.
    #[must_use]
    pub fn compressed(self) -> Self {
        let bytes = self.as_bytes();
        if bytes.len() < MIN_COMPRESSED_BYTES || matches!(self, Self::Zstd(_)) {
            return self;
        }
        match zstd::bulk::compress(bytes, LEVEL) {
            Ok(compressed) if compressed.len() < bytes.len() => Self::Zstd(compressed),
            _ => self,
        }
    }

    /// The bytes that are stored.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Json(text) | Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) | Self::Zstd(bytes) => bytes,
        }
    }
}

impl Store {
    /// The body of a row as it was before compression; `None` without a row, and an empty body
    /// if the row has none.
    pub async fn body(&self, id: &[u8; 16]) -> Result<Option<Vec<u8>>, Error> {
        const SELECT: &str = "SELECT COALESCE(body_json, body_text, body) AS plain, body_zstd \
                              FROM fetches WHERE id = ?";
        self.with_connection("reading a body", async |connection| {
            let failed = Error::database("cannot read a body");
            let row = sqlx::query(SELECT).bind(id.as_slice()).fetch_optional(connection).await;
            let Some(row) = row.map_err(&failed)? else { return Ok(None) };
            let column = |name| row.try_get_unchecked::<Option<Vec<u8>>, _>(name);
            if let Some(plain) = column("plain").map_err(&failed)? {
                return Ok(Some(plain));
            }
            let frame = column("body_zstd").map_err(&failed)?.unwrap_or_default();
            let body = zstd::stream::decode_all(&*frame);
            body.map(Some).map_err(|error| failed(sqlx::Error::Decode(error.into())))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_compressed_where_that_saves_space() {
        let text = "<p>Assam tea, 12.99</p>".repeat(100);
        let Body::Zstd(frame) = Body::Text(text.clone()).compressed() else {
            panic!("the text is not compressed");
        };
        assert!(frame.len() * 10 < text.len());
        assert_eq!(zstd::stream::decode_all(&*frame).unwrap(), text.as_bytes());
        let again = Body::Zstd(frame);
        assert_eq!(again.clone().compressed(), again);

        let mut state = 17_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        for body in [Body::None, Body::Json("{}".into()), Body::Bytes(noise.take(4_000).collect())]
        {
            assert_eq!(body.clone().compressed(), body);
        }
    }
}
