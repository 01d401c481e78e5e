//! The server: its connections, its state of health, and the faults of statements.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fetchline_sim_net::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::faults::{Fault, Faults};
use super::packets::{MORE_RESULTS, Packets, parameters};
use super::session::{Session, Stop, Storage};
use super::statements;
use super::tables::HostRow;
use super::value::{DEADLOCK, LOCK_WAIT, Refusal, Reply, Value};
use crate::chance::Chance;
use crate::witness::Witness;

/// How long a statement waits for a lock, and how often it looks.
const LOCK_WAIT_LIMIT: Duration = Duration::from_secs(1);
const LOCK_CHECK: Duration = Duration::from_millis(20);
/// How many connections a worker may lose before a COMMIT succeeds. A row that loses three while
/// the server answers others is at fault, for all that a worker can tell.
const MOST_LOSSES: u32 = 2;

/// A database; cheap to clone.
#[derive(Clone)]
pub struct Database(Arc<Mutex<State>>);

struct State {
    storage: Storage,
    faults: Faults,
    chance: Chance,
    is_down: bool,
    is_read_only: bool,
    next_session: u64,
    /// The owner of each connection, and what ends it.
    connections: BTreeMap<u64, (String, Arc<Notify>)>,
    /// How many connections each worker has lost since its latest COMMIT.
    losses: BTreeMap<String, u32>,
}

