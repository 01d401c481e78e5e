//! End-to-end tests with a real broker, a real database and real processes. Each test is named
//! after the promise that it checks, and has its own world.

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
mod lists;
mod logs;
mod malformed;
mod messages;
mod metrics;
mod migrations;
mod outages;
mod permissions;
mod poison;
mod producing;
mod refused_rows;
mod redirects;
mod retries;
mod robots;
mod runs;
mod scheduling;
mod secrets;
mod sharing;
mod traces;
