#![doc = include_str!("../README.md")]

mod check;
mod config;
mod consume;
mod control;
mod error;
mod execute;
mod fetch;
mod job;
mod log_interval;
mod memory_budget;
mod observe;
mod pipeline;
mod problem;
mod revalidate;
mod schedule;
mod settle;
mod timer;
mod worker;
mod write;

#[cfg(feature = "bench")]
pub mod bench;

use fetchline_nodes::error_chain;

pub use check::{
    AskedServer, SystemAuthorities, TrialFetch, ask_name_servers, check_authorities, trial_fetch,
};
pub use config::WorkerConfig;
pub use consume::Config as ConsumeConfig;
pub use error::Error;
pub use execute::{CompressBodies, Config as ExecuteConfig, StoreBody};
pub use fetch::{
    AgentError, Authorities, AuthoritiesError, BotKey, BotKeyError, Config as FetchConfig, Cookies,
    Proxy, ProxyError, RobotsPolicy, SignatureAgent, Signing, Visitor, key_directory,
};
pub use observe::Config as ObserveConfig;
pub use observe::summary::Summary;
pub use observe::trace::EXPORTS_TRACES;
pub use problem::Problem;
pub use revalidate::Config as RevalidateConfig;
pub use schedule::{Config as ScheduleConfig, delay_tiers};
pub use worker::{StopHandle, Worker};
pub use write::Config as WriteConfig;
