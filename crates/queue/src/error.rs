//! Errors between fetchline and its broker.

use fetchline_nodes::{Node, Protocol};
use lapin::protocol::AMQPError;

/// A failure at the boundary to RabbitMQ.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The AMQP URL is invalid. The text never repeats the URL, which may hold a password.
    #[error("the AMQP URL is not usable: {0}")]
    Url(String),
    /// The file of `--amqp-ca` cannot be read.
    #[error("the CA file {path} cannot be read")]
    Ca {
        /// The path as it was given.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// There are no certificate authorities to check the broker's certificate with.
    #[error(
        "the system's certificate authorities cannot be used: install ca-certificates, or use \
             --amqp-ca"
    )]
    Tls(#[source] rustls::Error),
    /// What exists on the broker would multiply messages or keep them for ever: the text of a
    /// [`Difference`](crate::Difference).
    #[error("{0}. Delete it, or use another prefix; a worker declares what is missing")]
    Topology(String),
    /// No node takes a connection: what each of them does, and the failure that says most.
    #[error("cannot connect to the broker ({0})")]
    NoNode(String, Box<Self>),
    /// Something else than a broker answers.
    #[error("what answers at this port speaks {0}, not AMQP")]
    Protocol(Protocol),
    /// The user may not publish to the exchange of this name.
    #[error("this user may not publish to the exchange {0}")]
    MayNotPublish(String),
    /// The user lacks permissions without which a worker does nothing: what they are.
    #[error("this user may not do what a worker does; it lacks: {0}")]
    MayNotWork(String),
    /// The broker closed the connection instead of answering the login by a mechanism that the URL
    /// names.
    #[error("the broker ends the connection at the login by `auth_mechanism={0}`")]
    Mechanism(String, #[source] lapin::Error),
    /// The broker did not answer in time: the deadline in seconds, and the request.
    #[error("the broker did not answer within {0} s ({1})")]
    Deadline(u64, &'static str),
    /// An exchange or a queue is missing, and this user may not declare it.
    #[error(
        "{0} does not exist, and this user may not declare it: import the definitions of \
         deploy/rabbitmq again, or grant the user the permission `configure`"
    )]
    Missing(String),
    /// The control stream is a queue of another type, from which no worker can read directives.
    #[error(
        "the queue {0} is not a stream, so no worker obeys a directive: delete it, and import the \
         definitions of deploy/rabbitmq again, or let a worker declare it that may configure it"
    )]
    NotAStream(String),
    /// What a queue holds is not known.
    #[error(
        "the leader of the queue {0} does not answer, so nobody knows what the queue holds: check \
         the nodes of the broker"
    )]
    NoLeader(String),
    /// A queue is missing. Workers declare missing queues when they start.
    #[error("the queue {0} does not exist: start a worker first, which declares the queues")]
    NoQueue(String),
    /// The broker returned a message: no queue is bound to its routing key.
    #[error("no queue is bound to the routing key: start a worker, which declares the queues")]
    Unroutable,
    /// The broker is under an alarm and accepts no messages: the reason that it gives.
    #[error(
        "the broker is under an alarm ({0}) and accepts no messages; what was sent may count once \
         the alarm is over. Free memory or disk space on the broker"
    )]
    Blocked(String),
    /// The broker refused a message with a negative confirm.
    #[error("the broker refused the message: the queue is full")]
    Nacked,
    /// A connection cannot be opened.
    #[error("cannot connect to the broker")]
    Connect(#[source] lapin::Error),
    /// The broker or the connection to it reported an error.
    #[error("{context}{}", advice(source))]
    Amqp {
        /// What failed.
        context: &'static str,
        /// The error of the client library.
        source: lapin::Error,
    },
}

impl Error {
    /// An error of the client library, and what failed.
    pub fn amqp(context: &'static str) -> impl Fn(lapin::Error) -> Self {
        move |source| Self::Amqp { context, source }
    }

