//! A name server that answers as a test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CNAME, NS, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::fetch::dns) enum Kind {
    A,
    Aaaa,
}

pub(in crate::fetch::dns) struct Question {
    /// Without the last dot.
    pub(in crate::fetch::dns) name: String,
    pub(in crate::fetch::dns) kind: Kind,
    /// How often it was asked before.
    pub(in crate::fetch::dns) nth: usize,
}

#[derive(Clone, Debug)]
pub(in crate::fetch::dns) enum Answer {
    Silence,
    After(Duration, Box<Self>),
    Addresses {
        alias: Option<String>,
        addresses: Vec<String>,
    },
    /// Too long for UDP.
    Truncated(Vec<String>),
    NoData,
    Code(ResponseCode),
    Soa {
        code: ResponseCode,
        minimum: u32,
    },
    /// Names the servers of the zone and no address; with an SOA it is an answer.
    NameServers {
        authoritative: bool,
        with_soa: bool,
    },
    WrongId,
    WrongQuestion,
    /// The address of a name that was not asked for.
    OtherName,
    Garbage,
}

impl Answer {
    pub(in crate::fetch::dns) fn addresses(addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        Self::Addresses { alias: None, addresses }
    }

    pub(in crate::fetch::dns) fn alias(target: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        Self::Addresses { alias: Some(target.to_owned()), addresses }
    }

    pub(in crate::fetch::dns) fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }

    /// The bytes of the response; `None` for none.
    fn bytes(&self, query: &Message, over_tcp: bool) -> Option<Vec<u8>> {
        let question = query.queries[0].clone();
        let mut response = Message::response(query.metadata.id, OpCode::Query);
        let name = question.name().clone();
        response.add_query(question);
        match self {
            Self::Silence | Self::After(..) => return None,
            Self::Garbage => return Some(b"not a message of DNS".to_vec()),
            Self::Addresses { alias, addresses } => {
                let mut owner = name;
                if let Some(target) = alias {
                    let target = fully_qualified(target);
                    let record = RData::CNAME(CNAME(target.clone()));
                    response.add_answer(Record::from_rdata(owner, 60, record));
                    owner = target;
                }
                response.add_answers(records(&owner, addresses));
            }
            Self::Truncated(addresses) if over_tcp => {
                response.add_answers(records(&name, addresses));
            }
            Self::Truncated(_) => response.metadata.truncation = true,
            Self::NoData => {}
            Self::Code(code) => response.metadata.response_code = *code,
            Self::Soa { code, minimum } => {
                response.metadata.response_code = *code;
                let soa = SOA::new(name.clone(), name.clone(), 1, 60, 60, 60, *minimum);
                response.add_authority(Record::from_rdata(name, *minimum, RData::SOA(soa)));
            }
            Self::NameServers { authoritative, with_soa } => {
                response.metadata.authoritative = *authoritative;
                let server = RData::NS(NS(fully_qualified("ns.example")));
                response.add_authority(Record::from_rdata(name.clone(), 60, server));
                if *with_soa {
                    let soa = SOA::new(name.clone(), name.clone(), 1, 60, 60, 60, 60);
                    response.add_authority(Record::from_rdata(name, 60, RData::SOA(soa)));
                }
            }
            Self::WrongId => response.metadata.id ^= 1,
            Self::WrongQuestion => {
                let other = fully_qualified("other.example");
                response.queries = vec![Query::query(other.clone(), RecordType::A)];
                response.add_answers(records(&other, &["203.0.113.9".to_owned()]));
            }
            Self::OtherName => {
                let other = fully_qualified("other.example");
                response.add_answers(records(&other, &["203.0.113.9".to_owned()]));
            }
        }
        response.to_vec().ok()
    }
}

fn fully_qualified(name: &str) -> Name {
    Name::from_str(&format!("{name}.")).unwrap()
}

fn records(owner: &Name, addresses: &[String]) -> Vec<Record> {
    let addresses = addresses.iter().map(|address| address.parse::<std::net::IpAddr>().unwrap());
    addresses.map(|ip| Record::from_rdata(owner.clone(), 60, RData::from(ip))).collect()
}

/// What was asked.
#[derive(Default)]
struct Log {
    asked: Mutex<Vec<(String, Kind)>>,
    over_tcp: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

pub(in crate::fetch::dns) struct TestServer {
    pub(in crate::fetch::dns) address: SocketAddr,
    log: Arc<Log>,
}

type Behaviour = dyn Fn(&Question) -> Answer + Send + Sync;

impl TestServer {
    pub(in crate::fetch::dns) async fn start(
        behaviour: impl Fn(&Question) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (Arc::new(udp), tcp);
            }
        };
        let (address, log) = (udp.local_addr().unwrap(), Arc::new(Log::default()));
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        tokio::spawn(serve_udp(udp, behaviour.clone(), log.clone()));
        tokio::spawn(serve_tcp(tcp, behaviour, log.clone()));
        Self { address, log }
    }

    pub(in crate::fetch::dns) fn asked(&self) -> Vec<(String, Kind)> {
        self.log.asked.lock().unwrap().clone()
    }

    pub(in crate::fetch::dns) fn asked_over_tcp(&self) -> usize {
        self.log.over_tcp.load(SeqCst)
    }

    pub(in crate::fetch::dns) fn most_under_way(&self) -> usize {
        self.log.most_under_way.load(SeqCst)
    }
}

fn question(query: &Message, nth: usize) -> Question {
    let name = query.queries[0].name().to_ascii().trim_end_matches('.').to_owned();
    let kind = match query.queries[0].query_type() {
        RecordType::AAAA => Kind::Aaaa,
        _ => Kind::A,
    };
    Question { name, kind, nth }
}

async fn serve_udp(socket: Arc<UdpSocket>, behaviour: Arc<Behaviour>, log: Arc<Log>) {
    let mut times = HashMap::new();
    let mut buffer = [0; 2_048];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..length]).unwrap();
        let mut question = question(&query, 0);
        let nth = times.entry((question.name.clone(), question.kind)).or_insert(0);
        question.nth = *nth;
        *nth += 1;
        log.asked.lock().unwrap().push((question.name.clone(), question.kind));
        let under_way = log.under_way.fetch_add(1, SeqCst) + 1;
        log.most_under_way.fetch_max(under_way, SeqCst);
        let (socket, log, mut answer) = (socket.clone(), log.clone(), behaviour(&question));
        tokio::spawn(async move {
            if let Answer::After(delay, later) = answer {
                tokio::time::sleep(delay).await;
                answer = *later;
            }
            // Before the answer: the next question may follow at once.
            log.under_way.fetch_sub(1, SeqCst);
            if let Some(bytes) = answer.bytes(&query, false) {
                socket.send_to(&bytes, client).await.unwrap();
            }
        });
    }
}

async fn serve_tcp(listener: TcpListener, behaviour: Arc<Behaviour>, log: Arc<Log>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        log.over_tcp.fetch_add(1, SeqCst);
        let length = stream.read_u16().await.unwrap();
        let mut query = vec![0; length.into()];
        stream.read_exact(&mut query).await.unwrap();
        let query = Message::from_vec(&query).unwrap();
        let answer = behaviour(&question(&query, 0));
        if let Some(bytes) = answer.bytes(&query, true) {
            stream.write_u16(bytes.len() as u16).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
    }
}
