//! A name server that loses, delays, refuses and forges answers.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// The time that a server with [`Behaviour::LoseBursts`] needs for a query.
const WORK: Duration = Duration::from_millis(20);
/// An address at which no site listens.
const NO_SITE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// The time to live of all records, in seconds.
const TTL: u32 = 5;

/// What a name server does with a query.
#[derive(Clone, Copy, Debug)]
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
    /// The server does not want to answer.
    Refuse,
    /// Names have no addresses.
    NoData,
    /// Every name is an alias, and the alias has the address.
    Alias,
    /// Every name is an alias of itself.
    AliasLoop,
    /// Every name has an address of a private network.
    Private,
    /// The answer is not a DNS message.
    Garbage,
    /// A forged answer with another id, which names an address without a site.
    ForgedId,
    /// A forged answer to another question, which names an address without a site.
    ForgedQuestion,
    /// As this one, after a forged answer.
    AfterForgery(Forgery),
    /// By the first label of the name.
    ByLabel(fn(&str) -> Behaviour),
}

/// A forged answer that comes before the true one.
#[derive(Clone, Copy, Debug)]
pub enum Forgery {
    /// As [`Behaviour::ForgedId`].
    Id,
    /// As [`Behaviour::ForgedQuestion`].
    Question,
}

impl Behaviour {
    /// What is done with a query.
    fn of(self, query: &Message) -> Self {
        let Self::ByLabel(by_label) = self else { return self };
        let label = query.queries.first().and_then(|it| it.name().iter().next());
        by_label(&String::from_utf8_lossy(label.unwrap_or_default()))
    }
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

    /// The number of queries for a host.
    pub fn queries_for(&self, host: &str) -> usize {
        let asked = locked(&self.state.asked);
        let is_host = |name: &str| name.trim_end_matches('.').eq_ignore_ascii_case(host);
        asked.iter().filter(|((name, _), _)| is_host(name)).map(|(_, times)| times).sum()
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
        match locked(&self.behaviour).of(query) {
            Behaviour::Silence => None,
            Behaviour::LoseIpv6 if kind != RecordType::A => None,
            Behaviour::LoseFirst if times == 1 => None,
            Behaviour::LoseBursts(most) if is_crowded(most) => None,
            Behaviour::LoseBursts(_) => Some(WORK),
            Behaviour::Delay(delay) => Some(delay),
            _ => Some(Duration::ZERO),
        }
    }

    /// The answers to a query, in their order.
    fn answers(&self, query: &Message, over_tcp: bool) -> anyhow::Result<Vec<Vec<u8>>> {
        let behaviour = locked(&self.behaviour).of(query);
        Ok(match behaviour {
            Behaviour::AfterForgery(forgery) => {
                let forgery = match forgery {
                    Forgery::Id => Behaviour::ForgedId,
                    Forgery::Question => Behaviour::ForgedQuestion,
                };
                vec![answer(forgery, query, over_tcp)?, answer(Behaviour::Answer, query, over_tcp)?]
            }
            behaviour => vec![answer(behaviour, query, over_tcp)?],
        })
    }
}

/// The answer to a query.
fn answer(behaviour: Behaviour, query: &Message, over_tcp: bool) -> anyhow::Result<Vec<u8>> {
    let id = query.metadata.id;
    let mut response = Message::response(id, OpCode::Query);
    let Some(question) = query.queries.first() else { anyhow::bail!("no question") };
    response.add_query(question.clone());
    let mut owner = question.name().clone();
    let mut address = Ipv4Addr::LOCALHOST;
    match behaviour {
        Behaviour::Garbage => return Ok(b"not a message of DNS".to_vec()),
        Behaviour::NoName => response.metadata.response_code = ResponseCode::NXDomain,
        Behaviour::Fail => response.metadata.response_code = ResponseCode::ServFail,
        Behaviour::Refuse => response.metadata.response_code = ResponseCode::Refused,
        Behaviour::Truncate if !over_tcp => response.metadata.truncation = true,
        Behaviour::NoData => {}
        Behaviour::AliasLoop => {
            let alias = RData::CNAME(CNAME(owner.clone()));
            response.add_answer(Record::from_rdata(owner, TTL, alias));
        }
        _ if question.query_type() != RecordType::A => {}
        behaviour => {
            match behaviour {
                Behaviour::Alias => {
                    let target = Name::from_ascii("target.example.")?;
                    let alias = RData::CNAME(CNAME(target.clone()));
                    response.add_answer(Record::from_rdata(owner, TTL, alias));
                    owner = target;
                }
                Behaviour::Private => address = Ipv4Addr::new(10, 0, 0, 1),
                Behaviour::ForgedId => {
                    response.metadata.id = !id;
                    address = NO_SITE;
                }
                Behaviour::ForgedQuestion => {
                    owner = Name::from_ascii("forged.example.")?;
                    response.queries = vec![Query::query(owner.clone(), RecordType::A)];
                    address = NO_SITE;
                }
                _ => {}
            }
            response.add_answer(Record::from_rdata(owner, TTL, RData::A(A(address))));
        }
    }
    Ok(response.to_vec()?)
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
            if let (Some(_), Ok(answers)) = (delay, state.answers(&query, false)) {
                for answer in answers {
                    _ = socket.send_to(&answer, client).await;
                }
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
            for answer in state.answers(&Message::from_vec(&query)?, true)? {
                stream.write_u16(u16::try_from(answer.len())?).await?;
                stream.write_all(&answer).await?;
            }
            anyhow::Ok(())
        });
    }
}