    /// The failures of all nodes as one error. One that an operator has to correct says most.
    pub(crate) fn no_node(mut failures: Vec<(Node, Self)>) -> Self {
        let describe = |(node, error): &(Node, Self)| match std::error::Error::source(error) {
            Some(cause) => format!("{node}: {cause}"),
            None => format!("{node}: {error}"),
        };
        let text: Vec<String> = failures.iter().map(describe).collect();
        failures.sort_by_key(|(_, error)| !error.is_configuration());
        match failures.into_iter().next() {
            Some((_, error)) => Self::NoNode(text.join("; "), Box::new(error)),
            None => Self::Deadline(0, "connecting"),
        }
    }

    /// Whether an exchange or a queue does not exist. A broker uses the same reply code (404) for a
    /// queue that is only unavailable.
    pub fn is_not_found(&self) -> bool {
        let Some((404, text)) = self.reply() else { return false };
        ["no queue '", "no exchange '"].iter().any(|no| text.contains(no))
    }

    /// Whether the user lacks a permission (reply code 403).
    pub(crate) fn is_access_refused(&self) -> bool {
        matches!(self.reply(), Some((403, _)))
    }

    /// Whether the broker's reply is about an exchange.
    pub(crate) fn is_about_exchange(&self) -> bool {
        self.reply().is_some_and(|(_, text)| text.contains(" exchange '"))
    }

    /// Whether a queue takes no offset of a stream (reply code 406).
    pub(crate) fn takes_no_offset(&self) -> bool {
        matches!(self.reply(), Some((406, text)) if text.contains("'x-stream-offset'"))
    }

    /// The argument by which a declaration differs from what exists, and the broker's description
    /// (reply code 406).
    pub(crate) fn inequivalent_argument(&self) -> Option<(String, String)> {
        let Some((406, text)) = self.reply() else { return None };
        let (_, difference) = text.split_once("inequivalent arg '")?;
        let (argument, _) = difference.split_once('\'')?;
        Some((argument.to_owned(), format!("inequivalent arg '{difference}")))
    }

    /// Whether the broker answered with an error, as opposed to not answering at all.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::NotAStream(_)) || self.reply().is_some()
    }

    /// The code and the text of the error with which the broker replied.
    fn reply(&self) -> Option<(u16, &str)> {
        match self {
            Self::NoNode(_, error) => error.reply(),
            Self::Connect(source) | Self::Amqp { source, .. } => {
                reply(source).map(|error| (error.get_id(), error.get_message().as_str()))
            }
            _ => None,
        }
    }

    /// Whether another attempt cannot succeed before an operator has corrected something.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Url(_) | Self::Ca { .. } | Self::Tls(_) | Self::Topology(_))
            || self.refusal().is_some()
    }

    /// What an operator has to correct before another attempt can succeed: the broker refuses this
    /// user or the access to the virtual host (403, 530), or its certificate is not trusted.
    pub fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::NoNode(_, error) => error.refusal(),
            _ if self.reply().is_some_and(|(_, text)| is_limit(text)) => Some(
                "raise the limit that the broker names: a worker has up to five connections, and a \
                 fleet a queue for each delay besides six others",
            ),
            Self::Connect(_) if matches!(self.reply(), Some((403 | 530, _))) => Some(
                "the broker refuses the connection: check the user, the password and the virtual \
                 host",
            ),
            Self::Amqp { .. } if matches!(self.reply(), Some((403 | 530, _))) => {
                Some("the user lacks a permission: grant it on what the broker names")
            }
            Self::Connect(source) | Self::Amqp { source, .. } if is_untrusted(source) => Some(
                "the broker's certificate is not trusted: --amqp-ca must name the authority that \
                 signed it, and the URL the host that it was issued for",
            ),
            Self::Connect(source) => other_protocol(source),
            Self::Protocol(Protocol::Tls) => {
                Some("use amqps://, or the port without TLS, which is usually 5672")
            }
            Self::Protocol(_) => Some(NO_BROKER),
            Self::MayNotWork(_) => {
                Some("the user lacks a permission: grant it (rabbitmqctl set_permissions)")
            }
            Self::Mechanism(..) => Some(
                "remove `auth_mechanism` from --amqp-url, or enable this mechanism on the broker",
            ),
            Self::MayNotPublish(_) => Some("grant the user the permission `write` on the exchange"),
            _ => None,
        }
    }
}

