//! Parses the URL of a broker: one URI for each host that it names.

use std::str::FromStr;

use fetchline_nodes::{ListError, check_url, urls};
use lapin::uri::{AMQPUri, SASLMechanism};
use url::{Host, Url};

use crate::Error;

/// Seconds between heartbeats unless the URL sets them. A silent peer is noticed after two of them
/// at the latest.
const HEARTBEAT_S: u16 = 10;
/// The same if there is another node to turn to. The broker's documentation advises against less.
const HEARTBEAT_IN_CLUSTER_S: u16 = 5;

/// The options of a URL.
const OPTIONS: [&str; 5] =
    ["heartbeat", "connection_timeout", "frame_max", "channel_max", "auth_mechanism"];
/// The smallest limit of a frame that AMQP allows.
const MIN_FRAME: u32 = 4_096;
/// The channels of a connection: two for publishing, and one for each request beside it.
const MIN_CHANNELS: u16 = 16;

/// The URIs of all hosts; at least one.
pub(super) fn parse(text: &str) -> Result<Vec<AMQPUri>, Error> {
    // Before the list: text without a scheme is no list.
    let refused = |error: ListError| match error {
        ListError::NoScheme => no_scheme(),
        error => Error::Url(error.to_string()),
    };
    let urls = urls(text).map_err(refused)?;
    let heartbeat_s = if urls.len() > 1 { HEARTBEAT_IN_CLUSTER_S } else { HEARTBEAT_S };
    let uris = urls.iter().map(|url| one(url, heartbeat_s)).collect::<Result<Vec<_>, _>>()?;
    match uris.iter().all(|uri| uri.vhost == uris[0].vhost) {
        true => Ok(uris),
        false => Err(Error::Url("its list names different virtual hosts".to_owned())),
    }
}

fn no_scheme() -> Error {
    Error::Url("it does not begin with amqp:// or amqps://".to_owned())
}

fn one(url: &str, heartbeat_s: u16) -> Result<AMQPUri, Error> {
    // First: the library repeats a URL that it cannot parse, and with it the password.
    if !["amqp://", "amqps://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(no_scheme());
    }
    check_url(url, &OPTIONS, |url| AMQPUri::from_str(url).map(drop)).map_err(Error::Url)?;
    let mut uri = AMQPUri::from_str(url).map_err(Error::Url)?;
    // The library parses an IPv6 address as no host, and connects to localhost then.
    if let Ok(Some(Host::Ipv6(address))) = Url::parse(url).as_ref().map(Url::host) {
        uri.authority.host = address.to_string();
    }
    if uri.vhost.is_empty() {
        return Err(Error::Url(
            "it names the virtual host \"\", since nothing follows the last slash. The default \
             virtual host is /%2f; a URL that ends with the port means it, too"
                .to_owned(),
        ));
    }
    if let Some(problem) = unusable(&uri) {
        return Err(Error::Url(problem));
    }
    uri.query.heartbeat.get_or_insert(heartbeat_s);
    Ok(uri)
}

/// What no broker can be used with.
fn unusable(uri: &AMQPUri) -> Option<String> {
    let (user, query) = (&uri.authority.userinfo, &uri.query);
    if query.frame_max.is_some_and(|bytes| bytes > 0 && bytes < MIN_FRAME) {
        return Some(format!("its option `frame_max` has to be at least {MIN_FRAME}, or 0"));
    }
    if query.channel_max.is_some_and(|channels| channels > 0 && channels < MIN_CHANNELS) {
        return Some(format!("its option `channel_max` has to be at least {MIN_CHANNELS}, or 0"));
    }
    // The others need a certificate of the client, or are a demonstration.
    if matches!(query.auth_mechanism, Some(SASLMechanism::External | SASLMechanism::RabbitCrDemo)) {
        let text = "its option `auth_mechanism` has to be plain, amqplain or anonymous";
        return Some(text.to_owned());
    }
    let has_nul = user.username.contains('\0') || user.password.contains('\0');
    has_nul.then(|| "its user or its password contains a NUL".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_broker_takes_is_refused_by_name() {
        for (rest, named) in [
            ("h/v?hartbeat=3", "`hartbeat`"),
            ("h/v?heartbeat=hunter", "`heartbeat` is wrong: invalid digit"),
            ("h/v?heartbeat=99999", "`heartbeat` is wrong: number too large"),
            ("h/v?heartbeat", "`heartbeat` is wrong: cannot parse integer from empty"),
            ("h/v?frame_max=1", "`frame_max` has to be at least 4096"),
            ("h/v?channel_max=1", "`channel_max` has to be at least 16"),
            ("h/v?auth_mechanism=external", "`auth_mechanism` has to be plain"),
            ("h/v?auth_mechanism=x", "`auth_mechanism` is wrong"),
            ("::1:5672/v", "an IPv6 address as [::1]"),
            ("h/%ff", "percent-encoded as UTF-8"),
        ] {
            let error = parse(&format!("amqp://u:hunter2@{rest}")).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("hunter2"), "{rest}: {error}");
        }
        let error = parse("amqp://u:hunter2%00@h/v").unwrap_err().to_string();
        assert!(error.contains("NUL") && !error.contains("hunter2"), "{error}");
        for right in ["AMQP://h/v", "amqp://h/v?frame_max=0&channel_max=0&auth_mechanism=PLAIN"] {
            assert!(parse(right).is_ok(), "{right}");
        }
    }
}
