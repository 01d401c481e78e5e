//! Splits a URL that names several nodes into URLs that name one node each.
//!
//! The text is split before anything of it is parsed: a library that takes a list for one URL makes
//! the rest of the list, passwords included, the name of a virtual host or of a database.

use std::fmt;

/// What is wrong with the text of a URL. Never repeats a part of it, which may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListError {
    /// No URL begins with a scheme.
    NoScheme,
    /// The URLs of a list begin with different schemes.
    Schemes,
    /// An `@` follows the beginning of the path.
    Misplaced,
    /// A `#` ends the URL early.
    Fragment,
    /// A comma stands in the path.
    CommaInPath,
    /// A host or a URL of the list is empty.
    Empty,
    /// There is no text.
    Nothing,
    /// Later items of a list stand in what would be the user or the password of the last one.
    InUser,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "it has no scheme",
            Self::Schemes => "the URLs of a list have different schemes",
            Self::Misplaced => {
                "an `@` follows a `/`, `?` or `#`. In a user name or a password, write %2F for \
                 `/`, %3F for `?` and %23 for `#`; in a virtual host, a database or an option, \
                 write %40 for `@`. In a list, each URL begins with its scheme"
            }
            Self::Fragment => "it contains a `#`: write %23",
            Self::CommaInPath => {
                "a comma follows the first `/`. List the hosts before it \
                 (scheme://user@host1,host2/name), or whole URLs; in the name of a virtual host or \
                 a database, write %2C"
            }
            Self::Empty => "a host of its list is empty",
            Self::Nothing => "it is empty: unset it to get the default",
            Self::InUser => {
                "a comma stands between two `@`. In a list, each URL begins with its scheme; in a \
                 user name or a password, write %40 for `@` and %2C for `,`"
            }
        })
    }
}

impl std::error::Error for ListError {}

/// The URLs of one node each that a text names: `scheme://user@host1,host2/path`, or whole URLs
/// with commas between them, or both.
///
/// # Errors
///
/// [`ListError`] also for text that could be a list but is not one.
pub fn urls(text: &str) -> Result<Vec<String>, ListError> {
    if text.trim().is_empty() {
        return Err(ListError::Nothing);
    }
    let mut urls = Vec::new();
    let mut scheme = None;
    for url in split_list(text) {
        let url = url.trim();
        if url.is_empty() {
            return Err(ListError::Empty);
        }
        let (own, _) = url.split_once("://").ok_or_else(|| no_scheme(url))?;
        if *scheme.get_or_insert(own.to_ascii_lowercase()) != own.to_ascii_lowercase() {
            return Err(ListError::Schemes);
        }
        urls.extend(split_hosts(url)?);
    }
    Ok(urls)
}

/// Text without a scheme: what is misplaced in it says more.
fn no_scheme(url: &str) -> ListError {
    match check(url) {
        Err(error) => error,
        Ok(_) => ListError::NoScheme,
    }
}

/// Splits a list of URLs: a comma and a scheme separate them.
fn split_list(text: &str) -> Vec<&str> {
    let mut begins = vec![0];
    for (comma, _) in text.match_indices(',') {
        let rest = text[comma + 1..].trim_start();
        let scheme = rest.split_once("://").map_or("", |(scheme, _)| scheme);
        if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            begins.push(comma + 1);
        }
    }
    let ends = begins.iter().skip(1).map(|begin| begin - 1).chain([text.len()]);
    begins.iter().zip(ends).map(|(begin, end)| &text[*begin..end]).collect()
}

/// The parts of a URL: user with `@`, hosts, and what follows them.
fn check(rest: &str) -> Result<(&str, &str, &str), ListError> {
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = behind.split('?').next().unwrap_or(behind);
    if behind.contains('@') {
        return Err(ListError::Misplaced);
    }
    if behind.contains('#') {
        return Err(ListError::Fragment);
    }
    if path.contains(',') {
        return Err(ListError::CommaInPath);
    }
    let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    // The password of the first item would be sent to the host of the last one.
    if user.split_once('@').is_some_and(|(_, rest)| rest.contains(',')) {
        return Err(ListError::InUser);
    }
    Ok((user, hosts, behind))
}

