//! End-to-end tests on a real broker and a real database, with real processes. Each is named after the promise that it
//! checks, and has a world of its own.

mod bounds;
mod checkpoints;
mod commits;
mod console;
mod control;
mod crashes;
mod dead_letters;
mod drains;
mod fetching;
mod guard;
mod hosts;
mod items;
mod logs;
mod messages;
mod metrics;
mod migrations;
mod outages;
mod permissions;
mod producing;
mod redirects;
mod retries;
mod robots;
mod runs;
mod secrets;
mod sharing;
mod traces;