/// What to do about an error of the broker itself (reply code 541). After the process of a quorum
/// queue has crashed, only a restart of the node brings the queue back.
fn advice(error: &lapin::Error) -> &'static str {
    match reply(error) {
        Some(reply) if reply.get_id() == 541 => {
            "; the broker has failed inside: read its log, and restart the node if this lasts"
        }
        _ => "",
    }
}

const NO_BROKER: &str = "what answers at this port does not speak AMQP: the usual port is 5672, \
                          and 5671 with amqps://; 15672 is that of the console";

/// Whether this is what a broker answers, or what this side thinks of its certificate.
pub(crate) fn is_answer(error: &lapin::Error) -> bool {
    reply(error).is_some() || tls_error(error).is_some()
}

/// What to correct if something else than AMQP is spoken at the port.
fn other_protocol(error: &lapin::Error) -> Option<&'static str> {
    match error.kind() {
        lapin::ErrorKind::ParsingError(_) | lapin::ErrorKind::InvalidProtocolVersion(_) => {
            Some(NO_BROKER)
        }
        _ if matches!(tls_error(error), Some(rustls::Error::InvalidMessage(_))) => Some(
            "what answers at this port does not speak TLS: use amqp://, or the port for TLS, which \
             is usually 5671",
        ),
        _ => None,
    }
}

/// Whether the other side ended a connection without a word.
pub(crate) fn is_hung_up(error: &lapin::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    let kinds = [ConnectionAborted, ConnectionReset, UnexpectedEof];
    matches!(error.kind(), lapin::ErrorKind::IOError(error) if kinds.contains(&error.kind()))
}

/// Whether this side ended the connection because of the broker's certificate.
fn is_untrusted(error: &lapin::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(_)))
}

fn tls_error(error: &lapin::Error) -> Option<&rustls::Error> {
    let lapin::ErrorKind::IOError(error) = error.kind() else { return None };
    let mut inner = error.get_ref();
    // Each layer of TLS may have wrapped the error once more.
    while let Some(wrapped) = inner.and_then(|inner| inner.downcast_ref::<std::io::Error>()) {
        inner = wrapped.get_ref();
    }
    inner.and_then(|inner| inner.downcast_ref::<rustls::Error>())
}

/// Whether a limit of the virtual host or of the user is reached: `connection limit (1) is reached`
/// at the login, `queue limit in vhost 'v' (2) is reached` at a declaration.
fn is_limit(text: &str) -> bool {
    text.contains(" limit ") && text.contains(" is reached")
}

/// What the broker replied.
fn reply(error: &lapin::Error) -> Option<&AMQPError> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPHardError;

    use super::*;

    #[test]
    fn an_error_inside_the_broker_comes_with_advice() {
        let failed = |kind: AMQPHardError| {
            let reply = AMQPError::new(kind.into(), "reply".into());
            Error::amqp("cannot consume")(lapin::ErrorKind::ProtocolError(reply).into()).to_string()
        };
        let advised = failed(AMQPHardError::INTERNALERROR);
        assert!(advised.starts_with("cannot consume; ") && advised.contains("restart the node"));
        assert_eq!(failed(AMQPHardError::CHANNELERROR), "cannot consume");
    }

    #[test]
    fn a_limit_is_not_taken_for_a_wrong_password() {
        let login = |text: &str| {
            let refused = AMQPHardError::NOTALLOWED.into();
            let error = lapin::ErrorKind::ProtocolError(AMQPError::new(refused, text.into()));
            Error::Connect(error.into())
        };
        let limit = login(
            "NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit (1) is \
             reached",
        );
        assert!(limit.refusal().unwrap().starts_with("raise the limit"));
        let vhost = login("NOT_ALLOWED - vhost v not found");
        assert!(vhost.refusal().unwrap().contains("the virtual host"));
    }
}
