//! Hosts and patterns of hosts, as operators write them.

use std::net::Ipv6Addr;

use url::Host;

use crate::Address;

/// The longest label of a name, in bytes (RFC 1035, 2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// A host that an operator has written.
pub(crate) struct WrittenHost {
    /// As in [`Address::host`].
    pub(crate) host: String,
    /// Whether a port was written, be it that of the scheme.
    pub(crate) names_port: bool,
}

impl WrittenHost {
    /// Parses a name, an address or a URL, with a port or without one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let text = match text.parse::<Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]"),
            Err(_) => text.to_owned(),
        };
        let has_scheme = text.contains("://");
        let of = |url: &str| Address::parse(url).map_err(|error| format!("not a host: {error}"));
        let https = if has_scheme { text.clone() } else { format!("https://{text}") };
        let address = of(&https)?;
        let (_, behind) = https.split_once("://").unwrap_or_default();
        let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
        check_name(&address)?;
        if !has_scheme && address.ip().is_some() && behind.len() > authority.len() {
            return Err("not a host: a limit is for one address and not for a network".to_owned());
        }
        if !authority.is_empty() && authority.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("not a host: a number alone is no host".to_owned());
        }
        // The URL drops the port that is the default of its scheme.
        let names_port = address.as_url().port().is_some()
            || [":80", ":443"].iter().any(|port| authority.ends_with(port));
        let host = match !has_scheme && authority.ends_with(":80") {
            true => of(&format!("http://{text}"))?.host().to_owned(),
            false => address.host().to_owned(),
        };
        Ok(Self { host, names_port })
    }
}

/// Refuses what the URL standard accepts although no name of a host has it, such as a comma.
///
/// # Errors
///
/// What no name of a host has.
pub fn check_name(address: &Address) -> Result<(), String> {
    let Some(Host::Domain(name)) = address.as_url().host() else { return Ok(()) };
    let name = name.strip_suffix('.').unwrap_or(name);
    let wrong = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_');
    for label in name.split('.') {
        if label.is_empty() {
            return Err("not a host: a part between two dots is empty".to_owned());
        }
        if let Some(c) = label.chars().find(|c| wrong(*c)) {
            return Err(format!("not a host: a name cannot contain `{c}`"));
        }
        if label.len() > MAX_LABEL_BYTES {
            return Err(format!(
                "not a host: a part between two dots has more than {MAX_LABEL_BYTES} bytes"
            ));
        }
    }
    Ok(())
}

/// Parses what a limit is for: a host, a suffix of names, or everything.
pub fn parse_pattern(text: &str) -> Result<String, String> {
    const SYNTAX: &str =
        "a pattern is `*`, or `*.` and a name without a port, such as *.shop.example";
    let suffix = match text.trim() {
        "*" => return Ok("*".to_owned()),
        text if !text.contains('*') => return WrittenHost::parse(text).map(|host| host.host),
        text => text.strip_prefix("*.").ok_or(SYNTAX)?,
    };
    // The URL parser would silently drop these and what follows.
    if suffix.contains(['*', ':', '/', '\\', '@', '?', '#']) || suffix.starts_with('.') {
        return Err(SYNTAX.to_owned());
    }
    let address = Address::parse(&format!("https://{suffix}"))
        .map_err(|error| format!("{SYNTAX}: {error}"))?;
    if address.ip().is_some() {
        return Err(format!("an IP address has no subdomains; {SYNTAX}"));
    }
    check_name(&address).map_err(|error| format!("{SYNTAX}: {error}"))?;
    // A name that matches has one more label.
    const MAX_NAME_BYTES: usize = 253;
    let pattern = format!("*.{}", address.host());
    if pattern.len() > MAX_NAME_BYTES {
        return Err(format!("no host name matches it: a name has at most {MAX_NAME_BYTES} bytes"));
    }
    Ok(pattern)
}

/// The name or the address of a host, and its port if it has one.
pub fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        // Not the end of an IPv6 address.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    }
}

/// Whether a pattern concerns a host, or every host of another pattern.
pub fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => split_port(host).0.ends_with(suffix),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_the_name_that_workers_use() {
        for (text, expected) in [
            ("Shop.Example", "shop.example"),
            ("shop.example:8443", "shop.example:8443"),
            ("shop.example:443", "shop.example"),
            ("shop.example:80", "shop.example"),
            ("https://shop.example/p/1", "shop.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("127.0.0.1:80", "127.0.0.1"),
            // A dot at the end of a name is not another host.
            ("shop.example.", "shop.example"),
            ("https://Shop.Example./p/1", "shop.example"),
            ("shop.example.:8443", "shop.example:8443"),
        ] {
            assert_eq!(parse_pattern(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(parse_pattern("").is_err() && parse_pattern("a b").is_err());
    }

    #[test]
    fn a_pattern_is_a_suffix_of_names_or_all_hosts() {
        for (text, expected) in [
            ("*", "*"),
            ("*.MyShopify.Example", "*.myshopify.example"),
            ("*.bücher.example", "*.xn--bcher-kva.example"),
            ("*.shop.example.", "*.shop.example"),
            ("*.example", "*.example"),
        ] {
            assert_eq!(parse_pattern(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_invalid_pattern_is_an_error_that_shows_the_syntax() {
        let long = format!("*.{}example", "a.".repeat(123));
        for wrong in [
            "**",
            "*.",
            "*shop.example",
            "shop.*",
            "a.*.example",
            "*.*.example",
            "*..example",
            "*.shop.example:8443",
            "*:80",
            "https://*.shop.example",
            "*.shop.example/p",
            "*.user@shop.example",
            "*.shop example",
            "*.127.0.0.1",
            "*.[::1]",
            &long,
        ] {
            let error = parse_pattern(wrong).unwrap_err();
            assert!(
                error.contains("*.shop.example") || error.contains("253 bytes"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for (wrong, reason) in [
            ("shop.example,", "cannot contain `,`"),
            ("shop..example", "between two dots is empty"),
            ("*.shop..example", "between two dots is empty"),
            ("=a", "cannot contain `=`"),
            ("10.0.0.0/8", "not for a network"),
            ("[::1]/128", "not for a network"),
            ("5", "a number alone"),
            ("127.0.0.1:43915,localhost", "not a host"),
        ] {
            let error = parse_pattern(wrong).unwrap_err();
            assert!(error.contains(reason), "{wrong}: {error}");
        }
        for (text, expected) in [
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            ("[::1]:8080", "[::1]:8080"),
            ("2001:DB8::7", "[2001:db8::7]"),
            ("my_shop.example", "my_shop.example"),
        ] {
            assert_eq!(parse_pattern(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_pattern_covers_its_hosts_on_every_port() {
        for (pattern, host) in [
            ("*", "[::1]:8080"),
            ("*", "*.shop.example"),
            ("*.shop.example", "www.shop.example:8443"),
            ("*.example", "*.shop.example"),
            ("shop.example", "shop.example"),
        ] {
            assert!(covers(pattern, host), "{pattern} {host}");
        }
        for (pattern, host) in [
            ("*.shop.example", "shop.example"),
            ("shop.example", "shop.example:8443"),
            ("*.shop.example", "*"),
        ] {
            assert!(!covers(pattern, host), "{pattern} {host}");
        }
    }
}
