//! A publisher with its own AMQP 0-9-1 implementation: lapin never sends a short string that is not
//! UTF-8, and other clients do.

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Frame types.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;
/// The only channel.
const CHANNEL: u16 = 1;
/// The largest frame that we send, in bytes; the broker may allow less.
const FRAME_MAX: u32 = 128 * 1024;

/// Class and method ids of the specification.
type Method = (u16, u16);
const START: Method = (10, 10);
const START_OK: Method = (10, 11);
const TUNE: Method = (10, 30);
const TUNE_OK: Method = (10, 31);
const OPEN: Method = (10, 40);
const OPEN_OK: Method = (10, 41);
const CHANNEL_OPEN: Method = (20, 10);
const CHANNEL_OPEN_OK: Method = (20, 11);
const PUBLISH: Method = (60, 40);
const ACK: Method = (60, 80);
const SELECT: Method = (85, 10);
const SELECT_OK: Method = (85, 11);

/// A message as raw bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawMessage<'a> {
    /// The body.
    pub body: &'a [u8],
    /// The property `message_id`.
    pub message_id: Option<&'a [u8]>,
    /// The property `type`.
    pub kind: Option<&'a [u8]>,
    /// One header: its name and its value, a long string.
    pub header: Option<(&'a [u8], &'a [u8])>,
}

/// A connection with one channel in confirm mode.
pub struct RawPublisher {
    stream: TcpStream,
    frame_max: u32,
}

impl RawPublisher {
    /// Connects to a broker without TLS.
    pub async fn connect(amqp_url: &str) -> anyhow::Result<Self> {
        let url: reqwest::Url = amqp_url.parse()?;
        ensure!(url.scheme() == "amqp", "the raw publisher needs an amqp URL without TLS");
        let address =
            (url.host_str().context("the broker's URL names no host")?, url.port().unwrap_or(5672));
        let mut publisher =
            Self { stream: TcpStream::connect(address).await?, frame_max: FRAME_MAX };
        publisher.stream.write_all(b"AMQP\0\0\x09\x01").await?;
        publisher.log_in(&url).await?;
        publisher.call(CHANNEL, CHANNEL_OPEN, short(b"")?, CHANNEL_OPEN_OK).await?;
        publisher.call(CHANNEL, SELECT, vec![0], SELECT_OK).await?;
        Ok(publisher)
    }

    async fn log_in(&mut self, url: &reqwest::Url) -> anyhow::Result<()> {
        let text = |part: &str| percent_decode(part).context("the broker's URL is malformed");
        self.expect(START).await?;
        let user = Some(url.username()).filter(|user| !user.is_empty()).unwrap_or("guest");
        let password = url.password().unwrap_or("guest");
        let login = [b"\0".to_vec(), text(user)?, b"\0".to_vec(), text(password)?].concat();
        // No client properties.
        let start = [long(b"")?, short(b"PLAIN")?, long(&login)?, short(b"en_US")?].concat();
        let tune = self.call(0, START_OK, start, TUNE).await?;
        let offered = tune.get(2..6).context("connection.tune is too short")?;
        match u32::from_be_bytes(offered.try_into()?) {
            0 => {}
            offered => self.frame_max = offered.min(FRAME_MAX),
        }
        // One channel, and no heartbeats.
        let tuned = [&1_u16.to_be_bytes()[..], &self.frame_max.to_be_bytes(), &0_u16.to_be_bytes()]
            .concat();
        self.send(METHOD, 0, &method(TUNE_OK, tuned)).await?;
        let host = match url.path().trim_start_matches('/') {
            "" => b"/".to_vec(),
            host => text(host)?,
        };
        self.call(0, OPEN, [short(&host)?, short(b"")?, vec![0]].concat(), OPEN_OK).await?;
        Ok(())
    }

    /// Publishes a persistent message and waits for its confirm.
    pub async fn publish(
        &mut self,
        exchange: &str,
        key: &str,
        message: RawMessage<'_>,
    ) -> anyhow::Result<()> {
        let publish =
            [vec![0, 0], short(exchange.as_bytes())?, short(key.as_bytes())?, vec![0]].concat();
        self.send(METHOD, CHANNEL, &method(PUBLISH, publish)).await?;
        self.send(HEADER, CHANNEL, &header(message)?).await?;
        for piece in message.body.chunks(self.frame_max as usize - 8) {
            self.send(BODY, CHANNEL, piece).await?;
        }
        self.expect(ACK).await.map(drop)
    }

