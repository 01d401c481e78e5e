//! Products in the vocabulary of schema.org, whichever syntax a page uses.
//!
//! `graph` holds the nodes of a page, and `json_ld` reads them from JSON-LD. `main_product` chooses
//! the product, `offers` its price by the `standing` of each offer and its `price_specification`s,
//! and `product_fields` and `breadcrumbs` read its other fields.

pub(crate) mod breadcrumbs;
pub(crate) mod fragments;
pub(crate) mod graph;
pub(crate) mod json_ld;
mod main_product;
mod offers;
pub(crate) mod page_identity;
mod price_specification;
mod product_fields;
mod standing;

/// The type of the node for properties that belong to no node.
pub(crate) const LOOSE: &str = "(loose)";

/// The property of an offer within a product that is not said to be an offer of it.
pub(crate) const LOOSE_OFFERS: &str = "(offers)";