impl Database {
    /// An empty database with the tables of fetchline.
    pub fn new(chance: Chance, witness: Witness) -> Self {
        let limits = witness.plan().limits.clone();
        let mut storage = Storage::new(witness);
        for limit in limits {
            let row = HostRow { rate: Some(limit.rate), ..HostRow::default() };
            storage.tables.hosts.insert(limit.host, row);
        }
        Self(Arc::new(Mutex::new(State {
            storage,
            faults: Faults::default(),
            chance,
            is_down: false,
            is_read_only: false,
            next_session: 0,
            connections: BTreeMap::new(),
            losses: BTreeMap::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how likely faults are from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Refuses writes, or takes them again.
    pub fn set_read_only(&self, is_read_only: bool) {
        let mut state = self.state();
        state.is_read_only = is_read_only;
        state.storage.witness.trace.event(format_args!("database read-only {is_read_only}"));
    }

    /// Loses all connections, and accepts none until [`Self::come_back`].
    pub fn go_down(&self) {
        let mut state = self.state();
        state.is_down = true;
        state.storage.witness.trace.event(format_args!("database down"));
        state.connections.values().for_each(|(_, end)| end.notify_one());
    }

    /// Accepts connections again.
    pub fn come_back(&self) {
        let mut state = self.state();
        state.is_down = false;
        state.storage.witness.trace.event(format_args!("database up"));
    }

    /// Whether it accepts connections.
    pub fn is_up(&self) -> bool {
        !self.state().is_down
    }

    /// Loses the connections of one worker.
    pub fn cut(&self, owner: &str) {
        let state = self.state();
        let own = state.connections.values().filter(|(other, _)| other == owner);
        own.for_each(|(_, end)| end.notify_one());
    }

    fn accept(&self, owner: &str) -> (Session, Arc<Notify>) {
        let mut state = self.state();
        state.next_session += 1;
        let (id, end) = (state.next_session, Arc::new(Notify::new()));
        state.connections.insert(id, (owner.to_owned(), end.clone()));
        (Session::new(id), end)
    }

    fn leave(&self, mut session: Session) {
        let mut state = self.state();
        state.connections.remove(&session.id);
        state.storage.roll_back(&mut session);
    }

    /// Carries out a statement. `Err` if the connection is lost.
    async fn run(
        &self,
        session: &mut Session,
        text: &str,
        values: &[Value],
    ) -> io::Result<Result<Reply, Refusal>> {
        let lost = || Err(io::ErrorKind::ConnectionReset.into());
        let is_commit = text == "COMMIT";
        let (pause, fault) = {
            let mut guard = self.state();
            let state = &mut *guard;
            let pause = state.faults.pause(&mut state.chance);
            let in_transaction = session.in_transaction();
            let fault = state.faults.fault(&mut state.chance, in_transaction, is_commit);
            (pause, state.bound_losses(session.id, fault, is_commit))
        };
        if !pause.is_zero() {
            sleep(pause).await;
        }
        match fault {
            Some(Fault::Deadlock) => {
                self.state().storage.roll_back(session);
                return Ok(Err(DEADLOCK));
            }
            Some(Fault::LockWait) => return Ok(Err(LOCK_WAIT)),
            Some(Fault::Lost { after: false }) => return lost(),
            Some(Fault::Lost { after: true }) | None => {}
        }
        let ran = self.run_with_locks(session, text, values).await;
        if fault.is_some() { lost() } else { Ok(ran) }
    }

    async fn run_with_locks(
        &self,
        session: &mut Session,
        text: &str,
        values: &[Value],
    ) -> Result<Reply, Refusal> {
        let began = Instant::now();
        loop {
            {
                let mut guard = self.state();
                let state = &mut *guard;
                let (storage, is_read_only) = (&mut state.storage, state.is_read_only);
                let holder = match statements::run(storage, session, (text, values), is_read_only) {
                    Ok(reply) => {
                        storage.waits_no_more(session.id);
                        return Ok(reply);
                    }
                    Err(Stop::Refused(refusal)) => {
                        storage.waits_no_more(session.id);
                        return Err(refusal);
                    }
                    Err(Stop::Busy(holder)) => holder,
                };
                if storage.is_deadlock(session.id, holder) {
                    storage.roll_back(session);
                    return Err(DEADLOCK);
                }
                if began.elapsed() >= LOCK_WAIT_LIMIT {
                    storage.waits_no_more(session.id);
                    return Err(LOCK_WAIT);
                }
            }
            sleep(LOCK_CHECK).await;
        }
    }
}

impl State {
    /// Leaves out a loss that would be one too many for its worker.
    fn bound_losses(
        &mut self,
        session: u64,
        fault: Option<Fault>,
        is_commit: bool,
    ) -> Option<Fault> {
        let owner = self.connections.get(&session).map(|(owner, _)| owner.clone());
        let losses = self.losses.entry(owner.unwrap_or_default()).or_default();
        let is_loss = matches!(fault, Some(Fault::Lost { .. }));
        let fault = fault.filter(|_| !is_loss || *losses < MOST_LOSSES);
        match fault {
            Some(Fault::Lost { .. }) => *losses += 1,
            None if is_commit => *losses = 0,
            _ => {}
        }
        fault
    }
}

/// Serves a worker's connection until it ends.
pub async fn serve(database: Database, mut stream: Stream, owner: String) {
    let (mut session, end) = database.accept(&owner);
    let served = tokio::select! {
        served = answer_all(&database, &mut stream, &mut session) => served,
        () = end.notified() => Err(io::ErrorKind::ConnectionReset.into()),
    };
    if served.is_err() {
        stream.reset();
    }
    database.leave(session);
}

async fn answer_all(
    database: &Database,
    stream: &mut Stream,
    session: &mut Session,
) -> io::Result<()> {
    let connection = u32::try_from(session.id).unwrap_or_default();
    stream.write_all(&Packets::handshake(connection).bytes).await?;
    let (sequence, _) = read(stream).await?;
    let mut hello = Packets::after(sequence);
    hello.done(0, 0, 0);
    stream.write_all(&hello.bytes).await?;
    let mut prepared: Vec<(String, usize)> = Vec::new();
    loop {
        let (sequence, packet) = read(stream).await?;
        let mut out = Packets::after(sequence);
        let Some((command, rest)) = packet.split_first() else { return Ok(()) };
        match command {
            // COM_QUIT, and COM_STMT_CLOSE, which has no answer.
            0x01 => return Ok(()),
            0x19 => continue,
            0x0e => out.done(0, 0, 0),
            0x03 => query(database, session, &String::from_utf8_lossy(rest), &mut out).await?,
            0x16 => {
                let text = String::from_utf8_lossy(rest).into_owned();
                let count = text.matches('?').count();
                prepared.push((text, count));
                let number = u32::try_from(prepared.len()).unwrap_or(u32::MAX);
                out.prepared(number, u16::try_from(count).unwrap_or(u16::MAX));
            }
            0x17 => {
                let [a, b, c, d, _, _, _, _, _, values @ ..] = rest else { return Ok(()) };
                let number = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                let (text, count) = &prepared[number - 1];
                let values = if *count == 0 { Vec::new() } else { parameters(values, *count) };
                match database.run(session, text, &values).await? {
                    Ok(reply) => out.reply(&reply, text, true, 0),
                    Err(refusal) => out.refused(refusal),
                }
            }
            other => unreachable!("the simulated database does not know the command {other}"),
        }
        stream.write_all(&out.bytes).await?;
    }
}

/// Runs the statements of a text until one fails.
async fn query(
    database: &Database,
    session: &mut Session,
    text: &str,
    out: &mut Packets,
) -> io::Result<()> {
    // Settings contain semicolons, and have no effect here.
    let is_setting = text.starts_with("SET ");
    let all: Vec<&str> = if is_setting { vec![text] } else { text.split("; ").collect() };
    for (at, text) in all.iter().enumerate() {
        let status = if at + 1 < all.len() { MORE_RESULTS } else { 0 };
        match database.run(session, text, &[]).await? {
            Ok(reply) => out.reply(&reply, text, false, status),
            Err(refusal) => {
                out.refused(refusal);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads a packet: its sequence number and its payload.
async fn read(stream: &mut Stream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok((head[3], payload))
}