    async fn call(
        &mut self,
        channel: u16,
        name: Method,
        arguments: Vec<u8>,
        answer: Method,
    ) -> anyhow::Result<Vec<u8>> {
        self.send(METHOD, channel, &method(name, arguments)).await?;
        self.expect(answer).await
    }

    async fn send(&mut self, kind: u8, channel: u16, payload: &[u8]) -> anyhow::Result<()> {
        let length = u32::try_from(payload.len())?;
        let frame =
            [&[kind][..], &channel.to_be_bytes(), &length.to_be_bytes(), payload, &[FRAME_END]]
                .concat();
        Ok(self.stream.write_all(&frame).await?)
    }

    /// Reads the next frame, which must be this method, and returns its arguments.
    async fn expect(&mut self, expected: Method) -> anyhow::Result<Vec<u8>> {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).await.context("the broker has closed the connection")?;
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let mut payload = vec![0; length + 1];
        self.stream.read_exact(&mut payload).await?;
        match (head[0], payload.as_slice()) {
            (METHOD, &[c1, c2, m1, m2, ref arguments @ .., FRAME_END])
                if (u16::from_be_bytes([c1, c2]), u16::from_be_bytes([m1, m2])) == expected =>
            {
                Ok(arguments.to_vec())
            }
            (kind, other) => {
                bail!(
                    "expected {expected:?}, received a frame of type {kind}: {}",
                    String::from_utf8_lossy(other)
                )
            }
        }
    }
}

/// The payload of a method frame.
fn method((class, method): Method, arguments: Vec<u8>) -> Vec<u8> {
    [&class.to_be_bytes()[..], &method.to_be_bytes(), &arguments].concat()
}

/// The payload of a content header, with the properties in the order of their flags.
fn header(message: RawMessage<'_>) -> anyhow::Result<Vec<u8>> {
    const HEADERS: u16 = 1 << 13;
    const DELIVERY_MODE: u16 = 1 << 12;
    const MESSAGE_ID: u16 = 1 << 7;
    const TYPE: u16 = 1 << 5;
    let (mut flags, mut properties) = (DELIVERY_MODE, Vec::new());
    if let Some((name, value)) = message.header {
        flags |= HEADERS;
        properties.extend(long(&[short(name)?, b"S".to_vec(), long(value)?].concat())?);
    }
    properties.push(2);
    for (flag, text) in [(MESSAGE_ID, message.message_id), (TYPE, message.kind)] {
        if let Some(text) = text {
            flags |= flag;
            properties.extend(short(text)?);
        }
    }
    let size = message.body.len() as u64;
    let weight = 0_u16;
    Ok([
        &PUBLISH.0.to_be_bytes()[..],
        &weight.to_be_bytes(),
        &size.to_be_bytes(),
        &flags.to_be_bytes(),
        &properties,
    ]
    .concat())
}

fn short(text: &[u8]) -> anyhow::Result<Vec<u8>> {
    let length = u8::try_from(text.len()).context("a short string has at most 255 bytes")?;
    Ok([&[length], text].concat())
}

fn long(text: &[u8]) -> anyhow::Result<Vec<u8>> {
    Ok([&u32::try_from(text.len())?.to_be_bytes(), text].concat())
}

/// Decodes percent-encoded text; `None` if it is malformed.
fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoded_text_is_decoded() {
        assert_eq!(percent_decode("%2f").as_deref(), Some(&b"/"[..]));
        assert_eq!(percent_decode("a%41b").as_deref(), Some(&b"aAb"[..]));
        assert_eq!(percent_decode("%4"), None);
    }

    #[test]
    fn properties_are_written_in_the_order_of_their_flags() {
        let message = RawMessage {
            body: b"abc",
            message_id: Some(b"\xff"),
            kind: Some(b"t"),
            header: Some((b"n", b"v")),
        };
        let written = header(message).unwrap();
        assert_eq!(written[..4], [0, 60, 0, 0]);
        assert_eq!(written[4..12], 3_u64.to_be_bytes());
        assert_eq!(written[12..14], 0b0011_0000_1010_0000_u16.to_be_bytes());
        assert_eq!(written[14..], *b"\0\0\0\x08\x01nS\0\0\0\x01v\x02\x01\xff\x01t");
    }
}
