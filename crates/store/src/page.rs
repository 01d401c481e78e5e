//! What is known of a page that was fetched before.

/// What is remembered of a page for its next fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The page as one kind of request sees it: the primary key of `pages`.
    pub key: [u8; 16],
    /// The key of the row that has the last full response.
    pub fetch_id: [u8; 16],
    /// The hash of the body of that answer.
    pub body_sha256: [u8; 32],
    /// Whether that row was written with a body.
    pub has_body: bool,
    /// The `ETag` of that answer, if it is usable.
    pub etag: Option<Box<[u8]>>,
    /// The `Last-Modified` of that answer, if it is usable.
    pub last_modified: Option<Box<[u8]>>,
    /// The hash of the URL that sent that answer, after redirects.
    pub address: [u8; 16],
    /// The hash of what decides how a body is stored and read.
    pub reader: [u8; 16],
    /// `false` while the site sends these validators with different bodies.
    pub trusted: bool,
    /// The number of 304 responses since the last full response.
    pub unchanged: u32,
    /// How often in a row a full response has proved such responses true.
    pub checks: u8,
}

/// A page whose last full response is still kept: its row with the body, and its item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPage {
    /// What is remembered of the page.
    pub page: Page,
    /// The size of the body of its last full response.
    pub body_bytes: u64,
    /// The content type of that answer.
    pub content_type: Option<String>,
}

impl Page {
    /// The longest `ETag` that is remembered, in bytes.
    pub const MAX_ETAG_BYTES: usize = 512;
    /// The longest `Last-Modified` that is remembered, in bytes.
    pub const MAX_LAST_MODIFIED_BYTES: usize = 64;

    /// The approximate number of bytes that the page adds to a statement.
    pub(crate) fn weight(&self) -> usize {
        // The fixed-size columns, and the length prefixes of the others.
        const FIXED: usize = 160;
        let texts = [&self.etag, &self.last_modified];
        FIXED + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    }
}
