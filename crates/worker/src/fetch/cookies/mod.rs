//! Cookies, as browsers keep them (RFC 6265 and its successor, RFC 6265bis).
//!
//! `set_cookie` reads the field that sets one, `date` its time of expiry; a `jar` keeps the cookies
//! of one fetch, or those of a run at one host (`run_jars`).

mod date;
mod jar;
mod run_jars;
mod set_cookie;

pub(crate) use jar::{CookieJar, Snapshot};
pub(crate) use run_jars::RunJars;
