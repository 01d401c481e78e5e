//! Checks a URL before a library reads it: libraries ignore options that they do not know, and do
//! not say which one is wrong.

/// Checks the options of a URL, and that `parse` takes each of them and the whole. The text of the
/// error repeats no part of the URL that may be a password.
///
/// # Errors
///
/// What is wrong, for people.
pub fn check_url(
    url: &str,
    known: &[&str],
    parse: impl Fn(&str) -> Result<(), String>,
) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    // Without an `@`, the host may be missing, and what follows the colon may be a password.
    let may_be_password = !authority.contains('@') && authority.contains(':');
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let name = option.split('=').next().unwrap_or(option);
        if !known.contains(&name) {
            let name = if may_be_password { String::new() } else { format!(" `{name}`") };
            return Err(format!("it has an unknown option{name}; known are {}", known.join(", ")));
        }
        let alone = format!("{scheme}://host/name?{option}");
        parse(&alone).map_err(|error| format!("its option `{name}` is wrong: {error}"))?;
    }
    parse(url).map_err(|error| {
        let error = if error.contains(rest) { "it is not a URL" } else { error.as_str() };
        format!(
            "{error}. Write scheme://user:password@host:port/name, an IPv6 address as [::1], and \
             every other character percent-encoded as UTF-8"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str) -> String {
        let parse = |url: &str| match url.contains("=wrong") || url.contains("::") {
            true => Err("invalid digit".to_owned()),
            false => Ok(()),
        };
        check_url(url, &["ssl-mode", "heartbeat"], parse).err().unwrap_or_default()
    }

    #[test]
    fn an_option_that_is_wrong_is_named() {
        for right in ["a://u:p@h/n", "a://u:p@h?heartbeat=5&ssl-mode=X", "a://h/n?"] {
            assert_eq!(checked(right), "");
        }
        for (url, named) in [
            ("a://u:secret@h/n?ssl_mode=REQUIRED", "`ssl_mode`; known are ssl-mode, heartbeat"),
            ("a://u:secret@h?password=secret", "`password`"),
            ("a://h/n?ssl-mode=X&SSL-CA=x", "`SSL-CA`"),
            ("a://u:secret@h/n?heartbeat=wrong", "`heartbeat` is wrong: invalid digit"),
            ("a://u:secret@::1/n", "invalid digit. Write scheme://"),
        ] {
            let error = checked(url);
            assert!(error.contains(named) && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        let error = checked("a://user:12?secret");
        assert!(error.contains("unknown option; known are"), "{error}");
    }
}
