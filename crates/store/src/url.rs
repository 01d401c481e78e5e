//! Parses the URL of the database: the options of one connection for each host that it names.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;
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
    check_text(url).map_err(Error::Url)?;
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

/// Checks the options that decide how text is sent and compared. With another character set, the
/// server would take the UTF-8 of this program for other characters, or refuse some of them.
fn check_text(url: &str) -> Result<(), String> {
    let Ok(url) = Url::parse(url) else { return Ok(()) };
    for (name, value) in url.query_pairs() {
        let value = value.to_ascii_lowercase();
        let problem = match &*name {
            "charset" if value != "utf8mb4" => "has to be utf8mb4",
            "collation" if !value.starts_with("utf8mb4_") => "has to begin with utf8mb4_",
            "time-zone" | "timezone" if !is_time_zone(&value) => "is no time zone",
            _ => continue,
        };
        return Err(format!("its option `{name}` {problem}"));
    }
    Ok(())
}

/// The driver puts it between quotes without escaping it.
fn is_time_zone(value: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-:/_".contains(&byte);
    !value.is_empty() && value.bytes().all(is_allowed)
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
    check_socket(&url)?;
    let has_certificate = file(["ssl-cert", "sslcert"], "BEGIN CERTIFICATE")?;
    let has_key = file(["ssl-key", "sslkey"], "PRIVATE KEY")?;
    match has_certificate == has_key {
        true => Ok(()),
        false => Err("its options `ssl-cert` and `ssl-key` need each other".to_owned()),
    }
}

/// A server that is down may have removed its socket, but not the folder.
fn check_socket(url: &Url) -> Result<(), String> {
    let Some((_, path)) = url.query_pairs().find(|(name, _)| name == "socket") else {
        return Ok(());
    };
    let path = Path::new(&*path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let problem = match std::fs::metadata(path) {
        Ok(found) if found.file_type().is_socket() => return Ok(()),
        Ok(_) => "it is no socket".to_owned(),
        Err(_) if path.is_absolute() && folder.is_some_and(Path::is_dir) => return Ok(()),
        Err(error) => error.to_string(),
    };
    let path = path.display();
    Err(format!("the file {path} of its option `socket` cannot be used: {problem}"))
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
            ("h/d?socket=/missing/mysqld.sock", "/missing/mysqld.sock of its option `socket`"),
            ("h/d?socket=/etc/passwd", "it is no socket"),
            ("h/d?charset=latin1", "`charset` has to be utf8mb4"),
            ("h/d?charset=utf8mb4&charset=utf8", "`charset` has to be utf8mb4"),
            ("h/d?collation=latin1_bin", "`collation` has to begin with utf8mb4_"),
            ("h/d?time-zone='", "`time-zone` is no time zone"),
            ("::1:3306/d", "an IPv6 address as [::1]"),
        ] {
            let error = parse(&format!("mysql://u:hunter2@{rest}")).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("hunter2"), "{rest}: {error}");
        }
        for right in ["ssl-mode=VERIFY_IDENTITY&charset=UTF8MB4", "socket=/missing.sock"] {
            assert!(parse(&format!("MySQL://u@h/d?{right}")).is_ok(), "{right}");
        }
    }
}
