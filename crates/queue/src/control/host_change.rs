//! Changes of host limits, as operators write them.

use std::fmt;

use crate::Address;

/// A change of the limits of a host or a pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HostChange {
    /// Limit the requests per second that all workers together send.
    Rate(f64),
    /// Stop all requests.
    Pause,
    /// End a pause, a cool-down and a reduced rate.
    Resume,
    /// The same, and lift the limit.
    Clear,
}

impl HostChange {
    /// Parses `5/s`, `pause`, `resume` or `clear`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "pause" => Ok(Self::Pause),
            "resume" => Ok(Self::Resume),
            "clear" => Ok(Self::Clear),
            "" => Err("it does not say what to change".to_owned()),
            rate => parse_rate(rate).map(Self::Rate),
        }
    }
}

impl fmt::Display for HostChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(f, "{rate}/s"),
            Self::Pause => f.write_str("pause"),
            Self::Resume => f.write_str("resume"),
            Self::Clear => f.write_str("clear"),
        }
    }
}

/// Parses `5/s`, `0.2/s`: a number per second.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").and_then(|number| number.trim().parse().ok());
    // Slower than once in ten days is a pause, and a million per second is no limit.
    let in_range = number.filter(|rate| (1e-6..=1e6).contains(rate));
    in_range.ok_or_else(|| "not a rate from 0.000001/s to 1000000/s (write it like 5/s)".to_owned())
}

/// Parses what a limit is for: a host, a suffix of names, or everything.
pub fn parse_pattern(text: &str) -> Result<String, String> {
    const SYNTAX: &str =
        "a pattern is `*`, or `*.` and a name without a port, such as *.shop.example";
    let suffix = match text.trim() {
        "*" => return Ok("*".to_owned()),
        text if !text.contains('*') => return parse_host(text),
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
    // A name that matches has one more label.
    const MAX_NAME_BYTES: usize = 253;
    let pattern = format!("*.{}", address.host());
    if pattern.len() > MAX_NAME_BYTES {
        return Err(format!("no host name matches it: a name has at most {MAX_NAME_BYTES} bytes"));
    }
    Ok(pattern)
}

/// Parses a host and names it as the workers do: in lower-case ASCII, with `:port` only if it is
/// not the default of the scheme.
fn parse_host(text: &str) -> Result<String, String> {
    let url = match text.ends_with(":80") {
        _ if text.contains("://") => text.to_owned(),
        true => format!("http://{text}"),
        false => format!("https://{text}"),
    };
    let address = Address::parse(&url).map_err(|error| format!("not a host: {error}"))?;
    Ok(address.host().to_owned())
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
}
