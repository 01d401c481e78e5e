//! The statements that write rows. They run on a given connection, in the caller's transaction.

pub(crate) mod counts;
pub(crate) mod fetches;
pub(crate) mod items;
pub(crate) mod pages;
pub(crate) mod parts;
pub(crate) mod placeholders;
pub(crate) mod upsert;
pub(crate) mod vanished;
