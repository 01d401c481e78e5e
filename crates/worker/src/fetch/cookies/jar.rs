//! A jar of cookies, bounded in number and size.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use time::OffsetDateTime;
use url::Url;

use super::set_cookie::Cookie;

/// The most cookies of a jar. Browsers keep about as many per site; the oldest one goes first.
const MAX_COOKIES: usize = 180;
/// The most bytes of a jar.
const MAX_BYTES: usize = 16 * 1024;

/// The cookies of one fetch, or of the fetches of one run at one host.
#[derive(Debug, Default)]
pub(crate) struct Jar {
    /// The oldest first. A new value does not make a cookie younger. Snapshots share them.
    cookies: Arc<Vec<Cookie>>,
}

/// The cookies of a jar at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot(Arc<Vec<Cookie>>);

impl Snapshot {
    /// Whether a request for `url` has the same cookies as at the moment of `other`.
    pub(crate) fn is_same_for(&self, other: &Self, url: &Url) -> bool {
        let now = OffsetDateTime::now_utc();
        Arc::ptr_eq(&self.0, &other.0) || self.sent_to(url, now) == other.sent_to(url, now)
    }

    /// The cookies for a request for `url`, whatever their order: a cookie that is deleted and set
    /// again moves to the end.
    fn sent_to(&self, url: &Url, now: OffsetDateTime) -> Vec<[&[u8]; 3]> {
        let mut sent: Vec<[&[u8]; 3]> = matching(&self.0, url, now)
            .map(|cookie| [&cookie.name[..], &cookie.value[..], cookie.path.as_bytes()])
            .collect();
        sent.sort_unstable();
        sent
    }
}

/// The cookies for a request for `url`, the oldest first.
fn matching<'a>(
    cookies: &'a [Cookie],
    url: &Url,
    now: OffsetDateTime,
) -> impl Iterator<Item = &'a Cookie> {
    cookies.iter().filter(move |cookie| cookie.is_for(url) && !cookie.is_expired(now))
}

impl Jar {
    /// Adds the cookies that a response to a request for `url` sets.
    fn store(&mut self, headers: &HeaderMap, url: &Url, now: OffsetDateTime) {
        let fields = headers.get_all(SET_COOKIE).iter();
        fields
            .filter_map(|field| Cookie::parse(field.as_bytes(), url, now))
            .for_each(|cookie| self.add(cookie, now));
    }

    fn add(&mut self, cookie: Cookie, now: OffsetDateTime) {
        if self.cookies.iter().any(|other| cookie.shadows(other)) {
            return;
        }
        let known = self.cookies.iter().position(|other| cookie.replaces(other));
        if known.is_none() && cookie.is_expired(now) {
            return;
        }
        let cookies = Arc::make_mut(&mut self.cookies);
        match (known, cookie.is_expired(now)) {
            (Some(known), true) => _ = cookies.remove(known),
            (Some(known), false) => cookies[known] = cookie,
            (None, _) => cookies.push(cookie),
        }
        while cookies.len() > MAX_COOKIES
            || cookies.iter().map(Cookie::bytes).sum::<usize>() > MAX_BYTES
        {
            cookies.remove(0);
        }
    }

    /// The cookies for a request for `url`: those with the longest path first, then the oldest.
    fn matching(&self, url: &Url, now: OffsetDateTime) -> Vec<&Cookie> {
        let mut cookies: Vec<&Cookie> = matching(&self.cookies, url, now).collect();
        cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        cookies
    }

    /// The field `Cookie`: the cookies of the task, unless the site has set others of their names,
    /// and those of the jar.
    fn field(&self, own: Option<&HeaderValue>, url: &Url, now: OffsetDateTime) -> Option<Vec<u8>> {
        let set = self.matching(url, now);
        let pairs = own.map_or(&[][..], HeaderValue::as_bytes).split(|byte| *byte == b';');
        let name = |pair: &[u8]| {
            pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii().to_vec()
        };
        let mut field: Vec<Vec<u8>> = pairs
            .map(<[u8]>::trim_ascii)
            .filter(|pair| !pair.is_empty() && set.iter().all(|cookie| cookie.name != name(pair)))
            .map(<[u8]>::to_vec)
            .collect();
        field.extend(set.iter().map(|cookie| match cookie.name.is_empty() {
            true => cookie.value.clone(),
            false => [&cookie.name[..], b"=", &cookie.value].concat(),
        }));
        (!field.is_empty()).then(|| field.join(&b"; "[..]))
    }
}

/// The jar that a fetch uses.
#[derive(Debug)]
pub(crate) enum CookieJar {
    /// It is dropped at the end of the fetch.
    OfFetch(Jar),
    /// Fetches of one run at one host share it.
    OfRun(Arc<Mutex<Jar>>),
}

impl Default for CookieJar {
    fn default() -> Self {
        Self::OfFetch(Jar::default())
    }
}

