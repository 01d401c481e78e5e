//! The frames of one connection.

use std::time::Duration;

use fetchline_sim_net::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::frames::take;
use super::state::{Broker, End};

/// How long the broker may take to notice that a client is gone.
const NOTICES_WITHIN_MS: u64 = 20_000;

/// Serves a worker's connection until it ends.
pub async fn serve(broker: Broker, mut stream: Stream, owner: String) {
    let Some((id, wake)) = broker.accept(&owner) else { return };
    let (mut received, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let mut is_gone = false;
    loop {
        let (out, end) = broker.outgoing(id);
        if end == Some(End::Reset) {
            stream.reset();
            break;
        }
        if !out.is_empty() && stream.write_all(&out).await.is_err() {
            is_gone = true;
            break;
        }
        if end.is_some() {
            break;
        }
        let may_read = broker.reads(id);
        let read = tokio::select! {
            biased;
            () = wake.notified() => continue,
            read = stream.read(&mut buffer), if may_read => read,
        };
        match read {
            Ok(0) | Err(_) => {
                is_gone = true;
                break;
            }
            Ok(bytes) => received.extend_from_slice(&buffer[..bytes]),
        }
        let pause = broker.pause();
        if pause >= Duration::from_millis(1) {
            sleep(pause).await;
        }
        while let Some(frame) = take(&mut received) {
            broker.handle(id, frame);
        }
    }
    let notices_after = broker.notices(is_gone);
    broker.lost(id, notices_after);
}

impl Broker {
    fn outgoing(&self, id: u64) -> (Vec<u8>, Option<End>) {
        let mut state = self.state();
        state.connections.get_mut(&id).map_or_else(Default::default, |connection| {
            (std::mem::take(&mut connection.out), connection.end)
        })
    }

    /// Whether a connection is read: under an alarm, those that publish are not.
    fn reads(&self, id: u64) -> bool {
        let state = self.state();
        !(state.has_alarm && state.connections.get(&id).is_some_and(|own| own.publishes))
    }

    fn pause(&self) -> Duration {
        let mut state = self.state();
        // Most requests are handled at once, or a simulation would be a wait for one thing.
        if state.chance.happens(0.8) {
            return Duration::ZERO;
        }
        let longest = state.delays.handling_ms;
        state.chance.wait(0, longest)
    }

    fn notices(&self, is_gone: bool) -> Duration {
        let mut state = self.state();
        match is_gone && state.chance.happens(0.2) {
            true => state.chance.wait(0, NOTICES_WITHIN_MS),
            false => Duration::ZERO,
        }
    }
}
