//! One fetch of a page that may be known: how it asks, and what is remembered afterwards.

use fetchline_store::{KnownPage, Page, stored_content_type};
use http::HeaderValue;

use crate::fetch::conditional::{Conditions, Validators, Version};

/// How often the number of trusted 304 responses doubles.
const MAX_CHECKS: u8 = 2;

/// A fetch of a page that may be known.
#[derive(Debug)]
pub(crate) struct Revisit {
    key: [u8; 16],
    reader: [u8; 16],
    known: Option<KnownPage>,
    conditions: Conditions,
}

/// A complete response with the status 200.
pub(crate) struct FullResponse {
    /// The key of its row.
    pub(crate) fetch_id: [u8; 16],
    pub(crate) body_sha256: [u8; 32],
    /// Whether the row has the body.
    pub(crate) has_body: bool,
    pub(crate) version: Version,
}

impl Revisit {
    /// `may_ask`: whether the request may have a condition; `full_every`: every n-th one has none.
    pub(super) fn new(
        key: [u8; 16],
        reader: [u8; 16],
        known: Option<KnownPage>,
        may_ask: bool,
        full_every: u32,
    ) -> Self {
        let version = known.as_ref().filter(|_| may_ask).and_then(|known| {
            let Page { trusted, unchanged, checks, .. } = known.page;
            let trusted_answers = full_every.saturating_mul(1 << checks.min(MAX_CHECKS));
            let is_due = unchanged.saturating_add(1) >= trusted_answers;
            let version = version_of(&known.page);
            (trusted && !is_due && !version.validators.is_empty()).then_some(version)
        });
        Self { key, reader, known, conditions: Conditions { known: version } }
    }

    /// How the fetch asks.
    pub(crate) fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Whether this is the body that is known, of the same type and from the same URL: it would be
    /// read as it was.
    pub(crate) fn is_known(
        &self,
        body_sha256: &[u8; 32],
        content_type: Option<&str>,
        version: &Version,
    ) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|known| {
            known.page.body_sha256 == *body_sha256
                && known.page.address == version.address
                && known.content_type.as_deref() == content_type.map(stored_content_type)
        })
    }

    /// The hash and the size of the known body.
    pub(crate) fn known_body(&self) -> Option<([u8; 32], u64)> {
        self.known.as_ref().map(|known| (known.page.body_sha256, known.body_bytes))
    }

    /// What is remembered after the site has said that the page is unchanged.
    pub(crate) fn after_not_modified(self) -> Option<Page> {
        let page = self.known?.page;
        Some(Page { unchanged: page.unchanged.saturating_add(1), ..page })
    }

    /// What is remembered after a response with the known body.
    pub(crate) fn after_same_body(self, version: Version) -> Option<Page> {
        let asked_in_full = self.conditions.known.is_none();
        let page = self.known?.page;
        // A full response proves the 304 responses before it.
        let is_check = asked_in_full && page.unchanged > 0;
        let checks = page.checks.saturating_add(u8::from(is_check)).min(MAX_CHECKS);
        let trusted = page.trusted || !has_common(&version_of(&page), &version);
        let page = Page { checks, trusted, unchanged: 0, ..page };
        Some(with_version(page, version))
    }

    /// What is remembered after a response with another body, or of a page that is not known.
    pub(crate) fn after_full_response(self, response: FullResponse) -> Page {
        let FullResponse { fetch_id, body_sha256, has_body, version } = response;
        let known = self.known.map(|known| known.page);
        // Equal validators with another body: they do not distinguish versions.
        let is_lie = known.as_ref().is_some_and(|known| {
            has_common(&version_of(known), &version)
                && (known.body_sha256 != body_sha256 || !known.trusted)
        });
        // A change that a request with a condition has found shows that the site notices changes.
        let is_proof = self.conditions.known.is_some() && !is_lie;
        let checks = known.filter(|_| is_proof).map_or(0, |known| known.checks);
        let page = Page {
            key: self.key,
            fetch_id,
            body_sha256,
            has_body,
            etag: None,
            last_modified: None,
            address: version.address,
            reader: self.reader,
            trusted: !is_lie,
            unchanged: 0,
            checks,
        };
        with_version(page, version)
    }
}