fn split_hosts(url: &str) -> Result<Vec<String>, ListError> {
    let (scheme, rest) = url.split_once("://").ok_or(ListError::NoScheme)?;
    let (user, hosts, behind) = check(rest)?;
    let scheme = scheme.to_ascii_lowercase();
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    if hosts.len() > 1 && hosts.iter().any(|host| host.is_empty() || host.starts_with(':')) {
        return Err(ListError::Empty);
    }
    Ok(hosts.iter().map(|host| format!("{scheme}://{user}{host}{behind}")).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_of_hosts_or_of_urls_is_split_into_urls_of_one_host() {
        for (text, expected) in [
            (
                "amqp://u:p@r1:5672,r2:5673,r3/%2f",
                &["amqp://u:p@r1:5672/%2f", "amqp://u:p@r2:5673/%2f", "amqp://u:p@r3/%2f"][..],
            ),
            (
                "mysql://u@g1, g2/fetchline?ssl-mode=REQUIRED",
                &[
                    "mysql://u@g1/fetchline?ssl-mode=REQUIRED",
                    "mysql://u@g2/fetchline?ssl-mode=REQUIRED",
                ],
            ),
            (
                "amqp://u:p@a:5672/%2f,amqp://u:p@b:5672/%2f",
                &["amqp://u:p@a:5672/%2f", "amqp://u:p@b:5672/%2f"],
            ),
            ("amqp://u:p@a,b/v,\n amqp://c/v", &["amqp://u:p@a/v", "amqp://u:p@b/v", "amqp://c/v"]),
            (
                "amqp://u:p@[fd00::5]:1,[fd00::6]",
                &["amqp://u:p@[fd00::5]:1", "amqp://u:p@[fd00::6]"],
            ),
            // A comma of a password is none of a list.
            ("amqp://u:a,b@host/v", &["amqp://u:a,b@host/v"]),
            (
                "amqp://fetch:p@ssw%23rd@[::1]:5672/v%40?heartbeat=5",
                &["amqp://fetch:p@ssw%23rd@[::1]:5672/v%40?heartbeat=5"],
            ),
            ("AMQP://U:P@A,Amqp://B/V", &["amqp://U:P@A", "amqp://B/V"]),
            ("mysql://root@127.0.0.1:3306/fetchline", &["mysql://root@127.0.0.1:3306/fetchline"]),
        ] {
            assert_eq!(urls(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_without_a_part_of_it() {
        for (text, expected) in [
            ("amqp://fetch:12/34secret@host/%2f", ListError::Misplaced),
            ("amqp://fetch:pa#secret@host:5672/", ListError::Misplaced),
            ("mysql://fetch:1?secret@host/fetchline", ListError::Misplaced),
            ("mysql://us@er:secret/x@host/fetchline", ListError::Misplaced),
            ("fetch:12/secret@host", ListError::Misplaced),
            ("mysql://fetch:secret@host/fetch#line", ListError::Fragment),
            // Lists whose later items are not whole.
            ("mysql://u:secret@a/x,u:secret@b/x", ListError::Misplaced),
            ("mysql://u:secret@a/x,b/x", ListError::CommaInPath),
            ("amqp://u:secret@a/x,b:5672", ListError::CommaInPath),
            ("amqp://u:secret@a/%2f,", ListError::CommaInPath),
            ("amqp://u:secret@a,,b/%2f", ListError::Empty),
            ("amqp://u:secret@a,/%2f", ListError::Empty),
            ("amqp://u:secret@a,:5672/%2f", ListError::Empty),
            ("amqp://u:secret@a/x,,amqp://b/x", ListError::CommaInPath),
            ("amqp://u:secret@a/x,amqps://b/x", ListError::Schemes),
            // Lists whose later items have no scheme, before the first path.
            ("amqp://u:secret@a:1,u:secret@b:1/x", ListError::InUser),
            ("amqp://u:secret@a,u@b", ListError::InUser),
            ("", ListError::Nothing),
            (" ", ListError::Nothing),
            ("secret", ListError::NoScheme),
        ] {
            let error = urls(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("secret"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn each_url_names_one_host_and_no_path_holds_another_url(text in ".{0,60}") {
            for url in urls(&text).unwrap_or_default() {
                let (_, rest) = url.split_once("://").unwrap();
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let host = authority.rsplit('@').next().unwrap();
                prop_assert!(!host.split(['?', '#']).next().unwrap().contains(','), "{url}");
                prop_assert!(!path.contains('@'), "{url}");
            }
        }
    }
}
