//! The troubles of a world: outages, losses, directives, crashes and restarts.

use std::time::Duration;

use amq_protocol::protocol::basic::AMQPProperties;
use fetchline_store::planted::set_stalls;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::database::Faults;
use crate::fleet::{Fleet, PREFIX};
use crate::plan::CANCELLED_RUN;
use crate::trace::Trace;
use crate::wiring::Wiring;

/// The troubles.
pub struct Trouble {
    chance: Chance,
    wiring: Wiring,
    trace: Trace,
    /// The highest concurrency that was ordered.
    most_at_once: usize,
}

/// A trouble.
#[derive(Clone, Copy, Debug)]
enum Kind {
    CutOne,
    CutAll,
    BrokerDown,
    Alarm,
    DatabaseDown,
    ReadOnly,
    Statements,
    Kill,
    KillAtEvent,
    Stop,
    Directive,
    ClockJump,
    Stalls,
}

const KINDS: [Kind; 13] = [
    Kind::CutOne,
    Kind::CutAll,
    Kind::BrokerDown,
    Kind::Alarm,
    Kind::DatabaseDown,
    Kind::ReadOnly,
    Kind::Statements,
    Kind::Kill,
    Kind::KillAtEvent,
    Kind::Stop,
    Kind::Directive,
    Kind::ClockJump,
    Kind::Stalls,
];

impl Trouble {
    /// No trouble yet.
    pub fn new(seed: u64, wiring: Wiring, trace: Trace) -> Self {
        Self { chance: Chance::new(seed, "trouble"), wiring, trace, most_at_once: 0 }
    }

    /// Makes trouble for a while.
    pub async fn make(&mut self, fleet: &mut Fleet) {
        // A world has few kinds of trouble, so that each of them can go far.
        let kinds: Vec<_> =
            (0..1 + self.chance.below(4)).map(|_| self.chance.pick(&KINDS)).collect();
        let ends = Instant::now() + self.chance.wait(5_000, 120_000);
        while Instant::now() < ends {
            sleep(self.chance.wait(1, 5_000)).await;
            let kind = self.chance.pick(&kinds);
            let place = self.chance.below(fleet.len());
            self.one(kind, place, fleet).await;
            fleet.fill().await;
        }
    }

    async fn one(&mut self, kind: Kind, place: usize, fleet: &mut Fleet) {
        self.trace.event(format_args!("trouble {kind:?} {place}"));
        match kind {
            Kind::CutOne | Kind::CutAll => {
                let all = matches!(kind, Kind::CutAll);
                if let Some(owner) = fleet.owner(place) {
                    self.wiring.broker.cut(&owner, all);
                }
            }
            Kind::BrokerDown => {
                self.wiring.broker.go_down();
                sleep(self.chance.wait(10, 40_000)).await;
                self.wiring.broker.come_back();
            }
            Kind::Alarm => {
                self.wiring.broker.set_alarm(true);
                sleep(self.chance.wait(10, 60_000)).await;
                self.wiring.broker.set_alarm(false);
            }
            Kind::DatabaseDown => {
                self.wiring.database.go_down();
                sleep(self.chance.wait(10, 60_000)).await;
                self.wiring.database.come_back();
            }
            Kind::ReadOnly => {
                self.wiring.database.set_read_only(true);
                sleep(self.chance.wait(10, 30_000)).await;
                self.wiring.database.set_read_only(false);
            }
            Kind::Statements => self.statements().await,
            Kind::Kill => fleet.kill(place),
            Kind::KillAtEvent => {
                let at = self.trace.events() + self.chance.below(120) as u64;
                let gives_up = Instant::now() + Duration::from_secs(10);
                while self.trace.events() < at && Instant::now() < gives_up {
                    tokio::task::yield_now().await;
                    if self.trace.events() < at {
                        sleep(Duration::from_micros(500)).await;
                    }
                }
                fleet.kill(place);
            }
            Kind::Stop => fleet.stop(place, false).await,
            Kind::Directive => self.directive(place),
            Kind::ClockJump => {
                fetchline_sim_net::jump(self.chance.pick(&[-3_600_000, -2_000, 2_000, 3_600_000]));
            }
            Kind::Stalls => self.stalls(),
        }
    }

    /// Lets settlers stall more or less often, or no more. Other trouble comes meanwhile.
    fn stalls(&mut self) {
        let likely = self.chance.pick(&[0.0, 0.1, 0.4]);
        let mut chance = self.chance.split();
        set_stalls(Some(Box::new(move || match chance.happens(likely) {
            true => chance.wait(1, 5_000),
            false => Duration::ZERO,
        })));
    }

    async fn statements(&mut self) {
        let mut some = |likely: &[f64]| self.chance.pick(likely);
        let faults = Faults {
            deadlock: some(&[0.0, 0.05, 0.3]),
            lock_wait: some(&[0.0, 0.02]),
            commit_deadlock: some(&[0.0, 0.2]),
            commit_unknown: some(&[0.0, 0.1, 0.4]),
            lost: some(&[0.0, 0.02, 0.1]),
            silence: some(&[0.0, 0.0, 0.01]),
            slow: some(&[0.0, 0.1]),
        };
        self.wiring.database.set_faults(faults);
        sleep(self.chance.wait(100, 30_000)).await;
        self.wiring.database.set_faults(Faults::default());
    }

    fn directive(&mut self, place: usize) {
        let concurrency = 1 + self.chance.below(20);
        let text = match self.chance.below(6) {
            0 => "pause".to_owned(),
            1 => "resume".to_owned(),
            2 => format!("pause {}", Fleet::pod(place)),
            3 => {
                self.most_at_once = self.most_at_once.max(concurrency);
                self.wiring.web.allow(concurrency);
                format!("concurrency {concurrency}")
            }
            4 => format!("drain {}", Fleet::pod(place)),
            _ => format!("cancel {CANCELLED_RUN}"),
        };
        self.publish(&text);
    }

    fn publish(&self, text: &str) {
        let queue = format!("{PREFIX}.control");
        if self.wiring.broker.has_queue(&queue) {
            self.trace.event(format_args!("directive {text}"));
            let now = fetchline_sim_net::now().unwrap_or_default() / 1_000_000_000;
            let properties =
                AMQPProperties::default().with_timestamp(u64::try_from(now).unwrap_or_default());
            self.wiring.broker.publish("", &queue, properties, text.as_bytes());
        }
    }

    /// Ends what is still in force.
    pub fn end(&mut self, fleet: &Fleet) {
        fetchline_sim_net::jump(0);
        set_stalls(None);
        self.publish("resume");
        for place in 0..fleet.len() {
            self.publish(&format!("resume {}", Fleet::pod(place)));
        }
    }
}
