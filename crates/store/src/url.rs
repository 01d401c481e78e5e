//! Parses the URL of the database: the options of one connection for each host that it names.

use std::str::FromStr;

use fetchline_nodes::{Endpoint, ListError, Nodes, check_url, urls};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use url::Url;

use crate::Error;

/// The options of a URL. Some have two names.
const OPTIONS: [&str; 14] = [
    "ssl-mode",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "socket",
    "charset",
    "collation",
    "statement-cache-capacity",
    "time-zone",
    "timezone",
    "sslmode",
    "sslca",
    "sslcert",
    "sslkey",
];

/// The options of each host; at least one. All name the same database.
pub(crate) fn parse(text: &str) -> Result<Vec<MySqlConnectOptions>, Error> {
    let refused = |error: ListError| match error {
        ListError::NoScheme => no_scheme(),
        error => Error::Url(error.to_string()),
    };
    let urls = urls(text).map_err(refused)?;
    let all = urls.iter().map(|url| one(url)).collect::<Result<Vec<_>, _>>()?;
    match all.iter().all(|options| options.get_database() == all[0].get_database()) {
        true => Ok(all),
        false => Err(Error::Url("its list names different databases".to_owned())),
    }
}

/// The nodes that these options lead to.
pub(crate) fn nodes(all: &[MySqlConnectOptions]) -> Nodes {
    let endpoint = |options: &MySqlConnectOptions| Endpoint {
        host: options.get_host().trim_matches(['[', ']']).to_owned(),
        port: options.get_port(),
    };
    // The driver compares the certificate with the host that it connects to.
    let needs_name = |options: &MySqlConnectOptions| {
        options.get_socket().is_some()
            || matches!(options.get_ssl_mode(), MySqlSslMode::VerifyIdentity)
    };
    Nodes::new(all.iter().map(endpoint).collect(), !all.iter().any(needs_name))
}

fn no_scheme() -> Error {
    Error::Url("it does not begin with mysql://".to_owned())
}

fn one(url: &str) -> Result<MySqlConnectOptions, Error> {
    // Checked first: sqlx accepts any scheme, and reads the password of a URL without a scheme as
    // the name of a database.
    if !["mysql://", "mariadb://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(no_scheme());
    }
    let parse = |url: &str| match MySqlConnectOptions::from_str(url) {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Configuration(cause)) => Err(cause.to_string()),
        Err(error) => Err(error.to_string()),
    };
    check_url(url, &OPTIONS, parse).map_err(Error::Url)?;
    check_files(url).map_err(Error::Url)?;
    let options = MySqlConnectOptions::from_str(url)
        .map_err(|error| Error::Url(error.to_string()))?
        // Statements contain URLs, and URLs may contain secrets.
        .disable_statement_logging();
    if options.get_database().is_none_or(str::is_empty) {
        return Err(Error::Url(
            "it names no database (mysql://user@host:3306/DATABASE)".to_owned(),
        ));
    }
    Ok(options)
}

/// Checks the files of a URL, also if it asks for no TLS: they were meant to be used.
fn check_files(url: &str) -> Result<(), String> {
    let Ok(url) = Url::parse(url) else { return Ok(()) };
    let file = |names: [&str; 2], content: &str| -> Result<bool, String> {
        let Some((name, file)) = url.query_pairs().find(|(name, _)| names.contains(&&**name))
        else {
            return Ok(false);
        };
        let problem = match std::fs::read(&*file) {
            Ok(bytes) if String::from_utf8_lossy(&bytes).contains(content) => return Ok(true),
            Ok(_) => format!("it contains no `{content}`"),
            Err(error) => error.to_string(),
        };
        Err(format!("the file {file} of its option `{name}` cannot be used: {problem}"))
    };
    file(["ssl-ca", "sslca"], "BEGIN CERTIFICATE")?;
    let has_certificate = file(["ssl-cert", "sslcert"], "BEGIN CERTIFICATE")?;
    let has_key = file(["ssl-key", "sslkey"], "PRIVATE KEY")?;
    match has_certificate == has_key {
        true => Ok(()),
        false => Err("its options `ssl-cert` and `ssl-key` need each other".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_lose_tls_or_never_work_is_refused_by_name() {
        for (rest, named) in [
            ("h/d?ssl_mode=REQUIRED", "`ssl_mode`; known are ssl-mode"),
            ("h/d?ssl-mode=SOME", "`ssl-mode` is wrong"),
            ("h/d?ssl-mode=REQUIRED&foo=bar", "`foo`"),
            ("h/d?statement-cache-capacity=abc", "`statement-cache-capacity` is wrong"),
            ("h/d?ssl-ca=/missing.pem", "/missing.pem of its option `ssl-ca`"),
            ("h/d?ssl-ca=/dev/null", "no `BEGIN CERTIFICATE`"),
            ("h/d?ssl-cert=/missing.pem", "/missing.pem of its option `ssl-cert`"),
            ("::1:3306/d", "an IPv6 address as [::1]"),
        ] {
            let error = parse(&format!("mysql://u:hunter2@{rest}")).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("hunter2"), "{rest}: {error}");
        }
        assert!(parse("MySQL://u@h/d?ssl-mode=VERIFY_IDENTITY&charset=utf8mb4").is_ok());
    }
}
