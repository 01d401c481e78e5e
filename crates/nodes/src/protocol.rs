//! What a port speaks that does not speak what it should.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::Node;

/// How long a port may be silent before it is asked what it speaks, and how long that may take.
const SILENCE: Duration = Duration::from_secs(2);

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Of a broker.
    Amqp,
    /// Of a web server, such as the console of a broker.
    Http,
    /// Of a database.
    MySql,
    /// Any protocol over TLS.
    Tls,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amqp => "AMQP",
            Self::Http => "HTTP",
            Self::MySql => "MySQL",
            Self::Tls => "TLS",
        })
    }
}

impl Protocol {
    /// Recognises the first bytes of a server that has received a request of HTTP: a broker answers
    /// with the header of its own protocol, TLS with an alert, and a database greets in any case.
    fn of(bytes: [u8; 5]) -> Option<Self> {
        match bytes {
            [b'A', b'M', b'Q', b'P', _] => Some(Self::Amqp),
            [b'H', b'T', b'T', b'P', b'/'] => Some(Self::Http),
            [21 | 22, 3, ..] => Some(Self::Tls),
            // A packet with the number 0: a greeting, or an error.
            [_, _, 0, 0, 10 | 255] => Some(Self::MySql),
            _ => None,
        }
    }
}

impl Node {
    /// Connects, unless something else than `expected` answers: that never works. A port that is
    /// silent is asked meanwhile, and one that fails afterwards, unless `is_answer` says that the
    /// failure is an answer of the right protocol.
    ///
    /// # Errors
    ///
    /// What answers.
    pub async fn connect_as<T, E>(
        &self,
        expected: Protocol,
        connecting: impl Future<Output = Result<T, E>>,
        is_answer: impl Fn(&E) -> bool,
    ) -> Result<Result<T, E>, Protocol> {
        let mut connecting = pin!(connecting);
        let watching = async {
            sleep(SILENCE).await;
            match self.other_than(expected).await {
                Some(other) => other,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = &mut connecting => match result {
                Err(error) if !is_answer(&error) => match self.other_than(expected).await {
                    Some(other) => Err(other),
                    None => Ok(Err(error)),
                },
                result => Ok(result),
            },
            other = watching => Err(other),
        }
    }

    async fn other_than(&self, expected: Protocol) -> Option<Protocol> {
        if cfg!(feature = "simulation") {
            return None;
        }
        self.protocol().await.filter(|found| *found != expected)
    }

    /// What this node speaks; `None` if it does not say.
    async fn protocol(&self) -> Option<Protocol> {
        let asking = async {
            let mut stream = match self.address {
                Some(address) => TcpStream::connect(address).await.ok()?,
                None => {
                    let host = self.endpoint.host.as_str();
                    TcpStream::connect((host, self.endpoint.port)).await.ok()?
                }
            };
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
            let mut beginning = [0; 5];
            stream.read_exact(&mut beginning).await.ok()?;
            Protocol::of(beginning)
        };
        timeout(SILENCE, asking).await.ok()?
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::Endpoint;

    /// A node that answers with these bytes to whatever it receives, and is silent without any.
    async fn node(answer: &'static [u8]) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                _ = stream.write_all(answer).await;
                open.push(stream);
            }
        });
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: address.port() };
        Node { endpoint, index: 0, address: Some(address), is_one_of_many: false }
    }

    async fn other(answer: &'static [u8], result: Option<Result<(), bool>>) -> Option<Protocol> {
        let connecting = async {
            match result {
                Some(result) => result,
                None => std::future::pending().await,
            }
        };
        let node = node(answer).await;
        let connected = node.connect_as(Protocol::Amqp, connecting, |is_answer| *is_answer);
        timeout(3 * SILENCE, connected).await.ok()?.err()
    }

    #[tokio::test]
    async fn what_answers_at_a_port_is_recognised() {
        let failed = Some(Err(false));
        for (answer, expected) in [
            (&b"HTTP/1.1 400 Bad Request"[..], Some(Protocol::Http)),
            (b"\x15\x03\x03\0\x02\x02\x0a", Some(Protocol::Tls)),
            (b"J\0\0\0\x0a10.11.6-MariaDB\0", Some(Protocol::MySql)),
            (b"AMQP\0\0\x09\x01", None),
            (b"SSH-2.0-OpenSSH", None),
        ] {
            assert_eq!(other(answer, failed).await, expected, "{answer:?}");
        }
        assert_eq!(other(b"HTTP/1.1 200 OK", Some(Err(true))).await, None);
        assert_eq!(other(b"HTTP/1.1 200 OK", Some(Ok(()))).await, None);
    }

    #[tokio::test]
    async fn a_port_that_lets_the_client_wait_is_asked() {
        assert_eq!(other(b"HTTP/1.1 200 OK", None).await, Some(Protocol::Http));
    }
}
