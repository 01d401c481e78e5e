//! A publisher on a plain socket, since client libraries do not send malformed messages.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use fetchline_queue::Topology;
use url::Url;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_MAX: u32 = 131_072;

pub(crate) struct RawPublisher {
    stream: TcpStream,
}

/// A short string, whatever its encoding.
pub(crate) fn short(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8], text].concat()
}

/// A long string, or the content of a table or an array, preceded by its length.
pub(crate) fn long(data: &[u8]) -> Vec<u8> {
    [&(data.len() as u32).to_be_bytes(), data].concat()
}

/// An entry of a table.
pub(crate) fn entry(name: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    [&short(name), &[kind][..], value].concat()
}

/// The properties of a message as in its content header: the flags and the encoded values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties {
    flags: u16,
    values: Vec<(u8, Vec<u8>)>,
}

impl Properties {
    /// Adds the property of a bit: from 15 for the content type to 2 for the cluster id.
    pub(crate) fn with(mut self, bit: u8, value: Vec<u8>) -> Self {
        self.flags |= 1 << bit;
        self.values.push((bit, value));
        self.values.sort_by_key(|(bit, _)| 15 - bit);
        self
    }

    pub(crate) fn content_type(self, text: &[u8]) -> Self {
        self.with(15, short(text))
    }

    /// Adds headers: the content of their table.
    pub(crate) fn headers(self, entries: &[u8]) -> Self {
        self.with(13, long(entries))
    }

    pub(crate) fn message_id(self, text: &[u8]) -> Self {
        self.with(7, short(text))
    }

    pub(crate) fn kind(self, text: &[u8]) -> Self {
        self.with(5, short(text))
    }
}

impl RawPublisher {
    pub(crate) fn open(url: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url)?;
        let host = url.host_str().context("the AMQP URL has no host")?;
        let stream = TcpStream::connect((host, url.port().unwrap_or(5672)))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut this = Self { stream };
        this.stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        this.expect([0, 10, 0, 10])?;
        let login = format!("\0{}\0{}", url.username(), url.password().unwrap_or_default());
        this.method(
            0,
            [0, 10, 0, 11],
            &[&long(b"")[..], &short(b"PLAIN"), &long(login.as_bytes()), &short(b"C")],
        )?;
        this.expect([0, 10, 0, 30])?;
        // One channel, no heartbeat.
        this.method(0, [0, 10, 0, 31], &[&[0, 1], &FRAME_MAX.to_be_bytes(), &[0, 0]])?;
        let vhost = url.path().strip_prefix('/').filter(|path| !path.is_empty()).unwrap_or("%2f");
        let vhost = vhost.replace("%2f", "/").replace("%2F", "/");
        this.method(0, [0, 10, 0, 40], &[&short(vhost.as_bytes()), &[0, 0]])?;
        this.expect([0, 10, 0, 41])?;
        this.method(1, [0, 20, 0, 10], &[&[0]])?;
        this.expect([0, 20, 0, 11])?;
        this.method(1, [0, 85, 0, 10], &[&[0]])?;
        this.expect([0, 85, 0, 11])?;
        Ok(this)
    }

    /// Publishes to the queue of tasks, and awaits the confirm.
    pub(crate) fn publish(
        &mut self,
        topology: &Topology,
        properties: &Properties,
        body: &str,
    ) -> anyhow::Result<()> {
        let (exchange, key) = (topology.exchange().as_bytes(), Topology::URLS.as_bytes());
        self.method(1, [0, 60, 0, 40], &[&[0, 0], &short(exchange), &short(key), &[0]])?;
        let body = body.as_bytes();
        let size = (body.len() as u64).to_be_bytes();
        let mut header = [&[0, 60, 0, 0], &size[..], &properties.flags.to_be_bytes()].concat();
        properties.values.iter().for_each(|(_, value)| header.extend_from_slice(value));
        self.frame(CONTENT_HEADER, 1, &header)?;
        for piece in body.chunks(FRAME_MAX as usize - 8) {
            self.frame(BODY, 1, piece)?;
        }
        self.expect([0, 60, 0, 80])
    }

    fn method(&mut self, channel: u16, method: [u8; 4], arguments: &[&[u8]]) -> anyhow::Result<()> {
        self.frame(METHOD, channel, &[&method[..], &arguments.concat()].concat())
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> anyhow::Result<()> {
        let head = [&[kind], &channel.to_be_bytes()[..]].concat();
        Ok(self.stream.write_all(&[&head[..], &long(payload), &[0xce]].concat())?)
    }

    fn expect(&mut self, method: [u8; 4]) -> anyhow::Result<()> {
        loop {
            let mut head = [0; 7];
            self.stream.read_exact(&mut head)?;
            let size = u32::from_be_bytes(head[3..].try_into()?);
            let mut payload = vec![0; size as usize + 1];
            self.stream.read_exact(&mut payload)?;
            ensure!(payload.pop() == Some(0xce), "a frame has no end octet");
            match payload.get(..4) {
                Some(got) if head[0] == METHOD && got == method => return Ok(()),
                Some([0, 10, 0, 50] | [0, 20, 0, 40]) => {
                    bail!("closed: {}", String::from_utf8_lossy(&payload[4..]))
                }
                _ => {}
            }
        }
    }
}
