//! The price that a page shows to people, for pages that do not have it for machines.
//!
//! A page is read as a `tree` of elements and texts. Near the `title` of the product, `segment`
//! joins the texts of each line, and `money` reads the amounts of a line: they are the candidates.
//! `surroundings` and `context` say which of them are other prices: struck through, for shipping,
//! of related products. `page_kind` says whether the page shows one product at all.
//!
//! A price is accepted if it is confirmed: the same number stands under a key that names a price
//! (`evidence`: attributes, scripts, hidden fields). Without that, it is accepted only if it is
//! the only one that the page shows, named as a price, on a page that is clearly that of a product.

mod candidate;
mod cards;
mod context;
mod evidence;
mod explanation;
pub(crate) mod locators;
mod money;
mod naming;
mod page;
mod page_kind;
mod phrases;
mod reading;
mod scan;
mod segment;
mod stock;
mod surroundings;
mod title;
mod tree;
mod words;

pub use explanation::{ShownPrice, ShownText};
pub(crate) use page::Page;
pub(crate) use reading::{Reading, Shown, read};
