//! End-to-end tests on a real broker and a real database, with real processes. Each is named after the promise that it
//! checks, and has a world of its own.

mod bounds;
mod checkpoints;
mod clocks;
mod commits;
mod console;
mod contention;
mod control;
mod crashes;
mod dead_letters;
mod directives;
mod drains;
mod fetching;
mod guard;
mod hosts;
mod items;
mod limits;
mod logs;
mod malformed;
mod messages;
mod metrics;
mod migrations;
mod outages;
mod permissions;
mod poison;
mod producing;
mod quarantine;
mod redirects;
mod retries;
mod robots;
mod runs;
mod scheduling;
mod secrets;
mod sharing;
mod traces;