fn version_of(page: &Page) -> Version {
    let value = |bytes: &Option<Box<[u8]>>| HeaderValue::from_bytes(bytes.as_deref()?).ok();
    let validators =
        Validators { etag: value(&page.etag), last_modified: value(&page.last_modified) };
    Version { validators, address: page.address }
}

fn with_version(page: Page, version: Version) -> Page {
    let bytes = |value: Option<HeaderValue>| value.map(|value| value.as_bytes().into());
    let Validators { etag, last_modified } = version.validators;
    let (etag, last_modified) = (bytes(etag), bytes(last_modified));
    Page { etag, last_modified, address: version.address, ..page }
}

/// Whether a site would take both versions for the same one: by their entity tags, or by their
/// times if one of them has no tag.
fn has_common(known: &Version, new: &Version) -> bool {
    let (known, new) = (&known.validators, &new.validators);
    match (&known.etag, &new.etag) {
        // Sites compare tags without their mark of weakness (RFC 9110, 13.1.2).
        (Some(known), Some(new)) => opaque_tag(known) == opaque_tag(new),
        _ => known.last_modified.is_some() && known.last_modified == new.last_modified,
    }
}

fn opaque_tag(etag: &HeaderValue) -> &[u8] {
    etag.as_bytes().strip_prefix(b"W/").unwrap_or(etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL_EVERY: u32 = 7;
    const KEY: [u8; 16] = [1; 16];
    const READER: [u8; 16] = [2; 16];
    const ADDRESS: [u8; 16] = [3; 16];

    fn version(etag: Option<&'static str>, last_modified: Option<&'static str>) -> Version {
        let validators = Validators {
            etag: etag.map(HeaderValue::from_static),
            last_modified: last_modified.map(HeaderValue::from_static),
        };
        Version { validators, address: ADDRESS }
    }

    fn response(body: u8, version: Version) -> FullResponse {
        FullResponse { fetch_id: [body; 16], body_sha256: [body; 32], has_body: true, version }
    }

    fn visit(page: Option<Page>) -> Revisit {
        let known = page.map(|page| KnownPage {
            page,
            body_bytes: 9,
            content_type: Some("text/html".into()),
        });
        Revisit::new(KEY, READER, known, true, FULL_EVERY)
    }

    fn is_conditional(page: &Page) -> bool {
        visit(Some(page.clone())).conditions().known.is_some()
    }

    /// A page after its first fetch.
    fn fetched(body: u8, version: Version) -> Page {
        visit(None).after_full_response(response(body, version))
    }

    #[test]
    fn a_page_that_is_not_known_is_asked_for_in_full() {
        assert!(visit(None).conditions().known.is_none());
        let page = fetched(1, version(None, None));
        assert!(page.trusted && !is_conditional(&page));
    }

    #[test]
    fn a_known_page_is_asked_for_by_its_own_version() {
        for (etag, time) in [(Some("\"a\""), None), (None, Some("t1")), (Some("\"a\""), Some("t1"))]
        {
            let version = version(etag, time);
            let page = fetched(1, version.clone());
            assert_eq!(visit(Some(page)).conditions().known, Some(version));
        }
        let page = fetched(1, version(Some("\"a\""), None));
        let known = KnownPage { page, body_bytes: 9, content_type: None };
        let late = Revisit::new(KEY, READER, Some(known), false, FULL_EVERY);
        assert!(late.conditions().known.is_none());
    }

    #[test]
    fn every_nth_fetch_asks_in_full_and_the_number_doubles_twice_while_the_site_proves_right() {
        let mut page = fetched(1, version(Some("\"a\""), None));
        let mut pauses = Vec::new();
        let mut conditional = 0;
        while pauses.len() < 5 {
            let visit = visit(Some(page));
            if visit.conditions().known.is_some() {
                conditional += 1;
                page = visit.after_not_modified().unwrap();
            } else {
                pauses.push(std::mem::take(&mut conditional) + 1);
                page = visit.after_same_body(version(Some("\"a\""), None)).unwrap();
            }
        }
        assert_eq!(pauses, [7, 14, 28, 28, 28]);
    }

    #[test]
    fn with_one_every_fetch_asks_in_full() {
        let page = fetched(1, version(Some("\"a\""), None));
        let known = KnownPage { page, body_bytes: 9, content_type: None };
        let visit = Revisit::new(KEY, READER, Some(known), true, 1);
        assert!(visit.conditions().known.is_none());
    }

    #[test]
    fn a_change_that_the_site_has_told_keeps_the_trust_and_one_that_it_has_not_costs_it() {
        let trusted = Page { checks: 2, ..fetched(1, version(Some("\"a\""), None)) };
        let told = visit(Some(trusted.clone()));
        assert!(told.conditions().known.is_some());
        let after = told.after_full_response(response(2, version(Some("\"b\""), None)));
        assert_eq!((after.checks, after.trusted, after.unchanged), (2, true, 0));
        // Asked in full, after 27 304 responses: nobody knows when it changed.
        let due = visit(Some(Page { unchanged: 27, ..trusted }));
        assert!(due.conditions().known.is_none());
        let after = due.after_full_response(response(2, version(Some("\"b\""), None)));
        assert_eq!((after.checks, after.trusted, after.unchanged), (0, true, 0));
    }

    #[test]
    fn validators_that_come_with_different_bodies_are_not_sent_until_there_are_others() {
        let time = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (before, same, other) in [
            ((Some("\"a\""), None), (Some("\"a\""), None), (Some("\"b\""), None)),
            ((Some("\"a\""), None), (Some("W/\"a\""), Some(time)), (Some("\"b\""), Some(time))),
            ((None, Some(time)), (None, Some(time)), (None, Some("later"))),
            ((None, Some(time)), (Some("\"a\""), Some(time)), (Some("\"b\""), None)),
        ] {
            let page = fetched(1, version(before.0, before.1));
            let page = visit(Some(page)).after_full_response(response(2, version(same.0, same.1)));
            assert!(!page.trusted && !is_conditional(&page), "{before:?}");
            // The same body again proves nothing.
            let page = visit(Some(page)).after_same_body(version(same.0, same.1)).unwrap();
            assert!(!page.trusted && !is_conditional(&page), "{before:?}");
            let page = visit(Some(page)).after_full_response(response(3, version(same.0, same.1)));
            assert!(!page.trusted, "{before:?}");
            let page =
                visit(Some(page)).after_full_response(response(4, version(other.0, other.1)));
            assert!(page.trusted && is_conditional(&page), "{before:?}");
        }
    }

    #[test]
    fn an_entity_tag_that_differs_although_the_body_does_not_replaces_the_old_one() {
        let page = fetched(1, version(Some("\"server-1\""), None));
        let page = visit(Some(page)).after_same_body(version(Some("\"server-2\""), None)).unwrap();
        assert_eq!(page.etag.as_deref(), Some(&b"\"server-2\""[..]));
        assert_eq!((page.fetch_id[0], page.unchanged, page.trusted), (1, 0, true));
        // The site has stopped sending them.
        let page = visit(Some(page)).after_same_body(version(None, None)).unwrap();
        assert_eq!((page.etag.clone(), page.last_modified.clone()), (None, None));
        assert!(!is_conditional(&page));
    }

    #[test]
    fn a_body_is_known_by_its_bytes_its_type_and_its_url() {
        let page = fetched(1, version(None, None));
        let visit = visit(Some(page));
        let html = Some("text/html");
        assert!(visit.is_known(&[1; 32], html, &version(Some("\"x\""), None)));
        assert!(!visit.is_known(&[2; 32], html, &version(None, None)));
        assert!(!visit.is_known(&[1; 32], Some("text/html; charset=gbk"), &version(None, None)));
        assert!(!visit.is_known(&[1; 32], None, &version(None, None)));
        let elsewhere = Version { address: [4; 16], ..version(None, None) };
        assert!(!visit.is_known(&[1; 32], html, &elsewhere));
    }
}
