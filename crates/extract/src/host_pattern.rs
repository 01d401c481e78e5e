//! Which hosts a rule is for: one (`shop.example`), or all below one (`*.shop.example`).

use url::Host;

/// A pattern as URLs have their hosts: in lower case, in ASCII. `None` when it is none.
pub(crate) fn read(pattern: &str) -> Option<String> {
    let (prefix, name) = match pattern.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", pattern),
    };
    let host = Host::parse(name).ok()?;
    let is_sound = match &host {
        Host::Domain(name) => !name.contains('*'),
        // Nothing lies below an address.
        Host::Ipv4(_) | Host::Ipv6(_) => prefix.is_empty(),
    };
    is_sound.then(|| format!("{prefix}{host}"))
}

/// The patterns that a host meets, the nearest first.
pub(crate) fn met_by(host: &str) -> impl Iterator<Item = String> {
    let below = host.match_indices('.').map(|(dot, _)| format!("*{}", &host[dot..]));
    std::iter::once(host.to_owned()).chain(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_hosts_or_what_lies_below_one() {
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
            assert_eq!(read(pattern).as_deref(), expected, "{pattern:?}");
        }
    }

    #[test]
    fn a_host_meets_itself_and_all_above_it() {
        let met: Vec<_> = met_by("www.shop.example").collect();
        assert_eq!(met, ["www.shop.example", "*.shop.example", "*.example"]);
    }
}
