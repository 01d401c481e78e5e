//! Parses the URL of a broker: one URI for each host that it names.

use std::str::FromStr;

use fetchline_nodes::{ListError, urls};
use lapin::uri::AMQPUri;
use url::{Host, Url};

use crate::Error;

/// Seconds between heartbeats unless the URL sets them. A silent peer is noticed after two of them
/// at the latest.
const HEARTBEAT_S: u16 = 10;
/// The same if there is another node to turn to. The broker's documentation advises against less.
const HEARTBEAT_IN_CLUSTER_S: u16 = 5;

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
    let mut uri = AMQPUri::from_str(url).map_err(|error| Error::Url(without_url(error, url)))?;
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
    uri.query.heartbeat.get_or_insert(heartbeat_s);
    Ok(uri)
}

fn without_url(error: String, url: &str) -> String {
    if error.contains(url) { "it is not a URL".to_owned() } else { error }
}
