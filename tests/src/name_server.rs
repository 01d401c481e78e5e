//! A name server that loses, delays and refuses what it is asked.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// The time that a server with [`Behaviour::LoseBursts`] needs for a query.
const WORK: Duration = Duration::from_millis(20);
/// The time to live of all records, in seconds.
const TTL: u32 = 5;

/// What a name server does with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Every name has the address 127.0.0.1, and no IPv6 address.
    Answer,
    /// As [`Self::Answer`], after a while.
    Delay(Duration),
    /// As [`Self::Answer`] to this many queries at once; others are lost.
    LoseBursts(usize),
    /// As [`Self::Answer`] to queries for IPv4 addresses; others are lost.
    LoseIpv6,
    /// As [`Self::Answer`], but over TCP only.
    Truncate,
    /// As [`Self::Answer`] to the second query for each name; the first one is lost.
    LoseFirst,
    /// All queries are lost.
    Silence,
    /// No name exists.
    NoName,
    /// The server cannot answer.
    Fail,
}

/// A name server on 127.0.0.1. It ends with its runtime.
pub struct NameServer {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    behaviour: Mutex<Behaviour>,
    /// How often each question was asked.
    asked: Mutex<HashMap<(String, RecordType), usize>>,
    under_way: AtomicUsize,
}

impl NameServer {
    /// Starts a server.
    pub async fn start(behaviour: Behaviour) -> anyhow::Result<Self> {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            if let Ok(tcp) = TcpListener::bind(udp.local_addr()?).await {
                break (Arc::new(udp), tcp);
            }
        };
        let address = udp.local_addr()?;
        let (asked, under_way) = (Mutex::default(), AtomicUsize::new(0));
        let state = Arc::new(State { behaviour: Mutex::new(behaviour), asked, under_way });
        tokio::spawn(serve_udp(udp, state.clone()));
        tokio::spawn(serve_tcp(tcp, state.clone()));
        Ok(Self { address, state })
    }

    /// The value of `--dns-server`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what the server does.
    pub fn set(&self, behaviour: Behaviour) {
        *locked(&self.state.behaviour) = behaviour;
    }

    /// The number of queries that have come.
    pub fn queries(&self) -> usize {
        locked(&self.state.asked).values().sum()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// How long the answer takes; `None` for no answer.
    fn delay(&self, query: &Message) -> Option<Duration> {
        let question = query.queries.first()?;
        let kind = question.query_type();
        let key = (question.name().to_ascii(), kind);
        let times = {
            let mut asked = locked(&self.asked);
            let times = asked.entry(key).or_default();
            *times += 1;
            *times
        };
        let is_crowded = |most| self.under_way.load(Ordering::SeqCst) > most;
        match *locked(&self.behaviour) {
            Behaviour::Silence => None,
            Behaviour::LoseIpv6 if kind != RecordType::A => None,
            Behaviour::LoseFirst if times == 1 => None,
            Behaviour::LoseBursts(most) if is_crowded(most) => None,
            Behaviour::LoseBursts(_) => Some(WORK),
            Behaviour::Delay(delay) => Some(delay),
            _ => Some(Duration::ZERO),
        }
    }

    fn answer(&self, query: &Message, over_tcp: bool) -> anyhow::Result<Vec<u8>> {
        let mut response = Message::response(query.metadata.id, OpCode::Query);
        response.add_queries(query.queries.clone());
        match *locked(&self.behaviour) {
            Behaviour::NoName => response.metadata.response_code = ResponseCode::NXDomain,
            Behaviour::Fail => response.metadata.response_code = ResponseCode::ServFail,
            Behaviour::Truncate if !over_tcp => response.metadata.truncation = true,
            _ => {
                for question in query.queries.iter().filter(|it| it.query_type() == RecordType::A) {
                    let address = RData::A(A(Ipv4Addr::LOCALHOST));
                    let name = question.name().clone();
                    response.add_answer(Record::from_rdata(name, TTL, address));
                }
            }
        }
        Ok(response.to_vec()?)
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, state: Arc<State>) {
    let mut buffer = [0; 2_048];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let Ok(query) = Message::from_vec(&buffer[..length]) else { continue };
        let (socket, state) = (socket.clone(), state.clone());
        state.under_way.fetch_add(1, Ordering::SeqCst);
        let delay = state.delay(&query);
        tokio::spawn(async move {
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await;
            }
            state.under_way.fetch_sub(1, Ordering::SeqCst);
            if let (Some(_), Ok(answer)) = (delay, state.answer(&query, false)) {
                _ = socket.send_to(&answer, client).await;
            }
        });
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<State>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            let mut query = vec![0; stream.read_u16().await?.into()];
            stream.read_exact(&mut query).await?;
            let answer = state.answer(&Message::from_vec(&query)?, true)?;
            stream.write_u16(u16::try_from(answer.len())?).await?;
            stream.write_all(&answer).await?;
            anyhow::Ok(())
        });
    }
}
