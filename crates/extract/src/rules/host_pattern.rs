//! Host patterns of rules: one host (`shop.example`), or all hosts below one (`*.shop.example`).

use url::Host;

/// Parses a pattern and returns it as URLs spell hosts: in lower case, in ASCII.
pub(super) fn parse(pattern: &str) -> Option<String> {
    let (prefix, name) = match pattern.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", pattern),
    };
    let host = Host::parse(name).ok()?;
    let is_valid = match &host {
        Host::Domain(name) => !name.contains('*'),
        // There are no hosts below an address.
        Host::Ipv4(_) | Host::Ipv6(_) => prefix.is_empty(),
    };
    is_valid.then(|| format!("{prefix}{host}"))
}

/// Returns the patterns that match a host, the longest first.
pub(super) fn matching(host: &str) -> impl Iterator<Item = String> {
    let suffixes = host.match_indices('.').map(|(dot, _)| format!("*{}", &host[dot..]));
    std::iter::once(host.to_owned()).chain(suffixes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_host_or_the_hosts_below_one() {
        for (pattern, expected) in [
            ("shop.example", Some("shop.example")),
            ("*.Shop.Example", Some("*.shop.example")),
            ("b\u{fc}cher.example", Some("xn--bcher-kva.example")),
            ("localhost", Some("localhost")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("[::1]", Some("[::1]")),
            ("*.127.0.0.1", None),
            ("*", None),
            ("*.", None),
            ("*shop.example", None),
            ("shop.*", None),
            ("shop.example:8080", None),
            ("https://shop.example", None),
            ("shop example", None),
            ("", None),
        ] {
            assert_eq!(parse(pattern).as_deref(), expected, "{pattern:?}");
        }
    }

    #[test]
    fn a_host_matches_itself_and_the_patterns_above_it() {
        let patterns: Vec<_> = matching("www.shop.example").collect();
        assert_eq!(patterns, ["www.shop.example", "*.shop.example", "*.example"]);
    }
}