impl CookieJar {
    /// Adds the cookies that a response to a request for `url` sets.
    pub(crate) fn store(&mut self, headers: &HeaderMap, url: &Url) {
        if headers.contains_key(SET_COOKIE) {
            let now = OffsetDateTime::now_utc();
            match self {
                Self::OfFetch(jar) => jar.store(headers, url, now),
                Self::OfRun(jar) => lock(jar).store(headers, url, now),
            }
        }
    }

    /// The field `Cookie` of a request for `url`, with the cookies `own` of the task.
    pub(crate) fn field(&self, own: Option<&HeaderValue>, url: &Url) -> Option<HeaderValue> {
        let field = |jar: &Jar| match jar.cookies.is_empty() {
            true => own.cloned(),
            false => HeaderValue::from_bytes(&jar.field(own, url, OffsetDateTime::now_utc())?).ok(),
        };
        match self {
            Self::OfFetch(jar) => field(jar),
            Self::OfRun(jar) => field(&lock(jar)),
        }
    }

    /// The cookies as they are now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        match self {
            Self::OfFetch(jar) => Snapshot(jar.cookies.clone()),
            Self::OfRun(jar) => Snapshot(lock(jar).cookies.clone()),
        }
    }
}

fn lock(jar: &Mutex<Jar>) -> MutexGuard<'_, Jar> {
    jar.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(path: &str) -> Url {
        Url::parse("https://a.example").unwrap().join(path).unwrap()
    }

    fn set(jar: &mut CookieJar, page: &str, fields: &[&str]) {
        let fields = fields.iter().map(|field| (SET_COOKIE, field.parse().unwrap()));
        jar.store(&fields.collect(), &url(page));
    }

    fn sent(jar: &CookieJar, own: &str, page: &str) -> String {
        let own = (!own.is_empty()).then(|| HeaderValue::from_str(own).unwrap());
        let field = jar.field(own.as_ref(), &url(page));
        field.map(|field| field.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn cookies_are_sent_by_path_and_age() {
        let mut jar = CookieJar::default();
        set(&mut jar, "/", &["a=1", "b=1; path=/shop", "c=1", "=d", "e=1; path=/else"]);
        assert_eq!(sent(&jar, "", "/shop/p"), "b=1; a=1; c=1; d");
        set(&mut jar, "/", &["a=2", "c=; Max-Age=0"]);
        assert_eq!(sent(&jar, "", "/shop"), "b=1; a=2; d");
        assert_eq!(sent(&jar, "", "/"), "a=2; d");
    }

    #[test]
    fn cookies_of_the_task_are_sent_too_unless_the_site_sets_them() {
        let mut jar = CookieJar::default();
        assert_eq!(sent(&jar, "x=1;  y=2", "/"), "x=1;  y=2");
        set(&mut jar, "/", &["y=3"]);
        assert_eq!(sent(&jar, "x=1;  y=2; ; z", "/"), "x=1; z; y=3");
    }

    #[test]
    fn only_cookies_that_a_request_sends_make_it_another_one() {
        let page = "/shop/p";
        for (fields, is_same) in [
            (&["a=1"][..], true),
            (&["a=1; Max-Age=60", "x=; Max-Age=0", "c=1; domain=b.example"], true),
            (&["a=2", "a=1"], true),
            (&["a=; Max-Age=0", "a=1"], true),
            (&["a=; Max-Age=0", "b=; Max-Age=0; path=/shop", "b=1; path=/shop", "a=1"], true),
            (&["c=1; path=/else"], true),
            (&["a=2"], false),
            (&["a=1; path=/shop"], false),
            (&["c=1"], false),
            (&["a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], false),
        ] {
            let mut jar = CookieJar::default();
            set(&mut jar, "/", &["a=1", "b=1; path=/shop"]);
            let before = jar.snapshot();
            set(&mut jar, "/", fields);
            assert_eq!(jar.snapshot().is_same_for(&before, &url(page)), is_same, "{fields:?}");
        }
    }

    #[test]
    fn a_secure_cookie_is_not_shadowed_from_outside_its_encryption() {
        let mut jar = CookieJar::default();
        set(&mut jar, "/", &["a=1; Secure", "b=1"]);
        let plain = Url::parse("http://a.example/").unwrap();
        let fields = ["a=2", "b=2"].map(|field| (SET_COOKIE, field.parse().unwrap()));
        jar.store(&fields.into_iter().collect(), &plain);
        assert_eq!(sent(&jar, "", "/"), "a=1; b=2");
    }

    #[test]
    fn a_jar_is_bounded() {
        let mut jar = Jar::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        for (value, most) in [("x".to_owned(), MAX_COOKIES), ("x".repeat(4_000), 4)] {
            for number in 0..1_000 {
                let field = format!("a{number}={value}");
                jar.add(Cookie::parse(field.as_bytes(), &url("/"), now).unwrap(), now);
                assert!(jar.cookies.len() <= MAX_COOKIES);
            }
            assert!(jar.cookies.iter().map(Cookie::bytes).sum::<usize>() <= MAX_BYTES);
            assert_eq!(jar.cookies.len(), most);
            assert_eq!(jar.cookies.last().unwrap().name, b"a999");
        }
    }
}
