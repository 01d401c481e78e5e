//! Parses the URL of the database: the options of one connection for each host that it names.

use std::str::FromStr;

use fetchline_nodes::{Endpoint, ListError, Nodes, urls};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use crate::Error;

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
