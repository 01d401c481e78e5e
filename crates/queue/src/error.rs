//! What can go wrong between fetchline and its broker.

/// A failure at the boundary to RabbitMQ.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The AMQP URL cannot be read. The text never repeats the URL, which may hold a password.
    #[error("the AMQP URL is not usable: {0}")]
    Url(String),
    /// The file of `--amqp-ca` cannot be read.
    #[error("the CA file {path} cannot be read")]
    Ca {
        /// The file as it was named.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The broker did not answer in time.
    #[error("the broker did not answer within {0} s ({1})")]
    Deadline(u64, &'static str),
    /// A queue is missing. Workers declare what is missing when they start.
    #[error("the queue {0} does not exist: start a worker first, it makes the queues")]
    NoQueue(String),
    /// The broker returned a message.
    #[error("no queue is bound to its routing key")]
    Unroutable,
    /// The broker refused a message.
    #[error("the broker refused it: the queue is full")]
    Refused,
    /// The broker or the connection to it reported an error.
    #[error("{context}")]
    Amqp {
        /// What was being done.
        context: &'static str,
        /// What the client library said.
        source: lapin::Error,
    },
}

impl Error {
    pub(crate) fn amqp(context: &'static str) -> impl Fn(lapin::Error) -> Self {
        move |source| Self::Amqp { context, source }
    }

    /// Whether the broker says that what was named does not exist (404).
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Amqp { source, .. } if reply_code(source) == Some(404))
    }

    /// Whether the broker has answered, and does not want to.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Amqp { source, .. } if reply_code(source).is_some())
    }

    /// What has to be put right before another try can help: the broker does not let this user in, or not to this virtual
    /// host (403, 530), or it may not be trusted.
    pub fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Amqp { source, .. } if matches!(reply_code(source), Some(403 | 530)) => {
                Some("the broker refuses the connection: user, password and virtual host have to be right")
            }
            Self::Amqp { source, .. } if is_untrusted(source) => Some(
                "the broker's certificate is not trusted: --amqp-ca has to name the authority that signed it, and the URL \
                 the host that it was made for",
            ),
            _ => None,
        }
    }
}

/// Whether the connection was ended by us, for the certificate that the broker has.
fn is_untrusted(error: &lapin::Error) -> bool {
    let lapin::ErrorKind::IOError(error) = error.kind() else { return false };
    let mut inner = error.get_ref();
    // Each layer of TLS may have wrapped it once more.
    while let Some(wrapped) = inner.and_then(|inner| inner.downcast_ref::<std::io::Error>()) {
        inner = wrapped.get_ref();
    }
    let error = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}

/// The AMQP reply code of a protocol error.
fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}
