//! Products in the vocabulary of schema.org, whichever syntax a page uses.
//!
//! `graph` holds the nodes of a page, and `json_ld` reads them from JSON-LD. `main_product` chooses
//! the product, `offers` its price, and `product_fields` and `breadcrumbs` read its other fields.

pub(crate) mod breadcrumbs;
pub(crate) mod graph;
pub(crate) mod json_ld;
pub(crate) mod main_product;
mod offers;
pub(crate) mod page_identity;
pub(crate) mod product_fields;
